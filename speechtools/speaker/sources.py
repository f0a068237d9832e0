"""Several sources of speech for text-independent training, each a corpus or several (GE2E paper, section 2.3)."""

import contextlib
import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from speechtools.core.checks import check_arguments, checked_by, naming
from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.registry import find
from speechtools.core.spelling import did_you_mean
from speechtools.speaker.batches import Store
from speechtools.speaker.data import prepare
from speechtools.speaker.multireader import Source
from speechtools.speaker.relabelling import relabelled
from speechtools.speaker.shards import SpeakerSets
from speechtools.speaker.store import SpeakerStore

logger = logging.getLogger(__name__)

#: Keys of a source that shape its batches; the others are arguments of :func:`~speechtools.speaker.data.prepare`.
BATCH_KEYS = (
    "weight",
    "num_speakers",
    "num_utterances",
    "min_frames",
    "max_frames",
    "min_utterances",
    "merge_above",
    "drop_below",
)
#: Arguments of :func:`~speechtools.speaker.data.prepare` that may differ from source to source.
CORPUS_KEYS = (
    "corpus",
    "data_folder",
    "corpus_options",
    "max_utterances",
    "heldout",
    "verified",
    "heldout_share",
    "valid_share",
)


def _used(sources: dict[str, dict]) -> dict[str, dict]:
    """The sources that are trained on."""
    used = {name: entry for name, entry in sources.items() if entry and entry.get("weight") != 0}
    if len(used) > 1:
        used = {name: entry for name, entry in used.items() if entry.get("data_folder", True)}
    if not used:
        raise ConfigError("The run has no sources to train on. Pass the folder of at least one, or add one.")
    return used


def _corpus_arguments(entry: dict, options: dict[str, Any]) -> dict[str, Any]:
    """Arguments of :func:`prepare` for a source."""
    return options | {key: value for key, value in entry.items() if key not in BATCH_KEYS}


@contextlib.contextmanager
def _naming(name: str, used: dict[str, dict]) -> Iterator[None]:
    """Put the name of a source before the message of an error in the block, if there are several."""
    try:
        yield
    except SpeechtoolsError as error:
        if len(used) == 1:
            raise
        raise type(error)(f"The source {name!r}: {error}") from error


def _check_entry(name: str, entry: dict) -> None:
    missing = [key for key in ("corpus", "num_speakers", "num_utterances", "weight") if key not in entry]
    if missing:
        keys = " and no ".join(missing)
        raise ConfigError(f"The source {name!r} has no {keys}. Set them as in hparams/many_corpora.yaml.")
    for key in entry:
        if key not in BATCH_KEYS + CORPUS_KEYS:
            near = did_you_mean(key, BATCH_KEYS + CORPUS_KEYS)
            raise ConfigError(f"The source {name!r} has the unknown key {key!r}.{near}")
    for corpus in [entry["corpus"]] if isinstance(entry["corpus"], str) else entry["corpus"]:
        with naming("corpus"):
            find(f"corpus/{corpus}")


def _check(sources: dict[str, dict], options: dict[str, Any]) -> None:
    """Check arguments of :func:`prepare_sources`."""
    used = _used(sources)
    for name, entry in used.items():
        _check_entry(name, entry)
        with _naming(name, used):
            check_arguments(functools.partial(prepare, **_corpus_arguments(entry, options)))


@checked_by(_check)
def prepare_sources(
    sources: dict[str, dict],
    save_folder: str | Path = "prepared",
    num_workers: int | None = None,
    world_size: int = 1,
    **options: Any,
) -> dict[str, SpeakerSets]:
    """Make the stores of all sources, or find them.

    Parameters
    ----------
    sources : dict of dict
        By name. ``corpus`` and ``data_folder`` name a reader and its folder, or several. ``weight``,
        ``num_speakers``, ``num_utterances`` and optionally ``min_frames``, ``max_frames`` and ``min_utterances`` shape
        its batches; ``merge_above`` and ``drop_below`` correct its labels (see :func:`training_sources`). Further keys
        are those arguments of :func:`~speechtools.speaker.data.prepare` that differ from ``options``. A source of
        weight 0 is skipped, and one whose ``data_folder`` is empty if there are others.
    save_folder : str or Path
        The stores of a source are in a subfolder named after it and the fingerprint of its options.
    num_workers : int, optional
        Processes; by default one a core.
    world_size : int
        Processes of the training, each of which needs N speakers of a source.
    options
        Arguments of :func:`~speechtools.speaker.data.prepare` for all sources.

    Returns
    -------
    dict of str to SpeakerSets
        By name: train, and valid and test where the source has them.

    Raises
    ------
    ConfigError
        No source is passed, or one has no corpus, N, M or weight, or an unknown key. The message names the source.
    CorpusError
        A corpus cannot be read, or a set has fewer than two speakers. The message names the source.
    """
    used = _used(sources)
    if skipped := sorted(sources.keys() - used.keys()):
        logger.info("Sources without a folder, or of weight 0, are skipped: %s", ", ".join(skipped))
    prepared = {}
    for name, entry in used.items():
        _check_entry(name, entry)
        arguments = {"num_workers": num_workers, **_corpus_arguments(entry, options)}
        arguments["num_train_speakers"] = entry["num_speakers"] * world_size
        # The name of a single source would say nothing.
        with _naming(name, used):
            prepared[name] = prepare(save_folder=save_folder, name=name if len(used) > 1 else "", **arguments)
    return prepared


def training_sources(
    sources: dict[str, dict],
    stores: dict[str, dict[str, SpeakerStore]],
    features: Any,
    min_frames: int,
    max_frames: int,
    degraded_share: float = 0.5,
) -> list[Source]:
    """The sources for a reader: the training stores, with the N, M, weight and lengths of their entries.

    Sources with ``merge_above`` or ``drop_below`` get the speakers of
    :func:`~speechtools.speaker.relabelling.relabelled`, by the d-vectors of the teacher. Without a teacher, their
    labels stay as they are, with a warning.

    Parameters
    ----------
    sources : dict of dict
        As in :func:`prepare_sources`; entries without stores are skipped.
    stores : dict of dict of SpeakerStore
        By source and split.
    features : features plugin
        Converts frames to samples.
    min_frames, max_frames : int
        Lengths of the partial utterances of a source that has no others.
    degraded_share : float
        Share of the partial utterances that are of degraded copies.
    """
    return [
        Source(
            name,
            _with_right_labels(name, entry, stores[name]["train"]),
            entry["num_speakers"],
            entry["num_utterances"],
            entry["weight"],
            features.num_samples(entry.get("min_frames", min_frames)),
            features.num_samples(entry.get("max_frames", max_frames)),
            features.hop_length,
            entry.get("min_utterances", 2),
            degraded_share,
        )
        for name, entry in sources.items()
        if name in stores
    ]


def _with_right_labels(name: str, entry: dict, store: SpeakerStore) -> Store:
    limits = {key: entry[key] for key in ("merge_above", "drop_below") if entry.get(key) is not None}
    if not limits:
        return store
    if store.targets is None:
        logger.warning(
            "The labels of the source %s are not corrected, since that needs the d-vectors of a teacher.", name
        )
        return store
    return relabelled(store, store.targets[:, 0], **limits)
