"""What all codecs share: the base class of their plugins, and the choice of sample rates and bit rates."""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np

from speechtools.core.errors import ConfigError
from speechtools.degradations.coding import Coding, code
from speechtools.degradations.ranges import Range, check_range

#: Speech is coded at no higher rate in Hz: beyond it, encoders of low bit rates discard everything.
HIGHEST_RATE = 24000


class CodecBase(ABC):
    """A degradation that sends speech through a coding, which it draws for every call.

    Parameters
    ----------
    sample_rate : int
        Of the speech in Hz.

    Raises
    ------
    ConfigError
        The rate is below 8000 Hz.
    """

    causes: tuple[str, ...] = ("processing",)
    may_leave: tuple[str, ...] = ()

    def __init__(self, sample_rate: int = 16000):
        if not isinstance(sample_rate, int) or sample_rate < 8000:
            raise ConfigError(f"sample_rate={sample_rate!r} must be at least 8000 Hz for a codec.")
        self.sample_rate = sample_rate

    @abstractmethod
    def draw_coding(self, rng: np.random.Generator) -> Coding:
        """Draw an encoder and its settings."""

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Encode and decode samples (samples,); silence is returned as it is."""
        return code(clean, self.sample_rate, self.draw_coding(rng))


def coded_rate(rates: Sequence[int], sample_rate: int) -> int:
    """The highest of the ascending ``rates`` of a codec that is not above ``sample_rate``; the lowest if all are.

    >>> coded_rate((8000, 16000), 44100), coded_rate((16000,), 8000)
    (16000, 16000)
    """
    return max((rate for rate in rates if rate <= sample_rate), default=rates[0])


def modes_within(name: str, value: Range, modes: Sequence[float]) -> tuple[float, ...]:
    """The bit rates of a codec, ascending ``modes``, within a range; the nearest one if there is none.

    Raises
    ------
    ConfigError
        The parameter ``name`` is not a range, or beyond the modes.

    Examples
    --------
    >>> modes_within("kbps", (7, 11), (6.7, 7.4, 10.2, 12.2)), modes_within("kbps", 9, (6.7, 7.4, 10.2, 12.2))
    ((7.4, 10.2), (10.2,))
    """
    low, high = check_range(name, value, modes[0], modes[-1])
    middle = (low + high) / 2
    return tuple(mode for mode in modes if low <= mode <= high) or (min(modes, key=lambda mode: abs(mode - middle)),)
