"""Signals that PESQ takes for speech."""

import numpy as np

RATE = 16000


def syllables(count, on_s=0.4, off_s=0.25, sample_rate=RATE):
    """Harmonic bursts with pauses between them: each is an utterance to PESQ."""
    generator = np.random.default_rng(count)
    times = np.arange(int(on_s * sample_rate)) / sample_rate
    bursts = []
    for _ in range(count):
        pitch = generator.uniform(100, 220)
        tone = sum(np.sin(2 * np.pi * pitch * k * times + generator.uniform(0, 6)) / k for k in range(1, 12))
        bursts += [0.1 * tone * np.hanning(len(times)) ** 0.3, np.zeros(int(off_s * sample_rate))]
    return np.concatenate(bursts)


def noisy(clean, level=0.01):
    return clean + level * np.random.default_rng(7).standard_normal(len(clean))


CLEAN = syllables(2)
NOISY = noisy(CLEAN)
CLICK = np.where(abs(np.arange(len(CLEAN)) - 5000) < 200, noisy(0 * CLEAN, 0.1), 0)  # 25 ms
