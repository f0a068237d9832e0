"""Reverberation: impulse responses of rooms."""

import numpy as np


def room_response(rng: np.random.Generator, rt60: float, sample_rate: int = 16000) -> np.ndarray:
    """Draw a room impulse response (samples,): a direct path, then noise that falls by 60 dB in ``rt60`` seconds."""
    time = np.arange(round(rt60 * sample_rate)) / sample_rate
    tail = rng.standard_normal(len(time)) * 10 ** (-3 * time / rt60)
    # The direct path is 0 to 10 dB stronger than all that follows.
    tail *= 10 ** (-rng.uniform(0, 10) / 20) / np.sqrt(np.square(tail).sum())
    tail[0] = 1.0
    return (tail / np.abs(tail).max() * 0.5).astype(np.float32)
