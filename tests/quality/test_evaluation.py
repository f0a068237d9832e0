"""The report of a test: figures by group, a table, JSON that others can read, and pictures that are drawn."""

import io
import json

import numpy as np
import pytest
import soundfile
from rich.console import Console

from speechtools.core import metrics, plots
from speechtools.core.errors import SpeechtoolsError
from speechtools.inference import QualityNet
from speechtools.quality import evaluation as reports

ROWS = [
    {"subset": "clean", "noise_type": "", "snr_db": ""},
    {"subset": "clean", "noise_type": "", "snr_db": ""},
    {"subset": "noisy", "noise_type": "white", "snr_db": "-6"},
    {"subset": "noisy", "noise_type": "white", "snr_db": "12"},
    {"subset": "noisy", "noise_type": "street", "snr_db": "-6"},
    {"subset": "noisy", "noise_type": "street", "snr_db": "12"},
]
TRUE = [4.5, 4.5, 1.0, 3.0, 1.5, 2.5]
PREDICTED = [4.4, 4.2, 1.2, 2.8, 1.5, 3.0]


@pytest.fixture
def figures():
    return reports.quality_figures(PREDICTED, TRUE, ROWS, [0.2, 0.4])


def test_figures_by_group(figures):
    assert figures["overall"]["utterances"] == 6
    assert figures["overall"]["lcc"] == pytest.approx(np.corrcoef(PREDICTED, TRUE)[0, 1])
    assert list(figures["by_snr_db"]) == ["-6", "12"], "in the order of the numbers"
    assert figures["by_noise"]["street"]["mse"] == pytest.approx(0.125)
    assert figures["by_snr_db"]["-6"]["mse"] == pytest.approx(0.02)
    assert figures["by_subset"]["clean"]["mse"] == pytest.approx((0.01 + 0.09) / 2)
    assert figures["clean_frame_variance"] == pytest.approx(0.3)


def test_what_is_not_defined_is_none_and_the_json_is_strict(figures, tmp_path):
    assert figures["by_subset"]["clean"]["lcc"] is None, "the clean labels are all the same"
    reports.write_json(tmp_path / "results.json", figures)
    assert json.loads((tmp_path / "results.json").read_text()) == figures
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        reports.write_json(tmp_path / "bad.json", {"x": float("nan")})
    assert not (tmp_path / "bad.json").exists()


def test_nan_scores_are_no_perfect_figures():
    with pytest.raises(SpeechtoolsError, match="1 of 6 predicted scores are NaN"):
        reports.quality_figures([float("nan"), *PREDICTED[1:]], TRUE, ROWS, [])


def test_the_table_names_every_group_and_the_origin(figures):
    out = io.StringIO()
    reports.print_quality(figures, "Test on built-in synthetic speech", Console(file=out, width=100))
    text = out.getvalue()
    for word in ("synthetic", "clean", "noisy", "white", "street", "-6 dB", "12 dB", "0.3000", "–"):
        assert word in text, word


def test_pictures_are_drawn(pretrained, tone, tmp_path):
    net = QualityNet.from_hparams(pretrained)
    rows = [dict(row, path="", noise="") for row in ROWS]
    for number, row in enumerate(rows):
        row["path"] = str(tmp_path / f"{number}.wav")
        soundfile.write(row["path"], tone(1.0, seed=number), 16000)
        if row["noise_type"]:
            row["noise"] = row["path"]
    drawn = reports.quality_figures_drawn(tmp_path / "figures", PREDICTED, TRUE, rows, net, "a test")
    assert [path.name for path in drawn] == ["scatter.png", "frame_scores.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 20000 for path in drawn)
    partly, _ = soundfile.read(tmp_path / "examples" / "partly_noisy.wav")
    clean, _ = soundfile.read(tmp_path / "examples" / "clean.wav")
    changed = np.flatnonzero(np.abs(partly - clean) > 1e-4) / 16000
    assert changed.min() == pytest.approx(1 / 3, abs=0.02) and changed.max() == pytest.approx(2 / 3, abs=0.02)


def test_a_test_without_noise_is_not_localised(pretrained, tone, tmp_path, caplog):
    soundfile.write(tmp_path / "0.wav", tone(1.0), 16000)
    rows = [dict(ROWS[0], ID="0", path=str(tmp_path / "0.wav"), noise="")] * 2
    figures = reports.quality_figures([4.4, 4.2], [4.5, 4.5], rows, [0.2, 0.4])
    net = QualityNet.from_hparams(pretrained)
    reports.quality_report(tmp_path, figures, [4.4, 4.2], [4.5, 4.5], rows, net, {"trained_on": "tones"})
    assert json.loads((tmp_path / "results.json").read_text())["localization"] is None
    assert "was not tested. Of 2 rows, 2 are clean utterances, and they name 0 types of noise" in caplog.text


def test_a_picture_of_a_very_short_recording(tmp_path, pretrained):
    net = QualityNet.from_hparams(pretrained)
    samples = np.full(100, 0.1, dtype=np.float32)
    path = plots.frame_scores(tmp_path / "short.png", [("short", samples, net.assess_samples(samples))], 16000)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_scatter_says_the_figures_that_the_metrics_give(tmp_path, monkeypatch):
    said = []
    original = plots.Figure.add_subplot

    def recording(self, *arguments, **options):
        axes = original(self, *arguments, **options)
        write = axes.text
        monkeypatch.setattr(axes, "text", lambda x, y, text, **o: said.append(text) or write(x, y, text, **o))
        return axes

    monkeypatch.setattr(plots.Figure, "add_subplot", recording)
    plots.score_scatter(tmp_path / "s.png", PREDICTED, TRUE, [row["subset"] for row in ROWS], "raw_nb", "a test")
    assert f"LCC {metrics.lcc(PREDICTED, TRUE):.3f}" in said[0]
