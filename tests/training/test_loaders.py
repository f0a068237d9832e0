"""Laws of the length batches: every utterance once, similar lengths, an order of seed and epoch alone."""

import multiprocessing
import os
import time
from types import SimpleNamespace

import numpy as np
import pytest

from speechtools.core.errors import ConfigError
from speechtools.training.loaders import LengthBatchSampler, batches_by_length, loaders_by_length, make_loader
from tests.core.test_jobs import is_running, linux_only

DURATIONS = np.random.default_rng(0).uniform(1, 9, 333)


def epoch_of(sampler, epoch, done=0):
    sampler.set_position(epoch, done)
    return list(sampler)


def test_every_utterance_is_in_one_batch():
    sampler = LengthBatchSampler(DURATIONS, 16)
    batches = epoch_of(sampler, 1)
    assert sorted(sum(batches, [])) == list(range(333))
    assert len(batches) == len(sampler) == 21


def test_order_depends_on_seed_and_epoch_alone():
    one, other = LengthBatchSampler(DURATIONS, 16, seed=1), LengthBatchSampler(DURATIONS, 16, seed=1)
    assert epoch_of(one, 3) == epoch_of(other, 3)
    assert epoch_of(one, 3) != epoch_of(one, 4)
    assert epoch_of(one, 3) != epoch_of(LengthBatchSampler(DURATIONS, 16, seed=2), 3)


@pytest.mark.parametrize("done", [0, 1, 20, 21])
def test_a_resumed_epoch_goes_on_where_it_was(done):
    sampler = LengthBatchSampler(DURATIONS, 16)
    assert epoch_of(sampler, 5, done) == epoch_of(sampler, 5)[done:]
    assert len(list(sampler)) == 21, "the position is for one epoch only"


def test_batches_pad_less_than_random_ones():
    def padding(batches):
        return np.mean([DURATIONS[batch].max() - DURATIONS[batch].mean() for batch in batches])

    random = np.random.default_rng(0).permutation(320).reshape(-1, 16)
    assert padding(epoch_of(LengthBatchSampler(DURATIONS, 16), 0)) < 0.25 * padding(random)


def test_processes_share_nothing_and_have_equally_many_batches():
    parts = [epoch_of(LengthBatchSampler(DURATIONS, 16, rank=rank, world_size=2), 7) for rank in range(2)]
    assert len(parts[0]) == len(parts[1]) == 10
    assert not set(sum(parts[0], [])) & set(sum(parts[1], []))


@pytest.mark.parametrize(
    "arguments, token",
    [(([], 4), "no utterances"), (([1.0], 0), "batch_size"), (([1.0], 4, 0, 20, 0, 2), "fewer batches")],
)
def test_impossible_batches(arguments, token):
    with pytest.raises(ConfigError, match=token):
        LengthBatchSampler(*arguments)
    with pytest.raises(ConfigError, match="batch_size"):
        batches_by_length([1.0, 2.0], None)


@pytest.mark.parametrize("count", [4, 12])
def test_a_dataset_with_other_items_than_rows_is_refused(count):
    rows = [SimpleNamespace(duration=1.0)] * 8
    with pytest.raises(ConfigError, match="one row for each item"):
        loaders_by_length({"test": range(count)}, {"test": rows}, 4, 0)


class Slow:
    """Its items are more than a pipe takes, and soon take long."""

    def __init__(self, sender):
        self.sender = sender

    def __len__(self):
        return 100

    def __getitem__(self, number):
        self.sender.send(os.getpid())
        time.sleep(0 if number < 4 else 60)
        return bytes(10**7)


def load(sender):
    for _ in make_loader(Slow(sender), num_workers=2, spare_cores=2):
        time.sleep(60)


@linux_only
def test_loaders_end_with_a_training_that_is_killed():
    fork = multiprocessing.get_context("fork")
    receiver, sender = fork.Pipe()
    training = fork.Process(target=load, args=(sender,))
    training.start()
    pids = set()
    while len(pids) < 2:
        assert receiver.poll(30)
        pids.add(receiver.recv())
    training.kill()
    training.join(20)
    deadline = time.monotonic() + 20
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, pids))
