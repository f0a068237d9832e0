"""Noise families of water, thunder, fire and paper.

Every function of this module is a generator, in the order of the noises.
"""

import numpy as np
from scipy.signal import fftconvolve

from speechtools.audio.noises.synthesis import (
    SAMPLE_RATE,
    Rng,
    Signal,
    bell,
    burst,
    drift,
    event_times,
    impulses,
    place,
    random_gains,
    ringing,
    rms,
    shaped,
    time_axis,
)


def rain(rng: Rng, n: int, u: float) -> Signal:
    """Hundreds of drops a second over a hiss."""
    at = event_times(rng, n, 80 * 12**u)
    drops = fftconvolve(impulses(n, at, random_gains(rng, len(at), 8)), burst(rng, 1200, 7000, 0.002))[:n]
    return drops / rms(drops) + 0.6 * shaped(rng, n, lambda f: bell(f, 4000, 1.2))


def water_bubbles(rng: Rng, n: int, u: float) -> Signal:
    """Bubbles: short sines that rise as they shrink (Minnaert's resonance)."""

    def bubble(_: int) -> Signal:
        hz = rng.uniform(300, 900) * (1 + u)
        t = time_axis(int(rng.uniform(0.03, 0.09) * SAMPLE_RATE))
        return rng.uniform(0.3, 1) * np.sin(2 * np.pi * hz * (t + 6 * t**2)) * np.exp(-t * 45) * np.minimum(t * 500, 1)

    return place(n, event_times(rng, n, 10 + 60 * u), bubble)


def dripping(rng: Rng, n: int, u: float) -> Signal:
    """Single drops into a basin that echoes."""
    echo = np.exp(-time_axis(8000) / 0.12) * rng.standard_normal(8000) * 0.15
    echo[0] = 1.0

    def drop(_: int) -> Signal:
        hz = rng.uniform(900, 1500) * (1 + u)
        return ringing([hz, hz * 1.6], [0.015, 0.008], [1, 0.5])

    return fftconvolve(place(n, event_times(rng, n, 3 + 3 * u, 0.4), drop), echo)[:n]


def thunder(rng: Rng, n: int, u: float) -> Signal:
    """Rolling low bursts, over rain."""

    def roll(_: int) -> Signal:
        return rng.uniform(0.4, 1) * burst(rng, 25, 120 + 150 * u, rng.uniform(0.3, 0.8), 0.05)

    rolls = place(n, event_times(rng, n, 1.5 + u, 0.3), roll)
    return rolls / rms(rolls) + 0.12 * shaped(rng, n, lambda f: bell(f, 1500 * 3**u, 1.0))


def fire_crackle(rng: Rng, n: int, u: float) -> Signal:
    """Cracks of widely varying size over a soft roar."""
    at = event_times(rng, n, 15 + 60 * u)
    cracks = fftconvolve(impulses(n, at, rng.pareto(1.8, len(at)).clip(0, 15)), burst(rng, 800, 6500, 0.0025))[:n]
    return cracks / rms(cracks) + 0.5 * shaped(rng, n, lambda f: 1 / (1 + (f / 250) ** 1.5))


def paper_crumple(rng: Rng, n: int, u: float) -> Signal:
    """Dense bright crackles in handfuls."""
    rate = np.clip(drift(rng, n, 1.5), 0, 2)
    hits = (rng.uniform(size=n) < rate * (100 + 500 * u) / SAMPLE_RATE) * rng.pareto(2.0, n).clip(0, 10)
    return fftconvolve(hits, burst(rng, 1800, 7500, 0.0012))[:n]
