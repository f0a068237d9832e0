"""Mean opinion scores, ITU-T P.800 (1996): listeners give them, and corpora contain them."""

import numpy as np

from speechtools.core.errors import ConfigError
from speechtools.core.registry import plugin


@plugin("measure/mos")
class MeanOpinionScore:
    """Mean opinion of listeners, 1 (bad) to 5 (excellent): names the scale of a corpus. Calling it raises.

    Examples
    --------
    >>> MeanOpinionScore().maximum
    5.0
    """

    name, description = "mos", "mean opinion score"
    minimum, maximum = 1.0, 5.0
    higher_is_better = True
    sample_rates = None
    from_listeners = True

    def __call__(self, reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
        """Raise ConfigError: no signal has a computed mean opinion score."""
        raise ConfigError("Listeners give the scores of measure/mos. Use a corpus with scores, or another measure.")
