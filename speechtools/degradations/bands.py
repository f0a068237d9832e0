"""Missing and coloured bands: ``degradation/band-limit``, ``degradation/equalizer`` and ``degradation/resampling``."""

from collections.abc import Callable, Sequence

import numpy as np

from speechtools.core.registry import plugin
from speechtools.degradations.level import at_level_of
from speechtools.degradations.ranges import Range, check_choices, check_range, draw

_KINDS = ("low-pass", "high-pass", "band-pass", "telephone")
_METHODS = ("soxr", "linear", "hold")
#: Seconds of silence behind the samples, into which filters ring instead of into the beginning.
_PADDING_SECONDS = 0.05
_LOWEST_HZ = 80.0


def filter_zero_phase(
    samples: np.ndarray, gain: Callable[[np.ndarray], np.ndarray], sample_rate: int = 16000
) -> np.ndarray:
    """Multiply the spectrum of samples (samples,) by a real gain, a function of frequencies in Hz (bins,).

    Examples
    --------
    >>> filter_zero_phase(np.array([1.0, 2.0]), lambda frequencies: 0 * frequencies + 2).round(6).tolist()
    [2.0, 4.0]
    """
    import scipy.fft

    size = scipy.fft.next_fast_len(samples.size + round(_PADDING_SECONDS * sample_rate), real=True)
    spectrum = scipy.fft.rfft(samples, size)
    spectrum *= gain(np.fft.rfftfreq(size, 1 / sample_rate)).astype(samples.dtype)
    return scipy.fft.irfft(spectrum, size)[: samples.size]


@plugin("degradation/band-limit")
class BandLimit:
    """A part of the band: ``(clean, rng) -> filtered``, both (samples,), at the level of ``clean``.

    Filters have the magnitude of a Butterworth filter, ``|H(f)|^2 = 1 / (1 + (f / cutoff)^(2 order))`` for a low-pass,
    and no phase. The result is scaled to the root mean square of ``clean``.

    Parameters
    ----------
    kind : str or sequence of str
        ``low-pass``, ``high-pass``, ``band-pass`` (both cutoffs) or ``telephone`` (300 to 3400 Hz).
    low_pass_hz, high_pass_hz : Range
        The cutoffs at -3 dB, drawn uniformly in their logarithm. Above half the sample rate, a low-pass does nothing.
    order : Range
        Of the filter, 6 dB an octave for each, drawn uniformly in its logarithm.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> clean = np.sin(np.arange(16000, dtype=np.float32) / 5)
    >>> BandLimit()(clean, np.random.default_rng(0)).shape
    (16000,)
    """

    causes: tuple[str, ...] = ("band-limit",)

    def __init__(
        self,
        kind: str | Sequence[str] = _KINDS,
        low_pass_hz: Range = (1500, 6000),
        high_pass_hz: Range = (150, 1000),
        order: Range = (3, 30),
        sample_rate: int = 16000,
    ):
        self.kind = check_choices("kind", kind, _KINDS)
        self.low_pass_hz = check_range("low_pass_hz", low_pass_hz, 1)
        self.high_pass_hz = check_range("high_pass_hz", high_pass_hz, 1, sample_rate / 2)
        self.order = check_range("order", order, 1, 100)
        self.sample_rate = sample_rate

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Filter samples (samples,) with random cutoffs."""
        kind = self.kind[rng.integers(len(self.kind))]
        low_pass, high_pass = draw(self.low_pass_hz, rng, log=True), draw(self.high_pass_hz, rng, log=True)
        order = draw(self.order, rng, log=True)
        if kind == "telephone":
            low_pass, high_pass = 3400.0, 300.0

        def gain(frequencies: np.ndarray) -> np.ndarray:
            response = np.ones(len(frequencies))
            with np.errstate(divide="ignore", over="ignore"):
                if kind != "high-pass":
                    response /= np.sqrt(1 + (frequencies / low_pass) ** (2 * order))
                if kind != "low-pass":
                    response /= np.sqrt(1 + (high_pass / frequencies) ** (2 * order))
            return response

        return at_level_of(clean, filter_zero_phase(clean, gain, self.sample_rate))


@plugin("degradation/equalizer")
class Equalizer:
    """Coloration: ``(clean, rng) -> coloured``, both (samples,), at the level of ``clean``.

    A random smooth response without phase, as of small loudspeakers, far corners of a microphone or masks: gains at
    points of equal distance on a logarithmic scale of frequencies, scaled to reach from -range_db to range_db, and
    between the points a monotone cubic. The result is scaled to the root mean square of ``clean``.

    Parameters
    ----------
    range_db : Range
        The largest gain, and the largest attenuation, in dB.
    num_points : Range
        Points from 80 Hz to half the sample rate; rounded to a whole number. Many of them: narrow resonances.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> clean = np.sin(np.arange(16000, dtype=np.float32) / 5)
    >>> Equalizer()(clean, np.random.default_rng(0)).shape
    (16000,)
    """

    causes: tuple[str, ...] = ("band-limit",)

    def __init__(self, range_db: Range = (6, 20), num_points: Range = (4, 16), sample_rate: int = 16000):
        self.range_db = check_range("range_db", range_db, 0, 60)
        self.num_points = check_range("num_points", num_points, 2, 100)
        self.sample_rate = sample_rate

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Colour samples (samples,) with a random response."""
        from scipy.interpolate import PchipInterpolator

        range_db = draw(self.range_db, rng)
        gains = rng.random(round(draw(self.num_points, rng, log=True)))  # (points,)
        gains_db = range_db * (2 * (gains - gains.min()) / np.ptp(gains) - 1)
        lowest, highest = np.log(_LOWEST_HZ), np.log(self.sample_rate / 2)
        curve = PchipInterpolator(np.linspace(lowest, highest, len(gains)), gains_db)
        grid = np.linspace(lowest, highest, 1024)
        response = 10 ** (curve(grid) / 20)

        def gain(frequencies: np.ndarray) -> np.ndarray:
            return np.interp(np.log(np.maximum(frequencies, _LOWEST_HZ)), grid, response)

        return at_level_of(clean, filter_zero_phase(clean, gain, self.sample_rate))


@plugin("degradation/resampling")
class Resampling:
    """A lower sample rate and back: ``(clean, rng) -> resampled``, both (samples,), at the level of ``clean``.

    The result is scaled to the root mean square of ``clean``.

    Parameters
    ----------
    rate_hz : Range
        The lower rate, drawn uniformly in its logarithm and rounded to 1 Hz.
    method : str or sequence of str
        ``soxr``: with good filters, which leaves frequencies below half of ``rate_hz``. ``linear``: straight lines
        between samples, without filters, so that higher frequencies are folded down. ``hold``: each sample is repeated
        up to the middle between it and the next, also without filters.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> clean = np.sin(np.arange(16000, dtype=np.float32) / 5)
    >>> Resampling()(clean, np.random.default_rng(0)).shape
    (16000,)
    """

    causes: tuple[str, ...] = ("band-limit",)

    def __init__(
        self,
        rate_hz: Range = (2000, 8000),
        method: str | Sequence[str] = _METHODS,
        sample_rate: int = 16000,
    ):
        self.rate_hz = check_range("rate_hz", rate_hz, 100, sample_rate)
        self.method = check_choices("method", method, _METHODS)
        self.sample_rate = sample_rate

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Resample samples (samples,) to a random rate and back."""
        method = self.method[rng.integers(len(self.method))]
        rate = round(draw(self.rate_hz, rng, log=True))
        if method == "soxr":
            return at_level_of(clean, _filtered(clean, rate, self.sample_rate))
        times = np.arange(clean.size) * (rate / self.sample_rate)  # in samples of the lower rate
        count = int(np.ceil(times[-1])) + 1 if clean.size else 0
        lower = np.interp(np.arange(count) * (self.sample_rate / rate), np.arange(clean.size), clean)
        resampled = (
            np.interp(times, np.arange(count), lower) if method == "linear" else lower[np.rint(times).astype(int)]
        )
        return at_level_of(clean, resampled)


def _filtered(clean: np.ndarray, rate: int, sample_rate: int) -> np.ndarray:
    import soxr

    resampled = soxr.resample(soxr.resample(clean, sample_rate, rate), rate, sample_rate)[: clean.size]
    return np.pad(resampled, (0, clean.size - resampled.size))
