"""Scale-invariant signal-to-distortion ratio (Le Roux, Wisdom, Erdogan, Hershey: ICASSP 2019)."""

import numpy as np

from speechtools.core.registry import plugin
from speechtools.measures import check_pair


@plugin("measure/si-sdr")
class SISDR:
    """``10 log10(|a s|² / |x - a s|²)`` in dB with ``a = <x, s> / <s, s>``, of the degraded x against the reference s.

    Levels do not matter, time alignment does. Limited to -100 and 100 dB, which a signal reaches against itself.

    Examples
    --------
    >>> reference = np.sin(np.arange(16000) / 5)
    >>> SISDR()(reference, 0.1 * reference, 16000)
    100.0
    """

    name, description = "si-sdr", "SI-SDR in dB"
    minimum, maximum = -100.0, 100.0
    higher_is_better = True
    sample_rates = None

    def __call__(self, reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
        """Return the ratio in dB of a degraded signal (samples,) against its reference (samples,)."""
        reference, degraded = np.asarray(reference), np.asarray(degraded)
        check_pair(self, reference, degraded, sample_rate)
        reference, degraded = reference.astype(np.float64), degraded.astype(np.float64)
        target = reference * (degraded @ reference / (reference @ reference))
        # (samples,)
        with np.errstate(divide="ignore"):
            ratio_db = 10 * np.log10(np.square(target).sum() / np.square(degraded - target).sum())
        return float(np.clip(ratio_db, self.minimum, self.maximum))
