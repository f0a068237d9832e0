"""Batches from tar shards, which are read as streams."""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from itertools import groupby, islice
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Sampler

from speechtools.core.checks import check_number
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.shards import Sample, Shard
from speechtools.training.loaders import shuffled_batches

#: A sample and its row.
Loaded = tuple[Any, Sample]


class ShardDataset(Dataset):
    """Items of a training from the samples that :class:`ShardBatchSampler` has read.

    The sampler reads in the main process; loader processes decode.

    Parameters
    ----------
    make_item : callable
        Makes an item of a row and the content of its audio file.
    """

    def __init__(self, make_item: Callable[[Any, bytes], dict]):
        self.make_item = make_item

    def __getitem__(self, loaded: Loaded) -> dict:
        row, sample = loaded
        try:
            return self.make_item(row, sample.recording)
        except AudioError as error:
            raise AudioError(f"{sample.place}: {error}") from error


class ShardBatchSampler(Sampler[list[Loaded]]):
    """Batches of samples of shards, which have similar lengths and are shuffled anew every epoch.

    An epoch reads the shards in a random order, each once. Every ``shuffle_buffer`` samples in a row are shuffled and
    divided into batches as by :class:`~speechtools.training.LengthBatchSampler`. While a buffer is in use, the next one
    is read, so that memory takes the files of two.

    The batches are a function of seed and epoch, whatever the number of loader processes: a run that stopped after
    batch k continues exactly with ``set_position(epoch, k)``, which reads no shard that is done.

    Parameters
    ----------
    shards : sequence of Shard
        Their rows have a ``duration``.
    batch_size : int
        Number of samples in a batch of one process.
    seed : int
        Seed of the shuffling.
    shuffle_buffer : int
        Number of samples that are shuffled together.
    pool_batches : int
        Number of batches that are sorted together.
    rank, world_size : int
        Rank of this process and number of processes. In every epoch, each of them reads shards of its own, and all get
        the same number of batches; the last batches of those with more are left out.

    Raises
    ------
    ConfigError
        There are fewer shards than processes, or a number is not positive.
    """

    def __init__(
        self,
        shards: Sequence[Shard],
        batch_size: int,
        seed: int = 0,
        shuffle_buffer: int = 2000,
        pool_batches: int = 20,
        rank: int = 0,
        world_size: int = 1,
    ):
        check_number("batch_size", batch_size, 1, whole=True)
        check_number("shuffle_buffer", shuffle_buffer, 1, whole=True)
        shards = [shard for shard in shards if shard.rows]
        if len(shards) < world_size:
            raise ConfigError(
                f"{len(shards)} shards are fewer than the {world_size} processes, which each read their own. Use fewer "
                "processes, or write smaller shards."
            )
        self.shards, self.batch_size, self.seed, self.pool_batches = shards, batch_size, seed, pool_batches
        self.block = batch_size * max(1, shuffle_buffer // batch_size)
        self.rank, self.world_size = rank, world_size
        self.set_position(epoch=0)

    def set_position(self, epoch: int, batches_done: int = 0) -> None:
        """Let the next iteration yield the batches of ``epoch`` without its first ``batches_done``."""
        self.epoch, self.batches_done = epoch, batches_done

    def __len__(self) -> int:
        order = self._order()
        counts = [
            sum(len(self.shards[k].rows) for k in order[rank :: self.world_size]) for rank in range(self.world_size)
        ]
        return -(-min(counts) // self.batch_size)

    def _order(self) -> list[int]:
        """The order of the shards in the epoch, for all processes."""
        return np.random.default_rng([self.seed, self.epoch]).permutation(len(self.shards)).tolist()

    def __iter__(self) -> Iterator[list[Loaded]]:
        done, self.batches_done = self.batches_done, 0
        places = [(k, number) for k in self._order()[self.rank :: self.world_size] for number in self.shards[k].rows]
        left, size = len(self), self.block
        rng = np.random.default_rng([self.seed, self.epoch, 1 + self.rank])
        blocks = []
        for start in range(0, min(len(places), left * self.batch_size), size):
            members = places[start : start + size]
            durations = np.array([self.shards[k].rows[number].duration for k, number in members])
            batches = shuffled_batches(durations, self.batch_size, self.pool_batches, rng)
            blocks.append((len(members), batches[:left]))
            left -= len(batches)
        first = 0  # sample that is not done
        while blocks and done >= len(blocks[0][1]):
            size, batches = blocks.pop(0)
            done, first = done - len(batches), first + size
        last = first + sum(size for size, _ in blocks)
        with closing(self._read(places[first:last])) as samples:
            ahead: list[Loaded] = []
            for size, batches in blocks:
                block = ahead + list(islice(samples, size - len(ahead)))
                ahead = []
                for batch in batches[done:]:
                    yield [block[index] for index in batch]
                    ahead += islice(samples, self.batch_size)
                done = 0

    def _read(self, places: Sequence[tuple[int, int]]) -> Generator[Loaded, None, None]:
        """Read the samples of some numbers in shards, shard after shard."""
        for k, members in groupby(places, key=lambda place: place[0]):
            with closing(self.shards[k].read(number for _, number in members)) as samples:
                yield from samples
