"""Noise families that last: hums, tones and signals; fans, wind, breath, saws and radio.

Every function of this module is a generator, in the order of the noises.
"""

from functools import partial

import numpy as np
from scipy.signal import lfilter

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

# --------------------------------------------------------------------------------------------------------- with a pitch


def mains_hum(rng: Rng, n: int, u: float) -> Signal:
    """Harmonics of 50 or 60 Hz that fall off steeply, with a slow swell."""
    amplitudes = rng.uniform(0.3, 1.0, 12) / np.arange(1, 13) ** (2.0 - 1.5 * u)
    hum = harmonics(phase_of(rng.choice([50.0, 60.0]), n), amplitudes)
    return hum * (1 + 0.2 * drift(rng, n, 0.3)) + 0.1 * shaped(rng, n, lambda f: bell(f, 800, 1.5))


def buzz(rng: Rng, n: int, u: float) -> Signal:
    """A pulse train of 80 to 400 Hz: strong harmonics to the top of the band."""
    hz = 80 * 5**u * (1 + 0.002 * drift(rng, n, 2))
    pulse = np.mod(phase_of(hz, n) / (2 * np.pi), 1.0) < rng.uniform(0.05, 0.4)
    return band(pulse - pulse.mean(), 100 + 300 * u, 5000) * (1 + 0.3 * np.sign(drift(rng, n, 0.7)))


def drone(rng: Rng, n: int, u: float) -> Signal:
    """A few detuned tones that beat against each other."""
    root = 70 * 4**u
    tones = [root * r * (1 + 0.004 * rng.standard_normal()) for r in (1, 1, 1.5, 2, 2, 3, 4.02) for _ in range(2)]
    parts = (rng.uniform(0.2, 1) / (f / root) * np.sin(phase_of(f, n) + rng.uniform(0, 6)) for f in tones)
    return sum(parts, np.zeros(n))


def organ(rng: Rng, n: int, u: float) -> Signal:
    """Chords of harmonic pipes, a new one every 0.6 to 1.5 s."""
    x = np.zeros(n)
    start = 0
    while start < n:
        length = min(n - start, int(rng.uniform(0.6, 1.5) * SAMPLE_RATE))
        fade = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / 800)
        for semitones in rng.choice([0, 3, 4, 7, 10, 12, 15], 3, replace=False):
            phase = phase_of(110 * 2 ** (1.5 * u + semitones / 12), length)
            x[start : start + length] += fade * harmonics(phase, rng.uniform(0.2, 1, 6) / np.arange(1, 7))
        start += length
    return x


def plucked_strings(rng: Rng, n: int, u: float) -> Signal:
    """Notes of a comb-filtered burst (Karplus and Strong, 1983), some four a second."""

    def note(_: int) -> Signal:
        period = int(SAMPLE_RATE / (80 * 2 ** (2 * u + rng.integers(0, 13) / 12)))
        length = int(0.8 * SAMPLE_RATE)
        feedback = np.zeros(period + 2)
        feedback[0], feedback[period], feedback[period + 1] = 1.0, -0.495, -0.495
        excitation = np.zeros(length)
        excitation[:period] = rng.uniform(-1, 1, period)
        return lfilter([1.0], feedback, excitation)

    return place(n, event_times(rng, n, 3 + 2 * u, 0.7), note)


def whistle(rng: Rng, n: int, u: float) -> Signal:
    """A nearly pure tone that wanders, as of a kettle or a feedback loop."""
    hz = 700 * 4**u * 2 ** (0.15 * drift(rng, n, 0.8) + 0.01 * np.sin(2 * np.pi * 6 * time_axis(n)))
    breath = shaped(rng, n, lambda f: bell(f, 900 * 4**u, 0.5))
    return np.sin(phase_of(hz, n)) * (1 + 0.4 * drift(rng, n, 1.5)) + 0.2 * breath


def drill_whine(rng: Rng, n: int, u: float) -> Signal:
    """A high whine with harmonics that sags whenever the tool meets something."""
    load = np.clip(drift(rng, n, 1.0), 0, 1)
    phase = phase_of((900 + 1400 * u) * (1 - 0.25 * load), n)
    grinding = shaped(rng, n, lambda f: bell(f, 4500, 0.6))
    return harmonics(phase, np.array([1, 0.5, 0.6, 0.2])) + (0.3 + load) * grinding


def alarm(rng: Rng, n: int, u: float) -> Signal:
    """A two-tone or beeping alarm with odd harmonics."""
    cycle = np.mod(time_axis(n) * (1 + 3 * u), 1.0)
    base = rng.uniform(600, 1100)
    on = np.where(cycle < 0.5, 1.0, 1.0 if u < 0.5 else 0.02)
    phase = phase_of(np.where(cycle < 0.5, base, base * 1.26), n)
    return on * (np.sin(phase) + 0.33 * np.sin(3 * phase) + 0.15 * np.sin(5 * phase))


def siren(rng: Rng, n: int, u: float) -> Signal:
    """A tone that rises and falls, from slow (wail) to fast (yelp)."""
    sweep = 0.5 - 0.5 * np.cos(2 * np.pi * (0.25 * 12**u) * time_axis(n))
    return harmonics(phase_of(500 + rng.uniform(600, 1000) * sweep, n), np.array([1, 0.5, 0.35, 0.2, 0.1]))


def phone_ring(rng: Rng, n: int, u: float) -> Signal:
    """Two tones, warbling at 15 to 25 Hz, in a ring cadence."""
    t = time_axis(n)
    low = 420 + 900 * u
    warble = np.where(np.sin(2 * np.pi * rng.uniform(15, 25) * t) > 0, low, low * 1.25)
    cadence = np.mod(t + rng.uniform(0, 2), 1.6) < 1.0
    return cadence * harmonics(phase_of(warble, n), np.array([1, 0.3, 0.3, 0.1])) + 0.03 * rng.standard_normal(n)


def dial_tones(rng: Rng, n: int, u: float) -> Signal:
    """Pairs of tones of a telephone keypad (ITU-T Q.23), two to six a second."""
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
    length = int(SAMPLE_RATE * 0.6 / (2 + 4 * u))

    def digit(_: int) -> Signal:
        return np.sin(phase_of(rng.choice(rows), length)) + np.sin(phase_of(rng.choice(columns), length))

    return place(n, event_times(rng, n, 2 + 4 * u, 1.0), digit)


def sweeps(rng: Rng, n: int, u: float) -> Signal:
    """Frequency sweeps one behind the other, upward, downward or both."""
    position = np.mod(time_axis(n) * (0.4 + 2.5 * u), 1.0)
    if rng.uniform() < 0.5:
        position = 1 - position
    return np.sin(phase_of(150 * rng.uniform(20, 45) ** position, n)) * np.sin(np.pi * position) ** 0.3


def bells(rng: Rng, n: int, u: float) -> Signal:
    """Struck bells: the partials of a church bell over decays of seconds."""
    partials = np.array([0.5, 1, 1.2, 1.5, 2, 2.5, 2.66, 3, 4.1])
    bells = []
    for semitones in rng.choice([0, 2, 4, 7, 9], 3, replace=False):
        freqs = 220 * 4**u * 2 ** (semitones / 12) * partials * (1 + 0.005 * rng.standard_normal(len(partials)))
        bells.append(ringing(freqs, 0.9 / np.sqrt(partials), rng.uniform(0.2, 1, len(partials))))
    return place(n, event_times(rng, n, 1.2 + u, 0.5), lambda _: rng.uniform(0.5, 1) * bells[rng.integers(3)])


# ------------------------------------------------------------------------------------------------------- filtered noise


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
