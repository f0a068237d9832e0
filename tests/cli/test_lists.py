"""Commands on lists and their shards, and tables whose ending chooses the format."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechtools import cli

parquet = pytest.importorskip("pyarrow.parquet", reason="pip install '.[parquet]'")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """A list of Kaldi with recordings of several lengths."""
    folder = tmp_path_factory.mktemp("corpus")
    generator = np.random.default_rng(0)
    lines = []
    for number in range(22):
        samples = 0.1 * generator.standard_normal(generator.integers(5000, 16000))
        soundfile.write(folder / f"{number:02}.wav", samples, 16000)
        lines.append(f"u{number:02} {number:02}.wav\n")
    (folder / "corpus.scp").write_text("".join(lines))
    return folder / "corpus.scp"


@pytest.fixture
def score(call, corpus, pretrained):
    """Score the list, two recordings at a time, with more options; the exit status must be 0."""

    def run(*options):
        status, output, errors = call("score", "--list", corpus, "--model", pretrained, "--batch_size", "2", *options)
        assert status == 0, errors
        return output

    return run


def sorted_lines(*paths):
    return sorted({line for path in paths for line in path.read_bytes().splitlines()})


def rows_of(*paths):
    rows = [row for path in paths for row in parquet.read_table(path).to_pylist()]
    return sorted(rows, key=lambda row: row["file"])


def outputs(folder, name):
    """Options of a table of each format."""
    return [word for ending in ("csv", "jsonl") for word in (f"--{ending}", folder / f"{name}.{ending}")] + [
        "--out",
        folder / f"{name}.parquet",
    ]


def test_the_tables_of_shards_are_that_of_one_run_byte_for_byte(score, tmp_path):
    score(*outputs(tmp_path, "one"))
    shards = [f"shard{number}" for number in range(1, 17)]
    for number, name in enumerate(shards, start=1):
        output = score(*outputs(tmp_path, name), "--shard", f"{number}/16")
    assert "shard 16/16 is empty" in output and "--batch_size" in output
    for ending in ("csv", "jsonl"):
        assert sorted_lines(*(tmp_path / f"{name}.{ending}" for name in shards)) == sorted_lines(
            tmp_path / f"one.{ending}"
        )
    rows = rows_of(*(tmp_path / f"{name}.parquet" for name in shards))
    assert len(rows) == 22 and rows == rows_of(tmp_path / "one.parquet")
    columns = (tmp_path / "one.csv").read_text().splitlines()[0].split(",")
    assert all(parquet.read_schema(tmp_path / f"{name}.parquet").names == columns for name in shards)  # an empty one


def test_a_table_that_lost_rows_is_completed_byte_for_byte(score, tmp_path):
    score("--jsonl", tmp_path / "one.jsonl", "--csv", tmp_path / "one.csv")
    for ending in ("csv", "jsonl"):
        whole = (tmp_path / f"one.{ending}").read_bytes().splitlines(keepends=True)
        (tmp_path / f"cut.{ending}").write_bytes(b"".join([*whole[:4], *whole[5:9]]) + whole[9][:20])
        output = score(f"--{ending}", tmp_path / f"cut.{ending}", "--resume")
        assert "before" in output
        assert sorted_lines(tmp_path / f"cut.{ending}") == sorted_lines(tmp_path / f"one.{ending}")
    assert "0 recordings scored" in score("--csv", tmp_path / "cut.csv", "--resume")


def test_a_killed_run_continues_from_its_journal(score, corpus, pretrained, tmp_path):
    score("--out", tmp_path / "one.parquet")
    out, journal = tmp_path / "scores.parquet", tmp_path / "scores.parquet.journal"
    options = ["score", "--list", corpus, "--model", pretrained, "--batch_size", "1", "--out", out]
    # a run that stops for ever after some recordings, with a row that a kill has torn
    code = (
        "import sys, time\n"
        "from speechtools import cli\n"
        "from speechtools.cli import tables\n"
        "write, count = tables.Table.write, [0]\n"
        "def slow(self, row, details):\n"
        "    count[0] += 1\n"
        "    if count[0] > 7: time.sleep(60)\n"
        "    write(self, row, details)\n"
        "tables.Table.write = slow\n"
        "cli.main(sys.argv[1:])\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, options)])
    try:
        limit = time.monotonic() + 60
        while time.monotonic() < limit and not (journal.exists() and journal.read_bytes().count(b"\n") == 7):
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert journal.read_bytes().count(b"\n") == 7 and not out.exists()
    with open(journal, "ab") as file:
        file.write(b'{"file": "torn')
    assert "15 recordings scored on the scale raw_nb, 7 before" in score("--out", out, "--resume")
    assert rows_of(out) == rows_of(tmp_path / "one.parquet") and not journal.exists()
    before = out.read_bytes()
    assert "0 recordings scored" in score("--out", out, "--resume") and rows_of(out) == rows_of(
        tmp_path / "one.parquet"
    )
    assert len(before) == out.stat().st_size


def test_an_interrupted_run_leaves_a_table(score, corpus, pretrained, tmp_path, monkeypatch):
    from speechtools.cli import tables

    write = tables.Table.write

    def interrupted(self, row, details):
        write(self, row, details)
        if row.file.endswith("04.wav"):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(tables.Table, "write", interrupted)
    options = ["--list", corpus, "--model", pretrained, "--batch_size", "2", "--out", tmp_path / "a.parquet"]
    assert cli.main(["score", *map(str, options)]) == 143
    assert len(rows_of(tmp_path / "a.parquet")) == 5 and not list(tmp_path.glob("*.journal"))
    monkeypatch.undo()
    assert "17 recordings scored" in score("--out", tmp_path / "a.parquet", "--resume")


def test_a_file_that_is_not_the_table_is_kept(score, refused, corpus, pretrained, tmp_path):
    options = ["score", "--list", corpus, "--model", pretrained, "--out"]
    thesis = tmp_path / "thesis.parquet"
    thesis.write_bytes(b"PAR1 my thesis")
    for more in ([], ["--resume"]):
        assert "not a table that this command wrote" in refused(*options, thesis, *more)
    assert thesis.read_bytes() == b"PAR1 my thesis"
    score("--out", thesis, "--overwrite")
    assert len(rows_of(thesis)) == 22
    content = thesis.read_bytes()
    thesis.write_bytes(content[:200] + b"\xff" * 100 + content[300:])
    assert thesis.name in refused(*options, thesis, "--resume")
    assert "--out" in refused(*options, corpus, "--overwrite") and corpus.read_text().startswith("u00")


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--out", "a.parqet"], "'.parquet'"),
        (["--out", "a.xlsx"], ".csv, .jsonl or .parquet"),
        (["--out", "scores"], "no ending"),
        (["--out", "a.csv", "--csv", "a.csv"], "--csv and --out"),
        (["--shard", "0/4"], "--shard=0/4"),
        (["--shard", "5/4"], "1 to 4"),
        (["--shard", "x/y"], "K/N"),
        (["a.wav"], "--list"),
        (["--sample"], "--list"),
    ],
)
def test_wrong_options_are_refused(refused, corpus, tmp_path, monkeypatch, options, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in refused("score", "--list", corpus, *options)
    assert not any(tmp_path.iterdir())


def test_a_shard_needs_a_list(refused):
    for command in ("score", "embed"):
        assert "--list" in refused(command, "a.wav", "--shard", "1/2", *(["--out", "a.npz"] * (command == "embed")))


def test_parquet_needs_its_package(refused, corpus, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert "speechtools[parquet]" in refused("score", "--list", corpus, "--out", tmp_path / "a.parquet")


def test_a_missing_file_of_a_list_is_reported_and_the_others_are_scored(call, refused, pretrained, corpus, tmp_path):
    paths = tmp_path / "corpus.txt"
    paths.write_text(f"{corpus.parent}/01.wav\ngone.wav\n")
    out = tmp_path / "a.jsonl"
    status, _, errors = call("score", "--list", paths, "--model", pretrained, "--out", out)
    assert status == 1 and errors.count("\n") == 1 and "gone.wav does not exist" in errors
    assert [bool(json.loads(line)["error"]) for line in out.read_text().splitlines()] == [False, True]
    paths.write_text("gone.wav\nfar.wav\n")
    assert "none of the 2 files" in refused("score", "--list", paths, "--out", tmp_path / "b.csv")


def test_dvectors_of_shards_are_those_of_one_run(call, refused, corpus, tmp_path, monkeypatch):
    import speechtools.cli.embed as embed

    monkeypatch.setattr(embed, "BATCH_SIZE", 2)
    options = ["embed", "--list", corpus, "--out"]
    assert call(*options, tmp_path / "one.npz")[0] == 0
    whole = embed.read_dvectors(tmp_path / "one.npz")[0]
    shards = {}
    for number in range(1, 4):
        assert call(*options, tmp_path / "shard.npz", "--shard", f"{number}/3", "--overwrite")[0] == 0
        shards |= embed.read_dvectors(tmp_path / "shard.npz")[0]
    assert sorted(shards) == list(whole) and all((shards[file] == whole[file]).all() for file in whole)
    # what an interrupted run has written is continued to the same
    part = dict(list(whole.items())[:7])
    _, model_id, channel, quality = embed.read_dvectors(tmp_path / "one.npz")
    embed.write_dvectors(tmp_path / "part.npz", part, model_id, channel, quality)
    assert "7 of them embedded before" in call(*options, tmp_path / "part.npz", "--resume")[1]
    continued = embed.read_dvectors(tmp_path / "part.npz")[0]
    assert all((continued[file] == whole[file]).all() for file in whole)
    assert "--list" in refused(*options, tmp_path / "a.npz", corpus.parent)


def test_recordings_of_a_list_are_enhanced(call, refused, corpus, tmp_path):
    out = tmp_path / "enhanced"
    for number in (1, 2):
        status, _, errors = call("enhance", "--list", corpus, "--shard", f"{number}/2", "--out", out)
        assert status == 0, errors
    assert sorted(path.name for path in out.iterdir()) == [f"u{number:02}.wav" for number in range(22)]
    (out / "u03.wav").unlink()
    output = call("enhance", "--list", corpus, "--shard", "1/2", "--out", out, "--resume")[1]
    assert "1 recording enhanced, 15 before" in output and len(list(out.iterdir())) == 22
    paths = tmp_path / "corpus.txt"
    (tmp_path / "x").symlink_to(corpus.parent)
    paths.write_text("x/00.wav\n")
    assert call("enhance", "--list", paths, "--out", tmp_path / "more")[0] == 0
    assert [*(tmp_path / "more").rglob("*.wav")] == [tmp_path / "more" / "x" / "00.wav"]
    assert "--out" in refused("enhance", "--list", corpus) and "--out" in refused("enhance", "a", "b", "--out", out)
    assert "is a file" in refused("enhance", "--list", corpus, "--out", tmp_path / "a.wav")
    assert call("enhance", corpus.parent)[0] == 2 and call("enhance")[0] == 2 and call("embed", "--out", "x")[0] == 2


def test_two_recordings_that_would_become_one_are_refused(refused, corpus, tmp_path):
    paths = tmp_path / "corpus.txt"
    paths.write_text(f"{corpus.parent}/00.wav\n..{corpus.parent}/00.wav\n")
    assert "would both become" in refused("enhance", "--list", paths, "--out", Path(tmp_path, "out"))
