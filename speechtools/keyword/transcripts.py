"""Transcribed speech for a keyword detector: read, divide the speakers, and keep recordings with their texts in stores.

Recordings stay whole but for the silence at their ends: a detector hears pauses, too.
"""

import functools
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from speechtools import audio
from speechtools.audio.frames import frame_counts
from speechtools.core.checks import check_number, checked_by
from speechtools.core.errors import AudioError, CorpusError
from speechtools.core.files import fingerprint
from speechtools.core.plugin_code import fingerprints_of_plugins
from speechtools.corpora.reading import check_corpora, describe_speech, each_corpus
from speechtools.corpora.splits import can_only_train, split_speakers
from speechtools.corpora.utterance import Utterance
from speechtools.keyword.tokens import ALPHABET, SentencePieceTokens, normalized
from speechtools.speaker.data import (
    SPLITS,
    SpeechCutter,
    check_degradations,
    check_shares,
    degradation_noises,
    fewer_utterances,
    options_of_copies,
    paired,
)
from speechtools.speaker.shards import SpeakerSets, make_stores
from speechtools.speaker.store import SpeakerStore

logger = logging.getLogger(__name__)

#: Increased when a change of the code makes other files from the same options.
VERSION = 1
#: Kept of the silence before and after the speech (s).
_SILENCE = 0.3


def _check(
    corpus: str | Sequence[str],
    data_folder: str | Path | Sequence[str | Path],
    corpus_options: dict[str, dict] | None,
    heldout_share: float,
    valid_share: float,
    max_seconds: float,
    max_utterances: int | None,
    sample_rate: int,
    seed: int,
    degradations: Sequence[str],
    degraded_copies: int,
) -> None:
    """Check arguments of :func:`prepare`."""
    check_number("max_seconds", max_seconds, 0, above=True)
    check_number("data_seed", seed, 0, whole=True)
    if max_utterances is not None:
        check_number("max_utterances", max_utterances, 1, whole=True)
    check_shares(heldout_share=heldout_share, valid_share=valid_share)
    check_degradations(degradations, degraded_copies, sample_rate)
    check_corpora(*paired(corpus, data_folder), corpus_options)


@checked_by(_check)
def prepare(
    corpus: str | Sequence[str] = "builtin-phrases",
    data_folder: str | Path | Sequence[str | Path] = "",
    save_folder: str | Path = "prepared",
    corpus_options: dict[str, dict] | None = None,
    alphabet: str = ALPHABET,
    heldout_share: float = 0.1,
    valid_share: float = 0.05,
    max_seconds: float = 12.0,
    max_utterances: int | None = None,
    sample_rate: int = 16000,
    seed: int = 0,
    num_workers: int | None = None,
    degradations: Sequence[str] = (),
    degraded_copies: int = 0,
    noise_folder: str | Path | Sequence[str | Path] = "",
    noises_left_out: Sequence[str] = (),
) -> SpeakerSets:
    """Make the stores of training, validation and test, with no speaker in two of them, or find them.

    Utterances without a text, or with characters that are not in the alphabet, such as digits, are left out.

    Parameters
    ----------
    corpus, data_folder : str or sequence of str
        Name of a corpus reader and its folder; or several folders, or lists of equal length, to join several corpora.
    save_folder : str or Path
        The stores are in a subfolder named after the fingerprint of all these options.
    corpus_options : dict of dict, optional
        Further arguments of readers, by their names.
    alphabet : str
        The characters of the transcripts in lower case, besides the blank between words.
    heldout_share, valid_share : float
        Share of the speakers for the test, if a corpus has no test speakers; and of the training speakers for
        validation, if it has none for that.
    max_seconds : float
        Longer recordings are rejected.
    max_utterances : int, optional
        Most utterances of a speaker; more are left out at random.
    sample_rate : int
        In Hz.
    seed : int
        Seeds the division of the speakers and the degraded copies.
    num_workers : int, optional
        Processes; by default one a core.
    degradations, degraded_copies, noise_folder, noises_left_out
        As in :func:`speechtools.speaker.data.prepare`.

    Returns
    -------
    SpeakerSets
        The texts are in the column ``keyword`` of the manifests.

    Raises
    ------
    ConfigError
        An option is out of range.
    CorpusError
        A corpus cannot be read or has no usable text, a set has fewer than two speakers, or the disk is full.
    """
    corpora, folders = paired(corpus, data_folder)
    options: dict[str, Any] = {
        "corpus": corpora,
        "data_folder": folders,
        "corpus_options": corpus_options or {},
        "alphabet": alphabet,
        "heldout_share": heldout_share,
        "valid_share": valid_share,
        "max_seconds": max_seconds,
        "max_utterances": max_utterances,
        "sample_rate": sample_rate,
        "seed": seed,
    }
    options |= options_of_copies(degradations, degraded_copies, noise_folder, noises_left_out)
    if plugins := fingerprints_of_plugins([f"corpus/{name}" for name in corpora]):
        options["plugins"] = plugins
    folder = Path(save_folder).absolute() / f"transcripts-{fingerprint(options | {'version': VERSION})}"
    sets = SpeakerSets({split: folder / f"{split}.csv" for split in SPLITS}, describe_speech(sorted(set(corpora))))
    if sets.manifests["train"].exists():  # written last
        logger.info("The sets in %s are complete and used as they are: %s", folder, sets.origin)
        return sets
    shares = heldout_share, valid_share
    _check(
        corpora,
        folders,
        corpus_options,
        *shares,
        max_seconds,
        max_utterances,
        sample_rate,
        seed,
        degradations,
        degraded_copies,
    )
    logger.info("Preparing the sets in %s: %s", folder, sets.origin)
    groups: dict[str, list[Utterance]] = {split: [] for split in SPLITS}
    for name, utterances in zip(corpora, each_corpus(corpora, folders, corpus_options), strict=True):
        usable = with_usable_texts(utterances, alphabet, name)
        if max_utterances is not None:
            usable = fewer_utterances(usable, max_utterances, seed)
        alone = can_only_train(usable, len(corpora))
        divided = {"train": usable} if alone else split_speakers(usable, *shares, seed, valid_from="train")
        for split, members in divided.items():
            groups[split] += members
    noises = degradation_noises(noise_folder, noises_left_out) if degraded_copies else []
    cutter = functools.partial(RecordingCutter, max_seconds, sample_rate, degradations, degraded_copies, noises, seed)
    remedy = "Use corpora of more speakers, or change heldout_share and valid_share."
    make_stores(groups, sets, cutter, options, remedy, num_workers)
    return sets


def with_usable_texts(utterances: Sequence[Utterance], alphabet: str, corpus: str) -> list[Utterance]:
    """The utterances with a text of the alphabet alone, which is normalised.

    Raises
    ------
    CorpusError
        No utterance has such a text.
    """
    letters, usable, others = set(alphabet) | {" "}, [], Counter[str]()
    for utterance in utterances:
        text = normalized(utterance.text or "")
        if text and set(text) <= letters:
            usable.append(replace(utterance, text=text))
        else:
            others.update(sorted(set(text) - letters)[:1] or ["(no text)"])
    if not usable:
        raise CorpusError(
            f"The corpus {corpus} has no text in the alphabet {alphabet!r}. Use one with transcripts, or set alphabet."
        )
    if others:
        kinds = ", ".join(f"{count} for {character!r}" for character, count in others.most_common(5))
        logger.info("%s: %d utterances are left out: %s.", corpus, sum(others.values()), kinds)
    return usable


class RecordingCutter(SpeechCutter):
    """Cuts the silence at the ends of a recording, but for a little; raises AudioError if it is silent or too long."""

    has_keywords = True

    def __init__(self, max_seconds: float, sample_rate: int, *degradations: Any):
        super().__init__("energy", 0.0, sample_rate, *degradations)
        self.max_seconds = max_seconds

    def __call__(self, utterance: Utterance) -> np.ndarray:
        """Return the samples (samples,) of an utterance."""
        samples = audio.read(utterance.path, self.sample_rate)
        audio.check_signal(samples, utterance.path)
        samples = samples - samples.mean()
        speech = np.flatnonzero(self.detector(torch.from_numpy(samples).unsqueeze(0))[0].numpy())
        if not len(speech):
            raise AudioError("The recording contains no speech.")
        kept, hop = round(_SILENCE * self.sample_rate), self.detector.hop_length
        samples = samples[max(0, speech[0] * hop - kept) : (speech[-1] + 1) * hop + kept]
        seconds = len(samples) / self.sample_rate
        if seconds > self.max_seconds:
            raise AudioError(f"{seconds:.2f} s, more than max_seconds={self.max_seconds}.")
        return samples


class Item(NamedTuple):
    """An utterance of :class:`TranscribedSpeech`, for loaders: its length in seconds."""

    duration: float


class TranscribedSpeech(Dataset):
    """The utterances of a store, and in training each degraded copy, with their tokens.

    Parameters
    ----------
    store : SpeakerStore
    tokens : SentencePieceTokens
    sample_rate : int
    copies : bool
        Whether degraded copies are items, too.
    """

    def __init__(self, store: SpeakerStore, tokens: SentencePieceTokens, sample_rate: int, copies: bool = False):
        self.store, self.num_versions = store, store.num_versions if copies else 1
        self.tokens = [tokens.encode(text) for text in store.keywords]
        self.rows = [Item(int(count) / sample_rate) for count in store.num_samples] * self.num_versions

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, number: int) -> dict[str, Any]:
        version, utterance = divmod(number, len(self.store))
        samples = torch.from_numpy(self.store.read(utterance, version=version).astype(np.float32) / 2**15)
        return {"wav": samples, "tokens": self.tokens[int(self.store.keyword[utterance])]}


def joined(wavs: Tensor, lens: Tensor, tokens: Sequence[Tensor]) -> tuple[Tensor, Tensor, list[Tensor]]:
    """Put two utterances of a batch in a row, so that a network that hears streams also begins after speech.

    Parameters
    ----------
    wavs, lens : Tensor
        (batch, samples), and relative lengths (batch,).
    tokens : sequence of Tensor
        (tokens,) of each utterance.

    Returns
    -------
    wavs, lens : Tensor
        (half of the batch, more samples), and relative lengths.
    tokens : list of Tensor

    Examples
    --------
    >>> wavs = torch.tensor([[1.0, 2.0], [3.0, 0.0], [4.0, 5.0]])
    >>> joined(wavs, torch.tensor([1.0, 0.5, 1.0]), [torch.tensor([1]), torch.tensor([2]), torch.tensor([3])])
    (tensor([[1., 2., 4., 5.],
            [3., 0., 0., 0.]]), tensor([1.0000, 0.2500]), [tensor([1, 3]), tensor([2])])
    """
    counts, half = frame_counts(wavs, lens).tolist(), (len(wavs) + 1) // 2
    rows = [[wav[:count] for wav, count in zip(wavs[k::half], counts[k::half], strict=True)] for k in range(half)]
    pairs = [torch.cat(row) for row in rows]
    padded = pad_sequence(pairs, batch_first=True)
    lengths = torch.tensor([len(pair) for pair in pairs], device=lens.device, dtype=lens.dtype)
    return padded, lengths / padded.shape[1], [torch.cat(list(tokens[k::half])) for k in range(half)]


def random_gains(wavs: Tensor, gain_db: float) -> Tensor:
    """Scale each of wavs (batch, samples) by a gain between -gain_db and gain_db, drawn uniformly in dB."""
    decibels = gain_db * (2 * torch.rand(len(wavs), 1, device=wavs.device) - 1)
    return wavs * 10 ** (decibels / 20)
