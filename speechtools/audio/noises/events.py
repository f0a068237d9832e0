"""Noise families of single events: water, thunder and fire; clicks, knocks, drums and rails; animals and people.

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
    burst,
    drift,
    event_times,
    harmonics,
    impulses,
    phase_of,
    place,
    random_gains,
    ringing,
    rms,
    shaped,
    time_axis,
)

# ------------------------------------------------------------------------------------------ water, thunder, fire, paper


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


# -------------------------------------------------------------------------------------------------------------- impacts


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


# --------------------------------------------------------------------------------------------------- animals and people


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
