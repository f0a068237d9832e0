"""Batches of utterances of similar length, in an order that depends on seed and epoch alone."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch.utils.data import Sampler

from speechtools.core.errors import ConfigError


class LengthBatchSampler(Sampler[list[int]]):
    """Batches of ``batch_size`` indices whose utterances have similar lengths, shuffled anew every epoch.

    The utterances are shuffled, sorted by length within pools of ``pool_batches`` batches, cut into batches, and the
    batches shuffled: little padding, and an order that still changes from epoch to epoch. It is a function of seed
    and epoch, so a run that stopped after batch k goes on with ``set_position(epoch, k)`` exactly as it would have.

    Parameters
    ----------
    durations : sequence of float
        Length of every utterance, in any unit.
    batch_size : int
        Utterances a batch (a batch of each process, where there are several).
    seed : int
        Of the shuffling.
    pool_batches : int
        How many batches are sorted together: larger pools pad less and mix less.
    rank, world_size : int
        This process and their number. All processes get equally many batches, and no utterance is in two of them;
        the last few batches are left out of an epoch where they do not go round.

    Raises
    ------
    ConfigError
        There are no utterances, or a size is not positive.

    Example
    -------
    >>> sorted(sum(LengthBatchSampler([1.0, 5.0, 1.1, 4.9], batch_size=2), []))
    [0, 1, 2, 3]
    """

    def __init__(
        self,
        durations: Sequence[float],
        batch_size: int,
        seed: int = 0,
        pool_batches: int = 20,
        rank: int = 0,
        world_size: int = 1,
    ):
        if len(durations) == 0 or batch_size < 1 or pool_batches < 1:
            raise ConfigError(
                f"No batches can be made of {len(durations)} utterances with batch_size={batch_size} and "
                f"pool_batches={pool_batches}: each must be at least 1."
            )
        self.durations = np.asarray(durations, dtype=np.float64)
        self.batch_size, self.pool_batches, self.seed = batch_size, pool_batches, seed
        self.rank, self.world_size = rank, world_size
        if len(self) == 0:
            raise ConfigError(
                f"{len(durations)} utterances make fewer batches of {batch_size} than there are processes "
                f"({world_size}). Use fewer processes or smaller batches."
            )
        self.set_position(epoch=0)

    def set_position(self, epoch: int, batches_done: int = 0) -> None:
        """The next iteration is over ``epoch``, without its first ``batches_done`` batches."""
        self.epoch, self.batches_done = epoch, batches_done

    def __len__(self) -> int:
        return -(-len(self.durations) // self.batch_size) // self.world_size

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        order = rng.permutation(len(self.durations))
        pool = self.batch_size * self.pool_batches
        batches = []
        for start in range(0, len(order), pool):
            members = order[start : start + pool]
            members = members[np.argsort(self.durations[members], kind="stable")]
            batches += [members[i : i + self.batch_size] for i in range(0, len(members), self.batch_size)]
        mine = rng.permutation(len(batches))[self.rank :: self.world_size][: len(self)]
        first, self.batches_done = self.batches_done, 0
        for number in mine[first:]:
            yield batches[number].tolist()
