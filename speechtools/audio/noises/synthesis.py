"""Building blocks of the generated noises: oscillators, filtered noise, and sounds placed in time."""

import functools
from collections.abc import Callable, Iterable

import numpy as np
from scipy.signal import butter, sosfilt

SAMPLE_RATE = 16000
Rng = np.random.Generator
Signal = np.ndarray  # float64 (samples,)
Generator = Callable[[Rng, int, float], Signal]  # (rng, number of samples n, main parameter u) -> (n,)


def rms(x: Signal) -> float:
    """Root mean square, never 0."""
    return float(np.sqrt(np.mean(np.square(x)))) + 1e-12


@functools.lru_cache(maxsize=256)
def butterworth(kind: str, *edges_hz: float, order: int = 2) -> np.ndarray:
    """Second-order sections of a Butterworth filter."""
    return butter(order, edges_hz[0] if len(edges_hz) == 1 else edges_hz, kind, fs=SAMPLE_RATE, output="sos")


def band(x: Signal, low_hz: float, high_hz: float) -> Signal:
    """Band-pass filter of second order."""
    return sosfilt(butterworth("bandpass", float(low_hz), float(high_hz)), x)


def time_axis(n: int) -> Signal:
    """Time of each of ``n`` samples, in seconds."""
    return np.arange(n) / SAMPLE_RATE


def shaped(rng: Rng, n: int, gain: Callable[[np.ndarray], np.ndarray]) -> Signal:
    """Gaussian noise with the magnitude response ``gain(frequency in Hz)``, RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(n)) * gain(np.fft.rfftfreq(n, 1 / SAMPLE_RATE))
    spectrum[0] = 0
    x = np.fft.irfft(spectrum, n)
    return x / rms(x)


def bell(f: np.ndarray, centre_hz: float, octaves: float) -> np.ndarray:
    """Bell-shaped gain over the logarithm of the frequency ``f`` in Hz."""
    return np.exp(-0.5 * (np.log2(np.maximum(f, 1.0) / centre_hz) / octaves) ** 2)


def drift(rng: Rng, n: int, hz: float) -> Signal:
    """Smooth random curve with about ``hz`` turns per second, zero mean and RMS about 1."""
    knots = max(4, int(2 * hz * n / SAMPLE_RATE) + 4)
    values = rng.standard_normal(knots)
    at = np.linspace(1, knots - 2, n)
    i = at.astype(int).clip(1, knots - 3)
    w = 0.5 - 0.5 * np.cos(np.pi * (at - i))
    return values[i] * (1 - w) + values[i + 1] * w


def phase_of(hz: np.ndarray | float, n: int) -> Signal:
    """Phase in radians of an oscillator with a constant or changing frequency."""
    return 2 * np.pi * np.cumsum(np.broadcast_to(hz, (n,))) / SAMPLE_RATE


def harmonics(phase: Signal, amplitudes: np.ndarray) -> Signal:
    """Sum of the harmonics of an oscillator."""
    return sum((a * np.sin((k + 1) * phase) for k, a in enumerate(amplitudes)), np.zeros(len(phase)))


def event_times(rng: Rng, n: int, rate: float, regularity: float = 0.0) -> np.ndarray:
    """Sample indices of events, ``rate`` a second: Poisson (regularity 0) to evenly spaced (1)."""
    count = max(2, int(1.5 * rate * n / SAMPLE_RATE) + 8)
    gaps = (regularity + (1 - regularity) * rng.exponential(1.0, count)) / rate
    at = (np.cumsum(gaps) * SAMPLE_RATE).astype(int) - int(gaps[0] * SAMPLE_RATE * rng.uniform())
    return at[(at >= 0) & (at < n)]


def impulses(n: int, at: np.ndarray, amplitudes: np.ndarray | float = 1.0) -> Signal:
    """Impulses at the indices ``at``; those at one index add up."""
    x = np.zeros(n)
    np.add.at(x, at, amplitudes)
    return x


def ringing(freqs_hz: Iterable[float], decays_s: Iterable[float], amplitudes: Iterable[float]) -> Signal:
    """Sum of decaying sines, which is how a struck object sounds."""
    decays_s = tuple(decays_s)
    t = time_axis(int(max(decays_s) * 5 * SAMPLE_RATE) + 1)
    partials = zip(freqs_hz, decays_s, amplitudes, strict=True)
    return sum((a * np.exp(-t / d) * np.sin(2 * np.pi * f * t) for f, d, a in partials), np.zeros(len(t)))


def burst(rng: Rng, low_hz: float, high_hz: float, decay_s: float, attack_s: float = 0.001) -> Signal:
    """Decaying burst of band-passed noise."""
    t = time_axis(int((attack_s + 6 * decay_s) * SAMPLE_RATE) + 64)
    envelope = np.minimum(t / attack_s, 1.0) * np.exp(-np.maximum(t - attack_s, 0) / decay_s)
    return band(rng.standard_normal(len(t)), low_hz, high_hz) * envelope


def place(n: int, at: np.ndarray, event: Callable[[int], Signal]) -> Signal:
    """Add the sound ``event(i)`` at each index ``at[i]``."""
    x = np.zeros(n)
    for i, start in enumerate(at):
        sound = event(i)[: n - start]
        x[start : start + len(sound)] += sound
    return x


def random_gains(rng: Rng, count: int, spread_db: float) -> np.ndarray:
    """Gains whose levels have the standard deviation ``spread_db``."""
    return 10 ** (rng.normal(0, spread_db, count) / 20)
