"""From a corpus to stores of speech for GE2E: read, divide the speakers, keep only the speech (paper, section 3).

Audio is decoded, resampled and cut by voice activity detection once, so that training only slices it. A killed run
keeps its finished shards, and a folder with all its manifests is used as it is.
"""

import functools
import logging
from collections.abc import Sequence
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
from speechtools.corpora.reading import absolute_folder, check_corpora, describe_speech, each_corpus
from speechtools.corpora.splits import split_speakers
from speechtools.corpora.utterance import Utterance
from speechtools.speaker.shards import SpeakerSets, make_stores

logger = logging.getLogger(__name__)

SPLITS = ("train", "valid", "test")
#: Increased when a change of the code makes other files from the same options.
VERSION = 1


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
) -> None:
    """Check arguments of :func:`prepare`."""
    check_number("min_seconds", min_seconds, 0, above=True)
    check_number("data_seed", seed, 0, whole=True)
    check_shares(heldout_share=heldout_share, valid_share=valid_share)
    with naming("vad_name"):
        build(f"vad/{vad}", offered={"sample_rate": sample_rate})
    corpora = [corpus] if isinstance(corpus, str) else list(corpus)
    check_corpora(corpora, [data_folder] if isinstance(data_folder, (str, Path)) else data_folder, corpus_options)


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
) -> SpeakerSets:
    """Make the stores of training, validation and test, with no speaker in two of them, or find them.

    Parameters
    ----------
    corpus, data_folder : str or sequence of str
        Name of a corpus reader and its folder; or lists of equal length, to join several corpora.
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

    Raises
    ------
    ConfigError
        An option is out of range, or there are fewer training speakers than a step needs.
    CorpusError
        The corpus cannot be read, a split has fewer than two speakers, or the disk is full.
    """
    folders = [data_folder] if isinstance(data_folder, (str, Path)) else list(data_folder)
    folders = [absolute_folder(folder) for folder in folders]
    corpora = [corpus] if isinstance(corpus, str) else list(corpus)
    options = {
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
    if plugins := fingerprints_of_plugins([*(f"corpus/{name}" for name in corpora), f"vad/{vad}"]):
        options["plugins"] = plugins
    folder = Path(save_folder).absolute() / f"speakers-{fingerprint(options | {'version': VERSION})}"
    sets = SpeakerSets({split: folder / f"{split}.csv" for split in SPLITS}, describe_speech(corpora))
    if all(path.exists() for path in sets.manifests.values()):
        logger.info("The sets in %s are complete and used as they are: %s", folder, sets.origin)
        return sets
    _check(corpora, folders, corpus_options, vad, heldout_share, valid_share, min_seconds, sample_rate, seed)
    logger.info("Preparing the sets in %s: %s", folder, sets.origin)

    groups: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    for utterances in each_corpus(corpora, folders, corpus_options):
        divided = split_speakers(utterances, heldout_share, valid_share, seed, valid_from="train")
        for split, members in divided.items():
            groups[split] += members
    num_speakers = len({utterance.speaker for utterance in groups["train"]})
    if num_speakers < num_train_speakers:
        raise ConfigError(
            f"A training step needs {num_train_speakers} speakers, but the training set has only {num_speakers}. Lower "
            "speakers_per_batch."
        )
    cutter = functools.partial(SpeechCutter, vad, min_seconds, sample_rate)
    remedy = "Use a corpus of more speakers, or change heldout_share and valid_share."
    make_stores(groups, sets, cutter, options, remedy, num_workers)
    return sets


def check_shares(**shares: float) -> None:
    """Raise ConfigError unless every option is a share of the speakers that leaves some to train on."""
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise ConfigError(
                f"{name}={share} is not a share of the speakers. Use a value from 0 to below 1, such as 0.1."
            )


class SpeechCutter:
    """Cuts an utterance to its speech (samples,); raises AudioError if there is too little."""

    has_keywords = False

    def __init__(self, vad: str, min_seconds: float, sample_rate: int):
        self.detector = build(f"vad/{vad}", offered={"sample_rate": sample_rate})
        self.min_seconds, self.sample_rate = min_seconds, sample_rate

    def __call__(self, utterance: Utterance) -> np.ndarray:
        """Return the speech (samples,) of an utterance."""
        samples = speech_of(utterance.path, self.detector, self.sample_rate)
        seconds = len(samples) / self.sample_rate
        if seconds < self.min_seconds:
            raise AudioError(f"{seconds:.2f} s of speech, less than min_seconds={self.min_seconds}.")
        return samples


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
