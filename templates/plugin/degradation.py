"""degradation/my-net: a degradation.

THE CONTRACT
"""

import numpy as np

from speechtools import plugin


@plugin("degradation/my-net")
class MyNetDegradation:
    """Silence packets, each with the same probability. What remains keeps its level.

    This is an example: replace this description, the parameters, and what ``__call__`` computes.

    Parameters
    ----------
    loss : float
        Probability that a packet is lost.
    packet_ms : float
        Length of a packet in milliseconds.
    sample_rate : int
        In Hz. A recipe passes its own ``sample_rate`` to a plugin with this parameter.
    """

    def __init__(self, loss: float = 0.1, packet_ms: float = 20.0, sample_rate: int = 16000):
        self.loss, self.size = loss, round(packet_ms * sample_rate / 1000)

    def __call__(self, clean: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Silence random packets of samples (samples,)."""
        received = rng.random(-(-len(clean) // self.size)) >= self.loss
        # (packets,)
        return clean * np.repeat(received, self.size)[: len(clean)]
