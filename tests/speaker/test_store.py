"""Stores of speech and their index."""

import os
import resource

import numpy as np
import pytest
import torch

from speechtools.core.errors import CorpusError
from speechtools.speaker import index as speaker_index
from speechtools.speaker import store as speaker_store
from speechtools.speaker.batches import SpeakerBatches, StepSampler
from speechtools.speaker.store import SpeakerStore
from speechtools.training.loaders import make_loader
from tests.speaker.stores import row, write_manifest, write_store


def write_shards(folder, count, length=50):
    """A manifest of ``count`` files of two utterances each, of one speaker."""
    folder.mkdir(exist_ok=True)
    rng, rows = np.random.default_rng(0), []
    for k in range(count):
        np.save(folder / f"{k}.npy", rng.integers(-9999, 9999, length).astype(np.int16))
        rows += [row(f"u{k}-{n}", f"s{k:03d}", 20 * n, 20 + 10 * n, f"{k}.npy") for n in range(2)]
    return write_manifest(folder, rows)


@pytest.mark.parametrize("chunk", [1, 3, 10_000])
def test_speakers_utterances_and_samples(tmp_path, monkeypatch, chunk):
    monkeypatch.setattr(speaker_index, "_CHUNK", chunk)
    store = write_store(tmp_path, [5, 2, 9, 3])
    assert store.speakers == [f"s{k}" for k in range(4)] and len(store) == 19
    assert [store.utt_ids[i] for i in (0, 5, 18)] == ["s0-0", "s1-0", "s3-2"]
    assert [store.speaker_of(i) for i in (0, 4, 5, 6, 7, 18)] == [0, 0, 1, 1, 2, 3]
    assert (store.read(6) == 101).all() and len(store.read(6)) == 1610
    assert (store.read(6, 5, 20) == 101).all() and len(store.read(6, 5, 20)) == 20
    with pytest.raises(ValueError, match="read-only"):
        store.read(0)[0] = 1


@pytest.mark.parametrize("max_maps", [speaker_store.MAX_MAPS, 0])
def test_damaged_stores(tmp_path, monkeypatch, max_maps):
    monkeypatch.setattr(speaker_store, "MAX_MAPS", max_maps)
    manifest, audio = write_store(tmp_path, [2, 2]).manifest, tmp_path / "a.npy"
    whole = audio.read_bytes()
    for damage, message in (
        (lambda: np.save(audio, np.zeros(10, np.int16)), "a.npy has 10 samples"),
        (lambda: np.save(audio, np.zeros(10**5, np.float32)), "float32"),
        (lambda: audio.write_bytes(whole[:50]), "a.npy is damaged"),
        (lambda: audio.write_bytes(whole.replace(b"), }", b"), [")), "a.npy is damaged"),
        (audio.unlink, "a.npy is missing"),
        (audio.mkdir, "a.npy cannot be read"),
        (lambda: manifest.write_text("utt_id,speaker\nx,y\n"), "no column"),
        (manifest.unlink, "train.csv does not exist"),
    ):
        damage()
        with pytest.raises(CorpusError, match=message):
            SpeakerStore(manifest).read(0)


def test_a_store_may_have_more_shards_than_a_process_may_have_open_files(tmp_path):
    manifest = write_shards(tmp_path, 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/dev/fd")))  # files of other tests may be open
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 20, hard))
    try:
        store = SpeakerStore(manifest)
        assert [len(store.read(number)) for number in range(200)] == [20, 30] * 100
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_many_shards_are_read_like_few(tmp_path, monkeypatch):
    manifest = write_shards(tmp_path, 10)
    few = SpeakerStore(manifest)
    monkeypatch.setattr(speaker_store, "MAX_MAPS", 3)
    many = SpeakerStore(manifest)
    for utterance in [*range(20), 9, 0, 19]:
        for part in ((), (3, 12), (5, 40)):
            assert np.array_equal(many.read(utterance, *part), few.read(utterance, *part))
        assert not many._maps and len(many._files) <= speaker_store.MAX_OPEN
    loaders = [
        make_loader(SpeakerBatches(store, 4, 2, 10, 25, 5), steps=StepSampler(6), num_workers=1)
        for store in (few, many)
    ]
    assert all(torch.equal(one.wavs, other.wavs) for one, other in zip(*loaders, strict=True))


def test_the_index_follows_its_manifest(tmp_path):
    rows = [row("u0", "s0", 0, 9), row("u1", "s1", 9, 50)]
    manifest = write_manifest(tmp_path, rows[:1])
    assert len(SpeakerStore(manifest)) == 1
    modified = (tmp_path / "train.index" / "about.json").stat().st_mtime_ns
    assert len(SpeakerStore(manifest)) == 1
    assert (tmp_path / "train.index" / "about.json").stat().st_mtime_ns == modified
    write_manifest(tmp_path, rows)
    store = SpeakerStore(manifest)
    assert store.speakers == ["s0", "s1"] and store.read(1)[0] == 9 and store.utt_ids[1] == "u1"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    (tmp_path / "train.index" / "start.bin").unlink()  # torn by a crash
    assert SpeakerStore(manifest).read(1)[0] == 9
    for damaged in ("[]", "{}", "[" * 100_000, ""):
        (tmp_path / "train.index" / "about.json").write_text(damaged)
        assert SpeakerStore(manifest).read(1)[0] == 9


@pytest.mark.parametrize("name", ["start.bin", "utt_ids.bin", "about.json", "checksums.json"])
@pytest.mark.parametrize("keeps_time", [True, False])
def test_a_changed_file_of_the_index_is_made_again(tmp_path, name, keeps_time):
    manifest = write_manifest(tmp_path, [row("u0", "s0", 0, 9), row("u1", "s1", 9, 50)])
    SpeakerStore(manifest)
    path = tmp_path / "train.index" / name
    content, status = path.read_bytes(), path.stat()
    path.write_bytes(content[:-4] + bytes([content[-4] ^ 1]) + content[-3:])
    if keeps_time:
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    store = SpeakerStore(manifest)
    assert (store.read(1)[0], store.utt_ids[1]) == (9, "u1")
    assert path.read_bytes() == content or name == "checksums.json"
    path.unlink()
    assert SpeakerStore(manifest).read(1)[0] == 9 and path.exists()


def test_a_manifest_in_a_read_only_folder(tmp_path, monkeypatch):
    manifest = write_manifest(tmp_path, [row("u0", "s0", 3, 9)])
    mkdtemp = speaker_index.tempfile.mkdtemp

    def refuse(suffix=None, prefix=None, dir=None):
        if dir == manifest.parent:
            raise PermissionError(13, "Permission denied")
        return mkdtemp(suffix, prefix, dir)

    monkeypatch.setattr(speaker_index.tempfile, "mkdtemp", refuse)
    store = SpeakerStore(manifest)
    assert store.read(0).tolist() == list(range(3, 12)) and not (tmp_path / "train.index").exists()


def test_rows_that_are_not_sorted_by_speaker(tmp_path):
    with pytest.raises(CorpusError, match="not sorted by speaker"):
        SpeakerStore(write_manifest(tmp_path, [row(f"u{k}", f"s{k % 2}") for k in range(3)]))
