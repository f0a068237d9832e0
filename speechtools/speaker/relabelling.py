"""Noisy labels of speakers: speakers that are one person are joined, utterances of somebody else are left out.

GE2E pushes the speakers of a batch apart. If two of them are the same person, it learns from the difference between
recordings instead of that between voices. An encoder that is trained already finds such pairs.
"""

import logging
from collections.abc import Sequence

import numpy as np

from speechtools.core.checks import check_number
from speechtools.core.errors import CorpusError
from speechtools.speaker.store import SpeakerStore
from speechtools.speaker.vectors import unit

logger = logging.getLogger(__name__)


class RelabelledStore:
    """A store with other speakers, for :class:`~speechtools.speaker.batches.SpeakerBatches`.

    Parameters
    ----------
    store : SpeakerStore
    groups : sequence of sequence of int
        The utterances of each speaker; those in no group are left out.
    """

    def __init__(self, store: SpeakerStore, groups: Sequence[Sequence[int]]):
        self.store, self.manifest = store, store.manifest
        self.order = np.concatenate([np.asarray(group, dtype=int) for group in groups])
        # (utterances,)
        self.speakers = [store.speakers[store.speaker_of(int(group[0]))] for group in groups]
        self.first = np.cumsum([0, *map(len, groups)])
        # (speakers + 1,)
        self.num_samples, self.num_versions = store.num_samples[self.order], store.num_versions
        self.targets = None if store.targets is None else store.targets[self.order]

    def __len__(self) -> int:
        return len(self.order)

    def read(self, utterance: int, start: int = 0, samples: int | None = None, version: int = 0) -> np.ndarray:
        """See :meth:`SpeakerStore.read`."""
        return self.store.read(int(self.order[utterance]), start, samples, version)


def relabelled(
    store: SpeakerStore, dvectors: np.ndarray, merge_above: float = 0.92, drop_below: float = 0.6
) -> RelabelledStore:
    """Join the speakers of a store that sound alike, and leave out utterances that do not sound like their speaker.

    Speakers are clustered by the cosines of their mean d-vectors, with average linkage. Then an utterance is left out
    if its cosine with the mean of the other utterances of its cluster is low. Memory grows with the square of the
    number of speakers.

    Parameters
    ----------
    store : SpeakerStore
    dvectors : np.ndarray
        (utterances, size), of a trained encoder.
    merge_above : float
        Mean cosine above which clusters are joined.
    drop_below : float
        Cosine below which an utterance is left out.

    Raises
    ------
    ConfigError
        A limit is not between -1 and 1.
    CorpusError
        Fewer than two speakers are left.
    """
    from scipy.cluster.hierarchy import fcluster, linkage

    check_number("merge_above", merge_above, -1, 1)
    check_number("drop_below", drop_below, -1, 1)
    units = unit(np.asarray(dvectors, dtype=np.float64))
    # (utterances, size)
    members = [np.arange(*ends) for ends in zip(store.first[:-1], store.first[1:], strict=True)]
    means = unit(np.stack([units[numbers].mean(axis=0) for numbers in members]))
    # (speakers, size)
    distances = 1 - (means @ means.T)[np.triu_indices(len(means), 1)]
    clusters = fcluster(linkage(np.maximum(distances, 0), "average"), 1 - merge_above, "distance")
    # (speakers,)
    groups, dropped = [], 0
    for cluster in np.unique(clusters):
        numbers = np.concatenate([members[speaker] for speaker in np.flatnonzero(clusters == cluster)])
        kept = numbers[_agreement(units[numbers]) >= drop_below]
        dropped += len(numbers) - len(kept)
        if len(kept):
            groups.append(kept.tolist())
    if len(groups) < 2:
        raise CorpusError(
            f"merge_above={merge_above} and drop_below={drop_below} leave {len(groups)} speaker(s) of "
            f"{store.manifest}. Raise the first, or lower the second."
        )
    sounds = f"{len(members)} speakers sound like {len(groups)}"
    logger.info("%s: %s, and %d of %d utterances are left out.", store.manifest, sounds, dropped, len(store))
    return RelabelledStore(store, sorted(groups))


def _agreement(units: np.ndarray) -> np.ndarray:
    """The cosine of each vector (utterances, size) with the mean of the others; 1 for a single one."""
    if len(units) < 2:
        return np.ones(len(units))
    others = units.sum(axis=0) - units
    norms = np.linalg.norm(others, axis=1)
    return (others * units).sum(axis=1) / np.where(norms > 0, norms, 1.0)
