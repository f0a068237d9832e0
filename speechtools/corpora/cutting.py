"""Cutting long utterances into shorter ones, where they are quietest."""

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from speechtools import audio
from speechtools.core.errors import AudioError, CorpusError
from speechtools.core.jobs import map_in_processes
from speechtools.corpora.utterance import Utterance
from speechtools.degradations.noise import PEAK_LIMIT

_FRAME_SECONDS = 0.02
#: A cut may be so far from where equal pieces would meet, as a share of a piece.
_MAX_DISTANCE = 0.25
#: A piece has speech if this many seconds of it are within 30 dB of the loudest 20 ms of the utterance.
_MIN_SPEECH_SECONDS = 0.2
_SPEECH_DB = -30.0


def cut_utterances(
    utterances: Sequence[Utterance],
    max_seconds: float,
    folder: str | Path,
    sample_rate: int,
    num_workers: int | None = None,
) -> list[Utterance]:
    """Replace utterances that are longer than ``max_seconds`` by pieces of them, which are written to ``folder``.

    Pieces are named as in ``x-part0``. Those with less than 0.2 s of speech are left out. An utterance that cannot be
    read stays as it is. Pieces that exist are used as they are.

    Raises
    ------
    CorpusError
        A piece would have the id of another utterance; or it cannot be written.
    """
    folder = Path(folder)
    long = [utterance for utterance in utterances if utterance.duration > max_seconds]
    if not long:
        return list(utterances)
    folder.mkdir(parents=True, exist_ok=True)
    work = functools.partial(_cut, max_seconds=max_seconds, folder=folder, sample_rate=sample_rate)
    pieces = dict(zip((u.utt_id for u in long), map_in_processes(work, long, num_workers, "cutting"), strict=True))
    result = [piece for utterance in utterances for piece in pieces.get(utterance.utt_id, [utterance])]
    ids = set()
    for utterance in result:
        if utterance.utt_id in ids:
            raise CorpusError(f"A piece of an utterance would be named {utterance.utt_id!r}, as another is. Rename it.")
        ids.add(utterance.utt_id)
    return result


def quietest_cuts(samples: np.ndarray, sample_rate: int, max_seconds: float) -> list[int]:
    """Where to cut samples (samples,) into pieces of at most ``max_seconds``: positions in samples, ends included.

    Each cut is the quietest 20 ms near the place where pieces of equal length would meet.

    Examples
    --------
    >>> speech = np.ones(16000)
    >>> speech[7000:7400] = 0
    >>> quietest_cuts(speech, 16000, 0.8)
    [0, 7200, 16000]
    """
    frame = round(_FRAME_SECONDS * sample_rate)
    # A cut that is moved makes one of its pieces longer.
    count = math.ceil(len(samples) / (max_seconds * sample_rate / (1 + 2 * _MAX_DISTANCE)))
    size = len(samples) / count
    power = np.convolve(np.square(samples, dtype=np.float64), np.ones(frame), "same")
    cuts = [0]
    for number in range(1, count):
        low, high = (round((number + sign * _MAX_DISTANCE) * size) for sign in (-1, 1))
        middle = np.flatnonzero(power[low:high] <= power[low:high].min() + 1e-12)
        cuts.append(low + int(middle[len(middle) // 2]))
    return [*cuts, len(samples)]


def _cut(utterance: Utterance, max_seconds: float, folder: Path, sample_rate: int) -> list[Utterance]:
    try:
        samples = audio.read(utterance.path, sample_rate)
    except AudioError:
        return [utterance]
    samples = samples / max(1.0, float(np.abs(samples).max()) / PEAK_LIMIT)  # decoded MP3 exceeds 1
    cuts = quietest_cuts(samples, sample_rate, max_seconds)
    least = float(_powers(samples, sample_rate).max()) * 10 ** (_SPEECH_DB / 10)
    pieces = []
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        loud = np.count_nonzero(_powers(samples[start:end], sample_rate) >= least)
        if loud * _FRAME_SECONDS < _MIN_SPEECH_SECONDS:
            continue
        name = f"{utterance.utt_id}-part{number}"
        path = folder / f"{_file_name(name)}.wav"
        if not path.exists():
            audio.write(path, samples[start:end], sample_rate)
        piece = replace(
            utterance, utt_id=name, path=path, duration=(end - start) / sample_rate, text=None, keyword_end=None
        )
        pieces.append(piece)
    return pieces


def _powers(samples: np.ndarray, sample_rate: int) -> np.ndarray:
    """Power of frames of 20 ms of samples (samples,): (frames,)."""
    size = min(round(_FRAME_SECONDS * sample_rate), len(samples))
    frames = samples[: len(samples) // size * size].reshape(-1, size)  # (frames, size)
    return np.square(frames, dtype=np.float64).mean(axis=1)


def _file_name(name: str) -> str:
    """An id as the name of a file, which no other id has.

    >>> _file_name("a/b"), _file_name("a_b")
    ('a%2Fb', 'a_b')
    """
    for character in "%/\\":
        name = name.replace(character, f"%{ord(character):02X}")
    return name
