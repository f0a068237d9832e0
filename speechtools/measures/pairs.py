"""Recordings and their clean references: which belong together, and their scores by several measures."""

from collections.abc import Iterable, Sequence
from typing import TypedDict

import soxr

from speechtools import audio
from speechtools.audio.sources import AudioSource, Channel
from speechtools.core.errors import AudioError, ConfigError
from speechtools.measures import Measure, find_measure

#: Rounding to samples of another rate can make a difference of as many samples.
_ROUNDED_SAMPLES = 2


class PairScores(TypedDict):
    """The scores of a recording against its reference.

    ``seconds`` is its length, ``scores`` and ``reasons`` are by the name of the measure: what it returned, or why it
    returned nothing.
    """

    seconds: float
    scores: dict[str, float]
    reasons: dict[str, str]


def find_measures(names: Iterable[str]) -> list[Measure]:
    """Build measures that can be computed, and whose packages are installed.

    Raises
    ------
    ConfigError
        A measure is unknown, is named twice, or only listeners give its scores.
    SpeechtoolsError
        A package is not installed.

    Examples
    --------
    >>> [measure.name for measure in find_measures(["si-sdr", "raw_nb"])]
    ['si-sdr', 'pesq-raw']
    """
    measures: list[Measure] = []
    for name in names:
        measure = find_measure(name)
        if getattr(measure, "from_listeners", False):
            raise ConfigError(f"measure/{measure.name} cannot be computed: listeners give its scores. Leave it out.")
        if measure.name in (other.name for other in measures):
            raise ConfigError(f"The measure {measure.name} is named twice. Leave one out.")
        getattr(measure, "version", "")  # looks for the package
        measures.append(measure)
    return measures


def score_pair(measures: Sequence[Measure], reference: str, degraded: str, channel: Channel = "mix") -> PairScores:
    """Score a recording against its reference.

    Both are read at the lower of their sample rates. A measure that does not take it gets both at the highest rate that
    it takes.

    Parameters
    ----------
    measures : sequence of Measure
        Measures that can be computed.
    reference, degraded : str
        Paths.
    channel : int or "mix"
        A channel, counted from 0, or the mean of all.

    Raises
    ------
    AudioError
        A file cannot be read, or their lengths differ.
    """
    rates = [_sample_rate(path) for path in (reference, degraded)]
    rate = min(rates)
    clean, signal = (audio.read(path, rate, channel=channel) for path in (reference, degraded))
    # (samples,)
    if rates[0] != rates[1] and abs(len(clean) - len(signal)) <= _ROUNDED_SAMPLES:
        length = min(len(clean), len(signal))
        clean, signal = clean[:length], signal[:length]
    if len(clean) != len(signal):
        raise AudioError(
            f"It has {len(signal)} samples ({len(signal) / rate:.3f} s) and its reference {reference} {len(clean)} "
            f"({len(clean) / rate:.3f} s), at {rate} Hz. Cut or pad them to one length, aligned in time."
        )
    result = PairScores(seconds=len(signal) / rate, scores={}, reasons={})
    signals = {rate: (clean, signal)}
    for measure in measures:
        is_taken = measure.sample_rates is None or rate in measure.sample_rates
        score_rate = rate if is_taken else max(measure.sample_rates or ())
        if score_rate not in signals:
            signals[score_rate] = tuple(soxr.resample(samples, rate, score_rate) for samples in (clean, signal))
        try:
            result["scores"][measure.name] = float(measure(signals[score_rate][0], signals[score_rate][1], score_rate))
        except AudioError as error:
            result["reasons"][measure.name] = str(error)
    return result


def _sample_rate(path: str) -> int:
    """The lowest sample rate of a file in Hz."""
    return min(int(stream.rate) for stream in AudioSource(path, 16000).streams())
