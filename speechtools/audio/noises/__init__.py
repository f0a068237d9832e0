"""Generated noises: 144 training noises of 48 families, and four test noises that share no generator with them.

A noise is a pure function of its name, a seed and a length. A family is one generator; its three members differ in the
main parameter ``u`` in [0, 1) and in their random draws. The test noises are the four types that the Quality-Net paper
keeps unseen (section 3.1): engine, white, street, baby cry. No training family is white noise, and none imitates
combustion engines, road traffic, horns or crying.

The signals are synthetic. They cover many spectra and temporal structures; they are not meant to sound natural.
"""

import inspect
import zlib
from pathlib import Path
from types import ModuleType

import numpy as np
from scipy.signal import sosfilt

from speechtools import audio
from speechtools.audio.noises import events, sustained, unseen
from speechtools.audio.noises.synthesis import SAMPLE_RATE, Generator, Rng, Signal, butterworth, rms, shaped
from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError

MEMBERS = 3  # noises of a training family
LEVEL_DBFS = -25.0  # RMS
_PEAK = 0.95


def _generators(*modules: ModuleType) -> dict[str, Generator]:
    """The functions that the modules define, by name, in order."""
    return {
        name: member
        for module in modules
        for name, member in vars(module).items()
        if inspect.isfunction(member) and member.__module__ == module.__name__
    }


_FAMILIES = {name.replace("_", "-"): generator for name, generator in _generators(sustained, events).items()}
_TESTS = _generators(unseen)
TEST_NOISES = tuple(_TESTS)


def training_noises() -> list[str]:
    """Names of the training noises, ``<family>-<nn>``.

    >>> len(training_noises()), training_noises()[:2]
    (144, ['mains-hum-01', 'mains-hum-02'])
    """
    return [f"{family}-{member:02d}" for family in _FAMILIES for member in range(1, MEMBERS + 1)]


def make_noise(name: str, seed: int = 0, seconds: float = 10.0) -> np.ndarray:
    """Generate a noise: float32 (samples,) at 16 kHz, RMS -25 dBFS, peaks below 0.95.

    Where single events would need a higher peak, they are limited softly (tanh).

    Raises
    ------
    ConfigError
        The name is unknown, or the length is outside 1 to 3600 seconds.

    Examples
    --------
    >>> make_noise("rain-02", seconds=2.0).shape
    (32000,)
    """
    check_number("seconds", seconds, 1, 3600)
    n = round(seconds * SAMPLE_RATE)
    if name in _TESTS:
        family, member = name, 1
    else:
        family, _, number = name.rpartition("-")
        if family not in _FAMILIES or not number.isdigit() or not 1 <= int(number) <= MEMBERS:
            families = ", ".join(_FAMILIES)
            raise ConfigError(f"Unknown noise {name!r}. Choose one of {TEST_NOISES}, or a family and -01: {families}.")
        member = int(number)
    rng = np.random.default_rng([seed, zlib.crc32(family.encode()), member])
    u = (member - 1 + rng.uniform(0.2, 0.8)) / MEMBERS
    return _finish(rng, (_TESTS.get(family) or _FAMILIES[family])(rng, n, u))


def write_noises(folder: str | Path, seed: int = 0, seconds: float = 10.0) -> Path:
    """Write all noises as 16-bit WAV files into ``folder``, replacing files of the same names; return the folder.

    The files are ``<family>-<nn>.wav`` for training, and ``engine.wav white.wav street.wav baby_cry.wav``.

    Raises
    ------
    ConfigError
        The length is outside 1 to 3600 seconds.
    CorpusError
        The folder cannot be written, or the disk is full.
    """
    folder = Path(folder)
    for name in (*training_noises(), *TEST_NOISES):
        audio.write(folder / f"{name}.wav", make_noise(name, seed, seconds), SAMPLE_RATE)
    return folder


def _finish(rng: Rng, x: Signal) -> np.ndarray:
    x = sosfilt(butterworth("highpass", 20.0, order=1), x)  # removes DC
    x = x / rms(x)
    x = x + 10 ** (-35 / 20) * shaped(rng, len(x), lambda f: 1 / np.sqrt(f + 50.0))  # background of a quiet room
    level = 10 ** (LEVEL_DBFS / 20)
    for _ in range(4):
        x = x * (level / rms(x))
        if np.abs(x).max() <= _PEAK:
            break
        x = 0.9 * _PEAK * np.tanh(x / (0.9 * _PEAK))
    return (x * min(1.0, _PEAK / np.abs(x).max())).astype(np.float32)
