"""The report of a test: metrics by group, a table, JSON that other programs can read, and plots."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechtools.core.rows import read_rows
from speechtools.inference import QualityNet
from speechtools.quality import evaluation
from tests.quality.test_data import quality_row

TRUE = [4.5, 4.5, 1.0, 3.0, 1.5, 2.5]
PREDICTED = [4.4, 4.2, 1.2, 2.8, 1.5, 3.0]
ROWS = [quality_row(ID="0"), quality_row(ID="1")] + [
    quality_row(ID=f"{number}", subset="noisy", noise_type=noise_type, noise=Path("noise.wav"), snr_db=snr_db)
    for number, (noise_type, snr_db) in enumerate([("white", -6), ("white", 12), ("street", -6), ("street", 12)], 2)
]


def test_metrics_by_group():
    results = evaluation.quality_metrics(PREDICTED, TRUE, ROWS, [0.2, 0.4])
    assert results["overall"]["utterances"] == 6
    assert results["overall"]["lcc"] == pytest.approx(np.corrcoef(PREDICTED, TRUE)[0, 1])
    assert list(results["by_snr_db"]) == ["-6", "12"], "in the order of the numbers"
    for group, name, mse in (("noise", "street", 0.125), ("snr_db", "-6", 0.02), ("subset", "clean", 0.05)):
        assert results[f"by_{group}"][name]["mse"] == pytest.approx(mse)
    assert results["by_subset"]["clean"]["lcc"] is None, "the clean labels are all the same"
    assert results["clean_frame_variance"] == pytest.approx(0.3)


def test_plots_and_examples(pretrained, tone, tmp_path):
    net, rows = QualityNet.from_hparams(pretrained), []
    for number, row in enumerate(ROWS):
        path = tmp_path / f"{number}.wav"
        soundfile.write(path, tone(1.0, seed=number), 16000)
        rows.append(replace(row, path=path, noise=path if row.noise else None))
    paths = evaluation.plot_test(tmp_path / "figures", PREDICTED, TRUE, rows, net, "a test")
    assert [path.name for path in paths] == ["scatter.png", "frame_scores.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20000 for path in paths)
    partly, _ = soundfile.read(tmp_path / "examples" / "partly_noisy.wav")
    clean, _ = soundfile.read(tmp_path / "examples" / "clean.wav")
    changed = np.flatnonzero(np.abs(partly - clean) > 1e-4) / 16000
    assert changed.min() == pytest.approx(1 / 3, abs=0.02) and changed.max() == pytest.approx(2 / 3, abs=0.02)


def test_a_report_without_noise_has_no_localization(pretrained, tone, tmp_path, caplog, capsys):
    soundfile.write(tmp_path / "0.wav", tone(1.0), 16000)
    rows = [replace(ROWS[0], path=tmp_path / "0.wav")] * 2
    results = evaluation.quality_metrics([4.4, 4.2], [4.5, 4.5], rows, [0.2, 0.4])
    net = QualityNet.from_hparams(pretrained)
    evaluation.quality_report(tmp_path, results, [4.4, 4.2], [4.5, 4.5], rows, net, {"trained_on": "tones"})
    assert json.loads((tmp_path / "results.json").read_text())["localization"] is None
    assert "2 clean utterances and 0 types of noise" in caplog.text
    printed = capsys.readouterr().out
    assert "Test on tones" in printed and "clean" in printed and "0.3000" in printed and "–" in printed
    predictions = read_rows(tmp_path / "predictions.csv", evaluation.PredictedRow)
    assert [(row.score, row.predicted) for row in predictions] == [(4.5, 4.4), (4.5, 4.2)]
