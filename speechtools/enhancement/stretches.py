"""Enhance stretches of a recording alone."""

from collections.abc import Iterable

import numpy as np
from scipy.ndimage import uniform_filter1d

from speechtools.core.errors import AudioError

#: Time in which a stretch fades in and out.
FADE_SECONDS = 0.02
#: A stretch is amplified by at most so much: in a pause, all that enhancement has removed would come back.
MAX_GAIN = 4.0


def replace_stretches(
    samples: np.ndarray,
    enhanced: np.ndarray,
    stretches: Iterable[tuple[float, float]],
    sample_rate: int,
    fade_seconds: float = FADE_SECONDS,
) -> np.ndarray:
    """Take some stretches from the enhanced recording and the rest from the original, with linear cross-fades.

    Masks attenuate speech, too, so each stretch is amplified to the level at which it explains most of the original (in
    the sense of least squares); without that, jumps of the level cost more than the noise.

    Parameters
    ----------
    samples, enhanced : np.ndarray
        (samples,), of one length.
    stretches : iterable of (start, end)
        In seconds; they may touch and overlap. At the start and the end of one, both recordings count half.
    sample_rate : int
        In Hz.
    fade_seconds : float
        Length of a cross-fade.

    Returns
    -------
    np.ndarray
        (samples,); without stretches equal to ``samples``.

    Raises
    ------
    AudioError
        The recordings differ in length.

    Examples
    --------
    >>> replace_stretches(np.zeros(6), np.ones(6), [(2.0, 4.0)], sample_rate=1).tolist()
    [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    """
    if samples.shape != enhanced.shape:
        raise AudioError(
            f"The recording {samples.shape} and its enhanced version {enhanced.shape} differ in length. Enhance it at "
            "the same sample rate."
        )
    inside = np.zeros(len(samples), dtype=bool)
    for start, end in stretches:
        inside[max(0, round(start * sample_rate)) : max(0, round(end * sample_rate))] = True
    fade = max(1, round(fade_seconds * sample_rate))
    result = samples.copy()
    for first, end in np.flatnonzero(np.diff(np.pad(inside.astype(np.int8), 1))).reshape(-1, 2):
        stretch = slice(max(0, first - fade), end + fade)
        places = np.arange(len(samples))[stretch]
        weights = ((places >= first) & (places < end)).astype(np.float32)  # of this one alone: they add up to at most 1
        weights = np.clip(uniform_filter1d(weights, fade, mode="nearest"), 0, 1)
        gain = _gain(samples[first:end], enhanced[first:end])
        result[stretch] += weights * (gain * enhanced[stretch] - samples[stretch])
    return result


def _gain(samples: np.ndarray, enhanced: np.ndarray) -> float:
    power = float(np.square(enhanced, dtype=np.float64).sum())
    product = float((samples * enhanced).sum(dtype=np.float64))
    return min(max(product / power, 1.0), MAX_GAIN) if power > 0 else 1.0
