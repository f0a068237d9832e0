"""Batches of N speakers with M partial utterances."""

import numpy as np
import pytest
import torch

from speechtools.core.errors import ConfigError, CorpusError
from speechtools.speaker.batches import SpeakerBatches, StepSampler, WholeUtterances
from speechtools.speaker.store import store_of
from speechtools.training.loaders import make_loader
from tests.speaker.stores import write_store

SHAPE = {"min_samples": 400, "max_samples": 800, "step_samples": 100}


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path / "store", [5, 2, 9, 3, 4, 6, 7, 8])


def test_a_batch_is_n_distinct_speakers_with_m_utterances_each(store):
    batches = SpeakerBatches(store, 4, 3, **SHAPE)
    lengths, utterances = set(), set()
    for step in range(200):
        batch, plan = batches[step], batches.plan(step)
        lengths.add(plan.samples)
        utterances.update(plan.utterances.tolist())
        assert batch.wavs.shape == (12, plan.samples) and batch.wavs.dtype == torch.int16
        assert len(set(batch.speakers.tolist())) == 4
        speakers = [store.speaker_of(u) for u in plan.utterances]
        assert speakers == batch.speakers.repeat_interleave(3).tolist()
        values = torch.tensor([100 * s + (u - store.first[s]) for s, u in zip(speakers, plan.utterances, strict=True)])
        assert torch.equal(batch.to("cpu").wavs, (values / 32768).float().unsqueeze(1).expand_as(batch.wavs))
        for drawn, speaker in zip(plan.utterances.reshape(4, 3), batch.speakers, strict=True):
            count = store.first[speaker + 1] - store.first[speaker]
            assert len(set(drawn)) == min(3, count)  # none twice before all were drawn
    assert lengths == {400, 500, 600, 700, 800} and utterances == set(range(44))


def test_short_utterances_are_repeated(tmp_path):
    lengths = [300, 399, 400, 401, 450, 900]  # samples; the batches have 400
    tracks = [np.random.default_rng(n).integers(-9999, 9999, n).astype(np.int16) for n in lengths]
    batches = SpeakerBatches(store_of(tmp_path, {f"s{k}": tracks[2 * k : 2 * k + 2] for k in range(3)}), 3, 2, 400, 400)
    for step in range(30):
        plan = batches.plan(step)
        for wav, utterance, start in zip(batches[step].wavs, plan.utterances, plan.starts, strict=True):
            assert np.array_equal(wav.numpy(), tracks[utterance].take(start + np.arange(400), mode="wrap"))
            assert lengths[utterance] < 400 or start + 400 <= lengths[utterance]  # no wrapping without need


@pytest.mark.parametrize("world_size", [1, 2])
def test_a_pass_has_every_speaker_once_and_the_next_another_order(store, world_size):
    ranks = [SpeakerBatches(store, 2, 2, rank=k, world_size=world_size, **SHAPE) for k in range(world_size)]
    passes = []
    for first in range(0, 40, ranks[0].steps_per_pass):
        steps = range(first, first + ranks[0].steps_per_pass)
        passes.append([s for step in steps for rank in ranks for s in rank[step].speakers.tolist()])
        assert len({rank.plan(first).samples for rank in ranks}) == 1  # processes share the length
    assert all(sorted(speakers) == list(range(8)) for speakers in passes)
    assert len({tuple(speakers) for speakers in passes}) > len(passes) // 2
    # Batches may be requested in any order.
    assert ranks[0][0].speakers.tolist() == passes[0][:2]


def test_the_sampler_resumes_within_an_epoch():
    steps = StepSampler(5)
    assert list(steps) == [0, 1, 2, 3, 4] and len(steps) == 5
    steps.set_position(3, 2)
    iter(steps)  # as a DataLoader with processes does, before it creates another
    assert list(steps) == [12, 13, 14]
    assert list(steps) == [10, 11, 12, 13, 14]
    with pytest.raises(ConfigError, match="steps_per_epoch=0"):
        StepSampler(0)


@pytest.mark.parametrize("workers", [0, 1])
def test_the_loader_yields_batches_that_depend_on_seed_and_step(store, workers):
    batches, steps = SpeakerBatches(store, 4, 2, **SHAPE), StepSampler(3)
    reseeded = SpeakerBatches(store, 4, 2, seed=1, **SHAPE)
    assert not np.array_equal(batches.plan(3).utterances, reseeded.plan(3).utterances)
    steps.set_position(2)
    for batch, step in zip(make_loader(batches, steps=steps, num_workers=workers), (3, 4, 5), strict=True):
        assert torch.equal(batch.wavs, batches[step].wavs) and torch.equal(batch.speakers, batches[step].speakers)


def test_whole_utterances_are_in_order(store):
    loader = make_loader(WholeUtterances(store, batch_seconds=0.35))
    wavs = [wav for batch in loader for wav in batch.to("cpu").wavs]
    assert len(loader) > 5 and [len(wav) for wav in wavs] == store.num_samples.tolist()
    assert torch.cat([batch.speakers for batch in loader]).tolist() == [store.speaker_of(i) for i in range(44)]


@pytest.mark.parametrize(
    "counts, arguments, error, message",
    [
        ([3, 3, 3], {"num_speakers": 1}, ConfigError, "got 1. Raise speakers_per_batch"),
        ([3, 3, 3], {"num_utterances": 1}, ConfigError, "got 1. Raise utterances_per_speaker"),
        ([3, 3, 3], {"world_size": 2}, ConfigError, "2 process.*only 3 .*Lower speakers_per_batch"),
        ([1, 1, 4], {}, CorpusError, "has 3 speakers, of which 1 have"),
        ([3, 3], {"min_samples": 900}, ConfigError, "900 to 800"),
    ],
)
def test_impossible_batches(tmp_path, counts, arguments, error, message):
    store = write_store(tmp_path, counts)
    with pytest.raises(error, match=message):
        SpeakerBatches(store, **{"num_speakers": 2, "num_utterances": 2, **SHAPE, **arguments})


def test_speakers_with_one_utterance_are_skipped_with_a_warning(tmp_path, caplog):
    batches = SpeakerBatches(write_store(tmp_path, [3, 1, 2]), 2, 2, **SHAPE)
    assert "1 of 3 training speakers" in caplog.text
    assert 3 not in {int(u) for step in range(30) for u in batches.plan(step).utterances}
