"""Each law of the kind measure catches a plugin that breaks it."""

import laws
import numpy as np
import pytest

from speechtools.core.errors import ConfigError
from speechtools.measures import find_measure
from speechtools.measures.si_sdr import SISDR


class Toy(SISDR):
    """SI-SDR under the name that the tests register."""

    name = "toy"


class Unnamed(Toy):
    name = "other"


class Endless(Toy):
    maximum = float("inf")


class OutOfRange(Toy):
    maximum = 20.0

    def __call__(self, reference, degraded, sample_rate):
        return 5 * super().__call__(reference, degraded, sample_rate)


class Shifted(Toy):
    def __call__(self, reference, degraded, sample_rate):
        return super().__call__(reference, degraded, sample_rate) - 5


class Reversed(Toy):
    def __call__(self, reference, degraded, sample_rate):
        score = super().__call__(reference, degraded, sample_rate)
        return score if score == self.maximum else -score


class Distance(Toy):
    """Lower is better: correct."""

    minimum, maximum, higher_is_better = 0.0, 200.0, False

    def __call__(self, reference, degraded, sample_rate):
        return 100 - SISDR()(reference, degraded, sample_rate)


class Normalizing(Toy):
    def __call__(self, reference, degraded, sample_rate):
        degraded /= np.abs(degraded).max()
        return super().__call__(reference, degraded, sample_rate)


class Lenient(Toy):
    def __call__(self, reference, degraded, sample_rate):
        if not np.any(degraded):
            return self.minimum
        return super().__call__(reference, degraded, sample_rate)


@pytest.mark.parametrize("measure", [Toy, Distance])
def test_correct_measures_keep_the_contract(measure):
    assert len(laws.keeps("measure", measure)) == 6


@pytest.mark.parametrize(
    "measure, law, seen",
    [
        (Unnamed, "attributes", "name='other'"),
        (Endless, "attributes", "maximum=inf"),
        (OutOfRange, "within the range", "100 outside of -100 to 20"),
        (Shifted, "against itself", "95 instead of 100"),
        (Reversed, "more noise", "at 30, 10, -5 dB"),
        (Normalizing, "changes nothing", "changed its input"),
        (Lenient, "raise AudioError", "-100.0 for a degraded signal of digital silence"),
    ],
)
def test_broken_measures_are_caught(measure, law, seen):
    laws.must_break("measure", measure, law, seen)


@pytest.mark.parametrize("name", ["pesq-raw", "pesq-nb", "pesq-wb", "stoi", "si-sdr"])
def test_bundled_measures_keep_the_contract(name):
    pytest.importorskip("pesq")
    assert len(laws.contract.check(f"measure/{name}")) == 6


def test_opinions_of_listeners_are_not_computed():
    assert len(laws.contract.check("measure/mos")) == 1
    with pytest.raises(ConfigError, match="Listeners"):
        find_measure("mos")(np.ones(9), np.ones(9), 16000)
