"""`speechtools score`."""

import csv
import json
import sys

import numpy as np
import pytest
import soundfile

import speechtools
from speechtools.inference import QualityNet


@pytest.fixture
def recordings(tone, tmp_path):
    for name, rate in (("a.wav", 16000), ("deep/a.flac", 44100), ("deep/b.ogg", 8000)):
        path = tmp_path / "calls" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(1.0, rate, seed=len(name)), rate)
    return tmp_path / "calls"


@pytest.fixture
def score(call, recordings, pretrained, tmp_path):
    """Score the recordings into a CSV file: exit status, output, errors, and the rows."""

    def run(*options):
        path = tmp_path / "scores.csv"
        result = call("score", recordings, "--model", pretrained, "--csv", path, *options)
        with open(path, newline="") as file:
            return *result, list(csv.DictReader(file))

    return run


def test_a_folder_to_csv_json_and_plots(score, recordings, pretrained, tmp_path):
    lines, plots = tmp_path / "scores.jsonl", tmp_path / "png"
    status, output, _, rows = score("--jsonl", lines, "--png", plots)
    assert status == 0 and "3 recordings scored on the scale raw_nb" in output
    assert [row["file"] for row in rows] == sorted(str(p) for p in recordings.rglob("*.*"))
    net = QualityNet.from_hparams(pretrained)
    for row, line in zip(rows, map(json.loads, lines.read_text().splitlines()), strict=True):
        report = net.assess_file(row["file"])
        assert float(row["score"]) == line["score"] == pytest.approx(report.score, abs=1e-3)
        assert float(row["seconds"]) == pytest.approx(1.0, abs=1e-3)
        np.testing.assert_allclose(line["frame_scores"], report.frame_scores, atol=1e-3)
        assert len(line["times"]) == len(line["frame_scores"]) and line["error"] is None
        below = sum(region.end - region.start for region in report.degraded_regions(2.5))
        assert float(row["degraded_seconds"]) == pytest.approx(below, abs=2e-3)
    assert sorted(path.name for path in plots.iterdir()) == ["a-2.png", "a.png", "b.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in plots.iterdir())


def test_a_terminal_shows_columns_and_scale(call, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert call("score", "--sample")[1].splitlines() == [
        "# scale raw_nb: raw narrow-band PESQ, -0.5 (bad) to 4.5 (clean)",
        "# score\tfile",
        f"2.48\t{speechtools.SAMPLE}",
    ]


def test_a_bad_file_is_a_row_and_status_1(score, recordings):
    (recordings / "broken.wav").write_text("no audio")
    status, _, errors, rows = score(recordings / "gone.wav")
    reasons = {row["file"].rpartition("/")[2]: row["error"] for row in rows}
    assert status == 1 and "cannot be read as audio" in reasons["broken.wav"]
    assert "does not exist" in reasons["gone.wav"]
    assert all(bool(row["score"]) == (row["error"] == "") for row in rows) and reasons["b.ogg"] == ""
    assert "Traceback" not in errors and "broken.wav" in errors and "gone.wav" in errors


def test_a_plot_that_fails_costs_no_score(score, tmp_path):
    (tmp_path / "png").write_text("a file where the folder should be")
    status, _, _, rows = score("--png", tmp_path / "png")
    assert status == 1 and all(row["score"] and "was scored, but" in row["error"] for row in rows)


def test_an_interrupt_keeps_the_scores_so_far(score, monkeypatch):
    original = QualityNet.assess_files

    def interrupted(self, paths, batch_size=32):
        yield from list(original(self, paths[:2], batch_size))
        raise KeyboardInterrupt

    monkeypatch.setattr(QualityNet, "assess_files", interrupted)
    status, _, _, rows = score()
    assert status == 130 and len(rows) == 2


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("empty", "contains no audio file"),
        ("calls --batch_size 0", "batch_size=0"),
        ("calls --device cuda:99", "cannot be put on cuda:99"),
        ("", "Nothing to score"),
    ],
)
def test_a_mistake_is_one_message(recordings, tmp_path, monkeypatch, refused, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert message in refused("score", *arguments.split())


@pytest.mark.parametrize("command, option", [("score", "--csv"), ("score", "--jsonl"), ("embed", "--out")])
def test_no_output_replaces_a_recording(recordings, refused, command, option):
    recording = recordings / "a.wav"
    before = recording.read_bytes()
    assert option in refused(command, recording, option, recording)
    assert recording.read_bytes() == before
