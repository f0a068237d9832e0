"""Each law of the kind measure catches a plugin that breaks it."""

import operator
from functools import partial

import laws
import numpy as np
import pytest

from speechtools.core.errors import ConfigError
from speechtools.measures import Scale, find_measure
from speechtools.measures.si_sdr import SISDR


class Toy(SISDR):
    """SI-SDR with other attributes and a function of its score, under the name that the tests register."""

    name = "toy"

    def __init__(self, change=float, **attributes):
        self.change = change
        vars(self).update(attributes)

    def __call__(self, reference, degraded, sample_rate):
        return self.change(super().__call__(reference, degraded, sample_rate))


class Normalizing(Toy):
    def __call__(self, reference, degraded, sample_rate):
        degraded /= np.abs(degraded).max()
        return super().__call__(reference, degraded, sample_rate)


class Lenient(Toy):
    def __call__(self, reference, degraded, sample_rate):
        return super().__call__(reference, degraded, sample_rate) if np.any(degraded) else self.minimum


def test_a_distance_keeps_the_contract():
    assert len(laws.keeps("measure", lambda: Toy(operator.neg, higher_is_better=False))) == 7


@pytest.mark.parametrize(
    "measure, law, seen",
    [
        (partial(Toy, name="other"), "attributes", "name='other'"),
        (partial(Toy, maximum=float("inf")), "attributes", "maximum=inf"),
        (partial(Toy, lambda score: 5 * score, maximum=20.0), "within the range", "100 outside of -100 to 20"),
        (partial(Toy, lambda score: score - 5), "against itself", "95 instead of 100"),
        (partial(Toy, operator.neg), "against itself", "higher_is_better = False for a distance"),
        (partial(Toy, lambda score: score if score == 100 else -score), "more noise", "at 30, 10, -5 dB"),
        (
            partial(Toy, lambda score: min(score, 20.0), maximum=20.0),
            "more noise",
            "several are clipped to maximum=20: raise it",
        ),
        (Normalizing, "changes nothing", "changed its input"),
        (Lenient, "raise AudioError", "-100.0 for a degraded signal of digital silence"),
    ],
)
def test_broken_measures_are_caught(measure, law, seen):
    laws.must_break("measure", lambda: measure(), law, seen)


def test_a_plain_function_is_no_measure():
    def distance(reference, degraded, sample_rate):
        return 0.0

    laws.must_break("measure", distance, "no arguments", "needs reference, degraded, sample_rate. A measure is a class")
    laws.must_break("measure", lambda: 0.0, "returns a callable", "returned a float")


def test_opinions_of_listeners_are_not_computed():
    assert len(laws.contract.check("measure/mos")) == 2
    attributes = {"name": "toy", "minimum": 0.0, "maximum": 100.0, "higher_is_better": True, "sample_rates": None}
    ratings = type("Ratings", (), attributes | {"from_listeners": True})  # as in docs/train.md
    assert len(laws.keeps("measure", ratings)) == 2
    with pytest.raises(ConfigError, match="Listeners"):
        find_measure("mos")(np.ones(9), np.ones(9), 16000)


def test_a_scale_is_that_of_the_measure_or_what_a_model_stored():
    stored = {"description": "distance", "minimum": 0.0, "maximum": 9.0, "higher_is_better": False}
    assert Scale.of("gone", stored) == Scale(**stored)
    assert Scale.of("mos", stored).maximum == 5.0
    assert Scale.of("gone") is None and Scale.of("gone", {"unknown": 1}) is None
