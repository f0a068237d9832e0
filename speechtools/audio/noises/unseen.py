"""The four test noises; no training family imitates them.

Every function of this module is a generator, in the order of the noises.
"""

from functools import partial

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
    harmonics,
    phase_of,
    ringing,
    rms,
    shaped,
    time_axis,
)


def engine(rng: Rng, n: int, u: float) -> Signal:
    """An idling and revving piston engine: uneven firing pulses through exhaust resonances, with knock and hiss."""
    speed = 26 * 2 ** (0.5 + 0.45 * drift(rng, n, 0.35) + 0.01 * drift(rng, n, 8))  # firings a second
    cylinder = np.floor(phase_of(speed, n) / (2 * np.pi)).astype(int)
    firing = np.diff(cylinder, prepend=0) * np.array([1.0, 0.8, 1.1, 0.85])[cylinder % 4]
    exhaust = fftconvolve(firing, ringing([62, 118, 235, 410], [0.03, 0.025, 0.015, 0.01], [1, 0.9, 0.5, 0.35]))[:n]
    knock = fftconvolve(firing * rng.uniform(0.3, 1, n), burst(rng, 900, 4500, 0.004))[:n]
    hiss = shaped(rng, n, lambda f: 1 / (1 + (f / 700) ** 1.2)) * (speed / 40)
    return exhaust / rms(exhaust) + 0.25 * knock / rms(knock) + 0.25 * hiss


def white(rng: Rng, n: int, u: float) -> Signal:
    """White Gaussian noise."""
    return rng.standard_normal(n)


def street(rng: Rng, n: int, u: float) -> Signal:
    """A road: a distant rumble, tyres passing near and far, and a horn now and then."""
    t = time_axis(n)
    x = 0.35 * shaped(rng, n, lambda f: 1 / (1 + (f / 180) ** 1.1))
    for moment in np.arange(rng.uniform(0, 1.5), n / SAMPLE_RATE + 1, 1.7):
        nearness = 1 / (1 + ((t - moment - rng.uniform(-0.5, 0.5)) / rng.uniform(0.5, 1.2)) ** 2)
        tyres = shaped(rng, n, partial(bell, centre_hz=rng.uniform(700, 1300), octaves=1.0))
        motor = harmonics(phase_of(rng.uniform(45, 90) * (1.05 - 0.1 * np.tanh(t - moment)), n), 1 / np.arange(1, 9))
        x = x + rng.uniform(0.3, 1) * (nearness**1.5 * tyres + 0.4 * nearness * motor)
    for moment in rng.uniform(0, n / SAMPLE_RATE - 0.8, max(1, round(n / SAMPLE_RATE / 5))):
        honk = (t > moment) & (t < moment + rng.uniform(0.25, 0.7))
        horn = harmonics(phase_of(400, n), 1 / np.arange(1, 9)) + harmonics(phase_of(503, n), 1 / np.arange(1, 9))
        x = x + 0.3 * honk * horn
    return x


def baby_cry(rng: Rng, n: int, u: float) -> Signal:
    """Cries of about a second on an arched pitch of 350 to 550 Hz, hoarse at the peak, each after a gasp."""
    x = np.zeros(n)
    start = int(rng.uniform(0, 0.3) * SAMPLE_RATE)
    while start < n:
        length = int(rng.uniform(0.7, 1.3) * SAMPLE_RATE)
        path = np.linspace(0, 1, length)
        pitch = rng.uniform(350, 430) * (1 + 0.3 * np.sin(np.pi * path**0.7)) * (1 + 0.01 * drift(rng, length, 12))
        voice = harmonics(phase_of(pitch, length), 1 / np.arange(1, 15) ** 0.5)
        hoarse = voice + 1.2 * np.sin(np.pi * path) ** 4 * rng.standard_normal(length)
        formants = sum(g * band(hoarse, 0.8 * f, 1.2 * f) for f, g in ((1100, 1.0), (3200, 0.7), (5200, 0.3)))
        cry = (formants + 0.3 * band(hoarse, 300, 700)) * np.minimum(1, 12 * path) * np.minimum(1, 5 * (1 - path))
        x[start : start + length] += cry[: n - start]
        start += length
        gasp = burst(rng, 1200, 5000, 0.06, 0.1)[: max(0, n - start)]
        x[start : start + len(gasp)] += 0.25 * gasp
        start += int(rng.uniform(0.35, 0.6) * SAMPLE_RATE)
    return x
