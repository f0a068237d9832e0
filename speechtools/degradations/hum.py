"""Low-frequency disturbances: ``degradation/hum`` of the mains, and ``degradation/rumble`` of wind, steps, traffic.

PESQ hardly hears what they add below 100 Hz, and listeners little; in training, they teach a network to ignore it.
"""

import numpy as np

from speechtools.core.registry import plugin
from speechtools.degradations.noise import mix_at_snr
from speechtools.degradations.ranges import Range, check_choices, check_range, draw


@plugin("degradation/hum")
class Hum:
    """Hum of the mains: ``(clean, rng) -> clean + hum``, both (samples,). The speech keeps its level.

    Parameters
    ----------
    snr_db : Range
        Power of the speech over that of the hum, in dB.
    mains_hz : float or sequence of float
        50 (most countries) or 60 (North America and others).
    harmonics : Range
        Number of harmonics; the n-th has an amplitude of about 1/n.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> clean = np.sin(np.arange(16000, dtype=np.float32))
    >>> hum = Hum(snr_db=0.0, mains_hz=50, harmonics=1)(clean, np.random.default_rng(0)) - clean
    >>> int(np.abs(np.fft.rfft(hum)).argmax())
    50
    """

    causes: tuple[str, ...] = ("noise",)

    def __init__(
        self,
        snr_db: Range = (0, 35),
        mains_hz: float | list[float] | tuple[float, ...] = (50, 60),
        harmonics: Range = (1, 6),
        sample_rate: int = 16000,
    ):
        self.snr_db = check_range("snr_db", snr_db)
        self.mains_hz = check_choices("mains_hz", mains_hz, (50, 60))
        self.harmonics = check_range("harmonics", harmonics, 1, 100)
        self.sample_rate = sample_rate

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add hum at a random SNR to samples (samples,); silence stays as it is."""
        base = self.mains_hz[rng.integers(len(self.mains_hz))] * rng.uniform(0.998, 1.002)
        count = round(draw(self.harmonics, rng))
        phase = 2 * np.pi * base * np.arange(clean.size) / self.sample_rate
        hum = np.zeros(clean.size)
        for n in range(1, count + 1):
            hum += rng.uniform(0.5, 1.5) / n * np.sin(n * phase + rng.uniform(0, 2 * np.pi))
        if not clean.any():
            return clean.copy()
        return mix_at_snr(clean, hum, draw(self.snr_db, rng))


@plugin("degradation/rumble")
class Rumble:
    """Rumble below a frequency: ``(clean, rng) -> clean + rumble``, both (samples,). The speech keeps its level.

    Parameters
    ----------
    snr_db : Range
        Power of the speech over that of the rumble, in dB.
    below_hz : Range
        Above it, the rumble falls by 24 dB an octave.
    sample_rate : int
        In Hz.

    Examples
    --------
    >>> clean = np.sin(np.arange(16000, dtype=np.float32))
    >>> Rumble()(clean, np.random.default_rng(0)).shape
    (16000,)
    """

    causes: tuple[str, ...] = ("noise",)

    def __init__(self, snr_db: Range = (-5, 30), below_hz: Range = (15, 80), sample_rate: int = 16000):
        self.snr_db = check_range("snr_db", snr_db)
        self.below_hz = check_range("below_hz", below_hz, 1)
        self.sample_rate = sample_rate

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add rumble at a random SNR to samples (samples,); silence stays as it is."""
        spectrum = np.fft.rfft(rng.standard_normal(clean.size))
        frequencies = np.fft.rfftfreq(clean.size, 1 / self.sample_rate)
        # The amplitude of a Butterworth low-pass of fourth order, which also passes what is slower than a second.
        spectrum *= 1 / np.sqrt(1 + (frequencies / draw(self.below_hz, rng)) ** 8)
        spectrum[0] = 0.0
        rumble = np.fft.irfft(spectrum, clean.size)
        if not clean.any():
            return clean.copy()
        return mix_at_snr(clean, rumble, draw(self.snr_db, rng))
