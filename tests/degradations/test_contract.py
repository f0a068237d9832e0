"""Each law of the kind degradation catches a plugin that breaks it."""

import laws
import numpy as np
import pytest

from speechtools.core.contract import contract
from speechtools.degradations.reverberation import room_response


def cut(clean, rng):
    return clean[:-1]


def silent(clean, rng):
    return 0 * clean


def own_draws(clean, rng):
    return clean + np.float32(0.01) * np.random.standard_normal(len(clean)).astype(np.float32)


def in_place(clean, rng):
    clean *= np.float32(0.5)
    return clean


def identical(clean, rng):
    return clean.copy()


def divides(clean, rng):
    return clean / np.abs(clean).max()


def lowpass(clean, cutoff):
    spectrum = np.fft.rfft(clean)
    spectrum[np.fft.rfftfreq(len(clean), 1 / 16000) > cutoff] = 0
    return np.fft.irfft(spectrum, len(clean)).astype(np.float32)


def shifts_by_its_draw(clean, rng):
    return np.roll(clean, rng.integers(200, 3000))


@pytest.mark.parametrize(
    "function, law, seen",
    [
        (cut, "same length", r"float32 \(15999,\)"),
        (silent, "same length", "silence"),
        (own_draws, "come from rng", "same seed"),
        (in_place, "come from rng", "changed its input"),
        (identical, "is degraded", "8 draws"),
        (lambda clean, rng: lowpass(clean, 7900), "is degraded", "-50 dB"),
        (lambda clean, rng: clean * np.float32(1.001), "is degraded", "-50 dB"),
        (lambda clean, rng: np.roll(clean, 3000), "is aligned", "188 ms"),
        (lambda clean, rng: np.roll(clean, -200), "is aligned", "-12 ms"),
        (shifts_by_its_draw, "is aligned", "shifted by"),
        pytest.param(divides, "digital silence", "not finite", marks=pytest.mark.filterwarnings("ignore")),
        (lambda clean, rng: 0.5 * clean, "pickled", "pickle"),
    ],
)
def test_broken_degradations_are_caught(function, law, seen):
    laws.must_break("degradation", lambda: function, law, seen)


class Reverberant:
    """Convolution with a room, whose tail is up to as strong as the direct path."""

    def __call__(self, clean, rng):
        return np.convolve(clean, room_response(rng, 0.8))[: len(clean)].astype(np.float32)


class Vocoded:
    """Speech with the level of every 5 ms, and the phases of noise."""

    def __call__(self, clean, rng):
        frames = np.resize(clean, (-(-len(clean) // 80), 80))
        level = np.sqrt(np.square(frames).mean(axis=1, keepdims=True))
        return (level * rng.standard_normal(frames.shape)).astype(np.float32).ravel()[: len(clean)]


class Telephone:
    """A band from 300 to 3400 Hz."""

    def __call__(self, clean, rng):
        return lowpass(clean, 3400) - lowpass(clean, 300)


class Delayed:
    """A codec's delay of 8 ms."""

    def __call__(self, clean, rng):
        return np.concatenate([np.zeros(128, np.float32), 0.8 * clean])[: len(clean)].astype(np.float32)


@pytest.mark.parametrize("degradation", [Reverberant, Vocoded, Telephone, Delayed])
def test_degradations_that_delay_a_little_or_change_the_waveform_keep_the_laws(degradation):
    assert laws.keeps("degradation", degradation) == [law.sentence for law in contract("degradation").laws]
