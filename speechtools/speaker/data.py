"""From a corpus to stores of speech for GE2E: read, divide the speakers, keep only the speech (paper, section 3).

Audio is decoded, resampled and cut by voice activity detection once, so that training only slices it. A killed run
keeps its finished shards, and a folder with all its manifests is used as it is.
"""

import functools
import hashlib
import logging
from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import numpy as np
import torch

from speechtools import audio
from speechtools.audio.vad import speech_samples
from speechtools.core.checks import check_number, checked_by, naming
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.files import fingerprint
from speechtools.core.plugin_code import fingerprints_of_plugins
from speechtools.core.registry import build
from speechtools.corpora.builtin import builtin_noises
from speechtools.corpora.reading import absolute_folder, check_corpora, describe_speech, each_corpus
from speechtools.corpora.splits import select_noises, split_speakers
from speechtools.corpora.utterance import Utterance
from speechtools.degradations.chain import Chain
from speechtools.degradations.noise import PEAK_LIMIT, read_noise_types
from speechtools.speaker.shards import SpeakerSets, make_stores

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
#: Increased when a change of the code makes other files from the same options.
VERSION = 1


def listed(folder: str | Path | Sequence[str | Path]) -> list[str | Path]:
    """One folder or several as a list."""
    return [folder] if isinstance(folder, (str, Path)) else list(folder)


def _check(
    corpus: str | Sequence[str],
    data_folder: str | Path | Sequence[str | Path],
    corpus_options: dict[str, dict] | None,
    vad: str,
    heldout_share: float,
    valid_share: float,
    min_seconds: float,
    sample_rate: int,
    seed: int,
    max_utterances: int | None = None,
    degradations: Sequence[str] = (),
    degraded_copies: int = 0,
    noise_folder: str | Path | Sequence[str | Path] = "",
) -> None:
    """Check arguments of :func:`prepare`."""
    check_number("min_seconds", min_seconds, 0, above=True)
    if max_utterances is not None:
        check_number("max_utterances", max_utterances, 1, whole=True)
    check_degradations(degradations, degraded_copies, sample_rate)
    check_number("data_seed", seed, 0, whole=True)
    check_shares(heldout_share=heldout_share, valid_share=valid_share)
    with naming("vad_name"):
        build(f"vad/{vad}", offered={"sample_rate": sample_rate})
    check_corpora(*paired(corpus, data_folder), corpus_options)


def paired(corpus: str | Sequence[str], data_folder: str | Path | Sequence[str | Path]) -> tuple[list[str], list[str]]:
    """Names of readers, and the absolute folder of each."""
    folders = [absolute_folder(folder) for folder in listed(data_folder)]
    return [corpus] * len(folders) if isinstance(corpus, str) else list(corpus), folders


def options_of_copies(
    degradations: Sequence[str],
    degraded_copies: int,
    noise_folder: str | Path | Sequence[str | Path],
    noises_left_out: Sequence[str],
) -> dict[str, Any]:
    """What the name of a store depends on if it has degraded copies."""
    if not degraded_copies:
        return {}
    noises = {"noise_folder": list(map(str, listed(noise_folder))), "noises_left_out": list(noises_left_out)}
    return {"degradations": list(degradations), "degraded_copies": degraded_copies, **noises}


def check_degradations(degradations: Sequence[str], degraded_copies: int, sample_rate: int) -> None:
    """Raise ConfigError unless the chains can be built, and there are some if copies are wanted."""
    check_number("degraded_copies", degraded_copies, 0, whole=True)
    if degraded_copies and not degradations:
        raise ConfigError(f"degraded_copies={degraded_copies}, but degradations is empty. List some chains.")
    for chain in degradations:
        with naming("degradations"):
            Chain(chain, sample_rate)


@checked_by(_check)
def prepare(
    corpus: str | Sequence[str] = "builtin",
    data_folder: str | Path | Sequence[str | Path] = "",
    save_folder: str | Path = "prepared",
    corpus_options: dict[str, dict] | None = None,
    vad: str = "energy",
    heldout_share: float = 0.25,
    valid_share: float = 0.1,
    min_seconds: float = 0.4,
    sample_rate: int = 16000,
    seed: int = 0,
    num_workers: int | None = None,
    num_train_speakers: int = 0,
    name: str = "",
    max_utterances: int | None = None,
    heldout: Sequence[str] = (),
    verified: bool = True,
    degradations: Sequence[str] = (),
    degraded_copies: int = 0,
    noise_folder: str | Path | Sequence[str | Path] = "",
    noises_left_out: Sequence[str] = (),
) -> SpeakerSets:
    """Make the stores of training, validation and test, with no speaker in two of them, or find them.

    Parameters
    ----------
    corpus, data_folder : str or sequence of str
        Name of a corpus reader and its folder; or several folders, or lists of equal length, to join several corpora.
    save_folder : str or Path
        The stores are in a subfolder named after the fingerprint of all these options.
    corpus_options : dict of dict, optional
        Further arguments of readers, by their names.
    vad : str
        Name of a voice activity detector.
    heldout_share, valid_share : float
        Share of the speakers for the test, if the corpus has no test speakers; and of the training speakers for
        validation, if it has none for that.
    min_seconds : float
        Utterances with less speech are rejected.
    sample_rate : int
        In Hz.
    seed : int
        Seeds the division of the speakers.
    num_workers : int, optional
        Processes; by default one a core.
    num_train_speakers : int
        Training speakers that a step needs. Fewer are refused before recordings are decoded.
    name : str
        Of the speech, for the folder and for results.
    max_utterances : int, optional
        Most utterances of a speaker; more are left out at random.
    heldout : sequence of str
        Shell-style patterns of ids. The speakers with such an utterance are for the test, and no others. Without
        these, and with ``heldout_share`` 0, no speaker is for the test, unless the corpus has test speakers.
    verified : bool
        False: all speakers train, as where each has a single recording.
    degradations : sequence of str
        Chains, as in :func:`~speechtools.degradations.chain.parse_chain`, one of which is drawn for each copy.
    degraded_copies : int
        Degraded copies of every training utterance.
    noise_folder : path or sequence of path
        Noises for the chains; ``builtin`` or empty: the generated ones.
    noises_left_out : sequence of str
        Patterns of noise types that the chains do not use, such as those of a test.

    Raises
    ------
    ConfigError
        An option is out of range, or there are fewer training speakers than a step needs.
    CorpusError
        The corpus cannot be read, a split has fewer than two speakers, or the disk is full.
    """
    corpora, folders = paired(corpus, data_folder)
    options: dict[str, Any] = {
        "corpus": corpora,
        "data_folder": folders,
        "corpus_options": corpus_options or {},
        "vad": vad,
        "heldout_share": heldout_share,
        "valid_share": valid_share,
        "min_seconds": min_seconds,
        "sample_rate": sample_rate,
        "seed": seed,
    }
    if max_utterances is not None or heldout:  # the names of stores of earlier versions have none of these
        options |= {"max_utterances": max_utterances, "heldout": list(heldout)}
    if not verified:
        options["verified"] = False
    options |= options_of_copies(degradations, degraded_copies, noise_folder, noises_left_out)
    if plugins := fingerprints_of_plugins([*(f"corpus/{name}" for name in corpora), f"vad/{vad}"]):
        options["plugins"] = plugins
    prefix = f"speakers-{name}-" if name else "speakers-"
    folder = Path(save_folder).absolute() / f"{prefix}{fingerprint(options | {'version': VERSION})}"
    origin = f"{describe_speech(sorted(set(corpora)))} ({name})" if name else describe_speech(corpora)
    found = SpeakerSets({split: folder / f"{split}.csv" for split in SPLITS}, origin)
    if found.manifests["train"].exists():  # written last
        present = {split: path for split, path in found.manifests.items() if path.exists()}
        logger.info("The sets in %s are complete and used as they are: %s", folder, origin)
        return SpeakerSets(present, origin)
    _check(
        corpora,
        folders,
        corpus_options,
        vad,
        heldout_share,
        valid_share,
        min_seconds,
        sample_rate,
        seed,
        max_utterances,
        degradations,
        degraded_copies,
    )
    logger.info("Preparing the sets in %s: %s", folder, origin)

    groups: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    for number, utterances in enumerate(each_corpus(corpora, folders, corpus_options)):
        if max_utterances is not None:
            utterances = fewer_utterances(utterances, max_utterances, seed)
        if heldout:
            before = f"{corpora[number]}{number}-" if len(corpora) > 1 else ""
            utterances = with_heldout(utterances, heldout, before)
        divided = {"train": utterances}
        if verified:
            shares = heldout_share, valid_share, seed
            divided = split_speakers(utterances, *shares, valid_from="train", needs_test=not name)
        for split, members in divided.items():
            groups[split] += members
    if heldout and not groups["test"]:
        raise ConfigError(f"heldout={list(heldout)}: no utterance has such an id. Correct the patterns.")
    num_speakers = len({utterance.speaker for utterance in groups["train"]})
    if num_speakers < num_train_speakers:
        raise ConfigError(
            f"A training step needs {num_train_speakers} speakers, but the training set has only {num_speakers}. Lower "
            "speakers_per_batch."
        )
    groups = {split: members for split, members in groups.items() if members}
    sets = SpeakerSets({split: found.manifests[split] for split in groups}, origin)
    noises: list[Path] = []
    if degraded_copies:
        noises = degradation_noises(noise_folder, noises_left_out)
    cutter = functools.partial(SpeechCutter, vad, min_seconds, sample_rate, degradations, degraded_copies, noises, seed)
    remedy = "Use a corpus of more speakers, or change heldout_share and valid_share."
    make_stores(groups, sets, cutter, options, remedy, num_workers)
    return sets


def fewer_utterances(utterances: list[Utterance], most: int, seed: int) -> list[Utterance]:
    """At most so many utterances of each speaker, drawn by the seed, in their order."""
    by_speaker: dict[str, list[int]] = {}
    for place, utterance in enumerate(utterances):
        by_speaker.setdefault(utterance.speaker, []).append(place)
    rng = np.random.default_rng([seed, 11])
    kept = {place for places in by_speaker.values() for place in rng.permutation(places)[:most].tolist()}
    return [utterance for place, utterance in enumerate(utterances) if place in kept]


def with_heldout(utterances: list[Utterance], patterns: Sequence[str], prefix: str = "") -> list[Utterance]:
    """The utterances with the split ``test`` for the speakers that patterns of utterance ids select, else no test.

    >>> from pathlib import Path
    >>> utterances = [Utterance(utt_id, utt_id[:2], "", Path("x.wav"), 1.0) for utt_id in ("pt_1", "de_1")]
    >>> [utterance.split for utterance in with_heldout(utterances, ["pt_*"])]
    ['test', 'train']
    """
    names = {utterance.utt_id: utterance.utt_id.removeprefix(prefix) for utterance in utterances}
    selected = {
        utterance.speaker
        for utterance in utterances
        if any(fnmatchcase(names[utterance.utt_id], pattern) for pattern in patterns)
    }
    roles = {True: "test", False: "train"}
    return [replace(utterance, split=roles[utterance.speaker in selected]) for utterance in utterances]


def degradation_noises(folder: str | Path | Sequence[str | Path], left_out: Sequence[str] = ()) -> list[Path]:
    """The noise recordings of a folder or several, without the types that match patterns; empty: the built-in ones."""
    folders = listed(folder) or [""]
    types = read_noise_types([builtin_noises() if str(path) in ("", "builtin") else path for path in folders])
    unused = select_noises(types, list(left_out), "noises_left_out") if left_out else {}
    return [path for name, paths in types.items() if name not in unused for path in paths]


def check_shares(**shares: float) -> None:
    """Raise ConfigError unless every option is a share of the speakers that leaves some to train on."""
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ConfigError(
                f"{name}={share} is not a share of the speakers. Use a value from 0 to below 1, such as 0.1."
            )


class SpeechCutter:
    """Cuts an utterance to its speech (samples,); raises AudioError if there is too little.

    :meth:`degraded` applies one of the chains, drawn by the seed, the id of the utterance and the number of the copy.
    """

    has_keywords = False

    def __init__(
        self,
        vad: str,
        min_seconds: float,
        sample_rate: int,
        degradations: Sequence[str] = (),
        num_copies: int = 0,
        noises: Sequence[Path] = (),
        seed: int = 0,
    ):
        self.detector = build(f"vad/{vad}", offered={"sample_rate": sample_rate})
        self.min_seconds, self.sample_rate, self.num_copies, self.seed = min_seconds, sample_rate, num_copies, seed
        self.chains = [Chain(chain, sample_rate, noises) for chain in degradations] if num_copies else []

    def __call__(self, utterance: Utterance) -> np.ndarray:
        """Return the speech (samples,) of an utterance."""
        samples = speech_of(utterance.path, self.detector, self.sample_rate)
        seconds = len(samples) / self.sample_rate
        if seconds < self.min_seconds:
            raise AudioError(f"{seconds:.2f} s of speech, less than min_seconds={self.min_seconds}.")
        return samples

    def degraded(self, samples: np.ndarray, utterance: Utterance, copy: int) -> np.ndarray:
        """Return a degraded copy (samples,) of the speech of an utterance."""
        digest = hashlib.sha256(f"{self.seed} {copy} {utterance.utt_id}".encode()).digest()
        rng = np.random.default_rng(int.from_bytes(digest[:8], "big"))
        chain = self.chains[int(rng.integers(len(self.chains)))]
        degraded = chain(samples, rng)
        return degraded * min(1.0, PEAK_LIMIT / max(float(np.abs(degraded).max()), PEAK_LIMIT))


def speech_of(path: str | Path, detector: Any, sample_rate: int = 16000) -> np.ndarray:
    """The speech (samples,) in an audio file, without pauses, by a ``detector`` of the kind ``vad``.

    Raises
    ------
    AudioError
        The file cannot be read, is truncated or silent.
    """
    samples = audio.read(path, sample_rate)
    audio.check_signal(samples, path)
    wav = torch.from_numpy(samples)
    return speech_samples(wav, detector(wav.unsqueeze(0))[0], detector.hop_length).numpy()
