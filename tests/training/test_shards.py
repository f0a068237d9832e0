"""Batches from shards: an order of seed and epoch alone, exact to resume, whatever the number of processes."""

import io
import itertools

import pytest
import soundfile
import torch

from speechtools.core.errors import AudioError, ConfigError, CorpusError
from speechtools.core.shards import Shard, index_shards, list_shards
from speechtools.training import ShardBatchSampler, ShardDataset, make_loader

pytest.importorskip("webdataset", reason="pip install '.[shards]'")
from tests.core.test_shards import ToneRow, make_row, served, write_tones, written

__all__ = ["served", "written"]  # fixtures


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    """Seven shards of 60 samples."""
    import numpy as np

    folder = tmp_path_factory.mktemp("tones")

    def tone(seconds, seed):
        return np.random.default_rng(seed).uniform(-0.5, 0.5, round(16000 * seconds))

    paths = write_tones(folder, tone, 60, 0.1)
    return index_shards(list(map(str, paths)), ToneRow, make_row, folder)


def scores_of(sampler, epoch, done=0):
    """The scores of the samples of each batch."""
    sampler.set_position(epoch, done)
    return [[row.score for row, _ in batch] for batch in sampler]


def make_item(row, recording):
    return {"id": row.ID, "score": row.score, "wav": torch.from_numpy(soundfile.read(io.BytesIO(recording))[0])}


def loaded(shards, done=0, num_workers=0, epoch=1):
    """The scores and waveforms of the batches of a loader."""
    sampler = ShardBatchSampler(shards, 4, seed=3, shuffle_buffer=20)
    loader = make_loader(ShardDataset(make_item), sampler, num_workers, spare_cores=num_workers)
    sampler.set_position(epoch, done)
    return [(batch.score.tolist(), batch.wav.data) for batch in loader]


def same(batches, others):
    return len(batches) == len(others) and all(
        scores == other_scores and torch.equal(wavs, other_wavs)
        for (scores, wavs), (other_scores, other_wavs) in zip(batches, others, strict=True)
    )


def test_every_sample_is_in_one_batch_of_similar_lengths(tones):
    assert 4 < len(tones) < 12
    sampler = ShardBatchSampler(tones, 4, shuffle_buffer=32)
    batches = scores_of(sampler, 1)
    assert len(batches) == len(sampler) == 15 and sorted(sum(batches, [])) == list(range(60))
    sampler.set_position(1)
    spread = [max(row.duration for row, _ in batch) - min(row.duration for row, _ in batch) for batch in sampler]
    assert sum(spread) / 15 < 0.15


def test_the_order_depends_on_seed_and_epoch_alone(tones):
    sampler = ShardBatchSampler(tones, 4, seed=1, shuffle_buffer=16)
    assert scores_of(sampler, 3) == scores_of(ShardBatchSampler(tones, 4, seed=1, shuffle_buffer=16), 3)
    assert scores_of(sampler, 3) != scores_of(sampler, 4)
    assert scores_of(sampler, 3) != scores_of(ShardBatchSampler(tones, 4, seed=2, shuffle_buffer=16), 3)


@pytest.mark.parametrize("buffer", [1, 8, 20, 1000])
def test_a_resumed_epoch_goes_on_where_it_was(buffer, tones):
    sampler = ShardBatchSampler(tones, 4, shuffle_buffer=buffer)
    undisturbed = scores_of(sampler, 5)
    for done in range(16):
        assert scores_of(sampler, 5, done) == undisturbed[done:]
    assert len(list(sampler)) == 15, "the position is for one epoch only"


def test_shards_that_are_done_are_not_read_again(tones, monkeypatch):
    sampler, read = ShardBatchSampler(tones, 4, shuffle_buffer=8), []
    monkeypatch.setattr(
        Shard, "read", lambda shard, numbers, original=Shard.read: read.append(1) or original(shard, numbers)
    )
    scores_of(sampler, 2, done=12)
    assert 0 < len(read) <= 3
    read.clear()
    sampler.set_position(2)
    next(iter(sampler))
    assert len(read) <= 3, "a shard is opened when it is needed"


def test_processes_read_other_shards_and_have_equally_many_batches(tones, monkeypatch):
    samplers = [ShardBatchSampler(tones, 4, shuffle_buffer=16, rank=rank, world_size=3) for rank in range(3)]
    for epoch in range(3):
        parts = [scores_of(sampler, epoch) for sampler in samplers]
        assert len({len(part) for part in parts}) == 1 and len(parts[0]) == len(samplers[0])
        samples = list(itertools.chain(*(batch for part in parts for batch in part)))
        assert len(samples) == len(set(samples)) >= 36
        done = 2
        assert scores_of(samplers[1], epoch, done) == parts[1][done:]


@pytest.mark.processes
def test_two_loader_processes_yield_the_batches_of_none(tones):
    undisturbed = loaded(tones)
    assert same(loaded(tones, num_workers=2), undisturbed)
    assert same(loaded(tones, done=6, num_workers=2), undisturbed[6:])
    assert not same(loaded(tones, epoch=2), undisturbed)


@pytest.mark.processes
def test_a_loader_stopped_halfway_is_continued(tones):
    """The processes have loaded more than was used."""
    sampler = ShardBatchSampler(tones, 4, seed=3, shuffle_buffer=20)
    loader = make_loader(ShardDataset(make_item), sampler, 2, spare_cores=2)
    sampler.set_position(1)
    used = [(batch.score.tolist(), batch.wav.data) for batch in itertools.islice(loader, 5)]
    del loader
    assert same(used + loaded(tones, done=5, num_workers=2), loaded(tones))


def test_batches_over_http(served, written, tmp_path):
    address, _ = served
    remote = index_shards(
        list_shards(f"{address}/train-00000{{0..{len(written) - 1}}}.tar"), ToneRow, make_row, tmp_path
    )
    local = index_shards(list(map(str, written)), ToneRow, make_row, tmp_path)
    assert same(loaded(remote), loaded(local)) and same(loaded(remote, done=2), loaded(local)[2:])


def test_a_damaged_recording_and_a_shard_that_has_gone_are_named(written, tmp_path):
    shards = index_shards(list(map(str, written)), ToneRow, make_row, tmp_path)

    def refuse(row, recording):
        raise AudioError("The recording is truncated.")

    sampler = ShardBatchSampler(shards, 4)
    with pytest.raises(AudioError, match=r"train-00000\d.tar, sample 00000.*: The recording is truncated"):
        next(iter(make_loader(ShardDataset(refuse), sampler)))
    written[1].unlink()
    with pytest.raises(CorpusError, match=f"{written[1]} does not exist"):
        list(sampler)


def test_impossible_batches(tones):
    with pytest.raises(ConfigError, match="fewer than the 20 processes"):
        ShardBatchSampler(tones, 4, world_size=20)
    with pytest.raises(ConfigError, match="shuffle_buffer"):
        ShardBatchSampler(tones, 4, shuffle_buffer=0)
