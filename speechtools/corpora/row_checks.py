"""Checks that the rows of several manifests of degraded speech share; each yields one sentence per problem."""

import functools
from collections.abc import Iterator
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import AudioError, ConfigError
from speechtools.measures import find_measure

_find_measure = functools.cache(find_measure)  # rows by the hundred thousand have the same one

#: Durations are written with three digits or more.
TOLERANCE_SECONDS = 1e-3
#: PESQ does not clip at the lower end of its scale; see :mod:`speechtools.measures.pesq`.
BELOW_SCALE = 0.1
#: Beyond this (dB), either speech or noise is inaudible, and the number most likely a typing error.
MAX_SNR_DB = 100


def check_length(path: Path, duration: float) -> Iterator[str]:
    """Check that an audio file exists and is as long as its row says (s)."""
    try:
        seconds = audio.duration(path)
    except AudioError as error:
        yield str(error)
        return
    if abs(seconds - duration) > TOLERANCE_SECONDS:
        yield f"duration={duration:g}, but {path} is {seconds:.3f} s long."


def check_score(score: float, measure: str) -> Iterator[str]:
    """Check that a score lies in the range of its measure."""
    try:
        scale = _find_measure(measure)
    except ConfigError as error:
        yield f"measure={measure}: {error}"
        return
    if not scale.minimum - BELOW_SCALE <= score <= scale.maximum + 1e-3:
        yield (
            f"score={score:g} is outside the range of {measure}, {scale.minimum:g} to {scale.maximum:g}. "
            "Correct it; if the scores are on another scale, name that one (scale=mos, or the list's column measure)."
        )


def check_snr(snr_db: float) -> Iterator[str]:
    """Check that an SNR is plausible (dB)."""
    if abs(snr_db) > MAX_SNR_DB:
        yield f"snr_db={snr_db:g} is outside -{MAX_SNR_DB} to {MAX_SNR_DB} dB."
