"""Loaders of batches: one maker for all recipes, and batches of utterances of similar length."""

import signal
import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from speechbrain.dataio.batch import PaddedBatch
from torch.utils.data import DataLoader, Dataset, Sampler

from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError
from speechtools.core.processes import cores_left, end_with_parent
from speechtools.training.distributed import rank_and_size


def make_loader(
    dataset: Dataset,
    batches: Iterable[list] | None = None,
    num_workers: int = 0,
    steps: Sampler[int] | None = None,
    spare_cores: int | None = None,
) -> DataLoader:
    """Make a DataLoader of utterances, which it pads into batches, or of a dataset whose items are whole batches.

    Without a GPU, torch's threads compute on all cores and would wait for a core that a loader process uses. There are
    then as many loader processes as cores are left; with none left, the main process reads the data.

    Parameters
    ----------
    dataset : Dataset
    batches : iterable of list, optional
        Batch sampler or lists of indices: the items are utterances, which SpeechBrain's PaddedBatch collates. Without
        it, the items are whole batches.
    num_workers : int
        Number of loader processes.
    steps : Sampler, optional
        Order of the items if they are whole batches. By default, that of the dataset.
    spare_cores : int, optional
        Number of cores for loader processes. By default, the cores that torch has no thread for.

    Examples
    --------
    >>> [batch for batch in make_loader([torch.zeros(2, 5), torch.ones(2, 4)])][1].shape
    torch.Size([2, 4])
    """
    check_number("num_workers", num_workers, 0, whole=True)
    if not torch.cuda.is_available():
        spare = cores_left(torch.get_num_threads()) if spare_cores is None else spare_cores
        num_workers = max(0, min(num_workers, spare))
    if sys.platform != "linux":
        num_workers = 0  # only a fork carries over the nested functions of a recipe's pipelines
    whole = {"batch_size": None, "sampler": steps}
    return DataLoader(
        dataset,
        **(whole if batches is None else {"batch_sampler": batches, "collate_fn": PaddedBatch}),
        num_workers=num_workers,
        multiprocessing_context="fork" if num_workers else None,
        persistent_workers=num_workers > 0,
        worker_init_fn=start_loader if num_workers else None,
        pin_memory=torch.cuda.is_available(),
        # A generator of its own: a resumed run makes its loader anew, and must not draw from the global one.
        generator=torch.Generator(),
    )


def start_loader(number: int) -> None:
    """Let a loader process end with its parent, which alone answers Ctrl-C and a closed terminal."""
    end_with_parent()
    for name in ("SIGINT", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def loaders_by_length(
    datasets: dict[str, Dataset],
    rows: dict[str, Sequence],
    batch_size: int,
    seed: int,
    num_workers: int = 0,
    train_batches: Iterable | None = None,
) -> dict[str, DataLoader]:
    """Make a loader for every split, of batches of similar length.

    Parameters
    ----------
    datasets : dict
        Dataset of every split. ``train`` is shuffled anew every epoch; the others come longest first.
    rows : dict
        A row for each item of the datasets, in their order, with a ``duration``.
    batch_size, seed : int
        Size of the batches and seed of the shuffling. Each of several processes gets its share of the training
        batches.
    num_workers : int
        As for :func:`make_loader`.
    train_batches : iterable, optional
        Batches of ``train`` instead, such as :class:`~speechtools.training.shards.ShardBatchSampler`.

    Raises
    ------
    ConfigError
        A dataset has more or fewer items than rows.
    """
    loaders = {}
    for split, dataset in datasets.items():
        if split == "train" and train_batches is not None:
            loaders[split] = make_loader(dataset, train_batches, num_workers)
            continue
        lengths = [row.duration for row in rows[split]]
        if len(dataset) != len(lengths):  # type: ignore[arg-type]
            raise ConfigError(
                f"The dataset {split!r} has {len(dataset)} items and {len(lengths)} rows. "  # type: ignore[arg-type]
                "Pass one row for each item, in the same order: an item without a row would never be used."
            )
        if split == "train":
            batches: Iterable[list[int]] = LengthBatchSampler(lengths, batch_size, seed, **rank_and_size())
        else:
            batches = batches_by_length(lengths, batch_size)
        loaders[split] = make_loader(dataset, batches, num_workers)
    return loaders


def batches_by_length(durations: Sequence[float], batch_size: int) -> list[list[int]]:
    """Return all indices in batches of similar length, longest first.

    >>> batches_by_length([3.0, 1.0, 2.0, 5.0, 4.0], batch_size=2)
    [[3, 4], [0, 2], [1]]
    """
    check_number("batch_size", batch_size, 1, whole=True)
    order = np.argsort(-np.asarray(durations, dtype=np.float64), kind="stable")
    return [order[i : i + batch_size].tolist() for i in range(0, len(order), batch_size)]


class LengthBatchSampler(Sampler[list[int]]):
    """Batches of indices whose utterances have similar lengths, shuffled anew every epoch.

    The utterances are shuffled, sorted by length within pools of ``pool_batches`` batches and cut into batches, which
    are shuffled again. This needs little padding, and the order still changes from epoch to epoch. The order is a
    function of seed and epoch: a run that stopped after batch k continues exactly with ``set_position(epoch, k)``.

    Parameters
    ----------
    durations : sequence of float
        Length of every utterance, in any unit.
    batch_size : int
        Number of utterances in a batch of one process.
    seed : int
        Seed of the shuffling.
    pool_batches : int
        Number of batches that are sorted together. Larger pools pad less and mix less.
    rank, world_size : int
        Rank of this process and number of processes. All processes get the same number of batches and share no
        utterance; an epoch leaves out the last batches if they do not divide evenly.

    Raises
    ------
    ConfigError
        There are no utterances, fewer batches than processes, or ``batch_size`` is not positive.

    Examples
    --------
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
        check_number("batch_size", batch_size, 1, whole=True)
        if len(durations) == 0:
            raise ConfigError("The training set has no utterances.")
        self.durations = np.asarray(durations, dtype=np.float64)
        self.batch_size, self.pool_batches, self.seed = batch_size, pool_batches, seed
        self.rank, self.world_size = rank, world_size
        if len(self) == 0:
            raise ConfigError(
                f"{len(durations)} utterances give fewer batches of batch_size={batch_size} than there are processes "
                f"({world_size}). Use fewer processes or smaller batches."
            )
        self.set_position(epoch=0)

    def set_position(self, epoch: int, batches_done: int = 0) -> None:
        """Let the next iteration yield the batches of ``epoch`` without its first ``batches_done``."""
        self.epoch, self.batches_done = epoch, batches_done

    def __len__(self) -> int:
        return -(-len(self.durations) // self.batch_size) // self.world_size

    def __iter__(self) -> Iterator[list[int]]:
        rng = np.random.default_rng([self.seed, self.epoch])
        batches = shuffled_batches(self.durations, self.batch_size, self.pool_batches, rng)
        mine = batches[self.rank :: self.world_size][: len(self)]
        first, self.batches_done = self.batches_done, 0
        for batch in mine[first:]:
            yield batch.tolist()


def shuffled_batches(
    durations: np.ndarray, batch_size: int, pool_batches: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Return all indices in batches of similar length, in a random order; see :class:`LengthBatchSampler`."""
    order = rng.permutation(len(durations))
    pool, batches = batch_size * pool_batches, []
    for start in range(0, len(order), pool):
        members = order[start : start + pool]
        members = members[np.argsort(durations[members], kind="stable")]
        batches += [members[i : i + batch_size] for i in range(0, len(members), batch_size)]
    return [batches[number] for number in rng.permutation(len(batches))]
