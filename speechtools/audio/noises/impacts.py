"""Noise families of single impacts: clicks, knocks, drums, rails.

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
    harmonics,
    impulses,
    phase_of,
    place,
    ringing,
    rms,
    shaped,
    time_axis,
)


def clicks(rng: Rng, n: int, u: float) -> Signal:
    """Irregular clicks, as of a Geiger counter."""
    return fftconvolve(impulses(n, event_times(rng, n, 8 * 8**u)), burst(rng, 700 + 1500 * u, 7000, 0.0008))[:n]


def clock(rng: Rng, n: int, u: float) -> Signal:
    """Tick and tock, two to five a second, with wooden resonances."""
    at = event_times(rng, n, 2 + 3 * u, 1.0)
    tick, tock = (ringing([f, 2.3 * f, 4.1 * f], [0.01, 0.006, 0.004], [1, 0.7, 0.5]) for f in (1100 + 500 * u, 850))
    return place(n, at, lambda i: tock if i % 2 else tick)


def typing(rng: Rng, n: int, u: float) -> Signal:
    """Keystrokes in runs: a click down, a softer one up."""

    def key(_: int) -> Signal:
        down = burst(rng, rng.uniform(400, 900) * 3.5**u, 6500, 0.006)
        up = 0.4 * burst(rng, 700 * 3.5**u, 7000, 0.004)
        gap = int(rng.uniform(0.05, 0.09) * SAMPLE_RATE)
        return np.concatenate([down[:gap], np.zeros(max(0, gap - len(down))), up]) * rng.uniform(0.5, 1)

    return place(n, event_times(rng, n, 5 + 7 * u, 0.5), key)


def knocks(rng: Rng, n: int, u: float) -> Signal:
    """Knuckles on doors: groups of dull thumps."""
    modes = np.array([1, 1.7, 2.4, 3.3, 4.6]) * (110 + 180 * u)
    at = np.concatenate([start + np.arange(4) * int(0.17 * SAMPLE_RATE) for start in event_times(rng, n, 0.9, 0.9)])

    def thump(_: int) -> Signal:
        gain, freqs = rng.uniform(0.5, 1), modes * rng.uniform(0.95, 1.05, 5)
        return gain * ringing(freqs, np.full(5, 0.025), rng.uniform(0.2, 1, 5))

    return place(n, at[at < n], thump)


def footsteps(rng: Rng, n: int, u: float) -> Signal:
    """Heel and sole on a hard or a gravelly floor, 1.6 to 2.6 a second."""

    def step(_: int) -> Signal:
        heel = ringing([90, 180, 420], [0.03, 0.02, 0.01], [1, 0.6, 0.3])
        sole = burst(rng, 600, 1500 + 5000 * u, 0.02 + 0.05 * u, 0.01)
        x = np.zeros(max(len(heel), 1200 + len(sole)))
        x[: len(heel)] += heel
        x[1200 : 1200 + len(sole)] += (0.15 + 0.6 * u) * sole
        return x * rng.uniform(0.7, 1)

    return place(n, event_times(rng, n, 1.6 + u, 0.95), step)


def hammering(rng: Rng, n: int, u: float) -> Signal:
    """A hammer on metal: bright inharmonic rings."""
    modes = np.array([1, 2.76, 5.4, 8.93]) * (350 + 500 * u)
    ring = ringing(modes[modes < 7500], np.array([0.12, 0.07, 0.05, 0.03])[modes < 7500], np.ones(4)[modes < 7500])
    return place(n, event_times(rng, n, 2 + 3 * u, 0.85), lambda _: rng.uniform(0.6, 1) * ring)


def dishes(rng: Rng, n: int, u: float) -> Signal:
    """Plates and glasses: clusters of short high rings."""

    def clink(_: int) -> Signal:
        freqs = rng.uniform(1500, 3500) * (1 + 0.6 * u) * np.array([1, 1.31, 1.83])
        return rng.uniform(0.2, 1) * ringing(freqs.clip(0, 7600), rng.uniform(0.01, 0.06, 3), rng.uniform(0.3, 1, 3))

    return place(n, event_times(rng, n, 6 + 8 * u), clink)


def applause(rng: Rng, n: int, u: float) -> Signal:
    """Many pairs of hands, from a dozen people to a hall."""
    people = int(10 * 12**u)
    claps = np.zeros(n)
    for _ in range(people):
        claps += rng.uniform(0.3, 1) * impulses(n, event_times(rng, n, rng.uniform(2.5, 4.5), 0.93))
    hands = [burst(rng, f, 2.5 * f, 0.006) for f in (700, 1100, 1700)]
    return sum((fftconvolve(np.roll(claps, 1111 * i), hand)[:n] for i, hand in enumerate(hands)), np.zeros(n))


def drums(rng: Rng, n: int, u: float) -> Signal:
    """A loop of bass drum, snare and cymbal."""
    step = int(SAMPLE_RATE * 60 / (80 + 80 * u) / 4)
    t = time_axis(4000)
    bass = np.sin(2 * np.pi * (45 * t + 4 * (1 - np.exp(-t * 30)))) * np.exp(-t * 14)
    snare, cymbal = burst(rng, 250, 5000, 0.05), 0.4 * burst(rng, 4500, 7800, 0.03)
    pattern = rng.permutation(16)

    def hit(i: int) -> Signal:
        i = i % 16
        return (2 * bass, snare, cymbal)[0 if pattern[i] < 5 else 1 if pattern[i] < 9 else 2]

    return place(n, np.arange(0, n, step), hit)


def ratchet(rng: Rng, n: int, u: float) -> Signal:
    """Teeth of a ratchet, in strokes of 20 to 60 clicks a second."""
    at = event_times(rng, n, 20 + 40 * u, 0.97)
    at = at[drift(rng, n, 1.5)[at] > -0.5]
    return place(n, at, lambda _: rng.uniform(0.6, 1) * ringing([1500 + 1200 * u, 3900], [0.004, 0.003], [1, 0.6]))


def printer(rng: Rng, n: int, u: float) -> Signal:
    """A dot-matrix head: lines of fast pulses, and the paper feed between."""
    line = np.mod(time_axis(n) * (0.8 + 1.2 * u), 1.0) < 0.75
    pulses = impulses(n, event_times(rng, n, 350 + 500 * u, 0.9))
    head = fftconvolve(pulses * (rng.uniform(size=n) < 0.7), ringing([1900, 3600], [0.002, 0.001], [1, 0.6]))[:n]
    feed = harmonics(phase_of(190 + 80 * u, n), np.array([1, 0.3, 0.5]))
    return line * head / rms(head) + 0.5 * (1 - line) * feed


def rails(rng: Rng, n: int, u: float) -> Signal:
    """Wheels over rail joints: double thumps with a rumble and a squeal."""
    start = event_times(rng, n, 1 + 1.2 * u, 1.0)
    at = np.sort(np.concatenate([start, start + int(0.14 * SAMPLE_RATE)]))
    thump = ringing([55, 130, 480, 1900], [0.08, 0.05, 0.03, 0.01], [1, 0.8, 0.5, 0.3])
    squeal = np.sin(phase_of(2300 + 700 * u + 60 * drift(rng, n, 2), n)) * np.clip(drift(rng, n, 0.6), 0, 1)
    clacks = place(n, at[at < n], lambda _: rng.uniform(0.7, 1) * thump)
    return clacks / rms(clacks) + 0.4 * shaped(rng, n, lambda f: bell(f, 120, 1.0)) + 0.15 * squeal
