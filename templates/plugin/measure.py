"""measure/my-net: a measure.

THE CONTRACT
"""

import numpy as np

from speechtools import plugin
from speechtools.measures import check_pair


@plugin("measure/my-net")
class MyNetMeasure:
    """Mean SNR of frames with speech in dB (Hansen and Pellom: ICSLP 1998), each limited to -10 and 35 dB.

    This is an example: replace this description, the parameters, the attributes, and what ``__call__`` computes.

    Parameters
    ----------
    frame_ms : float
        Length of a frame in milliseconds.
    """

    name = "my-net"
    minimum, maximum = -10.0, 35.0  # of your measure; a signal scores the best of them against itself
    higher_is_better = True  # False for a distance, whose best score is then its minimum
    sample_rates = None  # any; or (8000, 16000)

    def __init__(self, frame_ms: float = 32.0):
        self.frame_ms = frame_ms

    def __call__(self, reference: np.ndarray, degraded: np.ndarray, sample_rate: int) -> float:
        """Return the mean SNR of a degraded signal (samples,) against its reference (samples,)."""
        check_pair(self, reference, degraded, sample_rate)  # keep this line, and replace the following
        size = round(self.frame_ms * sample_rate / 1000)
        count = len(reference) // size
        speech, noise = (
            np.square(signal[: count * size].reshape(count, size)).sum(axis=1)
            for signal in (reference, degraded - reference)
        )
        # (frames,)
        has_speech = speech > 1e-4 * speech.max()
        snrs_db = 10 * np.log10(speech[has_speech] / (noise[has_speech] + 1e-10))
        return float(np.clip(snrs_db, self.minimum, self.maximum).mean())
