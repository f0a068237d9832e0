"""Replace stretches of a recording by their enhanced version."""

import math
from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from speechtools.core.checks import check_number
from speechtools.core.errors import AudioError, ConfigError

#: Cross-fade between the enhanced and the original signal, which are aligned and correlated.
FADE_SECONDS = 0.03
#: A stretch is amplified by at most so much: in a pause, all that enhancement has removed would come back.
MAX_GAIN = 4.0
#: Start and end of each stretch in seconds.
Stretches: TypeAlias = Sequence[tuple[float, float]]


def replace_stretches(
    samples: np.ndarray,
    enhanced: np.ndarray,
    stretches: Stretches,
    sample_rate: int,
    fade: float = FADE_SECONDS,
    offset: float = 0.0,
) -> np.ndarray:
    """Take some stretches from the enhanced recording, and the rest from the original, bit by bit.

    Masks attenuate speech, too, so each stretch is amplified to the level at which it explains most of the original, in
    the sense of least squares: jumps of the level would cost more than the noise. It is limited to the peak of the
    original, or to 1, and cross-faded inside.

    Parameters
    ----------
    samples, enhanced : np.ndarray
        (samples,), of one length; ``enhanced`` without the DC offset of ``samples``.
    stretches : sequence of (start, end)
        In seconds. They may overlap, and end at ``math.inf``.
    sample_rate : int
        In Hz.
    fade : float
        Length of a cross-fade in seconds. There is none where a stretch begins at 0 or ends at infinity.
    offset : float
        The DC offset.

    Returns
    -------
    np.ndarray
        (samples,)

    Raises
    ------
    AudioError
        The recordings differ in length.
    ConfigError
        A stretch ends before it begins, or ``fade`` is negative.

    Examples
    --------
    >>> samples = np.array([1.0, -1.0, 1.0, -1.0])
    >>> replace_stretches(samples, np.array([0.5, -0.5, 0.5, 0.5]), [(2.0, 3.0)], sample_rate=1, fade=0).tolist()
    [1.0, -1.0, 1.0, -1.0]
    """
    return StretchReplacer(stretches, sample_rate, fade, offset)(samples, enhanced)


class StretchReplacer:
    """Replaces stretches of a recording that comes in consecutive blocks: ``(samples, enhanced) -> mixed``.

    All are (samples,). As :func:`replace_stretches`, except that the gain of a stretch over several blocks is that of
    its samples up to the end of each block: where a block begins, it changes over ``ramp`` seconds, or as long as the
    stretch has been by then.

    Parameters
    ----------
    stretches, sample_rate, fade, offset
        As in :func:`replace_stretches`.
    ramp : float
        In seconds.

    Raises
    ------
    ConfigError
        A stretch ends before it begins, or ``fade`` is negative.
    """

    def __init__(
        self,
        stretches: Stretches,
        sample_rate: int,
        fade: float = FADE_SECONDS,
        offset: float = 0.0,
        ramp: float = 1.0,
    ):
        check_number("fade", fade, 0.0)
        for start, end in stretches:
            if not start <= end:  # also NaN
                raise ConfigError(f"Invalid stretch from {start} s to {end} s: it must not end before it begins.")
        self.stretches = _merged(stretches)
        self.sample_rate, self.fade, self.offset = sample_rate, fade, np.float32(offset)
        self._steps = max(1, round(ramp * sample_rate))
        self._position = 0
        # Of each stretch, over the blocks so far.
        self._products, self._powers = np.zeros(len(self.stretches)), np.zeros(len(self.stretches))
        self._counts = np.zeros(len(self.stretches), dtype=np.int64)
        self._gains: dict[int, float] = {}

    def __call__(self, samples: np.ndarray, enhanced: np.ndarray | None) -> np.ndarray:
        """Replace the stretches of the next block; ``enhanced`` may be None if there are none in it."""
        if enhanced is not None and samples.shape != enhanced.shape:
            raise AudioError(
                f"The recording {samples.shape} and its enhanced version {enhanced.shape} differ in length. Enhance it "
                "at the same sample rate."
            )
        first, self._position = self._position, self._position + len(samples)
        if enhanced is None or not len(samples):
            return samples
        limit = max(1.0, float(np.abs(samples).max()))
        mixed = samples.copy()
        for number, (start, end) in enumerate(self.stretches):
            begin, stop = _sample(start, self.sample_rate), _sample(end, self.sample_rate)
            inside = slice(int(max(begin - first, 0)), int(min(max(stop - first, 0), len(samples))))
            if inside.start >= inside.stop:
                continue
            before, after = samples[inside], enhanced[inside]
            gain = self._gain(number, before - self.offset, after)
            weights = stretch_weights([(start, end)], first + inside.start, len(before), self.sample_rate, self.fade)
            changed = (1 - weights) * before + weights * np.clip(gain * after + self.offset, -limit, limit)
            mixed[inside] = np.where(weights > 0, changed, before)
        return mixed

    def _gain(self, number: int, samples: np.ndarray, enhanced: np.ndarray) -> np.ndarray:
        """The gain of a stretch in the next block, (samples,) float32."""
        self._products[number] += float((samples * enhanced).sum(dtype=np.float64))
        self._powers[number] += float(np.square(enhanced, dtype=np.float64).sum())
        product, power = self._products[number], self._powers[number]
        gain = min(max(product / power, 1.0), MAX_GAIN) if power > 0 else 1.0
        former = self._gains.get(number, gain)
        self._gains[number] = gain
        steps = max(1, min(self._steps, int(self._counts[number])))
        self._counts[number] += len(samples)
        rise = np.minimum(np.arange(len(samples), dtype=np.float32) / steps, 1)
        return (former + (gain - former) * rise).astype(np.float32)


def stretch_weights(stretches: Stretches, first: int, count: int, sample_rate: int, fade: float) -> np.ndarray:
    """Weights (count,) of what replaces a signal in stretches, from sample ``first`` on: 1 inside, 0 outside.

    They rise and fall over ``fade`` seconds inside a stretch, but not at 0 and at infinity.

    Examples
    --------
    >>> (3 * stretch_weights([(0, 2), (4, 9)], 0, 10, 1, 2)).round().tolist()
    [2.0, 1.0, 0.0, 0.0, 1.0, 2.0, 3.0, 2.0, 1.0, 0.0]
    """
    weights = np.zeros(count, dtype=np.float32)
    steps = round(fade * sample_rate) + 1
    for start, end in stretches:
        begin, stop = _sample(start, sample_rate), _sample(end, sample_rate)
        inside = slice(int(max(begin - first, 0)), int(min(max(stop - first, 0), count)))
        places = np.arange(count)[inside] + first
        rise = np.ones(len(places)) if begin <= 0 else (places - begin + 1) / steps
        fall = np.ones(len(places)) if stop == math.inf else (stop - places) / steps
        weights[inside] = np.maximum(weights[inside], np.minimum(np.minimum(rise, fall), 1.0))
    return weights


def _sample(seconds: float, sample_rate: int) -> float:
    return seconds if math.isinf(seconds) else round(seconds * sample_rate)


def _merged(stretches: Stretches) -> list[tuple[float, float]]:
    """Sorted stretches, of which those that overlap or touch are one."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(stretches):
        if merged and start <= merged[-1][1]:
            start, end = merged[-1][0], max(end, merged.pop()[1])
        merged.append((start, end))
    return merged
