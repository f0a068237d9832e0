"""Noise families made of filtered noise: fans, wind, breath, saws, radio.

Every function of this module is a generator, in the order of the noises.
"""

from functools import partial

import numpy as np

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
    shaped,
    time_axis,
)


def coloured(rng: Rng, n: int, u: float) -> Signal:
    """A power spectrum f ** -a with a from 2.2 (brown) over 1 (pink) to -1 (blue)."""
    exponent = (2.2, 1.0, -1.0)[int(3 * u)]
    return shaped(rng, n, lambda f: np.maximum(f, 20.0) ** (-exponent / 2))


def narrow_band(rng: Rng, n: int, u: float) -> Signal:
    """Noise of a third of an octave."""
    return shaped(rng, n, lambda f: bell(f, 250 * 16**u, 0.17))


def notched(rng: Rng, n: int, u: float) -> Signal:
    """Pinkish noise with a comb of notches that drifts: a flanger."""
    delay = 0.0008 * 5**u * SAMPLE_RATE * (1 + 0.5 * np.sin(2 * np.pi * 0.2 * time_axis(n) + rng.uniform(0, 6)))
    x = shaped(rng, n, lambda f: bell(f, 300 * 6**u, 1.6))
    return x + 0.9 * np.interp(np.arange(n) - delay, np.arange(n), x)


def wandering_band(rng: Rng, n: int, u: float) -> Signal:
    """Two bands of noise whose loudness trades places."""
    low, high = 200 * 3**u, 1800 * 2**u
    w = 0.5 + 0.5 * np.tanh(2 * drift(rng, n, 0.5 + u))
    return w * shaped(rng, n, lambda f: bell(f, low, 0.4)) + (1 - w) * shaped(rng, n, lambda f: bell(f, high, 0.4))


def fan(rng: Rng, n: int, u: float) -> Signal:
    """Air noise with the ripple and tone of passing blades."""
    blade = phase_of(25 + 90 * u, n)
    air = shaped(rng, n, lambda f: 1 / (1 + (f / (400 + 800 * u)) ** 1.2))
    return air * (1 + 0.4 * np.sin(blade)) + 0.25 * harmonics(blade, 1 / np.arange(1, 7))


def steam(rng: Rng, n: int, u: float) -> Signal:
    """A hiss above 2 kHz that fluctuates, with puffs."""
    hiss = shaped(rng, n, lambda f: 1 / (1 + ((2000 + 2500 * u) / np.maximum(f, 1)) ** 4))
    return hiss * (0.3 + np.clip(drift(rng, n, 2 + 3 * u), 0, 2) ** 1.5)


def wind(rng: Rng, n: int, u: float) -> Signal:
    """Gusts: low noise whose loudness and howl rise together."""
    gust = np.clip(0.8 + 0.7 * drift(rng, n, 0.3 + 0.5 * u), 0.05, 3)
    rumble = shaped(rng, n, lambda f: 1 / (1 + (f / (150 + 250 * u)) ** 1.5))
    howls = [shaped(rng, n, partial(bell, centre_hz=c, octaves=0.15)) for c in (350 + 300 * u, 500 + 450 * u)]
    return gust**1.5 * rumble + 0.4 * gust**2.5 * howls[0] + 0.3 * np.roll(gust, 4000) ** 2.5 * howls[1]


def sea_waves(rng: Rng, n: int, u: float) -> Signal:
    """Swell every 2 to 5 s: a slow rise, a bright break, a fall."""
    cycle = np.mod(time_axis(n) / (2 + 3 * u) + 0.08 * drift(rng, n, 0.3), 1.0)
    swell = np.where(cycle < 0.6, (cycle / 0.6) ** 2, np.exp(-(cycle - 0.6) * 6))
    low = shaped(rng, n, lambda f: 1 / (1 + (f / (250 * 4**u)) ** 1.3))
    return (0.15 + swell) * low + 0.7 * swell**2 * shaped(rng, n, lambda f: bell(f, 3800 / 2.2**u, 1.0))


def breathing(rng: Rng, n: int, u: float) -> Signal:
    """Breaths in and out, 15 to 40 a minute, with a snore's flutter on the way in."""
    cycle = np.mod(time_axis(n) * (0.25 + 0.4 * u), 1.0)
    inward, outward = np.sin(np.pi * cycle / 0.45) * (cycle < 0.45), np.sin(np.pi * (cycle - 0.5) / 0.4)
    flutter = 0.5 + 0.5 * np.sign(np.sin(phase_of(28 + 15 * u, n)))
    snore = shaped(rng, n, lambda f: bell(f, 300 + 200 * u, 0.8)) * flutter
    breath = shaped(rng, n, lambda f: bell(f, 900 * 3**u, 1))
    return 2 * inward * snore + np.clip(outward, 0, 1) * (cycle < 0.9) * breath


def hand_saw(rng: Rng, n: int, u: float) -> Signal:
    """Strokes to and fro, 1.5 to 3.5 a second; the teeth buzz in the noise."""
    stroke = np.sin(np.pi * (1.5 + 2 * u) * time_axis(n))
    teeth = 0.5 + 0.5 * np.sin(phase_of(90 + 160 * np.abs(stroke), n))
    forth = shaped(rng, n, lambda f: bell(f, 1400 * 2.5**u, 0.8))
    back = shaped(rng, n, lambda f: bell(f, 800 * 2.5**u, 0.8))
    return np.abs(stroke) * teeth * np.where(stroke > 0, forth, back)


def radio_static(rng: Rng, n: int, u: float) -> Signal:
    """A badly tuned receiver: gated noise, crashes and a heterodyne whistle."""
    gate = np.where(drift(rng, n, 5 + 10 * u) > 0, 1.0, 0.25)
    whistle = np.sin(phase_of(np.abs(800 + 900 * drift(rng, n, 0.7)), n))
    crashes = impulses(n, event_times(rng, n, 8 + 20 * u), 40.0)
    return band(gate * rng.standard_normal(n) + crashes, 300, 3400) + (0.1 + 0.5 * u) * whistle
