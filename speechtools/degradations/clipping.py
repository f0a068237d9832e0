"""Clipping: ``degradation/clipping``."""

import numpy as np

from speechtools.core.errors import ConfigError
from speechtools.core.registry import plugin


@plugin("degradation/clipping")
class Clipping:
    """Cut off samples beyond a level: ``(clean, rng) -> clipped``, both (samples,), at the level of ``clean``.

    Parameters
    ----------
    min_level, max_level : float
        The clipping level relative to the largest sample, drawn for every call.

    Examples
    --------
    >>> clean = np.array([0.1, -0.5, 1.0], dtype=np.float32)
    >>> Clipping(0.5, 0.5)(clean, np.random.default_rng(0)).tolist()[1:]
    [-0.5, 0.5]
    """

    causes = ("clipping",)

    def __init__(self, min_level: float = 0.05, max_level: float = 0.5):
        if not 0 < min_level <= max_level <= 1:
            raise ConfigError(f"min_level={min_level} and max_level={max_level} must be in order, in (0, 1].")
        self.min_level, self.max_level = min_level, max_level

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Clip samples (samples,) at a random level, relative to their peak."""
        level = np.float32(rng.uniform(self.min_level, self.max_level)) * np.abs(clean).max()
        return np.clip(clean, -level, level)
