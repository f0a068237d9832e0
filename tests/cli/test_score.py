"""`speechtools score`."""

import csv
import dataclasses
import io
import json
import os
import signal
import sys
from contextlib import ExitStack
from unittest import mock

import numpy as np
import pytest
import soundfile

import speechtools
import speechtools.quality.plots
from speechtools.cli import tables
from speechtools.cli.explain import Explainer
from speechtools.cli.score import ScoreRow, describe_scale
from speechtools.core.model_folder import write_model
from speechtools.core.signals import Terminated
from speechtools.inference import QualityNet, QualityReport
from speechtools.measures import Scale
from speechtools.quality.regions import CauseRegion


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


def test_an_explanation_tells_where_and_how_much(call, recordings, pretrained, tmp_path):
    net, lines = QualityNet.from_hparams(pretrained), tmp_path / "s.jsonl"
    outputs = ["--jsonl", lines, "--csv", tmp_path / "s.csv", "--png", tmp_path / "png"]
    status, output, _ = call("score", recordings, "--model", pretrained, "--explain", "--below", "1.0", *outputs)
    assert status == 0
    for line in map(json.loads, lines.read_text().splitlines()):
        report = net.assess_file(line["file"])
        assert sum(region["cost"] for region in line["regions"]) == pytest.approx(
            line["best"] - line["score"], abs=1e-3
        )
        assert [line["regions"][0]["start"], line["regions"][-1]["end"]] == [0.0, pytest.approx(report.duration)]
        printed = output[output.index(line["file"]) :].splitlines()[1:]
        first = next(text for text in printed if " costs " in text)
        assert f"costs {max(region['cost'] for region in line['regions']):.2f}" in first
        assert os.path.getsize(line["figure"])
    assert call("score", recordings, "--model", pretrained, "--explain")[1].count("costs") >= 3
    output = call("score", recordings, "--model", pretrained, "--explain", "--jsonl", "-")[1]
    assert all("regions" in json.loads(line) for line in output.splitlines())


def test_an_explanation_shows_the_worst_and_sums_up_the_rest():
    costs = [0.02, 0.4, 0.1, 0.3, 0.01]
    regions = [CauseRegion(i, i + 1.0, 2.0, cost, ("noise",) if i % 2 else ()) for i, cost in enumerate(costs)]
    report = QualityReport(2.0, np.ones(5), np.arange(5) + 0.5, 5.0, 1.0, "raw_nb", causes=np.ones((5, 1)))
    assert Explainer(2).format(regions, report) == [
        "  1.0–2.0 s  noise           costs 0.40",
        "  3.0–4.0 s  noise           costs 0.30",
        "  3 others   no cause found  costs 0.13",
    ]
    lines = Explainer(6, "time").format(regions, report)
    assert [line.split()[0] for line in lines] == ["1.0–2.0", "2.0–3.0", "3.0–4.0", "2"]
    assert "no cause found" in lines[1] and "costs 0.03" in lines[-1]
    cheap = [dataclasses.replace(region, cost=0.004, causes=causes) for region in regions for causes in ((), ("loss",))]
    assert [line.split() for line in Explainer(2).format(cheap, report)] == [
        "5 regions no cause found costs 0.02".split(),
        "5 regions loss costs 0.02".split(),
    ]


def test_options_of_an_explanation_need_one(refused, recordings, tmp_path):
    assert "--explain" in refused("score", recordings, "--regions", "3")
    net = QualityNet.from_hparams()
    net.hparams.scale, net.facts["measure"] = "gone", None
    model = net.save(tmp_path / "model")
    assert "best score of the scale gone" in refused("score", recordings, "--model", model, "--explain")


def test_a_scale_of_ratings_ends_at_excellent(registry_restored):
    limits = {"minimum": 0.0, "maximum": 100.0, "higher_is_better": True}
    speechtools.plugin("measure/ratings")(type("Ratings", (), limits | {"name": "ratings", "from_listeners": True}))
    assert describe_scale("ratings", Scale("ratings", **limits)).endswith("100.0 (excellent)")


def test_a_terminal_shows_columns_and_scale(call, monkeypatch):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert call("score", "--sample")[1].splitlines() == [
        "# scale raw_nb: raw narrow-band PESQ, -0.5 (bad) to 4.5 (clean)",
        "# score\tfile",
        f"1.43\t{speechtools.SAMPLE}",
    ]


@pytest.mark.parametrize(
    "measure, header, seconds",
    [
        ({"minimum": 0.0, "maximum": 30.0, "higher_is_better": False}, "distance, 30.0 (bad) to 0.0 (best)", 3.0),
        ({"minimum": 0.0, "maximum": 30.0, "higher_is_better": True}, "distance, 0.0 (bad) to 30.0 (best)", 0.0),
    ],
)
def test_a_model_of_a_measure_that_is_not_installed(call, tmp_path, monkeypatch, measure, header, seconds):
    net = QualityNet.from_hparams()
    net.hparams.scale, net.facts["measure"] = "gone", {"description": "distance"} | measure
    model, table = net.save(tmp_path / "model"), tmp_path / "scores.csv"
    call("score", "--sample", "--model", model, "--csv", table)
    assert next(csv.DictReader(open(table)))["degraded_seconds"] == "", "no threshold suits every scale"
    call("score", "--sample", "--model", model, "--csv", table, "--below=-20")
    assert float(next(csv.DictReader(open(table)))["degraded_seconds"]) == pytest.approx(seconds, abs=0.1)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    output = call("score", "--sample", "--model", model, "--png", tmp_path / "png")[1]
    assert f"# scale gone: {header}" in output and (tmp_path / "png").is_dir()


def test_a_bad_file_is_a_row_and_status_1(score, recordings):
    (recordings / "broken.wav").write_text("no audio")
    status, _, errors, rows = score(recordings / "gone.wav")
    reasons = {row["file"].rpartition("/")[2]: row["error"] for row in rows}
    assert status == 1 and "cannot be read as audio" in reasons["broken.wav"]
    assert "does not exist" in reasons["gone.wav"]
    assert all(bool(row["score"]) == (row["error"] == "") for row in rows) and reasons["b.ogg"] == ""
    assert "Traceback" not in errors and "broken.wav" in errors and "gone.wav" in errors


def test_a_plot_that_fails_costs_no_score(score, tmp_path, monkeypatch):
    monkeypatch.setattr(speechtools.core.plots, "save", mock.Mock(side_effect=ValueError("no glyph")))
    monkeypatch.setattr(speechtools.quality.plots, "save", mock.Mock(side_effect=ValueError("no glyph")))
    status, _, _, rows = score("--png", tmp_path / "png")
    assert status == 1 and all(row["score"] and "no glyph" in row["error"] for row in rows)


def test_a_foreign_picture_is_replaced_with_overwrite_only(call, refused, recordings, pretrained, tmp_path):
    picture = tmp_path / "png" / "a.png"
    picture.parent.mkdir()
    picture.write_bytes(b"\x89PNG of a holiday")
    assert "--overwrite" in refused("score", recordings, "--png", picture.parent)
    assert picture.read_bytes() == b"\x89PNG of a holiday"
    assert "is a file" in refused("score", recordings, "--png", picture)
    command = ["score", recordings / "a.wav", "--model", pretrained, "--png", picture.parent]
    assert call(*command, "--overwrite")[0] == 0 and len(picture.read_bytes()) > 1000
    assert call(*command)[0] == 0  # its own plot


def test_names_that_a_plot_a_table_and_a_terminal_can_show(call, tone, tmp_path, pretrained):
    names = ["x$_$y.wav", "two\nlines.wav", "-dash.wav", "\N{SNOWMAN}" * 83 + ".wav"]
    for name in names:
        soundfile.write(tmp_path / name, tone(0.5), 16000)
    outputs = ["--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl", "--png", tmp_path / "png"]
    status, _, errors = call("score", tmp_path, "--model", pretrained, *outputs)
    assert status == 0, errors
    with open(tmp_path / "s.csv", newline="") as file:
        files = [row["file"] for row in csv.DictReader(file)]
    assert sorted(files) == sorted(str(tmp_path / name) for name in names)
    assert len(os.listdir(tmp_path / "png")) == len(names)
    status, output, _ = call("score", tmp_path, "--model", pretrained)
    assert status == 0 and len(output.splitlines()) == len(names) and "two\\nlines.wav" in output


def interrupt_after_two(monkeypatch, error):
    original = QualityNet.assess_files

    def interrupted(self, paths, batch_size=32, **options):
        yield from list(original(self, paths[:2], batch_size))
        raise error

    monkeypatch.setattr(QualityNet, "assess_files", interrupted)


@pytest.mark.parametrize(("error", "expected"), [(KeyboardInterrupt(), 130), (Terminated(signal.SIGTERM), 143)])
def test_an_interrupt_keeps_the_scores_so_far_and_resume_adds_the_others(score, recordings, tmp_path, error, expected):
    lines = tmp_path / "scores.jsonl"
    _, _, _, whole = score()
    (tmp_path / "scores.csv").unlink()
    (recordings / "aa.wav").write_text("broken")
    with pytest.MonkeyPatch.context() as patch:
        interrupt_after_two(patch, error)
        status, _, errors, rows = score("--jsonl", lines)
    assert status == expected and len(rows) == 2 and errors.strip().startswith("speechtools: ")
    with open(tmp_path / "scores.csv", "a") as file:
        file.write("torn,1.2")  # by SIGKILL
    with open(lines, "a") as file:
        file.write('{"file": "to')
    soundfile.write(recordings / "aa.wav", soundfile.read(recordings / "a.wav")[0], 16000)
    status, output, _, rows = score("--jsonl", lines, "--resume")
    assert status == 0 and "3 recordings scored" in output and "1 before" in output
    assert sorted(row["file"] for row in rows) == sorted([*(row["file"] for row in whole), str(recordings / "aa.wav")])
    assert {row["score"] for row in whole} <= {row["score"] for row in rows}
    assert sorted(json.loads(line)["file"] for line in lines.read_text().splitlines()) == sorted(
        row["file"] for row in rows
    )
    before = (tmp_path / "scores.csv").read_bytes()
    status, output, _, _ = score("--jsonl", lines, "--resume")
    assert status == 0 and "0 recordings scored" in output and (tmp_path / "scores.csv").read_bytes() == before


def test_resume_needs_a_table(refused, recordings, tmp_path):
    assert "--csv" in refused("score", recordings, "--resume")
    (tmp_path / "notes.csv").write_text("my,notes\n1,2\n")
    for option in ("--resume", "--below=2"):
        assert "notes.csv exists" in refused("score", recordings, "--csv", tmp_path / "notes.csv", option)
    assert "both" in refused("score", recordings, "--csv", tmp_path / "s", "--jsonl", tmp_path / "s")
    assert (tmp_path / "notes.csv").read_text() == "my,notes\n1,2\n"


def test_overwrite_replaces_another_file_but_never_a_recording(score, refused, recordings, tmp_path):
    (tmp_path / "scores.csv").write_text("my,notes\n1,2\n")
    assert score("--overwrite")[0] == 0
    assert score()[0] == 0  # its own table
    linked = tmp_path / "linked.csv"
    linked.symlink_to(recordings / "a.wav")
    assert "is one of the recordings" in refused("score", recordings, "--csv", linked, "--overwrite")


def test_tables_on_the_standard_output(call, recordings, pretrained):
    status, output, errors = call("score", recordings, "--model", pretrained, "--csv", "-")
    assert status == 0 and output.splitlines()[0] == ",".join(ScoreRow.columns())
    assert len(output.splitlines()) == 4 and "3 recordings scored" in errors
    output = call("score", recordings, "--model", pretrained, "--jsonl", "-")[1]
    assert [json.loads(line)["error"] for line in output.splitlines()] == [None] * 3


@pytest.mark.parametrize(
    "arguments, message",
    [
        ("empty", "contains no audio file"),
        ("calls --device cuda:99", "Cannot compute on --device=cuda:99. This machine has cpu"),
        ("", "Nothing to score"),
    ],
)
def test_a_mistake_is_one_message(recordings, tmp_path, monkeypatch, refused, arguments, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert message in refused("score", *arguments.split())


@pytest.mark.parametrize("option", ["--batch_size=0", "--below=nan", "--below=inf", "--csv=", "--png="])
def test_a_wrong_number_is_wrong_usage(call, recordings, option):
    status, _, errors = call("score", recordings, option)
    assert status == 2 and option.partition("=")[0] in errors


@pytest.mark.parametrize("command, option", [("score", "--csv"), ("score", "--jsonl"), ("embed", "--out")])
def test_no_output_replaces_a_recording(recordings, refused, command, option):
    recording = recordings / "a.wav"
    before = recording.read_bytes()
    assert option in refused(command, recording, option, recording)
    assert recording.read_bytes() == before


def test_standard_input(call, recordings, pretrained, monkeypatch):
    expected = call("score", recordings / "a.wav", "--model", pretrained)[1].split("\t")[0]
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((recordings / "a.wav").read_bytes())))
    assert call("score", "-", "--model", pretrained)[:2] == (0, f"{expected}\t-\n")
    assert "standard input is empty" in call("score", "-", "--model", pretrained)[2]


def test_a_channel(call, recordings, pretrained, tone):
    left, right = tone(1.0, seed=1), tone(1.0, seed=2)[::-1]
    scores = []
    for name, samples in (("left", left), ("right", right), ("both", np.stack([left, right], axis=1))):
        soundfile.write(recordings / f"{name}.wav", samples, 16000)
    for name, channel in (("left", "mix"), ("both", "0"), ("right", "mix"), ("both", "1")):
        output = call("score", recordings / f"{name}.wav", "--channel", channel, "--model", pretrained)[1]
        scores.append(output.split("\t")[0])
    assert scores[0] == scores[1] and scores[2] == scores[3]
    both = recordings / "both.wav"
    assert "2 channels, numbers 0 to 1" in call("score", both, "--channel", "2", "--model", pretrained)[2]
    status, _, error = call("score", both, "--channel", "left")
    assert status == 2 and "--channel" in error


def test_what_is_not_read_is_named(call, score, recordings, tone, monkeypatch):
    """A pipe is a row, an unreadable format and channels that cancel are warnings."""
    monkeypatch.setenv("PATH", "")  # no ffmpeg
    os.mkfifo(recordings / "pipe.wav")
    (recordings / "b.m4a").touch()
    wave = tone(1.0)
    soundfile.write(recordings / "z.wav", np.stack([wave, 1e-3 - wave], axis=1), 16000)
    soundfile.write(recordings / "short.wav", wave[:2000], 16000)
    status, _, errors, rows = score()
    reasons = {row["file"].rpartition("/")[2]: row["error"] for row in rows}
    assert status == 1 and "named pipe" in reasons.pop("pipe.wav") and len(reasons) == 5 and not any(reasons.values())
    warnings = [line for line in errors.splitlines() if "warning: " in line]
    for text in ("1 file was not read", "--channel", "only 0.12 s"):
        assert sum(text in line for line in warnings) == 1


def test_names_that_are_not_utf8(call, recordings, pretrained):
    os.rename(recordings / "a.wav", os.fsencode(recordings) + b"/bad\xff.wav")
    status, output, errors = call("score", recordings, "--model", pretrained)
    assert status == 0 and len(output.splitlines()) == 3 and not errors


def test_rows_without_degraded_seconds_are_finished(tmp_path):
    path = tmp_path / "scores.csv"
    table = tables.CsvTable("--csv", str(path), ScoreRow)
    with ExitStack() as stack:
        table.open(stack, {"a.wav", "b.wav"})
        table.write(ScoreRow(file="a.wav", score=0.5, seconds=1.0), {})
        table.write(ScoreRow(file="b.wav", error="silent"), {})
    assert list(tables.CsvTable("--csv", str(path), ScoreRow, resume=True).finished) == ["a.wav"]


@pytest.mark.parametrize("options", [["--model", "quality-net"], ["--below", "4.9"]])
def test_a_table_of_another_model_is_not_continued(score, refused, recordings, tmp_path, pretrained, options):
    before = score("--below", "0.1")[3]
    model = [] if "--model" in options else ["--model", pretrained]
    for table in ("--csv", "--jsonl"):
        path = tmp_path / f"scores.{table[2:]}"
        score("--below", "0.1", table, path)
        message = refused("score", recordings, *model, *options, table, path, "--resume")
        assert f"another {options[0]}" in message, message
    assert score("--below", "0.1", "--resume")[3] == before


@pytest.mark.parametrize("table", ["--csv", "--jsonl"])
def test_settings_are_compared_even_if_no_result_shows_them(call, refused, recordings, tmp_path, pretrained, table):
    """Mono recordings without a degraded part have the same results with other options."""
    command = ["score", recordings, "--model", pretrained, table, tmp_path / "scores"]
    assert call(*command, "--below", "-9")[0] == 0
    before = (tmp_path / "scores").read_bytes()
    for options, name in ((["--below", "-8"], "--below"), (["--below", "-9", "--channel", 0], "--channel")):
        assert f"another {name}" in refused(*command, *options, "--resume")
    if table == "--jsonl":
        assert "another --explain" in refused(*command, "--below", "-9", "--explain", "--resume")
    os.remove(recordings / "a.wav")  # its line goes, the others decide
    assert "another --below" in refused(*command, "--below", "-8", "--resume")
    assert (tmp_path / "scores").read_bytes() == before


def test_two_tables_are_two_files(refused, recordings, tmp_path):
    (tmp_path / "a.csv").touch()
    os.link(tmp_path / "a.csv", tmp_path / "b.jsonl")
    message = refused("score", recordings, "--csv", tmp_path / "a.csv", "--jsonl", tmp_path / "b.jsonl")
    assert "both" in message


def test_further_scores_of_a_model_are_columns(call, recordings, tmp_path):
    net = speechtools.build("quality/conv-blstm", channels=4, hidden_size=4, linear_size=4, measures=["mos", "si-sdr"])
    features = speechtools.build("features/mel", level="loud")
    entries = {"sample_rate": 16000, "scale": "raw_nb", "features": features, "quality": net}
    model = write_model(tmp_path / "pretrained", entries, {"quality": net}, {}, "# A test\n", "QualityNet")
    measures = QualityNet.from_hparams(model).assess_file(recordings / "a.wav").measures
    output = call("score", recordings / "a.wav", "--model", model)[1]
    assert output.strip().endswith(f"a.wav\tmos={measures['mos']:.2f}\tsi-sdr={measures['si-sdr']:.2f}")
    path = tmp_path / "scores.csv"
    for options in ([], ["--resume"]):
        assert call("score", recordings, "--model", model, "--csv", path, *options)[0] == 0
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        assert list(rows[0]) == [*ScoreRow.columns(), "mos", "si_sdr"] and len(rows) == 3
        assert float(rows[0]["mos"]) == pytest.approx(measures["mos"], abs=1e-3)
