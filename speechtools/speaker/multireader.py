"""Several sources of speech in one training (kind ``reader``): the MultiReader, and plain mixing (GE2E paper, 2.3).

``reader[k]`` returns the batches of step k, for any k. They depend only on the seed and the step, so a run resumes
exactly, and any number of loader processes may read ahead.
"""

import itertools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.registry import plugin
from speechtools.speaker.batches import SpeakerBatch, SpeakerBatches, Store

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Source:
    """One of several sources D_k of speech: a store, N, M and lengths of its batches, and its weight α_k.

    Attributes
    ----------
    name : str
        Name in messages.
    store : Store
    num_speakers, num_utterances : int
        N and M of each process.
    weight : float
        α_k of equation 12; 0 disables the source.
    min_samples, max_samples, step_samples : int
        Lengths, as in :class:`SpeakerBatches`; by default the paper's segments of 800 ms.
    min_utterances, degraded_share : int, float
        As in :class:`SpeakerBatches`.
    """

    name: str
    store: Store
    num_speakers: int = 64
    num_utterances: int = 10
    weight: float = 1.0
    min_samples: int = 12800
    max_samples: int = 12800
    step_samples: int = 160
    min_utterances: int = 2
    degraded_share: float = 0.5


@dataclass
class SourceBatches:
    """The batches of one step, ``parts``, and the ``names`` and ``weights`` of their sources."""

    names: tuple[str, ...]
    weights: tuple[float, ...]
    parts: tuple[SpeakerBatch, ...]

    def to(self, device: str | torch.device) -> "SourceBatches":
        """Move to a device."""
        return SourceBatches(self.names, self.weights, tuple(part.to(device) for part in self.parts))

    def pin_memory(self) -> "SourceBatches":
        """Copy to page-locked memory, from which a GPU copies fast."""
        return SourceBatches(self.names, self.weights, tuple(part.pin_memory() for part in self.parts))


@plugin("reader/multireader")
class MultiReader(Dataset):
    """One batch of every source at every step, whatever their sizes (section 2.3).

    The loss of a step is Σ α_k L_k (equation 12 and its general form). Each source goes through its speakers in its own
    order, and starts again in another order when it ends. A source of weight 0 is not read. A single source of weight 1
    gives the same batches as :class:`SpeakerBatches`.

    Parameters
    ----------
    sources : sequence of Source
    seed, rank, world_size : int

    Raises
    ------
    ConfigError
        No source is passed, two have the same name, a weight is negative or not finite, all are 0, or a source has
        fewer speakers than its batch. The message names the source.
    CorpusError
        A source has fewer than two speakers with two utterances.

    Examples
    --------
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
    """All sources in one pool: the simpler approach that table 1 of the paper compares with.

    A step has one batch, with the number of speakers of all sources together, drawn uniformly from all speakers: a
    source that is 35 times as large contributes 35 times as many. Weights are ignored, except that 0 disables a source.

    Parameters
    ----------
    sources : sequence of Source
        All with the same M and lengths.
    seed, rank, world_size : int

    Raises
    ------
    ConfigError, CorpusError
        As :class:`MultiReader`; or M or the lengths differ.

    Examples
    --------
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
            (s.num_utterances, s.min_samples, s.max_samples, s.step_samples, s.min_utterances): s.name for s in pooled
        }
        if len(shapes) > 1:
            values = "; ".join(f"{name}: {shape}" for shape, name in shapes.items())
            raise ConfigError(
                "reader/mixed needs the same num_utterances, lengths and min_utterances in all sources; "
                f"got {values}. Make them equal, or use reader/multireader."
            )
        num_speakers = sum(source.num_speakers for source in pooled)
        for one, other in itertools.combinations(pooled, 2):
            if shared := sorted(set(one.store.speakers) & set(other.store.speakers)):
                both = f"{len(shared)} speakers of the sources {one.name} and {other.name}"
                logger.warning("%s have the same names, such as %s, and count as different people.", both, shared[0])
        store = JoinedStore(pooled)
        self.sources = [replace(pooled[0], name="mixed", store=store, num_speakers=num_speakers)]
        self.batches = _batches(store.manifest, store, pooled[0], num_speakers, seed, rank, world_size)

    def __getitem__(self, step: int) -> SourceBatches:
        return SourceBatches(("mixed",), (1.0,), (self.batches[step],))


class JoinedStore:
    """Several stores as one, for :class:`SpeakerBatches`; its speakers are named ``source/speaker``."""

    def __init__(self, sources: Sequence[Source]):
        self.stores = [source.store for source in sources]
        self.manifest = " + ".join(source.name for source in sources)
        self.speakers = [f"{source.name}/{speaker}" for source in sources for speaker in source.store.speakers]
        self.offsets = np.cumsum([0, *(len(store.num_samples) for store in self.stores)])
        # (stores + 1,)
        starts = [store.first[:-1] + offset for store, offset in zip(self.stores, self.offsets[:-1], strict=True)]
        self.first = np.concatenate([*starts, self.offsets[-1:]])
        # (speakers + 1,)
        self.num_samples = np.concatenate([store.num_samples for store in self.stores])
        # (utterances,)
        self.num_versions = min(store.num_versions for store in self.stores)
        targets = [store.targets for store in self.stores if store.targets is not None]
        self.targets = np.concatenate(targets) if len(targets) == len(self.stores) else None
        # (utterances, voices, size)

    def __len__(self) -> int:
        return len(self.num_samples)

    def read(self, utterance: int, start: int = 0, samples: int | None = None, version: int = 0) -> np.ndarray:
        """See :meth:`SpeakerStore.read`."""
        place = int(np.searchsorted(self.offsets, utterance, side="right")) - 1
        return self.stores[place].read(int(utterance - self.offsets[place]), start, samples, version)


def embed_sources(encoder: Callable[..., Tensor], feats: Sequence[Tensor]) -> list[Tensor]:
    """Embed the features of several sources, whose lengths may differ, in one forward pass.

    Parameters
    ----------
    encoder : callable
        ``encoder(feats, lens)`` -> d-vectors, such as every plugin of the kind ``encoder``.
    feats : sequence of Tensor
        For each source, (batch, frames, size).

    Returns
    -------
    list of Tensor
        For each source, (batch, embedding_size).

    Examples
    --------
    >>> encoder = lambda feats, lens: feats.sum(dim=1)
    >>> [len(embedded) for embedded in embed_sources(encoder, [torch.rand(2, 80, 40), torch.rand(3, 50, 40)])]
    [2, 3]
    """
    longest = max(part.shape[1] for part in feats)
    padded = torch.cat([torch.nn.functional.pad(part, (0, 0, 0, longest - part.shape[1])) for part in feats])
    # (batch of all, longest, size)
    lens = torch.cat([padded.new_full((len(part),), part.shape[1] / longest) for part in feats])
    return list(encoder(padded, lens).split([len(part) for part in feats]))


def checked(sources: Sequence[Source]) -> Sequence[Source]:
    """Return the sources; raise ConfigError if their names or weights are invalid."""
    if not sources:
        raise ConfigError("A reader needs at least one source; got none.")
    names = [source.name for source in sources]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise ConfigError(f"Two sources have the name {repeated[0]!r}. Rename one.")
    for source in sources:
        if not (isinstance(source.weight, int | float) and math.isfinite(source.weight) and source.weight >= 0):
            raise ConfigError(
                f"The source {source.name!r} has the weight {source.weight!r}. Use a number of at least 0."
            )
    if not any(source.weight > 0 for source in sources):
        raise ConfigError(
            f"All sources ({', '.join(names)}) have the weight 0. Set a positive weight for at least one."
        )
    return sources


def _batches(
    name: str, store: Store, shape: Source, num_speakers: int, seed: int, rank: int, world_size: int
) -> SpeakerBatches:
    """Batches of a store in the shape of a source; errors name the source."""
    options = {
        key: getattr(shape, key)
        for key in ("num_utterances", "min_samples", "max_samples", "step_samples", "min_utterances", "degraded_share")
    }
    try:
        return SpeakerBatches(store, num_speakers, seed=seed, rank=rank, world_size=world_size, **options)
    except (ConfigError, CorpusError) as error:
        raise type(error)(f"The source {name!r}: {error} (In the entry of this source.)") from error
