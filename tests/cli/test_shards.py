"""`speechtools shards`: recordings in tar shards, from which a training reads."""

import json
import re
import sys

import numpy as np
import pytest
import soundfile

from speechtools import audio
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.rows import write_rows
from speechtools.core.shards import list_shards, read_shard
from speechtools.quality.rows import QualityRow
from speechtools.quality.shards import TrainingShards
from tests.quality.test_data import quality_row

pytest.importorskip("webdataset", reason="pip install '.[shards]'")


@pytest.fixture
def prepared(tmp_path, tone):
    """A prepared folder of six recordings, the last of 32-bit floats."""
    rows = []
    for number in range(6):
        path = tmp_path / "prepared" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, tone(0.5, seed=number), 16000, subtype="FLOAT" if number == 5 else "PCM_16")
        rows.append(
            quality_row(ID=f"utterance {number}", path=path, duration=0.5, score=1 + 0.5 * number, causes="noise")
        )
    write_rows(tmp_path / "prepared" / "train.csv", QualityRow, rows)
    return tmp_path / "prepared"


def indexed(pattern, folder, **options):
    shards = TrainingShards(pattern, folder=folder, **options)
    shards.index()
    return shards


def test_the_training_gets_what_was_prepared(prepared, tmp_path, call):
    status, output, errors = call("shards", prepared, tmp_path / "out", "--shard_megabytes", "0.02")
    assert status == 0 and "6 recordings in" in output, errors
    pattern = re.search('--train_shards="(.*)"', output)[1]
    shards = indexed(pattern, tmp_path / "cache")
    rows = {row.ID: row for row in shards.rows}
    assert len(rows) == 6 and list(rows) != sorted(rows)
    for url in list_shards(pattern):
        for sample in read_shard(url):
            number = int(sample.values["ID"][-1])
            row = rows[f"utterance {number}"]
            assert (row.score, row.causes, row.duration) == (1 + 0.5 * number, "noise", 0.5)
            assert sample.suffix == ("wav" if number == 5 else "flac") and "path" not in sample.values
            original = audio.read(prepared / f"{number}.wav")
            assert np.array_equal(audio.read(sample.recording), original)
    assert shards and shards.identity.startswith("shards-") and not TrainingShards() and not TrainingShards().identity
    for path in (tmp_path / "out").glob("*.csv"):
        path.unlink()
    again = indexed(pattern, tmp_path / "another cache")
    assert again.identity == shards.identity
    shards.keep(shards.rows[1:3])
    assert len(shards.rows) == 2


def test_shards_are_replaced_only_if_asked(prepared, tmp_path, call, refused):
    out = tmp_path / "out"
    assert call("shards", prepared / "train.csv", out, "--shard_megabytes=0.02", "--audio=copy")[0] == 0
    assert {sample.suffix for path in out.glob("*.tar") for sample in read_shard(str(path))} == {"wav"}
    assert "--overwrite" in refused("shards", prepared, out)
    assert call("shards", prepared, out, "--overwrite")[0] == 0
    assert sorted(path.name for path in out.iterdir()) == ["train-000000.csv", "train-000000.tar"]


def test_what_cannot_be_written_is_one_message(prepared, tmp_path, refused, call, monkeypatch):
    assert "does not exist" in refused("shards", tmp_path / "gone.csv", tmp_path / "out")
    (prepared / "3.wav").write_text("no audio")
    assert "row 5" in refused("shards", prepared, tmp_path / "out")
    assert call("shards", prepared, tmp_path / "out", "--shard_megabytes=0")[0] == 2
    monkeypatch.setitem(sys.modules, "webdataset", None)
    assert "speechtools[shards]" in refused("shards", prepared, tmp_path / "out")


def foreign(tmp_path, tone, **values):
    """A shard of one recording, `a/one`, that another tool has written."""
    import webdataset

    soundfile.write(tmp_path / "one.flac", tone(0.5), 16000)
    with webdataset.TarWriter(str(tmp_path / "x.tar")) as writer:
        content = {"flac": (tmp_path / "one.flac").read_bytes(), "json": json.dumps(values).encode()}
        writer.write({"__key__": "a/one", **content})
    return str(tmp_path / "x.tar")


def test_a_score_and_its_measure_are_enough(tmp_path, tone):
    url = foreign(tmp_path, tone, score=3.5, measure="mos")
    (row,) = indexed(url, tmp_path / "cache", scale="mos").rows
    assert (row.ID, row.score, row.subset, row.path.name) == ("a/one", 3.5, "corpus", "one.flac")
    assert row.duration == pytest.approx(0.5)


@pytest.mark.parametrize(
    "values, error, token",
    [
        ({"measure": "pesq-raw"}, CorpusError, "score is empty"),
        ({"score": 3.5}, CorpusError, "measure is empty"),
        ({"score": 3.5, "measure": "mos"}, ConfigError, "--scale=mos"),
        ({"score": 35, "measure": "pesq-raw"}, CorpusError, "outside the range"),
    ],
)
def test_a_row_that_cannot_be_used(values, error, token, tmp_path, tone):
    with pytest.raises(error, match=rf"x.tar, sample a/one: .*{token}"):
        indexed(foreign(tmp_path, tone, **values), tmp_path / "cache")


def test_a_recording_that_cannot_be_used(tmp_path, tone):
    import webdataset

    with webdataset.TarWriter(str(tmp_path / "x.tar")) as writer:
        writer.write({"__key__": "one", "flac": b"no audio", "json": b'{"score": 3.5, "measure": "pesq-raw"}'})
    with pytest.raises(CorpusError, match="x.tar, sample one: "):
        indexed(str(tmp_path / "x.tar"), tmp_path / "cache")


def test_speakers_of_the_test_in_the_shards_are_reported(tmp_path, tone, caplog):
    shards = indexed(foreign(tmp_path, tone, score=3.5, measure="pesq-raw", speaker="anna"), tmp_path / "cache")
    shards.compare([quality_row(speaker="bob")])
    assert not caplog.records
    shards.compare([quality_row(speaker="anna"), quality_row(speaker="bob")])
    assert "1 of the test's 2 speakers" in caplog.text
