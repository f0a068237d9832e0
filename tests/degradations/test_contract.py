"""Each law of the kind degradation catches a plugin that breaks it."""

import laws
import numpy as np
import pytest

from speechtools.degradations.clipping import Clipping


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


@pytest.mark.parametrize(
    "function, law, seen",
    [
        (cut, "same length", r"float32 \(15999,\)"),
        (silent, "same length", "silence"),
        (own_draws, "come from rng", "same seed"),
        (in_place, "come from rng", "changed its input"),
        (identical, "is degraded", "8 draws"),
        pytest.param(divides, "digital silence", "not finite", marks=pytest.mark.filterwarnings("ignore")),
        (lambda clean, rng: 0.5 * clean, "pickled", "pickle"),
    ],
)
def test_broken_degradations_are_caught(function, law, seen):
    laws.must_break("degradation", lambda: function, law, seen)


def test_clipping_limits_to_a_share_of_the_peak():
    clean = np.linspace(-0.4, 0.8, 1000, dtype=np.float32)
    clipped = Clipping(0.25, 0.25)(clean, np.random.default_rng(0))
    np.testing.assert_allclose(clipped, np.clip(clean, -0.2, 0.2))
