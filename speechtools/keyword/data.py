"""Sources of keywords: read, divide the speakers, cut the segment with the keyword (GE2E paper, 2.3 and 3).

The speakers of the first source are divided, and its held-out speakers are verified. The other sources only add
speakers to the training.
"""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechtools import audio
from speechtools.core.checks import checked_by, naming
from speechtools.core.errors import AudioError, ConfigError, CorpusError, SpeechtoolsError
from speechtools.core.files import fingerprint
from speechtools.core.plugin_code import fingerprints_of_plugins
from speechtools.core.pretrained import find_folder
from speechtools.core.registry import build, find
from speechtools.core.spelling import did_you_mean
from speechtools.corpora.reading import absolute_folder
from speechtools.corpora.utterance import Utterance
from speechtools.keyword.inference import KeywordDetector
from speechtools.keyword.labels import check_labels, relabelled
from speechtools.speaker.data import SPLITS, check_shares
from speechtools.speaker.multireader import Source
from speechtools.speaker.shards import SpeakerSets, make_stores
from speechtools.speaker.store import SpeakerStore

logger = logging.getLogger(__name__)

#: Increased when a change of the code makes other files from the same options.
VERSION = 1


def _check(
    sources: dict[str, dict],
    segment: str,
    segment_seconds: float,
    test_splits: str | Sequence[str],
    heldout_share: float,
    valid_share: float,
    sample_rate: int,
    detector: str = "",
) -> None:
    """Check arguments of :func:`prepare_sources`."""
    if detector:
        KeywordDetector.from_hparams(detector, run_opts={"device": "cpu"})
    check_shares(heldout_share=heldout_share, valid_share=valid_share)
    _check_sources(sources, [test_splits] if isinstance(test_splits, str) else list(test_splits))
    for source in sources.values():
        seconds = source.get("segment_seconds", segment_seconds)
        with naming("segment"):
            build(f"segment/{segment}", seconds=seconds, offered={"sample_rate": sample_rate})


@checked_by(_check)
def prepare_sources(
    sources: dict[str, dict],
    save_folder: str | Path = "prepared",
    segment: str = "energy",
    segment_seconds: float = 0.8,
    test_splits: str | Sequence[str] = ("test",),
    heldout_share: float = 0.25,
    valid_share: float = 0.1,
    sample_rate: int = 16000,
    seed: int = 0,
    num_workers: int | None = None,
    detector: str = "",
) -> dict[str, SpeakerSets]:
    """Make the stores of all sources, of segments of one length, or find them.

    Parameters
    ----------
    sources : dict of dict
        By name, for each source: ``corpus``, the name of a reader; ``data_folder``, empty for the reader's own;
        ``options``, which are passed to the reader where it has a parameter of that name; ``segment_seconds``, if its
        segments have another length. A source with the ``weight`` 0 is skipped, except for the first.
    save_folder : str or Path
        The stores of a source are in a subfolder named after it and the fingerprint of its options.
    segment, segment_seconds : str, float
        Name of the plugin that finds the keyword, and the length to cut (0.8 s in the paper).
    test_splits : str or sequence of str
        Splits of the first corpus whose speakers are verified in the test. Without ``test``, its speakers train.
    heldout_share, valid_share : float
        Share of the first source's speakers for the test, if its corpus has no test speakers; and of the training
        speakers for validation, if it has none for that. Without speakers for validation, the training speakers
        validate, and the threshold is that of voices in training.
    sample_rate : int
        In Hz.
    seed : int
        Seeds the division of the speakers.
    num_workers : int, optional
        Processes; by default one a core.
    detector : str
        A trained keyword detector, as its folder, or ``keyword-detector`` (bundled). It finds where keywords end, as
        in the paper, and recordings in which it does not hear the keyword are rejected. Empty: ``segment`` alone finds
        them.

    Returns
    -------
    dict of str to SpeakerSets
        By name: train, valid and test of the first source, and train of the others.

    Raises
    ------
    ConfigError
        There is no source, one has no corpus, or a share or split is impossible.
    CorpusError
        A corpus cannot be read, has no keywords or none that a speaker repeats, or a set has fewer than two speakers.
        The message names the source.
    """
    test_splits = [test_splits] if isinstance(test_splits, str) else list(test_splits)
    _check(sources, segment, segment_seconds, test_splits, heldout_share, valid_share, sample_rate, detector)
    hearing = {}
    if detector:
        detector = str(find_folder(detector).absolute())
        hearing = {"detector": KeywordDetector.from_hparams(detector, run_opts={"device": "cpu"}).model_id}
    prepared: dict[str, SpeakerSets] = {}
    heldout: set[str] = set()
    main = None  # corpus and folder of the first source
    for name, source in sources.items():
        if prepared and source.get("weight") == 0:
            logger.info("Source %s has the weight 0 and is skipped.", name)
            continue
        corpus, folder = source["corpus"], absolute_folder(source.get("data_folder") or "")
        corpus_options, seconds = source.get("options") or {}, source.get("segment_seconds", segment_seconds)
        options = {
            "corpus": corpus,
            "data_folder": folder,
            "corpus_options": corpus_options,
            "segment": segment,
            "segment_seconds": seconds,
            "sample_rate": sample_rate,
            "seed": seed,
            **hearing,
        }
        if plugins := fingerprints_of_plugins([f"corpus/{corpus}", f"segment/{segment}"]):
            options["plugins"] = plugins
        if main is None:
            options |= {"test_splits": test_splits, "heldout_share": heldout_share, "valid_share": valid_share}
        utterances = read_keywords(name, corpus, folder, corpus_options)
        # Speakers of the same corpus with the same name are the same people.
        skipped = heldout & {utterance.speaker for utterance in utterances}
        if skipped and (corpus, Path(folder).resolve()) == main:
            options["left_out"] = sorted(skipped)
            utterances = [utterance for utterance in utterances if utterance.speaker not in skipped]
            logger.info("Source %s: %d speakers are skipped, since they are verified.", name, len(skipped))
        root = Path(save_folder).absolute() / f"keywords-{name}-{fingerprint(options | {'version': VERSION})}"
        origin = f"built-in synthetic keywords ({name})" if corpus.startswith("builtin") else f"{corpus} ({name})"
        splits = SPLITS if main is None else ("train",)
        sets = SpeakerSets({split: root / f"{split}.csv" for split in splits}, origin)
        if main is None:
            groups = divided(name, utterances, test_splits, heldout_share, valid_share, seed)
            if "valid" not in groups:
                sets.manifests["valid"] = sets.manifests["train"]
                logger.warning("Source %s has no speakers for validation; the training speakers validate.", name)
        else:
            groups = {"train": [utterance for utterance in utterances if utterance.split in ("train", "")]}
        if not all(path.exists() for path in sets.manifests.values()):
            logger.info("Preparing the source %s in %s", name, root)
            cutter = functools.partial(SegmentCutter, segment, seconds, sample_rate, detector)
            remedy = "Use a corpus of more speakers, change heldout_share or valid_share, or lower segment_seconds."
            make_stores(groups, sets, cutter, {"source": name, **options}, remedy, num_workers)
        if main is None:
            main = corpus, Path(folder).resolve()
            # From the stores: the corpus may have grown since they were made, and would be divided differently.
            verified = {sets.manifests[split] for split in ("valid", "test")} - {sets.manifests["train"]}
            heldout = {speaker for manifest in verified for speaker in SpeakerStore(manifest).speakers}
        prepared[name] = sets
    return prepared


def _check_sources(sources: dict[str, dict], test_splits: Sequence[str]) -> None:
    if not sources:
        raise ConfigError("There are no sources to train on. Add at least one, as in hparams/multireader.yaml.")
    for split in test_splits:
        if split not in SPLITS:
            near = did_you_mean(split, SPLITS)
            raise ConfigError(f"test_splits={test_splits}: {split!r} is not one of {', '.join(SPLITS)}.{near}")
    for name, source in sources.items():
        if not source or "corpus" not in source:
            raise ConfigError(f"The source {name!r} has no corpus. Name its reader, as in corpus: keyword-folder.")
        with naming(f"labels of the source {name!r}"):
            check_labels(source.get("labels", "speaker"))
        with naming("corpus"):
            find(f"corpus/{source['corpus']}")


def training_sources(settings: dict[str, dict], stores: dict[str, dict[str, SpeakerStore]]) -> list[Source]:
    """The sources for a reader: the training stores, with the N, M and weight of their entries in the yaml.

    With ``labels: keyword`` or ``both``, N is of keywords, or of keywords of a speaker; see
    :mod:`speechtools.keyword.labels`. Entries without stores are skipped. Raises ConfigError if an entry has no N, M or
    weight, or unknown labels.
    """
    sources = []
    for name, entry in settings.items():
        if name not in stores:
            continue
        missing = [key for key in ("num_speakers", "num_utterances", "weight") if key not in entry]
        if missing:
            keys = " and no ".join(missing)
            raise ConfigError(f"The source {name!r} has no {keys}. Set them as in hparams/multireader.yaml.")
        store = relabelled(stores[name]["train"], entry.get("labels", "speaker"))
        length = int(store.num_samples[0])  # the same for all segments
        shape = entry["num_speakers"], entry["num_utterances"], entry["weight"]
        sources.append(Source(name, store, *shape, length, length))
    return sources


def read_keywords(name: str, corpus: str, folder: str, options: dict) -> list[Utterance]:
    """The utterances of a source's corpus, with keywords as texts; errors name the source."""
    arguments: dict[str, Any] = {"data_folder": folder} if folder else {}
    try:
        utterances = list(build(f"corpus/{corpus}", offered=options, **arguments))
    except SpeechtoolsError as error:
        raise type(error)(f"The source {name!r}: {error}") from error
    if wordless := [utterance.utt_id for utterance in utterances if not utterance.text]:
        missing = f"corpus/{corpus} has no keyword for {wordless[0]}"
        raise CorpusError(f"The source {name!r}: {missing}. Use a corpus of keywords, such as keyword-folder.")
    return utterances


def divided(
    name: str, utterances: list[Utterance], test_splits: list[str], heldout_share: float, valid_share: float, seed: int
) -> dict[str, list[Utterance]]:
    """Utterances for training, validation (if there are speakers for it) and test, with no speaker in two of them."""
    if len({(utterance.speaker, utterance.text) for utterance in utterances}) == len(utterances):
        raise CorpusError(
            f"The source {name!r}: no speaker repeats a text (such as {utterances[0].text!r}), but enrollment and "
            "verification need the same text. Use a corpus of keywords that each speaker says several times."
        )
    roles = {"test": "train"} | dict.fromkeys(test_splits, "test")
    split_of = {utterance.speaker: roles.get(utterance.split, utterance.split or "train") for utterance in utterances}
    rng = np.random.default_rng([seed, 5])
    for split, share in (("test", heldout_share), ("valid", valid_share)):
        if split not in split_of.values() and (split == "test" or share):
            free = sorted(speaker for speaker, current in split_of.items() if current == "train")
            for speaker in rng.permutation(free)[: max(2, round(share * len(free)))]:
                split_of[str(speaker)] = split
    groups: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    for utterance in utterances:
        groups[split_of[utterance.speaker]].append(utterance)
    if not groups["valid"]:
        del groups["valid"]
    if not groups["train"]:
        none = f"has {len(split_of)} speakers, of which none remains for training"
        raise CorpusError(f"The source {name!r} {none}. Use a corpus of more speakers, or lower heldout_share.")
    return groups


class SegmentCutter:
    """Cuts an utterance to the segment with its keyword, (samples,) of one length; raises AudioError.

    With a detector, the best place for the keyword must have at least the detector's threshold.
    """

    has_keywords = True
    num_copies, degraded = 0, None

    def __init__(self, segment: str, seconds: float, sample_rate: int, detector: str = ""):
        self.detector = KeywordDetector.from_hparams(detector, run_opts={"device": "cpu"}) if detector else None
        self.finder = build(f"segment/{segment}", seconds=seconds, offered={"sample_rate": sample_rate})
        self.sample_rate = sample_rate

    def __call__(self, utterance: Utterance) -> np.ndarray:
        """Return the segment (samples,) of an utterance that contains its keyword."""
        samples = audio.read(utterance.path, self.sample_rate)
        audio.check_signal(samples, utterance.path)
        end = None if utterance.keyword_end is None else round(utterance.keyword_end * self.sample_rate)
        if end is None and self.detector is not None:
            end = self._end(self.detector, samples, utterance.text or "")
        start = self.finder(torch.from_numpy(samples), end)
        segment = samples[start : start + self.finder.num_samples]
        if not segment.any():  # the corpus has a wrong time
            raise AudioError(f"The recording is silent where the keyword should end ({utterance.keyword_end} s).")
        return segment

    def _end(self, detector: KeywordDetector, samples: np.ndarray, keyword: str) -> int:
        """The last sample of a keyword, by the detector."""
        hits = detector.spot(samples, [keyword], sample_rate=self.sample_rate)
        if not hits:
            raise AudioError(f"The detector did not hear {keyword!r}.")
        best = max(hits, key=lambda hit: hit.score)
        return min(round(best.end * self.sample_rate), len(samples))
