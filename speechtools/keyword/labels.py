"""What the utterances of a source of keywords are grouped by: speaker, keyword, or both.

GE2E makes a centroid of each group of a batch (GE2E paper, section 2.1). With speakers it learns voices; with keywords,
words, whoever speaks them; with both, each word of each speaker. Sources of several kinds can be trained together.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from speechtools.core.errors import ConfigError
from speechtools.core.spelling import did_you_mean
from speechtools.speaker.store import SpeakerStore

LABELS = ("speaker", "keyword", "both")


def check_labels(labels: str, possible: Sequence[str] = LABELS) -> None:
    """Raise ConfigError unless ``labels`` is one of those possible."""
    if labels not in possible:
        near = did_you_mean(str(labels), possible)
        raise ConfigError(f"{labels!r} is not one of {', '.join(possible)}.{near}")


class RelabelledStore:
    """A store in whose place of speakers are keywords, or the keywords of each speaker.

    Parameters
    ----------
    store : SpeakerStore
        Utterances with keywords.
    labels : str
        ``"keyword"`` or ``"both"``.

    Attributes
    ----------
    speakers : list of str
        Names of the groups: ``yes``, or ``anna: yes``.
    order : np.ndarray
        (utterances,): the utterances of the store, group after group.

    Raises
    ------
    ConfigError
        ``labels`` is none of them.

    Examples
    --------
    >>> import tempfile
    >>> from speechtools.speaker.store import store_of
    >>> store = store_of(tempfile.mkdtemp(), {name: [np.ones(1000, np.int16)] * 2 for name in ("anna", "bert")})
    >>> RelabelledStore(store, "keyword").first.tolist()  # one keyword: the empty text
    [0, 4]
    """

    def __init__(self, store: SpeakerStore, labels: str):
        check_labels(labels, LABELS[1:])
        self.store, self.manifest = store, store.manifest
        speaker = np.repeat(np.arange(len(store.speakers)), np.diff(store.first))
        group = store.keyword if labels == "keyword" else speaker * len(store.keywords) + store.keyword
        # (utterances,)
        self.order = np.argsort(group, kind="stable")
        present, counts = np.unique(group, return_counts=True)
        # (groups,)
        self.first = np.concatenate([[0], np.cumsum(counts)])
        self.speakers = [self._name(int(number), labels) for number in present]
        self.num_samples, self.num_versions = store.num_samples[self.order], store.num_versions
        self.targets: Any = None if store.targets is None else store.targets[self.order]

    def _name(self, group: int, labels: str) -> str:
        if labels == "keyword":
            return str(self.store.keywords[group])
        speaker, keyword = divmod(group, len(self.store.keywords))
        return f"{self.store.speakers[speaker]}: {self.store.keywords[keyword]}"

    def __len__(self) -> int:
        return len(self.order)

    def read(self, utterance: int, start: int = 0, samples: int | None = None, version: int = 0) -> np.ndarray:
        """See :meth:`SpeakerStore.read`."""
        return self.store.read(int(self.order[utterance]), start, samples, version)


def relabelled(store: SpeakerStore, labels: str) -> SpeakerStore | RelabelledStore:
    """A store grouped by ``labels``: itself for ``"speaker"``."""
    return store if labels == "speaker" else RelabelledStore(store, labels)
