"""Noises made by rule: 144 training noises of 48 families, and four test noises that share no generator with them.

Every noise is a pure function of its name, a seed and a length. A family is one generator; its members differ in a main
parameter ``u``, spread over [0, 1), and in what they draw from their own random generator. The test noises are the four
types that the Quality-Net paper keeps unseen (section 3.1): engine, white, street, baby cry. No training family is
white noise, and none imitates combustion engines, road traffic and horns, or crying.

The signals are synthetic, made to cover many spectra and time structures rather than to fool a listener.
"""

import functools
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy.signal import butter, fftconvolve, lfilter, sosfilt

from speechtools import audio
from speechtools.core.errors import ConfigError

SAMPLE_RATE = 16000
TEST_NOISES = ("engine", "white", "street", "baby_cry")
MEMBERS = 3  # noises a training family
LEVEL_DBFS = -25.0  # RMS
_PEAK = 0.95

Generator = Callable[[np.random.Generator, int, float], np.ndarray]  # (rng, samples n, u) -> (n,)
_FAMILIES: dict[str, Generator] = {}
_TESTS: dict[str, Generator] = {}


def training_noises() -> list[str]:
    """The names of the training noises, ``<family>-<nn>``.

    >>> len(training_noises()), training_noises()[:2]
    (144, ['mains-hum-01', 'mains-hum-02'])
    """
    return [f"{family}-{member:02d}" for family in _FAMILIES for member in range(1, MEMBERS + 1)]


def make_noise(name: str, seed: int = 0, seconds: float = 10.0) -> np.ndarray:
    """One noise by its name, float32 at 16 kHz, RMS -25 dBFS, peaks below 0.95, shape (samples,).

    Where single events stand out so much that the level would need a higher peak, they are limited softly (tanh).

    Raises
    ------
    ConfigError
        No such noise, or a length outside 1 to 3600 seconds.

    Example
    -------
    >>> make_noise("rain-02", seconds=2.0).shape
    (32000,)
    """
    if not 1.0 <= seconds <= 3600.0:
        raise ConfigError(f"A noise of {seconds} s cannot be made: give seconds from 1 to 3600.")
    n = round(seconds * SAMPLE_RATE)
    if name in _TESTS:
        family, member = name, 1
    else:
        family, _, number = name.rpartition("-")
        if family not in _FAMILIES or not number.isdigit() or not 1 <= int(number) <= MEMBERS:
            raise ConfigError(
                f"There is no noise {name!r}. Families: {', '.join(_FAMILIES)}, each with -01 to -{MEMBERS:02d} "
                f"behind its name; and {', '.join(TEST_NOISES)}."
            )
        member = int(number)
    rng = np.random.default_rng([seed, zlib.crc32(family.encode()), member])
    u = (member - 1 + rng.uniform(0.2, 0.8)) / MEMBERS
    return _finish(rng, (_TESTS.get(family) or _FAMILIES[family])(rng, n, u))


def write_noises(folder: str | Path, seed: int = 0, seconds: float = 10.0) -> Path:
    """Write every noise as 16-bit WAV directly into ``folder``, in place of what has the same name; returns the folder.

    The files are ``<family>-<nn>.wav`` for training, and ``engine.wav white.wav street.wav baby_cry.wav``.

    Raises
    ------
    ConfigError
        A length outside 1 to 3600 seconds.
    CorpusError
        The folder cannot be written, or the disk is full.
    """
    folder = Path(folder)
    for name in (*training_noises(), *TEST_NOISES):
        audio.write(folder / f"{name}.wav", make_noise(name, seed, seconds), SAMPLE_RATE)
    return folder


def _finish(rng: np.random.Generator, x: np.ndarray) -> np.ndarray:
    x = sosfilt(_butter("highpass", 20.0, order=1), x)  # no DC
    x = x / _rms(x)
    x = x + 10 ** (-35 / 20) * _shaped(rng, len(x), lambda f: 1 / np.sqrt(f + 50.0))  # a room is never quite silent
    level = 10 ** (LEVEL_DBFS / 20)
    for _ in range(4):
        x = x * (level / _rms(x))
        if np.abs(x).max() <= _PEAK:
            break
        x = 0.9 * _PEAK * np.tanh(x / (0.9 * _PEAK))
    return (x * min(1.0, _PEAK / np.abs(x).max())).astype(np.float32)


# Building blocks ----------------------------------------------------------------------------------------------------


def _rms(x: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(x)))) + 1e-12


@functools.lru_cache(maxsize=256)
def _butter(kind: str, *edges_hz: float, order: int = 2) -> np.ndarray:
    edges = edges_hz[0] if len(edges_hz) == 1 else edges_hz
    return butter(order, edges, kind, fs=SAMPLE_RATE, output="sos")


def _band(x: np.ndarray, low_hz: float, high_hz: float, order: int = 2) -> np.ndarray:
    return sosfilt(_butter("bandpass", float(low_hz), float(high_hz), order=order), x)


def _time(n: int) -> np.ndarray:
    return np.arange(n) / SAMPLE_RATE  # s


def _shaped(rng: np.random.Generator, n: int, gain: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Gaussian noise with the magnitude response ``gain(frequency in Hz)``, RMS 1."""
    spectrum = np.fft.rfft(rng.standard_normal(n)) * gain(np.fft.rfftfreq(n, 1 / SAMPLE_RATE))
    spectrum[0] = 0
    x = np.fft.irfft(spectrum, n)
    return x / _rms(x)


def _bump(f: np.ndarray, centre_hz: float, octaves: float) -> np.ndarray:
    """A bell over log frequency."""
    return np.exp(-0.5 * (np.log2(np.maximum(f, 1.0) / centre_hz) / octaves) ** 2)


def _slow(rng: np.random.Generator, n: int, hz: float) -> np.ndarray:
    """A smooth random curve of about ``hz`` turns a second, zero mean, RMS about 1."""
    knots = max(4, int(2 * hz * n / SAMPLE_RATE) + 4)
    values = rng.standard_normal(knots)
    at = np.linspace(1, knots - 2, n)
    i = at.astype(int).clip(1, knots - 3)
    w = 0.5 - 0.5 * np.cos(np.pi * (at - i))
    return values[i] * (1 - w) + values[i + 1] * w


def _phase(hz: np.ndarray | float, n: int) -> np.ndarray:
    """The phase (radians) of an oscillator of the given, possibly changing, frequency."""
    return 2 * np.pi * np.cumsum(np.broadcast_to(hz, (n,))) / SAMPLE_RATE


def _harmonics(phase: np.ndarray, amplitudes: np.ndarray) -> np.ndarray:
    return sum(a * np.sin((k + 1) * phase) for k, a in enumerate(amplitudes))


def _times(rng: np.random.Generator, n: int, rate: float, regularity: float = 0.0) -> np.ndarray:
    """Sample indices of events, ``rate`` a second: Poisson (regularity 0) to evenly spaced (1)."""
    count = max(2, int(1.5 * rate * n / SAMPLE_RATE) + 8)
    gaps = (regularity + (1 - regularity) * rng.exponential(1.0, count)) / rate
    at = (np.cumsum(gaps) * SAMPLE_RATE).astype(int) - int(gaps[0] * SAMPLE_RATE * rng.uniform())
    return at[(at >= 0) & (at < n)]


def _impulses(n: int, at: np.ndarray, amplitudes: np.ndarray | float = 1.0) -> np.ndarray:
    x = np.zeros(n)
    np.add.at(x, at, amplitudes)
    return x


def _ring(freqs_hz, decays_s, amplitudes) -> np.ndarray:
    """The sum of decaying sines: how a struck thing sounds."""
    t = _time(int(max(decays_s) * 5 * SAMPLE_RATE) + 1)
    partials = zip(freqs_hz, decays_s, amplitudes, strict=True)
    return sum(a * np.exp(-t / d) * np.sin(2 * np.pi * f * t) for f, d, a in partials)


def _burst(rng: np.random.Generator, low_hz: float, high_hz: float, decay_s: float, attack_s: float = 0.001):
    t = _time(int((attack_s + 6 * decay_s) * SAMPLE_RATE) + 64)
    envelope = np.minimum(t / attack_s, 1.0) * np.exp(-np.maximum(t - attack_s, 0) / decay_s)
    return _band(rng.standard_normal(len(t)), low_hz, high_hz) * envelope


def _place(n: int, at: np.ndarray, event: Callable[[int], np.ndarray]) -> np.ndarray:
    """Add the sound ``event(i)`` at each index ``at[i]``."""
    x = np.zeros(n)
    for i, start in enumerate(at):
        sound = event(i)[: n - start]
        x[start : start + len(sound)] += sound
    return x


def _loudness(rng: np.random.Generator, count: int, spread_db: float) -> np.ndarray:
    return 10 ** (rng.normal(0, spread_db, count) / 20)


def _family(name: str) -> Callable[[Generator], Generator]:
    def file(generator: Generator) -> Generator:
        _FAMILIES[name] = generator
        return generator

    return file


def _test(name: str) -> Callable[[Generator], Generator]:
    def file(generator: Generator) -> Generator:
        _TESTS[name] = generator
        return generator

    return file


# Training families: hums and tones ----------------------------------------------------------------------------------


@_family("mains-hum")
def _mains_hum(rng, n, u):
    """Harmonics of 50 or 60 Hz that fall off steeply, with a slow swell."""
    amplitudes = rng.uniform(0.3, 1.0, 12) / np.arange(1, 13) ** (2.0 - 1.5 * u)
    hum = _harmonics(_phase(rng.choice([50.0, 60.0]), n), amplitudes)
    return hum * (1 + 0.2 * _slow(rng, n, 0.3)) + 0.1 * _shaped(rng, n, lambda f: _bump(f, 800, 1.5))


@_family("buzz")
def _buzz(rng, n, u):
    """A pulse train of 80 to 400 Hz: strong harmonics to the top of the band."""
    hz = 80 * 5**u * (1 + 0.002 * _slow(rng, n, 2))
    pulse = np.mod(_phase(hz, n) / (2 * np.pi), 1.0) < rng.uniform(0.05, 0.4)
    return _band(pulse - pulse.mean(), 100 + 300 * u, 5000) * (1 + 0.3 * np.sign(_slow(rng, n, 0.7)))


@_family("drone")
def _drone(rng, n, u):
    """A few detuned tones that beat against each other."""
    root = 70 * 4**u
    tones = [root * r * (1 + 0.004 * rng.standard_normal()) for r in (1, 1, 1.5, 2, 2, 3, 4.02) for _ in range(2)]
    return sum(rng.uniform(0.2, 1) / (f / root) * np.sin(_phase(f, n) + rng.uniform(0, 6)) for f in tones)


@_family("organ")
def _organ(rng, n, u):
    """Chords of harmonic pipes, a new one every 0.6 to 1.5 s."""
    x = np.zeros(n)
    start = 0
    while start < n:
        length = min(n - start, int(rng.uniform(0.6, 1.5) * SAMPLE_RATE))
        fade = np.minimum(1, np.minimum(np.arange(length), np.arange(length)[::-1]) / 800)
        for semitones in rng.choice([0, 3, 4, 7, 10, 12, 15], 3, replace=False):
            phase = _phase(110 * 2 ** (1.5 * u + semitones / 12), length)
            x[start : start + length] += fade * _harmonics(phase, rng.uniform(0.2, 1, 6) / np.arange(1, 7))
        start += length
    return x


@_family("plucked-strings")
def _plucked_strings(rng, n, u):
    """Notes of a comb-filtered burst (Karplus and Strong, 1983), some four a second."""

    def note(_):
        period = int(SAMPLE_RATE / (80 * 2 ** (2 * u + rng.integers(0, 13) / 12)))
        length = int(0.8 * SAMPLE_RATE)
        feedback = np.zeros(period + 2)
        feedback[0], feedback[period], feedback[period + 1] = 1.0, -0.495, -0.495
        excitation = np.zeros(length)
        excitation[:period] = rng.uniform(-1, 1, period)
        return lfilter([1.0], feedback, excitation)

    return _place(n, _times(rng, n, 3 + 2 * u, 0.7), note)


@_family("whistle")
def _whistle(rng, n, u):
    """A nearly pure tone that wanders, as of a kettle or a feedback loop."""
    hz = 700 * 4**u * 2 ** (0.15 * _slow(rng, n, 0.8) + 0.01 * np.sin(2 * np.pi * 6 * _time(n)))
    breath = _shaped(rng, n, lambda f: _bump(f, 900 * 4**u, 0.5))
    return np.sin(_phase(hz, n)) * (1 + 0.4 * _slow(rng, n, 1.5)) + 0.2 * breath


@_family("drill-whine")
def _drill_whine(rng, n, u):
    """A high whine with harmonics that sags whenever the tool meets something."""
    load = np.clip(_slow(rng, n, 1.0), 0, 1)
    phase = _phase((900 + 1400 * u) * (1 - 0.25 * load), n)
    grinding = _shaped(rng, n, lambda f: _bump(f, 4500, 0.6))
    return _harmonics(phase, np.array([1, 0.5, 0.6, 0.2])) + (0.3 + load) * grinding


# Training families: signals -----------------------------------------------------------------------------------------


@_family("alarm")
def _alarm(rng, n, u):
    """A two-tone or beeping alarm with odd harmonics."""
    cycle = np.mod(_time(n) * (1 + 3 * u), 1.0)
    base = rng.uniform(600, 1100)
    on = np.where(cycle < 0.5, 1.0, 1.0 if u < 0.5 else 0.02)
    phase = _phase(np.where(cycle < 0.5, base, base * 1.26), n)
    return on * (np.sin(phase) + 0.33 * np.sin(3 * phase) + 0.15 * np.sin(5 * phase))


@_family("siren")
def _siren(rng, n, u):
    """A tone that rises and falls, from slow (wail) to fast (yelp)."""
    sweep = 0.5 - 0.5 * np.cos(2 * np.pi * (0.25 * 12**u) * _time(n))
    return _harmonics(_phase(500 + rng.uniform(600, 1000) * sweep, n), np.array([1, 0.5, 0.35, 0.2, 0.1]))


@_family("phone-ring")
def _phone_ring(rng, n, u):
    """Two tones, warbling at 15 to 25 Hz, in a ring cadence."""
    t = _time(n)
    low = 420 + 900 * u
    warble = np.where(np.sin(2 * np.pi * rng.uniform(15, 25) * t) > 0, low, low * 1.25)
    cadence = np.mod(t + rng.uniform(0, 2), 1.6) < 1.0
    return cadence * _harmonics(_phase(warble, n), np.array([1, 0.3, 0.3, 0.1])) + 0.03 * rng.standard_normal(n)


@_family("dial-tones")
def _dial_tones(rng, n, u):
    """Pairs of tones of a telephone keypad (ITU-T Q.23), two to six a second."""
    rows, columns = (697, 770, 852, 941), (1209, 1336, 1477, 1633)
    length = int(SAMPLE_RATE * 0.6 / (2 + 4 * u))

    def digit(_):
        return np.sin(_phase(rng.choice(rows), length)) + np.sin(_phase(rng.choice(columns), length))

    return _place(n, _times(rng, n, 2 + 4 * u, 1.0), digit)


@_family("sweeps")
def _sweeps(rng, n, u):
    """Frequency sweeps one behind the other, upward, downward or both."""
    position = np.mod(_time(n) * (0.4 + 2.5 * u), 1.0)
    if rng.uniform() < 0.5:
        position = 1 - position
    return np.sin(_phase(150 * rng.uniform(20, 45) ** position, n)) * np.sin(np.pi * position) ** 0.3


@_family("bells")
def _bells(rng, n, u):
    """Struck bells: the partials of a church bell over decays of seconds."""
    partials = np.array([0.5, 1, 1.2, 1.5, 2, 2.5, 2.66, 3, 4.1])
    bells = []
    for semitones in rng.choice([0, 2, 4, 7, 9], 3, replace=False):
        freqs = 220 * 4**u * 2 ** (semitones / 12) * partials * (1 + 0.005 * rng.standard_normal(len(partials)))
        bells.append(_ring(freqs, 0.9 / np.sqrt(partials), rng.uniform(0.2, 1, len(partials))))
    return _place(n, _times(rng, n, 1.2 + u, 0.5), lambda _: rng.uniform(0.5, 1) * bells[rng.integers(3)])


# Training families: coloured and filtered noise ---------------------------------------------------------------------


@_family("coloured")
def _coloured(rng, n, u):
    """A power spectrum f ** -a with a from 2.2 (brown) over 1 (pink) to -1 (blue)."""
    exponent = (2.2, 1.0, -1.0)[int(3 * u)]
    return _shaped(rng, n, lambda f: np.maximum(f, 20.0) ** (-exponent / 2))


@_family("narrow-band")
def _narrow_band(rng, n, u):
    """Noise of a third of an octave."""
    return _shaped(rng, n, lambda f: _bump(f, 250 * 16**u, 0.17))


@_family("notched")
def _notched(rng, n, u):
    """Pinkish noise with a comb of notches that drifts: a flanger."""
    delay = 0.0008 * 5**u * SAMPLE_RATE * (1 + 0.5 * np.sin(2 * np.pi * 0.2 * _time(n) + rng.uniform(0, 6)))
    x = _shaped(rng, n, lambda f: _bump(f, 300 * 6**u, 1.6))
    return x + 0.9 * np.interp(np.arange(n) - delay, np.arange(n), x)


@_family("wandering-band")
def _wandering_band(rng, n, u):
    """Two bands of noise whose loudness trades places."""
    low, high = 200 * 3**u, 1800 * 2**u
    w = 0.5 + 0.5 * np.tanh(2 * _slow(rng, n, 0.5 + u))
    return w * _shaped(rng, n, lambda f: _bump(f, low, 0.4)) + (1 - w) * _shaped(rng, n, lambda f: _bump(f, high, 0.4))


@_family("fan")
def _fan(rng, n, u):
    """Air noise with the ripple and tone of passing blades."""
    blade = _phase(25 + 90 * u, n)
    air = _shaped(rng, n, lambda f: 1 / (1 + (f / (400 + 800 * u)) ** 1.2))
    return air * (1 + 0.4 * np.sin(blade)) + 0.25 * _harmonics(blade, 1 / np.arange(1, 7))


@_family("steam")
def _steam(rng, n, u):
    """A hiss above 2 kHz that fluctuates, with puffs."""
    hiss = _shaped(rng, n, lambda f: 1 / (1 + ((2000 + 2500 * u) / np.maximum(f, 1)) ** 4))
    return hiss * (0.3 + np.clip(_slow(rng, n, 2 + 3 * u), 0, 2) ** 1.5)


@_family("wind")
def _wind(rng, n, u):
    """Gusts: low noise whose loudness and howl rise together."""
    gust = np.clip(0.8 + 0.7 * _slow(rng, n, 0.3 + 0.5 * u), 0.05, 3)
    rumble = _shaped(rng, n, lambda f: 1 / (1 + (f / (150 + 250 * u)) ** 1.5))
    howls = [_shaped(rng, n, lambda f, c=c: _bump(f, c, 0.15)) for c in (350 + 300 * u, 500 + 450 * u)]
    return gust**1.5 * rumble + 0.4 * gust**2.5 * howls[0] + 0.3 * np.roll(gust, 4000) ** 2.5 * howls[1]


@_family("sea-waves")
def _sea_waves(rng, n, u):
    """Swell every 2 to 5 s: a slow rise, a bright break, a fall."""
    cycle = np.mod(_time(n) / (2 + 3 * u) + 0.08 * _slow(rng, n, 0.3), 1.0)
    swell = np.where(cycle < 0.6, (cycle / 0.6) ** 2, np.exp(-(cycle - 0.6) * 6))
    low = _shaped(rng, n, lambda f: 1 / (1 + (f / (250 * 4**u)) ** 1.3))
    return (0.15 + swell) * low + 0.7 * swell**2 * _shaped(rng, n, lambda f: _bump(f, 3800 / 2.2**u, 1.0))


@_family("breathing")
def _breathing(rng, n, u):
    """Breaths in and out, 15 to 40 a minute, with a snore's flutter on the way in."""
    cycle = np.mod(_time(n) * (0.25 + 0.4 * u), 1.0)
    inward, outward = np.sin(np.pi * cycle / 0.45) * (cycle < 0.45), np.sin(np.pi * (cycle - 0.5) / 0.4)
    flutter = 0.5 + 0.5 * np.sign(np.sin(_phase(28 + 15 * u, n)))
    snore = _shaped(rng, n, lambda f: _bump(f, 300 + 200 * u, 0.8)) * flutter
    return 2 * inward * snore + np.clip(outward, 0, 1) * (cycle < 0.9) * _shaped(
        rng, n, lambda f: _bump(f, 900 * 3**u, 1)
    )


@_family("hand-saw")
def _hand_saw(rng, n, u):
    """Strokes to and fro, 1.5 to 3.5 a second; the teeth buzz in the noise."""
    stroke = np.sin(np.pi * (1.5 + 2 * u) * _time(n))
    teeth = 0.5 + 0.5 * np.sin(_phase(90 + 160 * np.abs(stroke), n))
    timbre = np.where(stroke > 0, _shaped(rng, n, lambda f: _bump(f, 1400 * 2.5**u, 0.8)), 0.0) + np.where(
        stroke <= 0, _shaped(rng, n, lambda f: _bump(f, 800 * 2.5**u, 0.8)), 0.0
    )
    return np.abs(stroke) * teeth * timbre


@_family("radio-static")
def _radio_static(rng, n, u):
    """A badly tuned receiver: gated noise, crashes and a heterodyne whistle."""
    gate = np.where(_slow(rng, n, 5 + 10 * u) > 0, 1.0, 0.25)
    whistle = np.sin(_phase(np.abs(800 + 900 * _slow(rng, n, 0.7)), n))
    crashes = _impulses(n, _times(rng, n, 8 + 20 * u), 40.0)
    return _band(gate * rng.standard_normal(n) + crashes, 300, 3400) + (0.1 + 0.5 * u) * whistle


# Training families: water and weather -------------------------------------------------------------------------------


@_family("rain")
def _rain(rng, n, u):
    """Hundreds of drops a second over a hiss."""
    at = _times(rng, n, 80 * 12**u)
    drops = fftconvolve(_impulses(n, at, _loudness(rng, len(at), 8)), _burst(rng, 1200, 7000, 0.002))[:n]
    return drops / _rms(drops) + 0.6 * _shaped(rng, n, lambda f: _bump(f, 4000, 1.2))


@_family("water-bubbles")
def _water_bubbles(rng, n, u):
    """Bubbles: short sines that rise as they shrink (Minnaert's resonance)."""

    def bubble(_):
        hz = rng.uniform(300, 900) * (1 + u)
        t = _time(int(rng.uniform(0.03, 0.09) * SAMPLE_RATE))
        return rng.uniform(0.3, 1) * np.sin(2 * np.pi * hz * (t + 6 * t**2)) * np.exp(-t * 45) * np.minimum(t * 500, 1)

    return _place(n, _times(rng, n, 10 + 60 * u), bubble)


@_family("dripping")
def _dripping(rng, n, u):
    """Single drops into a basin that echoes."""
    echo = np.exp(-_time(8000) / 0.12) * rng.standard_normal(8000) * 0.15
    echo[0] = 1.0

    def drop(_):
        hz = rng.uniform(900, 1500) * (1 + u)
        return _ring([hz, hz * 1.6], [0.015, 0.008], [1, 0.5])

    return fftconvolve(_place(n, _times(rng, n, 3 + 3 * u, 0.4), drop), echo)[:n]


@_family("thunder")
def _thunder(rng, n, u):
    """Rolling low bursts, over rain."""

    def roll(_):
        return rng.uniform(0.4, 1) * _burst(rng, 25, 120 + 150 * u, rng.uniform(0.3, 0.8), 0.05)

    rolls = _place(n, _times(rng, n, 1.5 + u, 0.3), roll)
    return rolls / _rms(rolls) + 0.12 * _shaped(rng, n, lambda f: _bump(f, 1500 * 3**u, 1.0))


@_family("fire-crackle")
def _fire_crackle(rng, n, u):
    """Cracks of widely varying size over a soft roar."""
    at = _times(rng, n, 15 + 60 * u)
    cracks = fftconvolve(_impulses(n, at, rng.pareto(1.8, len(at)).clip(0, 15)), _burst(rng, 800, 6500, 0.0025))[:n]
    return cracks / _rms(cracks) + 0.5 * _shaped(rng, n, lambda f: 1 / (1 + (f / 250) ** 1.5))


@_family("paper-crumple")
def _paper_crumple(rng, n, u):
    """Dense bright crackles in handfuls."""
    rate = np.clip(_slow(rng, n, 1.5), 0, 2)
    hits = (rng.uniform(size=n) < rate * (100 + 500 * u) / SAMPLE_RATE) * rng.pareto(2.0, n).clip(0, 10)
    return fftconvolve(hits, _burst(rng, 1800, 7500, 0.0012))[:n]


# Training families: things that knock -------------------------------------------------------------------------------


@_family("clicks")
def _clicks(rng, n, u):
    """Irregular clicks, as of a Geiger counter."""
    return fftconvolve(_impulses(n, _times(rng, n, 8 * 8**u)), _burst(rng, 700 + 1500 * u, 7000, 0.0008))[:n]


@_family("clock")
def _clock(rng, n, u):
    """Tick and tock, two to five a second, with wooden resonances."""
    at = _times(rng, n, 2 + 3 * u, 1.0)
    tick, tock = (_ring([f, 2.3 * f, 4.1 * f], [0.01, 0.006, 0.004], [1, 0.7, 0.5]) for f in (1100 + 500 * u, 850))
    return _place(n, at, lambda i: tock if i % 2 else tick)


@_family("typing")
def _typing(rng, n, u):
    """Keystrokes in runs: a click down, a softer one up."""

    def key(_):
        down = _burst(rng, rng.uniform(400, 900) * 3.5**u, 6500, 0.006)
        up = 0.4 * _burst(rng, 700 * 3.5**u, 7000, 0.004)
        gap = int(rng.uniform(0.05, 0.09) * SAMPLE_RATE)
        return np.concatenate([down[:gap], np.zeros(max(0, gap - len(down))), up]) * rng.uniform(0.5, 1)

    return _place(n, _times(rng, n, 5 + 7 * u, 0.5), key)


@_family("knocks")
def _knocks(rng, n, u):
    """Knuckles on doors: groups of dull thumps."""
    modes = np.array([1, 1.7, 2.4, 3.3, 4.6]) * (110 + 180 * u)
    at = np.concatenate([start + np.arange(4) * int(0.17 * SAMPLE_RATE) for start in _times(rng, n, 0.9, 0.9)])

    def thump(_):
        return rng.uniform(0.5, 1) * _ring(
            modes * rng.uniform(0.95, 1.05, 5), np.full(5, 0.025), rng.uniform(0.2, 1, 5)
        )

    return _place(n, at[at < n], thump)


@_family("footsteps")
def _footsteps(rng, n, u):
    """Heel and sole on a hard or a gravelly floor, 1.6 to 2.6 a second."""

    def step(_):
        heel = _ring([90, 180, 420], [0.03, 0.02, 0.01], [1, 0.6, 0.3])
        sole = _burst(rng, 600, 1500 + 5000 * u, 0.02 + 0.05 * u, 0.01)
        x = np.zeros(max(len(heel), 1200 + len(sole)))
        x[: len(heel)] += heel
        x[1200 : 1200 + len(sole)] += (0.15 + 0.6 * u) * sole
        return x * rng.uniform(0.7, 1)

    return _place(n, _times(rng, n, 1.6 + u, 0.95), step)


@_family("hammering")
def _hammering(rng, n, u):
    """A hammer on metal: bright inharmonic rings."""
    modes = np.array([1, 2.76, 5.4, 8.93]) * (350 + 500 * u)
    ring = _ring(modes[modes < 7500], np.array([0.12, 0.07, 0.05, 0.03])[modes < 7500], np.ones(4)[modes < 7500])
    return _place(n, _times(rng, n, 2 + 3 * u, 0.85), lambda _: rng.uniform(0.6, 1) * ring)


@_family("dishes")
def _dishes(rng, n, u):
    """Plates and glasses: clusters of short high rings."""

    def clink(_):
        freqs = rng.uniform(1500, 3500) * (1 + 0.6 * u) * np.array([1, 1.31, 1.83])
        return rng.uniform(0.2, 1) * _ring(freqs.clip(0, 7600), rng.uniform(0.01, 0.06, 3), rng.uniform(0.3, 1, 3))

    return _place(n, _times(rng, n, 6 + 8 * u), clink)


@_family("applause")
def _applause(rng, n, u):
    """Many pairs of hands, from a dozen people to a hall."""
    people = int(10 * 12**u)
    claps = np.zeros(n)
    for _ in range(people):
        claps += rng.uniform(0.3, 1) * _impulses(n, _times(rng, n, rng.uniform(2.5, 4.5), 0.93))
    hands = [_burst(rng, f, 2.5 * f, 0.006) for f in (700, 1100, 1700)]
    return sum(fftconvolve(np.roll(claps, 1111 * i), hand)[:n] for i, hand in enumerate(hands))


@_family("drums")
def _drums(rng, n, u):
    """A loop of bass drum, snare and cymbal."""
    step = int(SAMPLE_RATE * 60 / (80 + 80 * u) / 4)
    t = _time(4000)
    bass = np.sin(2 * np.pi * (45 * t + 4 * (1 - np.exp(-t * 30)))) * np.exp(-t * 14)
    snare, cymbal = _burst(rng, 250, 5000, 0.05), 0.4 * _burst(rng, 4500, 7800, 0.03)
    pattern = rng.permutation(16)

    def hit(i):
        i = i % 16
        return (2 * bass, snare, cymbal)[0 if pattern[i] < 5 else 1 if pattern[i] < 9 else 2]

    return _place(n, np.arange(0, n, step), hit)


@_family("ratchet")
def _ratchet(rng, n, u):
    """Teeth of a ratchet, in strokes of 20 to 60 clicks a second."""
    at = _times(rng, n, 20 + 40 * u, 0.97)
    at = at[_slow(rng, n, 1.5)[at] > -0.5]
    return _place(n, at, lambda _: rng.uniform(0.6, 1) * _ring([1500 + 1200 * u, 3900], [0.004, 0.003], [1, 0.6]))


@_family("printer")
def _printer(rng, n, u):
    """A dot-matrix head: lines of fast pulses, and the paper feed between."""
    line = np.mod(_time(n) * (0.8 + 1.2 * u), 1.0) < 0.75
    pulses = _impulses(n, _times(rng, n, 350 + 500 * u, 0.9))
    head = fftconvolve(pulses * (rng.uniform(size=n) < 0.7), _ring([1900, 3600], [0.002, 0.001], [1, 0.6]))[:n]
    feed = _harmonics(_phase(190 + 80 * u, n), np.array([1, 0.3, 0.5]))
    return line * head / _rms(head) + 0.5 * (1 - line) * feed


@_family("rails")
def _rails(rng, n, u):
    """Wheels over rail joints: double thumps with a rumble and a squeal."""
    start = _times(rng, n, 1 + 1.2 * u, 1.0)
    at = np.sort(np.concatenate([start, start + int(0.14 * SAMPLE_RATE)]))
    thump = _ring([55, 130, 480, 1900], [0.08, 0.05, 0.03, 0.01], [1, 0.8, 0.5, 0.3])
    squeal = np.sin(_phase(2300 + 700 * u + 60 * _slow(rng, n, 2), n)) * np.clip(_slow(rng, n, 0.6), 0, 1)
    clacks = _place(n, at[at < n], lambda _: rng.uniform(0.7, 1) * thump)
    return clacks / _rms(clacks) + 0.4 * _shaped(rng, n, lambda f: _bump(f, 120, 1.0)) + 0.15 * squeal


# Training families: animals and people ------------------------------------------------------------------------------


@_family("bird-chirps")
def _bird_chirps(rng, n, u):
    """Phrases of short glides between 2 and 7 kHz."""

    def phrase(_):
        notes = []
        for _ in range(rng.integers(2, 7)):
            length = int(rng.uniform(0.04, 0.12) * SAMPLE_RATE)
            path = np.linspace(0, 1, length)
            hz = rng.uniform(2000, 4500) * (1 + 0.4 * u) * (1 + rng.uniform(-0.3, 0.3) * path)
            notes += [np.sin(_phase(hz, length)) * np.sin(np.pi * path), np.zeros(rng.integers(300, 1200))]
        return rng.uniform(0.3, 1) * np.concatenate(notes)

    return _place(n, _times(rng, n, 1.5 + 2 * u), phrase)


@_family("crickets")
def _crickets(rng, n, u):
    """Tones of 3 to 6 kHz in trains of pulses, several insects out of step."""
    t = _time(n)
    x = 0.0
    for _ in range(4):
        pulses = np.clip(np.sin(2 * np.pi * rng.uniform(25, 45) * t + rng.uniform(0, 6)), 0, 1)
        song = np.mod(t * rng.uniform(1, 2.5) + rng.uniform(), 1.0) < rng.uniform(0.4, 0.8)
        x = x + pulses * song * rng.uniform(0.3, 1) * np.sin(_phase((3000 + 2400 * u) * rng.uniform(0.95, 1.05), n))
    return x


@_family("frogs")
def _frogs(rng, n, u):
    """Croaks: pulses at 30 to 60 Hz through one or two resonances."""

    def croak(_):
        length = int(rng.uniform(0.15, 0.4) * SAMPLE_RATE)
        pulses = _impulses(length, _times(rng, length, rng.uniform(30, 60), 0.97))
        hz = rng.uniform(400, 900) * (1 + u)
        sound = fftconvolve(pulses, _ring([hz, 2.1 * hz], [0.008, 0.005], [1, 0.5]))[:length]
        return sound * np.sin(np.pi * np.linspace(0, 1, length)) * rng.uniform(0.3, 1)

    return _place(n, _times(rng, n, 3 + 3 * u), croak)


@_family("barks")
def _barks(rng, n, u):
    """Barks: a rough harmonic chop of 0.15 s, falling in pitch."""

    def bark(_):
        length = int(rng.uniform(0.1, 0.2) * SAMPLE_RATE)
        path = np.linspace(0, 1, length)
        pitch = rng.uniform(180, 260) * (1 + 0.9 * u) * (1.25 - 0.5 * path)
        voice = _harmonics(
            _phase(pitch * (1 + 0.03 * rng.standard_normal(length)), length), 1 / np.arange(1, 15) ** 0.6
        )
        rough = voice + 1.5 * rng.standard_normal(length)
        return _band(rough, 350 + 200 * u, 2200 + 800 * u) * path**0.1 * (1 - path) ** 1.2 * rng.uniform(0.5, 1)

    return _place(n, _times(rng, n, 1.6 + 1.5 * u, 0.4), bark)


@_family("babble")
def _babble(rng, n, u):
    """Several voices at once: pulse trains with moving pitch and formants, in syllables."""
    talkers = (2, 4, 7)[int(3 * u)]
    x = np.zeros(n)
    for _ in range(talkers):
        pitch = rng.uniform(90, 230) * 2 ** (0.15 * _slow(rng, n, 2.5))
        source = np.diff(np.floor(_phase(pitch, n) / (2 * np.pi)), prepend=0.0) + 0.05 * rng.standard_normal(n)
        voiced = sum(
            np.clip(0.5 + _slow(rng, n, 3), 0, 1.5) * gain * _band(source, f / 1.15, f * 1.15)
            for f, gain in ((350, 1.0), (600, 1.0), (950, 0.8), (1600, 0.5), (2600, 0.3))
        )
        hiss = 0.05 * np.clip(_slow(rng, n, 3) - 0.8, 0, 2) * _band(rng.standard_normal(n), 3000, 7000)
        x += rng.uniform(0.5, 1) * np.clip(0.3 + _slow(rng, n, 4), 0, 2) * (voiced + hiss)
    return x


@_family("speech-shaped")
def _speech_shaped(rng, n, u):
    """Noise with the long-term spectrum of speech, steady to strongly modulated at 4 Hz."""
    noise = _shaped(rng, n, lambda f: _bump(f, 260 * 2**u, 1.2) + (0.05 + 0.25 * u) * _bump(f, 2200, 0.9) + 0.01)
    return noise * np.clip(1 + 1.6 * u * _slow(rng, n, 4), 0.02, 4)


# The unseen test noises ---------------------------------------------------------------------------------------------


@_test("engine")
def _engine(rng, n, u):
    """An idling and revving piston engine: uneven firing pulses through exhaust resonances, with knock and hiss."""
    speed = 26 * 2 ** (0.5 + 0.45 * _slow(rng, n, 0.35) + 0.01 * _slow(rng, n, 8))  # firings a second
    cylinder = np.floor(_phase(speed, n) / (2 * np.pi)).astype(int)
    firing = np.diff(cylinder, prepend=0) * np.array([1.0, 0.8, 1.1, 0.85])[cylinder % 4]
    exhaust = fftconvolve(firing, _ring([62, 118, 235, 410], [0.03, 0.025, 0.015, 0.01], [1, 0.9, 0.5, 0.35]))[:n]
    knock = fftconvolve(firing * rng.uniform(0.3, 1, n), _burst(rng, 900, 4500, 0.004))[:n]
    hiss = _shaped(rng, n, lambda f: 1 / (1 + (f / 700) ** 1.2)) * (speed / 40)
    return exhaust / _rms(exhaust) + 0.25 * knock / _rms(knock) + 0.25 * hiss


@_test("white")
def _white(rng, n, u):
    """White Gaussian noise."""
    return rng.standard_normal(n)


@_test("street")
def _street(rng, n, u):
    """A road: a distant rumble, tyres passing near and far, and a horn now and then."""
    t = _time(n)
    x = 0.35 * _shaped(rng, n, lambda f: 1 / (1 + (f / 180) ** 1.1))
    for moment in np.arange(rng.uniform(0, 1.5), n / SAMPLE_RATE + 1, 1.7):
        nearness = 1 / (1 + ((t - moment - rng.uniform(-0.5, 0.5)) / rng.uniform(0.5, 1.2)) ** 2)
        centre = rng.uniform(700, 1300)
        tyres = _shaped(rng, n, lambda f, c=centre: _bump(f, c, 1.0))
        motor = _harmonics(_phase(rng.uniform(45, 90) * (1.05 - 0.1 * np.tanh(t - moment)), n), 1 / np.arange(1, 9))
        x = x + rng.uniform(0.3, 1) * (nearness**1.5 * tyres + 0.4 * nearness * motor)
    for moment in rng.uniform(0, n / SAMPLE_RATE - 0.8, max(1, round(n / SAMPLE_RATE / 5))):
        honk = (t > moment) & (t < moment + rng.uniform(0.25, 0.7))
        horn = _harmonics(_phase(400, n), 1 / np.arange(1, 9)) + _harmonics(_phase(503, n), 1 / np.arange(1, 9))
        x = x + 0.3 * honk * horn
    return x


@_test("baby_cry")
def _baby_cry(rng, n, u):
    """Cries of about a second on an arched pitch of 350 to 550 Hz, hoarse at the peak, each after a gasp."""
    x = np.zeros(n)
    start = int(rng.uniform(0, 0.3) * SAMPLE_RATE)
    while start < n:
        length = int(rng.uniform(0.7, 1.3) * SAMPLE_RATE)
        path = np.linspace(0, 1, length)
        pitch = rng.uniform(350, 430) * (1 + 0.3 * np.sin(np.pi * path**0.7)) * (1 + 0.01 * _slow(rng, length, 12))
        voice = _harmonics(_phase(pitch, length), 1 / np.arange(1, 15) ** 0.5)
        hoarse = voice + 1.2 * np.sin(np.pi * path) ** 4 * rng.standard_normal(length)
        formants = sum(g * _band(hoarse, 0.8 * f, 1.2 * f) for f, g in ((1100, 1.0), (3200, 0.7), (5200, 0.3)))
        cry = (formants + 0.3 * _band(hoarse, 300, 700)) * np.minimum(1, 12 * path) * np.minimum(1, 5 * (1 - path))
        x[start : start + length] += cry[: n - start]
        start += length
        gasp = _burst(rng, 1200, 5000, 0.06, 0.1)[: max(0, n - start)]
        x[start : start + len(gasp)] += 0.25 * gasp
        start += int(rng.uniform(0.35, 0.6) * SAMPLE_RATE)
    return x
