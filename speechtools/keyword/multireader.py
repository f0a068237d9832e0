"""Several sources of speech in one training (kind ``reader``): the MultiReader, and plain mixing (GE2E paper, 2.3).

A reader is asked for step ``k``, for any k, and hands over the batches of that step: it depends on the seed and the
step alone, so a run goes on exactly where it was, and any number of loader processes read ahead.
"""

import itertools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.registry import plugin
from speechtools.speaker.batches import SpeakerBatch, SpeakerBatches
from speechtools.speaker.store import SpeakerStore

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """A store of speech as one of several sources D_k: its N, M and length of parts, and its weight α_k.

    Attributes
    ----------
    name : str
        What the log and errors call it.
    store : SpeakerStore
    num_speakers, num_utterances : int
        N and M, of each process.
    weight : float
        α_k of equation 12; 0 silences the source.
    min_samples, max_samples, step_samples : int
        Length of the parts, as in :class:`SpeakerBatches`: the paper's segments of 800 ms unless given.
    """

    name: str
    store: SpeakerStore
    num_speakers: int = 64
    num_utterances: int = 10
    weight: float = 1.0
    min_samples: int = 12800
    max_samples: int = 12800
    step_samples: int = 160


@dataclass
class SourceBatches:
    """The batches of one step, ``parts``, with the ``names`` and ``weights`` of the sources that they come from."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    parts: tuple[SpeakerBatch, ...]

    def to(self, device) -> "SourceBatches":
        """The same on a device."""
        return SourceBatches(self.names, self.weights, tuple(part.to(device) for part in self.parts))

    def pin_memory(self) -> "SourceBatches":
        """The same in memory from which a GPU copies fast."""
        return SourceBatches(self.names, self.weights, tuple(part.pin_memory() for part in self.parts))


@plugin("reader/multireader")
class MultiReader(Dataset):
    """One batch from every source at every step, however unequal their sizes (section 2.3).

    The step's loss is Σ α_k L_k (equation 12 and its general form). Each source goes through its speakers in an order
    of its own, and begins anew, in another order, whenever it ends. A source of weight 0 is not read. A single source
    of weight 1 is :class:`SpeakerBatches`, to the bit.

    Parameters
    ----------
    sources : sequence of Source
    seed, rank, world_size : int

    Raises
    ------
    ConfigError
        No sources, two of one name, a weight that is negative or not finite, none above 0; or a source has fewer
        speakers than its batch. The message names the source.
    CorpusError
        A source has no two speakers with two utterances.

    Example
    -------
    >>> import tempfile
    >>> import numpy as np
    >>> from speechtools.speaker.store import store_of
    >>> store = store_of(tempfile.mkdtemp(), {name: [np.ones(1000, np.int16)] * 2 for name in ("anna", "bert")})
    >>> source = Source("words", store, 2, 2, min_samples=800, max_samples=800)
    >>> step = MultiReader([source])[0]
    >>> step.names, step.parts[0].wavs.shape  # 2 speakers of 2 utterances
    (('words',), torch.Size([4, 800]))
    """

    def __init__(self, sources: Sequence[Source], seed: int = 0, rank: int = 0, world_size: int = 1):
        self.sources = [source for source in checked(sources) if source.weight > 0]
        self.batches = [
            _batches(source.name, source.store, source, source.num_speakers, seed + 1_000_003 * place, rank, world_size)
            for place, source in enumerate(self.sources)
        ]

    def __getitem__(self, step: int) -> SourceBatches:
        names, weights = zip(*((source.name, source.weight) for source in self.sources), strict=True)
        return SourceBatches(names, weights, tuple(batches[step] for batches in self.batches))


@plugin("reader/mixed")
class MixedReader(Dataset):
    """All sources in one pool: the simpler approach that the paper's table 1 compares with.

    A step has one batch, of as many speakers as those of all sources together, drawn from all speakers alike: of a
    source that is 35 times as large, 35 times as many. Weights do not count, but a source of weight 0 is left out.

    Parameters
    ----------
    sources : sequence of Source
        All of one M and one length of parts.
    seed, rank, world_size : int

    Raises
    ------
    ConfigError, CorpusError
        As :class:`MultiReader`; or M or the lengths differ.

    Example
    -------
    >>> import tempfile
    >>> import numpy as np
    >>> from speechtools.speaker.store import store_of
    >>> store = store_of(tempfile.mkdtemp(), {name: [np.ones(1000, np.int16)] * 2 for name in ("anna", "bert")})
    >>> source = Source("words", store, 2, 2, min_samples=800, max_samples=800)
    >>> MixedReader([source])[0].parts[0].wavs.shape
    torch.Size([4, 800])
    """

    def __init__(self, sources: Sequence[Source], seed: int = 0, rank: int = 0, world_size: int = 1):
        pooled = [source for source in checked(sources) if source.weight > 0]
        shapes = {
            (each.num_utterances, each.min_samples, each.max_samples, each.step_samples): each.name for each in pooled
        }
        if len(shapes) > 1:
            told = "; ".join(f"{name}: {shape}" for shape, name in shapes.items())
            raise ConfigError(
                "reader/mixed makes one batch of all sources, so their utterances a speaker and lengths must agree; "
                f"(utterances, least, most, step in samples) are {told}. Make them equal, or use reader/multireader."
            )
        num_speakers = sum(source.num_speakers for source in pooled)
        for one, other in itertools.combinations(pooled, 2):
            if shared := sorted(set(one.store.speakers) & set(other.store.speakers)):
                logger.warning(
                    "Speakers of one name are in the sources %s and %s: %d, such as %s. If they are the same people, "
                    "make one source of both: the pool takes them for two voices, and learns to tell them apart.",
                    one.name,
                    other.name,
                    len(shared),
                    shared[0],
                )
        store = JoinedStore(pooled)
        self.batches = _batches(store.manifest, store, pooled[0], num_speakers, seed, rank, world_size)

    def __getitem__(self, step: int) -> SourceBatches:
        return SourceBatches(("mixed",), (1.0,), (self.batches[step],))


class JoinedStore:
    """Several stores as one, with what :class:`SpeakerBatches` needs of it; speakers are called ``source/speaker``."""

    def __init__(self, sources: Sequence[Source]):
        self.stores = [source.store for source in sources]
        self.manifest = " + ".join(source.name for source in sources)
        self.speakers = [f"{source.name}/{speaker}" for source in sources for speaker in source.store.speakers]
        self.offsets = np.cumsum([0, *(len(store) for store in self.stores)])
        # (stores + 1,)
        starts = [store.first[:-1] + offset for store, offset in zip(self.stores, self.offsets[:-1], strict=True)]
        self.first = np.concatenate([*starts, self.offsets[-1:]])
        # (speakers + 1,)
        self.num_samples = np.concatenate([store.num_samples for store in self.stores])
        # (utterances,)

    def __len__(self) -> int:
        return len(self.num_samples)

    def read(self, utterance: int, start: int = 0, samples: int | None = None) -> np.ndarray:
        """As :meth:`SpeakerStore.read`."""
        place = int(np.searchsorted(self.offsets, utterance, side="right")) - 1
        return self.stores[place].read(int(utterance - self.offsets[place]), start, samples)


def checked(sources: Sequence[Source]) -> Sequence[Source]:
    """The sources, if their names and weights can be; raises ConfigError otherwise."""
    if not sources:
        raise ConfigError("A reader needs at least one source, and got none.")
    names = [source.name for source in sources]
    double = sorted({name for name in names if names.count(name) > 1})
    if double:
        raise ConfigError(f"Two sources are called {double[0]!r}, and the log could not tell them apart. Rename one.")
    for source in sources:
        if not (isinstance(source.weight, int | float) and math.isfinite(source.weight) and source.weight >= 0):
            raise ConfigError(
                f"The source {source.name!r} has the weight {source.weight!r}: a weight says how much its loss counts, "
                "and is 0 (not at all) or a positive number."
            )
    if not any(source.weight > 0 for source in sources):
        raise ConfigError(
            f"All sources ({', '.join(names)}) have the weight 0, so there is nothing to learn from. Give one a "
            "positive weight."
        )
    return sources


def _batches(
    name: str | Path, store, shape: Source, num_speakers: int, seed: int, rank: int, world_size: int
) -> SpeakerBatches:
    """Batches from a store in the shape of a source; what is wrong with them is told with the source's name."""
    try:
        return SpeakerBatches(
            store,
            num_speakers,
            shape.num_utterances,
            shape.min_samples,
            shape.max_samples,
            shape.step_samples,
            seed,
            rank,
            world_size,
        )
    except (ConfigError, CorpusError) as error:
        raise type(error)(f"The source {str(name)!r}: {error} (In the yaml, of this source's entry.)") from error
