"""Tar shards: what is written is read, over HTTP too, and each kind of damage is one message."""

import dataclasses
import functools
import http.server
import io
import json
import shutil
import sys
import tarfile
import threading
from pathlib import Path

import pytest
import soundfile

from speechtools.core import shards
from speechtools.core.errors import ConfigError, CorpusError, SpeechtoolsError
from speechtools.core.rows import Row, row_of
from speechtools.core.shards import Sample, index_shards, list_shards, pattern_of, read_shard, write_shards

webdataset = pytest.importorskip("webdataset", reason="pip install '.[shards]'")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ToneRow(Row):
    """A row of the shards of these tests."""

    ID: str
    path: Path
    duration: float
    score: float


def make_row(sample):
    row, problems = row_of(ToneRow, {"ID": sample.key, **sample.values, "path": sample.name})
    if row is None:
        raise CorpusError(f"{sample.place}: {problems[0]}")
    return row


def flac(samples):
    content = io.BytesIO()
    soundfile.write(content, samples, 16000, format="FLAC")
    return content.getvalue()


def write_tones(folder, tone, count=10, megabytes=0.01):
    """Write shards of tones of 0.1 s and more, whose scores are their numbers."""
    seconds = [0.1 + 0.01 * (number * 7 % count) for number in range(count)]
    rows = [ToneRow(ID=f"a.{n}/x", path=Path("x"), duration=s, score=n) for n, s in enumerate(seconds)]
    samples = ((row, "flac", flac(tone(row.duration, seed=int(row.score)))) for row in rows)
    return write_shards(folder, "train", ToneRow, samples, megabytes)


@pytest.fixture
def written(tmp_path, tone):
    return write_tones(tmp_path / "shards", tone)


@pytest.fixture
def served(written):
    """The URL of the folder with the shards, and the paths that were asked for."""
    asked = []

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(written[0].parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", asked
        server.shutdown()


def add_sample(path, **members):
    """Write a shard of one sample, ``one``, with these members."""
    with tarfile.open(path, "w") as tar:
        for suffix, content in members.items():
            member = tarfile.TarInfo(f"one.{suffix}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


def scores(urls, folder):
    return [row.score for shard in index_shards(urls, ToneRow, make_row, folder) for row in shard.rows.values()]


def test_what_is_written_is_read(written, tmp_path, tone):
    assert len(written) > 2
    urls = list_shards(pattern_of(written))
    assert urls == list_shards(f"{tmp_path}/shards/*.tar") == [str(path) for path in written]
    samples = [sample for url in urls for sample in read_shard(url)]
    assert [sample.values["score"] for sample in samples] == list(range(10))
    assert samples[3].recording == flac(tone(0.11, seed=3)) and samples[3].name == "000003_a_3_x.flac"
    again = write_tones(tmp_path / "again", tone)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in written]


def test_rows_come_from_the_manifest_the_shard_or_an_earlier_run(written, tmp_path, monkeypatch):
    urls = [str(path) for path in written]
    with monkeypatch.context() as patch:
        patch.setattr(shards, "read_shard", None)
        assert scores(urls, tmp_path / "a") == list(range(10))
    for path in written:
        path.with_suffix(".csv").unlink()
    assert scores(urls, tmp_path / "b") == list(range(10))
    monkeypatch.setattr(shards, "read_shard", None)
    assert scores(urls, tmp_path / "b") == list(range(10))
    with pytest.raises(TypeError):
        scores(urls, tmp_path / "c")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the library loads URLs with curl")
def test_shards_over_http(served, written, tmp_path):
    address, asked = served
    urls = list_shards(f"{address}/{Path(pattern_of(written)).name}")
    indexed = index_shards(urls, ToneRow, make_row, tmp_path / "a")
    assert not any(name.endswith(".tar") for name in asked), "the manifests are enough"
    assert [row.score for shard in indexed for row, _ in shard.read(shard.rows)] == list(range(10))
    written[0].with_suffix(".csv").unlink()
    assert scores(urls, tmp_path / "b") == list(range(10))
    with pytest.raises(CorpusError, match="gone.tar is not on the server"):
        scores([f"{address}/gone.tar"], tmp_path)
    with pytest.raises(CorpusError, match="a server that does not answer"):
        scores(["http://127.0.0.1:9/a.tar"], tmp_path)


@pytest.mark.parametrize("manifest", [True, False])
@pytest.mark.parametrize("kept", [-20000, 5000, 512 * 3, 700, 10])
def test_a_truncated_shard(manifest, kept, written, tmp_path):
    """It may end in a file, in a header, or between two files."""
    path = written[0]
    path.write_bytes(path.read_bytes()[:kept])
    if not manifest:
        path.with_suffix(".csv").unlink()
    with pytest.raises(CorpusError, match=rf"{path}.*(truncated|has no samples)"):
        for shard in index_shards([str(path)], ToneRow, make_row, tmp_path):
            list(shard.read(shard.rows))


def test_a_shard_that_ends_between_two_samples_is_truncated(written, tmp_path):
    with tarfile.open(written[0]) as tar:
        end = tar.getmembers()[2].offset
    written[0].write_bytes(written[0].read_bytes()[:end])
    with pytest.raises(CorpusError, match="truncated"):
        list(read_shard(str(written[0])))


def test_a_shard_that_was_written_anew(written, tmp_path):
    (shard,) = index_shards([str(written[0])], ToneRow, make_row, tmp_path)
    shutil.copy(written[1], written[0])
    with pytest.raises(CorpusError, match=rf"{written[0]} differs from its list: sample 0 is .*delete {shard.index}"):
        list(shard.read(shard.rows))


@pytest.mark.parametrize(
    "members, token",
    [
        ({"flac": b"x", "json": b"{}"}, "sample one: duration is empty"),
        ({"flac": b"x", "json": b'{"duration": 1}'}, "sample one: score is empty"),
        ({"flac": b"x", "json": b'{"duration": 1, "score": "high"}'}, "sample one: score='high' is not"),
        ({"flac": b"x"}, "sample one has no row"),
        ({"json": b"{}"}, "sample one has no recording"),
        ({"flac": b"x", "wav": b"x", "json": b"{}"}, "the recordings flac, wav"),
        ({"flac": b"x", "json": b"{"}, "sample one: its .json is not valid"),
        ({"flac": b"x", "json": b"[1]"}, "sample one: its .json is not an object"),
        ({}, "has no samples"),
    ],
)
def test_a_sample_that_cannot_be_used(members, token, tmp_path):
    path = add_sample(tmp_path / "x.tar", **members)
    with pytest.raises(CorpusError, match=rf"x.tar.*{token}"):
        scores([str(path)], tmp_path)


def test_shards_of_other_tools(tmp_path):
    content = {"duration": 1, "score": 2.5}
    path = add_sample(tmp_path / "x.tar", txt=b"hello", wav=b"RIFF", json=json.dumps(content).encode())
    assert list(read_shard(str(path))) == [Sample(str(path), "one", "wav", b"RIFF", content)]


@pytest.mark.parametrize(
    "pattern, token",
    [("nothing-*.tar", "No file matches"), ("a-{0..2.tar", "pattern"), (["a.tar", "a.tar"], "repeated: a.tar")],
)
def test_patterns_that_cannot_be_used(pattern, token, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=token):
        list_shards(pattern)


def test_a_missing_shard_and_what_is_none(tmp_path):
    with pytest.raises(CorpusError, match="gone.tar does not exist"):
        scores([str(tmp_path / "gone.tar")], tmp_path)
    with pytest.raises(CorpusError, match="cannot be read .Is a directory"):
        scores([str(tmp_path)], tmp_path / "folder")
    with pytest.raises(CorpusError, match="nowhere://x.tar cannot be read"):
        scores(["nowhere://x.tar"], tmp_path)


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "webdataset", None)
    with pytest.raises(SpeechtoolsError, match=r'webdataset.*pip install "speechtools\[shards\]"'):
        list_shards("a.tar")
