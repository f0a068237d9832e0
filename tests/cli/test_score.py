"""`speechtools score`."""

import csv
import json
import sys

import numpy as np
import pytest
import soundfile

import speechtools
from speechtools.cli import main
from speechtools.inference import QualityNet


@pytest.fixture
def recordings(tone, tmp_path):
    folder = tmp_path / "calls"
    for name, rate in (("a.wav", 16000), ("deep/a.flac", 44100), ("deep/b.ogg", 8000)):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, tone(1.0, rate, seed=len(name)), rate)
    return folder


def rows_of(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_folder_to_csv_and_json(recordings, pretrained, tmp_path, capsys):
    table, lines = tmp_path / "scores.csv", tmp_path / "scores.jsonl"
    assert main(["score", str(recordings), "--model", str(pretrained), "--csv", str(table), "--jsonl", str(lines)]) == 0
    net = QualityNet.from_hparams(pretrained)
    rows = rows_of(table)
    assert [row["file"] for row in rows] == sorted(str(p) for p in recordings.rglob("*.*"))
    for row, line in zip(rows, map(json.loads, lines.read_text().splitlines()), strict=True):
        report = net.assess_file(row["file"])
        assert float(row["score"]) == line["score"] == pytest.approx(report.score, abs=1e-3)
        assert float(row["seconds"]) == pytest.approx(1.0, abs=1e-3)
        np.testing.assert_allclose(line["frame_scores"], report.frame_scores, atol=1e-3)
        assert len(line["times"]) == len(line["frame_scores"]) and line["error"] is None
        below = sum(region.end - region.start for region in report.degraded_regions(2.5))
        assert float(row["degraded_seconds"]) == pytest.approx(below, abs=2e-3)
    assert "3 recordings scored on the scale raw_nb" in capsys.readouterr().out


def test_the_output_is_lines_of_score_and_file(recordings, pretrained, capsys):
    assert main(["score", str(recordings), "--model", str(pretrained)]) == 0
    for line in capsys.readouterr().out.splitlines():
        score, name = line.split("\t")
        assert np.isfinite(float(score)) and name.startswith(str(recordings))


def test_a_terminal_shows_columns_and_scale(capsys, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert main(["score", "--sample"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "# scale raw_nb: raw narrow-band PESQ, -0.5 (bad) to 4.5 (clean)",
        "# score\tfile",
        f"2.48\t{speechtools.SAMPLE}",
    ]


def test_a_bad_file_is_a_row_and_status_1(recordings, pretrained, tmp_path, capsys):
    (recordings / "broken.wav").write_text("no audio")
    table = tmp_path / "scores.csv"
    gone = recordings / "gone.wav"
    assert main(["score", str(recordings), str(gone), "--model", str(pretrained), "--csv", str(table)]) == 1
    rows = {row["file"].rpartition("/")[2]: row for row in rows_of(table)}
    assert "cannot be read as audio" in rows["broken.wav"]["error"] and rows["broken.wav"]["score"] == ""
    assert "does not exist" in rows["gone.wav"]["error"]
    assert rows["a.wav"]["score"] and rows["b.ogg"]["score"]
    messages = capsys.readouterr().err
    assert "Traceback" not in messages and "broken.wav" in messages and "gone.wav" in messages


def test_a_plot_that_fails_costs_no_score(recordings, pretrained, tmp_path):
    (tmp_path / "png").write_text("a file where the folder should be")
    table = tmp_path / "scores.csv"
    options = ["--model", str(pretrained), "--csv", str(table), "--png", str(tmp_path / "png")]
    assert main(["score", str(recordings), *options]) == 1
    assert all(row["score"] and "was scored, but" in row["error"] for row in rows_of(table))


def test_an_interrupt_keeps_the_scores_so_far(recordings, pretrained, tmp_path, monkeypatch):
    original = QualityNet.assess_files

    def interrupted(self, paths, batch_size=32):
        yield from list(original(self, paths[:2], batch_size))
        raise KeyboardInterrupt

    monkeypatch.setattr(QualityNet, "assess_files", interrupted)
    table = tmp_path / "scores.csv"
    assert main(["score", str(recordings), "--model", str(pretrained), "--csv", str(table)]) == 130
    assert len(rows_of(table)) == 2


def test_plots_of_files_of_one_name(recordings, pretrained, tmp_path):
    assert main(["score", str(recordings), "--model", str(pretrained), "--png", str(tmp_path / "png")]) == 0
    plots = sorted(path.name for path in (tmp_path / "png").iterdir())
    assert plots == ["a-2.png", "a.png", "b.png"]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in (tmp_path / "png").iterdir())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["empty"], "contains no audio file"),
        (["calls", "--model", "no-such-model"], "There is no folder no-such-model"),
        (["calls", "--batch_size", "0"], "batch_size=0"),
        (["calls", "--device", "cuda:99"], "cannot be put on cuda:99"),
        ([], "Nothing to score"),
    ],
)
def test_a_mistake_is_one_message(recordings, tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main(["score", *arguments]) == 1
    error = capsys.readouterr().err
    assert message in error and "Traceback" not in error
