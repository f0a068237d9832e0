"""`speechtools compare`."""

import csv
import json

import pytest

from speechtools.core.plots import is_plot


def write(path, rows, columns="file,score,error"):
    path.write_text("".join(f"{line}\n" for line in [columns, *rows]))
    return path


@pytest.fixture
def tables(tmp_path, monkeypatch):
    """B is better by 0.5 in noise and worse by 0.1 or 0.3 in loss."""
    monkeypatch.chdir(tmp_path)
    a = [f"a/{kind}/{number}.wav,{2 + number / 10}," for kind in ("noise", "loss") for number in range(12)]
    b = [f"b/noise/{number}.wav,{2.5 + number / 10}," for number in range(12)]
    b += [f"b/loss/{number}.wav,{1.9 - number % 2 / 5 + number / 10}," for number in range(12)]
    return write(tmp_path / "a.csv", a), write(tmp_path / "b.csv", b)


def test_table_verdict_and_outputs(tables, call):
    options = ("--group", "folder", "--plot", "c.png", "--csv", "out/c.csv", "--json", "c.json")
    for _ in range(2):  # outputs of an earlier run are replaced
        status, output, errors = call("compare", *tables, *options)
        assert (status, errors) == (0, "")
    lines = [line.split() for line in output.splitlines()]
    assert lines[2][:5] == ["all", "24", "2.55", "2.70", "0.15"] and lines[2][-4:] == ["50", "%", "50", "%"]
    assert [line[0] for line in lines[2:5]] == ["all", "loss", "noise"]
    assert output.splitlines()[-1].startswith("B is better by 0.15 (0.0")
    with open("out/c.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["group"], row["files"], row["difference"]) for row in rows] == [
        ("all", "24", "0.15"),
        ("loss", "12", "-0.2"),
        ("noise", "12", "0.5"),
    ]
    content = json.load(open("c.json"))
    assert content["verdict"] == output.splitlines()[-1] and len(content["pairs"]) == 24 and not content["left_out"]
    assert [group["interval"] for group in content["groups"]][1] == pytest.approx([0.5, 0.5])
    assert is_plot("c.png")
    status, output, _ = call("compare", *tables, "--json", "-")
    assert status == 0 and json.loads(output)["total"]["files"] == 24
    assert "B is worse by 0.15" in call("compare", *tables, "--lower-is-better")[1]


def test_what_is_left_out_is_reported(tables, call):
    a, b = tables
    with open(a, "a") as file:
        file.write("a/only.wav,3,\na/bad.wav,,it is too short\na/s1/x.wav,1,\na/s2/x.wav,1,\n")
    with open(b, "a") as file:
        file.write("b/new1.wav,3,\nb/new2.wav,3,\nb/bad.wav,2,\nb/s3/x.wav,1,\n")
    status, output, errors = call("compare", *tables)
    assert status == 1 and output.splitlines()[2].split()[:2] == ["all", "24"]
    for line in (
        f"only in {a}: 1 recording: a/only.wav",
        f"only in {b}: 2 recordings: b/new1.wav, b/new2.wav",
        f"no score in {a}: 1 recording: a/bad.wav (it is too short)",
        f"ambiguous name in {a}: 2 recordings: a/s1/x.wav, a/s2/x.wav",
        f"ambiguous name in {b}: 1 recording: b/s3/x.wav",
    ):
        assert f"speechtools: left out, {line}\n" in errors


def test_few_recordings_give_a_warning(tmp_path, call):
    a, b = (write(tmp_path / name, [f"x.wav,{score},"]) for name, score in (("a.csv", 1), ("b.csv", 2)))
    status, output, errors = call("compare", a, b)
    assert status == 0 and "One recording is too few for a verdict" in output and "fewer than 10" in errors


def test_bad_input_is_one_message(tables, refused):
    a, b = tables
    assert "does not exist" in refused("compare", a, "gone.csv")
    assert "'scor'" in refused("compare", a, b, "--column", "scor")
    assert "neither CSV nor JSON" in refused("compare", a, write(a.with_name("c.csv"), ["x.wav"]))
    assert "would be replaced" in refused("compare", a, b, "--csv", a)
    assert "would be replaced" in refused("compare", a, b, "--plot", b)
    for option, name in (("--plot", "c.png"), ("--json", "c.json"), ("--csv", "d.csv")):
        a.with_name(name).write_text("mine")
        assert "--overwrite" in refused("compare", a, b, option, name)
    assert "same name" in refused("compare", a, b, "--csv", "o", "--json", "o")
