"""Sources of keywords: read, divide the speakers, cut the segment that holds the keyword (GE2E paper, 2.3 and 3).

The first source is the one that counts: its held-out speakers are verified. The others lend their speakers to the
training alone.
"""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from speechtools import audio
from speechtools.core.errors import AudioError, ConfigError, CorpusError, SpeechtoolsError
from speechtools.core.files import fingerprint
from speechtools.core.registry import build, find
from speechtools.corpora.utterance import Utterance
from speechtools.keyword.multireader import Source
from speechtools.speaker.data import SPLITS, SpeakerSets, make_stores
from speechtools.speaker.store import SpeakerStore

logger = logging.getLogger(__name__)

#: Raised by one when a change of the code makes other files from the same options.
VERSION = 1


def prepare_sources(
    sources: dict[str, dict],
    save_folder: str | Path = "prepared",
    segment: str = "energy",
    segment_seconds: float = 0.8,
    test_splits: Sequence[str] = ("test",),
    heldout_share: float = 0.25,
    valid_share: float = 0.1,
    sample_rate: int = 16000,
    seed: int = 0,
    num_workers: int | None = None,
) -> dict[str, SpeakerSets]:
    """Make the stores of all sources, of segments of one length; or find them made.

    Parameters
    ----------
    sources : dict
        By name, for each source: ``corpus``, the name of a reader; ``data_folder``, empty for the reader's own;
        ``options``, which reach the reader where it has a parameter of their name; and ``segment_seconds``, where its
        segments are of another length. One whose ``weight`` is 0 is left out, but for the first.
    save_folder
        Here a folder for each source is made, named after it and the fingerprint of its options.
    segment, segment_seconds
        Name of the part that finds the keyword, and the length to be cut (the paper: 0.8 s).
    test_splits
        Splits of the first corpus whose speakers are verified in the test. If ``test`` is none of them, its speakers
        train.
    heldout_share, valid_share
        Share of the first source's speakers for the test, where its corpus has no test speakers; and of the training
        speakers for validation, where it has none for that. Without any, the training speakers validate: the
        threshold is then that of voices heard in training.

    Returns
    -------
    dict of str to SpeakerSets
        By name: of the first source train, valid and test, of the others train alone.

    Raises
    ------
    ConfigError
        No sources, one without a corpus, or a share or split that is impossible.
    CorpusError
        As the readers raise them; a corpus tells no keywords, or the first one sentences instead; a set is left
        without two speakers. The message names the source.
    """
    if not sources:
        raise ConfigError("There are no sources to train on: give at least one, as in hparams/multireader.yaml.")
    for key, share in (("heldout_share", heldout_share), ("valid_share", valid_share)):
        if not 0 <= share < 1:
            raise ConfigError(f"{key}={share} is a share of the speakers: give one from 0 to below 1, as in 0.1.")
    test_splits = [test_splits] if isinstance(test_splits, str) else list(test_splits)
    for split in test_splits:
        if split not in SPLITS:
            raise ConfigError(f"test_splits={test_splits}: {split!r} is no split. There are: {', '.join(SPLITS)}.")
    for name, source in sources.items():
        if not source or "corpus" not in source:
            raise ConfigError(f"The source {name!r} has no corpus. Name its reader, as in corpus: keyword-folder.")
        find(f"corpus/{source['corpus']}")
        seconds = source.get("segment_seconds", segment_seconds)
        build(f"segment/{segment}", seconds=seconds, offered={"sample_rate": sample_rate})

    made, heldout, first = {}, set(), None
    for name, source in sources.items():
        if made and source.get("weight") == 0:
            logger.info("Source %s has the weight 0: nothing of it is needed.", name)
            continue
        corpus, folder = source["corpus"], source.get("data_folder") or ""
        folder = str(Path(folder).expanduser().absolute()) if str(folder) else ""
        offered, seconds = source.get("options") or {}, source.get("segment_seconds", segment_seconds)
        common = {"segment": segment, "segment_seconds": seconds, "sample_rate": sample_rate, "seed": seed}
        cutter = functools.partial(SegmentCutter, segment, seconds, sample_rate)
        options = {"corpus": corpus, "data_folder": folder, "corpus_options": offered, **common}
        if first is None:
            options |= {"test_splits": test_splits, "heldout_share": heldout_share, "valid_share": valid_share}
        utterances = read_keywords(name, corpus, folder, offered)
        if (corpus, Path(folder).resolve()) == first:
            # The same people may be in two sources of one corpus.
            if left_out := heldout & {utterance.speaker for utterance in utterances}:
                options["left_out"] = sorted(left_out)
                logger.info("Source %s: %d speakers are left out, who are verified.", name, len(left_out))
        root = Path(save_folder).absolute() / f"keywords-{name}-{fingerprint(options | {'version': VERSION})}"
        splits = SPLITS if first is None else ("train",)
        origin = f"built-in synthetic keywords ({name})" if corpus.startswith("builtin") else f"{corpus} ({name})"
        sets = SpeakerSets({split: root / f"{split}.csv" for split in splits}, origin)
        if first is None:
            first = (corpus, Path(folder).resolve())
            groups = divided(name, utterances, test_splits, heldout_share, valid_share, seed)
            if "valid" not in groups:
                sets.manifests["valid"] = sets.manifests["train"]
                logger.warning("Source %s: no speakers are left for validation; those of the training validate.", name)
        else:
            kept = [u for u in utterances if u.split in ("train", "") and u.speaker not in options.get("left_out", ())]
            groups = {"train": kept}
        if not all(path.exists() for path in sets.manifests.values()):
            logger.info("Preparing the source %s in %s", name, root)
            remedy = "Use a corpus of more speakers, change heldout_share or valid_share, or lower segment_seconds."
            make_stores(groups, sets, cutter, {"source": name, **options}, remedy, num_workers)
        if not made:
            # Of the stores, not of the corpus, which may have grown since they were made, and be divided otherwise.
            verified = {sets.manifests[split] for split in ("valid", "test")} - {sets.manifests["train"]}
            heldout = {speaker for manifest in verified for speaker in SpeakerStore(manifest).speakers}
        made[name] = sets
    return made


def training_sources(settings: dict[str, dict], stores: dict[str, dict[str, SpeakerStore]]) -> list[Source]:
    """What a reader takes: the training stores, each with the N, M and weight that its entry in the yaml gives.

    A source without stores is one that was left out. Raises ConfigError where an entry lacks one of them.
    """
    found = []
    for name, entry in settings.items():
        if name not in stores:
            continue
        lacking = [key for key in ("num_speakers", "num_utterances", "weight") if key not in entry]
        if lacking:
            raise ConfigError(
                f"The source {name!r} has no {' and no '.join(lacking)}. Give speakers and utterances of its batches "
                "and the weight of its loss, as the other sources of hparams/multireader.yaml do."
            )
        store, shape = stores[name]["train"], (entry["num_speakers"], entry["num_utterances"], entry["weight"])
        length = int(store.num_samples[0])  # of all its segments
        found.append(Source(name, store, *shape, length, length))
    return found


def read_keywords(name: str, corpus: str, folder: str, options: dict) -> list[Utterance]:
    """The utterances of a source's corpus, each with its keyword as text; errors are told with the source's name."""
    arguments = {"data_folder": folder} if folder else {}
    try:
        utterances = list(build(f"corpus/{corpus}", offered=options, **arguments))
    except SpeechtoolsError as error:
        raise type(error)(f"The source {name!r}: {error}") from error
    silent = next((utterance for utterance in utterances if not utterance.text), None)
    if silent is not None:
        raise CorpusError(
            f"The source {name!r}: corpus/{corpus} does not tell which keyword {silent.utt_id} holds. Use a corpus of "
            "keywords, such as keyword-folder (keyword/speaker/file)."
        )
    return utterances


def divided(
    name: str,
    utterances: Sequence[Utterance],
    test_splits: Sequence[str],
    heldout_share: float,
    valid_share: float,
    seed: int,
) -> dict[str, list[Utterance]]:
    """Utterances of training, validation (where there are speakers for it) and test, no speaker in two of them."""
    if len({(utterance.speaker, utterance.text) for utterance in utterances}) == len(utterances):
        raise CorpusError(
            f"The source {name!r}: no speaker says anything twice ({utterances[0].text!r}, for instance), so nobody "
            "could be enrolled with a keyword and verified with it. Use a corpus of keywords, each said several times "
            "by each speaker."
        )
    split_of = {utterance.speaker: utterance.split or "train" for utterance in utterances}
    given = {"test": "train"} | dict.fromkeys(test_splits, "test")
    split_of = {speaker: given.get(split, split) for speaker, split in split_of.items()}
    rng = np.random.default_rng([seed, 5])
    for split, share in (("test", heldout_share), ("valid", valid_share)):
        if split not in split_of.values() and (split == "test" or share):
            free = sorted(speaker for speaker, of in split_of.items() if of == "train")
            for speaker in rng.permutation(free)[: max(2, round(share * len(free)))]:
                split_of[str(speaker)] = split
    groups: dict[str, list[Utterance]] = {"train": [], "valid": [], "test": []}
    for utterance in utterances:
        groups[split_of[utterance.speaker]].append(utterance)
    if not groups["valid"]:
        del groups["valid"]
    if not groups["train"]:
        raise CorpusError(
            f"The source {name!r} has {len(split_of)} speakers, and none of them is left to train on. Use a corpus of "
            "more speakers, or lower heldout_share and valid_share."
        )
    return groups


class SegmentCutter:
    """Cuts an utterance to the segment that holds its keyword: (samples,), of one length; raises AudioError."""

    has_keywords = True

    def __init__(self, segment: str, seconds: float, sample_rate: int):
        self.finder = build(f"segment/{segment}", seconds=seconds, offered={"sample_rate": sample_rate})
        self.sample_rate = sample_rate

    def __call__(self, utterance: Utterance) -> np.ndarray:
        samples = audio.read(utterance.path, self.sample_rate)
        audio.check_signal(samples, utterance.path)
        end = None if utterance.keyword_end is None else round(utterance.keyword_end * self.sample_rate)
        start = self.finder(torch.from_numpy(samples), end)
        held = samples[start : start + self.finder.num_samples]
        if not held.any():  # a corpus told the wrong place
            raise AudioError(f"There is silence where the keyword should end ({utterance.keyword_end} s).")
        return held
