"""Enhancement without a network: ``degradation/spectral-enhancer``.

Every method multiplies the spectrum Y of noisy speech, per frame and bin, by a gain G from the power of Y and of the
noise N; the phase stays. Spectra are (time, bins), of frames of 32 ms.
"""

import functools
from collections.abc import Callable, Sequence

import numpy as np

from speechtools.core.registry import plugin
from speechtools.degradations.ranges import Range, check_choices, check_range, draw

_FRAME_SECONDS = 0.032
_METHODS = ("subtraction", "wiener", "log-mmse", "gate")
_TRACKERS = ("minimum", "quietest")
#: Weight of the frame before in the a-priori SNR (Ephraim and Malah 1984, equation 51), and its least value, -25 dB.
_SMOOTHING = 0.98
_LEAST_PRIOR = 10**-2.5
#: Minimum statistics: the blocks, and the mean power of white noise over its estimate without this factor, measured.
_BLOCK_SECONDS, _NUM_BLOCKS = 0.15, 10
_MINIMUM_BIAS = np.float32(1.85)
#: The least power of noise, relative to that of the recording: digital silence has none.
_LEAST_NOISE = 1e-10


@plugin("degradation/spectral-enhancer")
class SpectralEnhancer:
    """What a simple enhancer leaves of noisy speech: ``(noisy, rng) -> enhanced``, both (samples,).

    For chains, behind noise; on clean speech it removes what is quiet. The speech keeps its level as far as the gains
    leave it: they are at most 1, except in ``subtraction`` in bins where the floor exceeds the speech.

    Parameters
    ----------
    method : str or sequence of str
        ``subtraction``: :func:`subtraction_gains`, with musical noise. ``wiener``: :func:`wiener_gains`. ``log-mmse``:
        :func:`log_mmse_gains`. ``gate``: :func:`gate_gains`.
    strength : Range
        The estimate of the noise power is multiplied by it: 1 is the textbook, more removes speech, too.
    floor_db : Range
        The lowest gain, in dB.
    tracker : str or sequence of str
        How the noise is estimated: ``minimum``, by :func:`minimum_statistics`, or ``quietest``, by
        :func:`quietest_frames`.
    overlap : float or sequence of float
        Of frames: 0.5 or 0.75.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> noisy = np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    >>> enhanced = SpectralEnhancer("wiener", floor_db=-20)(noisy, np.random.default_rng(0))
    >>> enhanced.shape, bool(enhanced.std() < 0.3)
    ((16000,), True)
    """

    causes: tuple[str, ...] = ("processing",)
    #: How much noise it leaves is unknown.
    may_remove: tuple[str, ...] = ("noise",)

    def __init__(
        self,
        method: str | Sequence[str] = _METHODS,
        strength: Range = (0.8, 3),
        floor_db: Range = (-40, -10),
        tracker: str | Sequence[str] = _TRACKERS,
        overlap: float | Sequence[float] = (0.5, 0.75),
        sample_rate: int = 16000,
    ):
        self.method = check_choices("method", method, _METHODS)
        self.strength = check_range("strength", strength, 0.01, 100)
        self.floor_db = check_range("floor_db", floor_db, -100, 0)
        self.tracker = check_choices("tracker", tracker, _TRACKERS)
        self.overlap = check_choices("overlap", overlap, (0.5, 0.75))
        self.sample_rate = sample_rate

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Enhance samples (samples,) by a random method."""
        method = self.method[rng.integers(len(self.method))]
        tracker = self.tracker[rng.integers(len(self.tracker))]
        overlap = self.overlap[rng.integers(len(self.overlap))]
        strength, floor = draw(self.strength, rng, log=True), 10 ** (draw(self.floor_db, rng) / 20)
        if not clean.any():
            return clean.copy()
        hops = round(1 / (1 - overlap))
        size = hops * round(_FRAME_SECONDS * self.sample_rate / hops)
        spectrum = _analyse(clean, size, hops)
        power = np.square(spectrum.real) + np.square(spectrum.imag)  # (time, bins)
        if tracker == "minimum":
            noise = minimum_statistics(power, size / hops / self.sample_rate)
        else:
            noise = quietest_frames(power)
        noise = np.maximum(np.float32(strength) * noise, np.float32(_LEAST_NOISE * power.mean()))
        return _synthesise(spectrum * _GAINS[method](power, noise, floor), hops, clean.size)


# ------------------------------------------------------------------------------------------------------------- noise


def minimum_statistics(power: np.ndarray, hop_seconds: float) -> np.ndarray:
    """Noise power (time, bins): the least of the mean powers of the last ten blocks of 0.15 s, times a constant.

    The first 1.5 s have one estimate. Source: R. Martin, "Noise power spectral density estimation based on optimal
    smoothing and minimum statistics", 2001, with blocks in place of the optimal smoothing, and a constant bias.
    """
    length = max(1, round(_BLOCK_SECONDS / hop_seconds))  # frames
    starts = np.arange(max(1, len(power) // length)) * length  # the last block has what remains, too
    means = np.add.reduceat(power, starts, axis=0) / np.diff(starts, append=len(power))[:, None].astype(power.dtype)
    count = min(_NUM_BLOCKS, len(starts))
    minima = np.lib.stride_tricks.sliding_window_view(means, count, axis=0).min(axis=-1)  # (blocks - count + 1, bins)
    block = np.minimum(np.arange(len(power)) // length, len(starts) - 1)
    return _MINIMUM_BIAS * minima[np.maximum(block - count + 1, 0)]


def quietest_frames(power: np.ndarray) -> np.ndarray:
    """Noise power (1, bins): the mean over the tenth of the frames (time, bins) with the least power.

    Digital silence is left out.
    """
    frames = power.mean(axis=1)
    frames_with_sound = np.flatnonzero(frames > _LEAST_NOISE * frames.mean())
    count = max(1, len(frames_with_sound) // 10)
    quietest = frames_with_sound[np.argsort(frames[frames_with_sound], kind="stable")[:count]]
    return power[quietest].mean(axis=0, keepdims=True)


# ------------------------------------------------------------------------------------------------------------- gains


def subtraction_gains(power: np.ndarray, noise: np.ndarray, floor: float) -> np.ndarray:
    """Gains (time, bins) of power subtraction: ``G^2 |Y|^2 = max(|Y|^2 - a N, b N)``.

    a = 4 - 3/20 SNR, with the SNR of the frame in dB from -5 to 20, and b = floor^2.
    Source: Berouti, Schwartz and Makhoul, "Enhancement of speech corrupted by acoustic noise", 1979, equations 3 to 5.
    """
    snr_db = 10 * np.log10(power.sum(axis=1) / np.broadcast_to(noise, power.shape).sum(axis=1) + 1e-10)
    factor = (4 - 0.15 * np.clip(snr_db, -5, 20))[:, None].astype(power.dtype)
    left = np.maximum(power - factor * noise, np.float32(floor**2) * noise)
    return np.sqrt(left / np.maximum(power, np.float32(_LEAST_NOISE) * noise))


def wiener_gains(power: np.ndarray, noise: np.ndarray, floor: float) -> np.ndarray:
    """Gains (time, bins) of a Wiener filter, G = xi / (1 + xi), with the decision-directed a-priori SNR xi.

    Source: Ephraim and Malah, "Speech enhancement using a minimum mean-square error short-time spectral amplitude
    estimator", 1984, equation 51: xi(t) = 0.98 G(t-1)^2 gamma(t-1) + 0.02 max(gamma(t) - 1, 0), with
    ``gamma = |Y|^2 / N``.
    """
    return _decision_directed(power / noise, lambda prior, _: prior / (1 + prior), floor)


def log_mmse_gains(power: np.ndarray, noise: np.ndarray, floor: float) -> np.ndarray:
    """Gains (time, bins) of the log-spectral amplitude estimator, with the decision-directed a-priori SNR xi.

    G = xi / (1 + xi) exp(E1(v) / 2), with v = gamma xi / (1 + xi). Source: Ephraim and Malah, "Speech enhancement using
    a minimum mean-square error log-spectral amplitude estimator", 1985, equation 20. G is at most 1.
    """
    first, table = _log_mmse_table()

    def gain(prior: np.ndarray, posterior: np.ndarray) -> np.ndarray:
        wiener = prior / (1 + prior)
        cell = ((wiener * posterior).view(np.int32) >> _DROPPED_BITS) - first
        return np.minimum(wiener * table.take(cell, mode="clip"), 1)

    return _decision_directed(power / noise, gain, floor)


#: The first bits of a float32 are its exponent and 8 bits of its fraction: cells of v that are 0.4 % wide or less.
_DROPPED_BITS = 15


@functools.lru_cache(maxsize=1)
def _log_mmse_table() -> tuple[int, np.ndarray]:
    """The number of the first cell, and exp(E1(v) / 2) in the middle of each cell (cells,): ``exp1`` itself is slow."""
    from scipy.special import exp1

    first, last = (np.array([1e-6, 50], dtype=np.float32).view(np.int32) >> _DROPPED_BITS).tolist()
    middles = ((np.arange(first, last + 1, dtype=np.int32) << _DROPPED_BITS) + (1 << _DROPPED_BITS - 1)).view(
        np.float32
    )
    return first, np.exp(0.5 * exp1(middles)).astype(np.float32)


def _decision_directed(
    posterior: np.ndarray, gain: Callable[[np.ndarray, np.ndarray], np.ndarray], floor: float
) -> np.ndarray:
    """Gains from a-posteriori SNRs (time, bins), frame by frame.

    ``gain`` takes a-priori and a-posteriori SNRs (bins,).
    """
    posterior = np.minimum(posterior, np.float32(1e10))
    new = np.float32(1 - _SMOOTHING) * np.maximum(posterior - 1, 0)
    gains = np.empty_like(posterior)
    speech = np.maximum(posterior[0] - 1, 0)  # G^2 gamma of the frame before
    for frame, ratio in enumerate(posterior):
        prior = np.maximum(_SMOOTHING * speech + new[frame], _LEAST_PRIOR)
        gains[frame] = np.maximum(gain(prior, ratio), floor)
        speech = np.square(gains[frame]) * ratio
    return gains


def gate_gains(power: np.ndarray, noise: np.ndarray, floor: float) -> np.ndarray:
    """Gains (time, bins) of a gate: 1 where ``|Y|^2 > 4 N``, else the floor; averaged over 3 frames and 5 bins."""
    from scipy.ndimage import uniform_filter

    gate = uniform_filter((power > 4 * noise).astype(np.float32), (3, 5), mode="nearest")
    return np.float32(floor) + np.float32(1 - floor) * np.clip(gate, 0, 1)


_GAINS = {
    "subtraction": subtraction_gains,
    "wiener": wiener_gains,
    "log-mmse": log_mmse_gains,
    "gate": gate_gains,
}

# ----------------------------------------------------------------------------------------------------------- spectra


def _window(size: int) -> np.ndarray:
    """The square root of a periodic Hann window (size,)."""
    return np.sin(np.pi * np.arange(size) / size).astype(np.float32)


def _analyse(samples: np.ndarray, size: int, hops: int) -> np.ndarray:
    """Spectra (time, bins) of samples (samples,), mirrored at both ends; ``hops`` hops are one frame."""
    import scipy.fft

    hop = size // hops
    padded = np.pad(samples, (size - hop, size - hop + -samples.size % hop), mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop]
    return scipy.fft.rfft(frames * _window(size), axis=1)


def _synthesise(spectrum: np.ndarray, hops: int, samples: int) -> np.ndarray:
    """Samples (samples,) of spectra (time, bins): the inverse of :func:`_analyse`."""
    import scipy.fft

    frames = scipy.fft.irfft(spectrum, axis=1)  # (time, size)
    time, size = frames.shape
    hop = size // hops
    frames *= _window(size) * np.float32(2 / hops)
    blocks = np.zeros((time + hops - 1, hop), dtype=np.float32)
    for part in range(hops):
        blocks[part : part + time] += frames[:, part * hop : (part + 1) * hop]
    return blocks.ravel()[size - hop : size - hop + samples].astype(np.float32)
