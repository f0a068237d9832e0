"""Cutting long utterances into shorter ones, where they are quietest."""

import functools
import itertools
import math
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from speechtools import audio
from speechtools.core.errors import AudioError
from speechtools.core.jobs import map_in_processes
from speechtools.corpora.utterance import Utterance

_FRAME_SECONDS = 0.02
#: A cut may be so far from where equal pieces would meet, as a share of a piece.
_MAX_DISTANCE = 0.25


def cut_utterances(
    utterances: Sequence[Utterance],
    max_seconds: float,
    folder: str | Path,
    sample_rate: int,
    num_workers: int | None = None,
) -> list[Utterance]:
    """Replace utterances that are longer than ``max_seconds`` by pieces of them, which are written to ``folder``.

    An utterance that cannot be read stays as it is. Pieces that exist are used as they are.
    """
    folder = Path(folder)
    long = [utterance for utterance in utterances if utterance.duration > max_seconds]
    if not long:
        return list(utterances)
    folder.mkdir(parents=True, exist_ok=True)
    work = functools.partial(_cut, max_seconds=max_seconds, folder=folder, sample_rate=sample_rate)
    pieces = dict(zip((u.utt_id for u in long), map_in_processes(work, long, num_workers, "cutting"), strict=True))
    return [piece for utterance in utterances for piece in pieces.get(utterance.utt_id, [utterance])]


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
    cuts = quietest_cuts(samples, sample_rate, max_seconds)
    pieces = []
    for number, (start, end) in enumerate(itertools.pairwise(cuts)):
        name = f"{utterance.utt_id}-{number}"
        path = folder / f"{name.replace(os.sep, '_')}.wav"
        if not path.exists():
            audio.write(path, samples[start:end], sample_rate)
        piece = replace(utterance, utt_id=name, path=path, duration=(end - start) / sample_rate, text=None)
        pieces.append(piece)
    return pieces
