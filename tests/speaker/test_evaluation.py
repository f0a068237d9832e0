"""The test of a speaker encoder."""

import json

import numpy as np

from speechtools.core import metrics
from speechtools.speaker import evaluation
from speechtools.speaker.trials import make_trials
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


def results_of(noise, num_speakers, seed=0):
    """The result of noisy d-vectors of some speakers with 6 utterances each."""
    rng = np.random.default_rng(seed)
    speakers, names = np.repeat(np.arange(num_speakers), 6), [f"s{k}" for k in range(num_speakers)]
    centres = rng.standard_normal((num_speakers, 8))
    dvectors = centres[speakers] + noise * rng.standard_normal((len(speakers), 8))
    trial_set = evaluation.TrialSet(make_trials(speakers, names, 2), speakers, names, [f"u{k}" for k in speakers])
    return evaluation.evaluate(dvectors, trial_set)


def test_the_interval_contains_the_rate_and_is_wide_for_few_speakers():
    widths = []
    for number in (5, 12, 60):
        result = results_of(0.8, number)
        low, high = evaluation.eer_interval(result)
        assert 0 <= low < result.metrics["eer"] < high <= 1
        widths.append(high - low)
    assert widths[0] > 0.4 > widths[1] > widths[2] and widths[2] < 0.1
    perfect = [evaluation.eer_interval(results_of(0.0, number)) for number in (3, 48)]
    assert [low for low, _ in perfect] == [0, 0] and perfect[0][1] > 0.7 and 0.05 < perfect[1][1] < 0.1


def test_a_report_has_the_interval_and_an_untrained_encoder(tmp_path, capsys):
    result, untrained = results_of(0.5, 12), results_of(3.0, 12)
    evaluation.report(tmp_path, {"main": result}, {"trained_on": "x"}, {"main": untrained})
    saved = json.loads((tmp_path / "results.json").read_text())
    assert saved["eer_low"] <= saved["eer"] == result.metrics["eer"] <= saved["eer_high"]
    assert saved["untrained_eer"] == untrained.metrics["eer"] > saved["eer"]
    shown = capsys.readouterr().out
    assert f"{100 * saved['untrained_eer']:.2f} %" in shown and f"to {100 * saved['eer_high']:.1f} %" in shown
    several = {"a": result, "b": untrained}
    evaluation.report(tmp_path, several, {"trained_on": "x"}, {"a": untrained})
    sources = json.loads((tmp_path / "results.json").read_text())["sources"]
    assert sources["a"]["untrained_eer"] == untrained.metrics["eer"] and "untrained_eer" not in sources["b"]


def test_speakers_of_a_published_list_may_be_others():
    result = results_of(0.8, 12)
    result.trial_set.trials.targets[:5] = ~result.trial_set.trials.targets[:5]
    wide = evaluation.eer_interval(result)
    assert wide == metrics.eer_interval(result.metrics["eer"], 12, 12)
