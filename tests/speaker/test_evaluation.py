"""The test of a speaker encoder."""

import json

import numpy as np

from speechtools.speaker import evaluation
from tests.speaker.test_trials import IDS, NAMES, SPEAKERS


class Store:
    speakers, first, utt_ids, manifest = NAMES, np.array([0, 5, 8, 14, 16]), IDS, "valid.csv"


def test_few_speakers_are_reported(caplog):
    evaluation.trials_of(Store(), 2)
    assert caplog.messages[0] == "valid.csv has only 4 speakers, so its EER is inexact."


def test_a_report_writes_results_trials_and_plots(tmp_path, capsys):
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((4, 8))
    dvectors = centres[SPEAKERS] + 0.1 * rng.standard_normal((len(SPEAKERS), 8))
    result = evaluation.evaluate(dvectors, evaluation.trials_of(Store(), 2))
    assert result.metrics["eer"] == 0.0 and result.metrics["min_dcf"] == 0.0 and result.metrics["models"] == 3
    evaluation.report(tmp_path, {"main": result}, {"trained_on": "built-in synthetic speech"})
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved["eer"] == 0.0 and saved["trained_on"] == "built-in synthetic speech"
    for name in ("det", "similarity", "projection"):
        assert (tmp_path / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "synthetic" in capsys.readouterr().out
    again = evaluation.evaluate(dvectors, evaluation.trials_of(Store(), 2, published=tmp_path / "trials.txt"))
    assert again.metrics == result.metrics
