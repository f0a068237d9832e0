"""Noise families of animals and people.

Every function of this module is a generator, in the order of the noises.
"""

import numpy as np
from scipy.signal import fftconvolve

from speechtools.audio.noises.synthesis import (
    SAMPLE_RATE,
    Rng,
    Signal,
    band,
    bell,
    drift,
    event_times,
    harmonics,
    impulses,
    phase_of,
    place,
    ringing,
    shaped,
    time_axis,
)


def bird_chirps(rng: Rng, n: int, u: float) -> Signal:
    """Phrases of short glides between 2 and 7 kHz."""

    def phrase(_: int) -> Signal:
        notes = []
        for _ in range(rng.integers(2, 7)):
            length = int(rng.uniform(0.04, 0.12) * SAMPLE_RATE)
            path = np.linspace(0, 1, length)
            hz = rng.uniform(2000, 4500) * (1 + 0.4 * u) * (1 + rng.uniform(-0.3, 0.3) * path)
            notes += [np.sin(phase_of(hz, length)) * np.sin(np.pi * path), np.zeros(rng.integers(300, 1200))]
        return rng.uniform(0.3, 1) * np.concatenate(notes)

    return place(n, event_times(rng, n, 1.5 + 2 * u), phrase)


def crickets(rng: Rng, n: int, u: float) -> Signal:
    """Tones of 3 to 6 kHz in trains of pulses, several insects out of step."""
    t = time_axis(n)
    x = np.zeros(n)
    for _ in range(4):
        pulses = np.clip(np.sin(2 * np.pi * rng.uniform(25, 45) * t + rng.uniform(0, 6)), 0, 1)
        song = np.mod(t * rng.uniform(1, 2.5) + rng.uniform(), 1.0) < rng.uniform(0.4, 0.8)
        x = x + pulses * song * rng.uniform(0.3, 1) * np.sin(phase_of((3000 + 2400 * u) * rng.uniform(0.95, 1.05), n))
    return x


def frogs(rng: Rng, n: int, u: float) -> Signal:
    """Croaks: pulses at 30 to 60 Hz through one or two resonances."""

    def croak(_: int) -> Signal:
        length = int(rng.uniform(0.15, 0.4) * SAMPLE_RATE)
        pulses = impulses(length, event_times(rng, length, rng.uniform(30, 60), 0.97))
        hz = rng.uniform(400, 900) * (1 + u)
        sound = fftconvolve(pulses, ringing([hz, 2.1 * hz], [0.008, 0.005], [1, 0.5]))[:length]
        return sound * np.sin(np.pi * np.linspace(0, 1, length)) * rng.uniform(0.3, 1)

    return place(n, event_times(rng, n, 3 + 3 * u), croak)


def barks(rng: Rng, n: int, u: float) -> Signal:
    """Barks: a rough harmonic chop of 0.15 s, falling in pitch."""

    def bark(_: int) -> Signal:
        length = int(rng.uniform(0.1, 0.2) * SAMPLE_RATE)
        path = np.linspace(0, 1, length)
        pitch = rng.uniform(180, 260) * (1 + 0.9 * u) * (1.25 - 0.5 * path)
        phase = phase_of(pitch * (1 + 0.03 * rng.standard_normal(length)), length)
        voice = harmonics(phase, 1 / np.arange(1, 15) ** 0.6)
        rough = voice + 1.5 * rng.standard_normal(length)
        return band(rough, 350 + 200 * u, 2200 + 800 * u) * path**0.1 * (1 - path) ** 1.2 * rng.uniform(0.5, 1)

    return place(n, event_times(rng, n, 1.6 + 1.5 * u, 0.4), bark)


def babble(rng: Rng, n: int, u: float) -> Signal:
    """Several voices at once: pulse trains with moving pitch and formants, in syllables."""
    talkers = (2, 4, 7)[int(3 * u)]
    x = np.zeros(n)
    for _ in range(talkers):
        pitch = rng.uniform(90, 230) * 2 ** (0.15 * drift(rng, n, 2.5))
        source = np.diff(np.floor(phase_of(pitch, n) / (2 * np.pi)), prepend=0.0) + 0.05 * rng.standard_normal(n)
        voiced = sum(
            np.clip(0.5 + drift(rng, n, 3), 0, 1.5) * gain * band(source, f / 1.15, f * 1.15)
            for f, gain in ((350, 1.0), (600, 1.0), (950, 0.8), (1600, 0.5), (2600, 0.3))
        )
        hiss = 0.05 * np.clip(drift(rng, n, 3) - 0.8, 0, 2) * band(rng.standard_normal(n), 3000, 7000)
        x += rng.uniform(0.5, 1) * np.clip(0.3 + drift(rng, n, 4), 0, 2) * (voiced + hiss)
    return x


def speech_shaped(rng: Rng, n: int, u: float) -> Signal:
    """Noise with the long-term spectrum of speech, steady to strongly modulated at 4 Hz."""
    noise = shaped(rng, n, lambda f: bell(f, 260 * 2**u, 1.2) + (0.05 + 0.25 * u) * bell(f, 2200, 0.9) + 0.01)
    return noise * np.clip(1 + 1.6 * u * drift(rng, n, 4), 0.02, 4)
