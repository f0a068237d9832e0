"""Level, offset and bits of samples: ``degradation/level``, ``degradation/dc``, ``degradation/quantization``."""

import numpy as np

from speechtools.core.registry import plugin
from speechtools.degradations.ranges import Range, check_range, draw


def at_level_of(clean: np.ndarray, degraded: np.ndarray) -> np.ndarray:
    """Scale ``degraded`` (samples,) to the root mean square of ``clean`` (samples,); silence stays as it is.

    Examples
    --------
    >>> at_level_of(np.array([3.0, -3.0]), np.array([1.0, 1.0])).tolist()
    [3.0, 3.0]
    """
    power = np.square(degraded, dtype=np.float64).sum()
    if power == 0:
        return degraded.astype(clean.dtype)
    gain = np.sqrt(np.square(clean, dtype=np.float64).sum() / power)
    return (degraded * gain).astype(clean.dtype)


@plugin("degradation/level")
class Level:
    """A change of level: ``(clean, rng) -> louder or quieter``, both (samples,); may exceed full scale.

    It is the one degradation that changes the level.

    Parameters
    ----------
    gain_db : Range
        In dB.

    Examples
    --------
    >>> Level(-20)(np.array([0.5, -0.1], dtype=np.float32), np.random.default_rng(0)).round(3).tolist()
    [0.05000000074505806, -0.009999999776482582]
    """

    causes: tuple[str, ...] = ()

    def __init__(self, gain_db: Range = (-30, 6)):
        self.gain_db = check_range("gain_db", gain_db)

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Multiply samples (samples,) by a random gain."""
        return clean * np.float32(10 ** (draw(self.gain_db, rng) / 20))


@plugin("degradation/dc")
class Offset:
    """A constant that is added: ``(clean, rng) -> clean + constant``, both (samples,); the speech keeps its level.

    Parameters
    ----------
    offset : Range
        The constant relative to the largest sample; its sign is as likely to be changed as not.

    Examples
    --------
    >>> np.abs(Offset(0.1)(np.array([0, 0.5], dtype=np.float32), np.random.default_rng(0))[0]).round(3).item()
    0.05000000074505806
    """

    causes: tuple[str, ...] = ()

    def __init__(self, offset: Range = (0.01, 0.1)):
        self.offset = check_range("offset", offset, -1, 1)

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Add a random constant to samples (samples,)."""
        sign = 1 if rng.random() < 0.5 else -1
        return clean + np.float32(sign * draw(self.offset, rng) * np.abs(clean).max(initial=0))


@plugin("degradation/quantization")
class Quantization:
    """Rounding to few levels: ``(clean, rng) -> rounded``, both (samples,), at the level of ``clean``.

    Uniform, without dither, as of a recording with few bits: a sample x becomes s * round(x / s), with the step
    s = 2 * peak / 2 ** bits. Passages quieter than s / 2 become silent.

    Parameters
    ----------
    bits : Range
        Bits from the most negative to the largest sample; rounded to a whole number.

    Examples
    --------
    >>> clean = np.array([1, 0.2, -0.6], dtype=np.float32)
    >>> Quantization(2)(clean, np.random.default_rng(0)).tolist()
    [1.0, 0.0, -0.5]
    """

    causes: tuple[str, ...] = ("processing",)

    def __init__(self, bits: Range = (6, 10)):
        self.bits = check_range("bits", bits, 2, 16)

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Round samples (samples,) to a random number of bits."""
        bits = round(draw(self.bits, rng))
        step = np.float32(2 * np.abs(clean).max(initial=0) / 2**bits)
        return step * np.round(clean / step) if step > 0 else clean.copy()
