"""PESQ: its scales, the conversion between them, and signals that it would score wrong."""

import sys

import numpy as np
import pytest
import runs

from speechtools.core.errors import AudioError, ConfigError
from speechtools.measures import find_measure
from speechtools.measures.pesq import MAX_SECONDS, SCALES, nb_from_raw, pesq_score, raw_from_nb
from tests.measures.signals import CLEAN, CLICK, NOISY, RATE, noisy, syllables

pesq = pytest.importorskip("pesq")


@pytest.mark.parametrize("scale", SCALES)
def test_maximum_is_the_score_against_itself(scale):
    assert pesq_score(CLEAN, CLEAN, RATE, scale) == pytest.approx(SCALES[scale].maximum, abs=1e-3)
    assert SCALES[scale].minimum - 0.1 < pesq_score(CLEAN, noisy(CLEAN, 0.1), RATE, scale) < 0.6 * SCALES[scale].maximum


@pytest.mark.parametrize("name", ["raw_nb", "pesq-raw", "measure/pesq-raw"])
def test_a_measure_is_found_by_its_scale_name_and_plugin(name):
    assert find_measure(name)(CLEAN, NOISY, RATE) == pesq_score(CLEAN, NOISY, RATE)


@pytest.mark.parametrize("name, near", [("rawnb", "raw_nb"), ("pesq-row", "pesq-raw"), (3, "")])
def test_an_unknown_measure_names_the_nearest(name, near):
    with pytest.raises(ConfigError, match=f"{name!r}.*{near}"):
        find_measure(name)


def test_conversions_are_inverse_and_give_the_numbers_of_the_pesq_project():
    assert raw_from_nb(1.6072) == pytest.approx(1.9686, abs=1e-4)
    np.testing.assert_allclose(nb_from_raw([-0.5, 4.5]), [SCALES["nb"].minimum, SCALES["nb"].maximum], atol=5e-4)
    raw = np.linspace(-0.7, 4.6, 50).reshape(5, 10)
    np.testing.assert_allclose(raw_from_nb(nb_from_raw(raw)), raw, atol=1e-12)
    for value in (0.999, np.nan):
        with pytest.raises(ConfigError, match="scale nb"):
            raw_from_nb([2.0, value])


@pytest.mark.parametrize("name", ["nb", "wb"])
def test_the_score_equals_that_of_the_package(name):
    assert pesq_score(CLEAN, NOISY, RATE, name) == pesq.pesq(RATE, CLEAN, NOISY, name)


def test_a_dc_offset_changes_little():
    assert pesq_score(CLEAN, NOISY + 0.1, RATE) == pytest.approx(pesq_score(CLEAN, NOISY, RATE), abs=0.02)


@pytest.mark.parametrize(
    "reference, degraded, sample_rate, scale, reason",
    [
        (CLEAN[:3999], CLEAN[:3999], RATE, "nb", "0.2499 s"),
        (CLEAN, NOISY, 8000, "wb", "16000 Hz; got 8000 Hz"),
        (CLEAN.reshape(2, -1), NOISY.reshape(2, -1), RATE, "nb", "one channel"),
        (CLICK, NOISY, RATE, "nb", "no speech in the reference"),
        (np.ones(300 * RATE), np.ones(300 * RATE), RATE, "nb", "lasts 300 s.*at most 60 s"),
    ],
)
def test_signals_that_cannot_be_scored(reference, degraded, sample_rate, scale, reason):
    with pytest.raises(AudioError, match=reason):
        pesq_score(reference, degraded, sample_rate, scale)


@pytest.mark.parametrize(
    "outcome, reason",
    [
        (pesq.OutOfMemoryError(b"no"), r"out of memory \(no\)"),
        (ValueError("cannot convert float NaN to integer"), "NaN"),
        ("nan", "nan"),
    ],
)
def test_failures_of_the_package_are_audio_errors(monkeypatch, outcome, reason):
    def fail(*_):
        if isinstance(outcome, Exception):
            raise outcome
        return float(outcome)

    monkeypatch.setattr(pesq, "pesq", fail)
    with pytest.raises(AudioError, match=reason):
        pesq_score(CLEAN, NOISY, RATE)


def test_as_many_utterances_are_scored_as_pesq_has_room_for():
    few, many = syllables(35, 0.4, 0.25), syllables(60, 0.25, 0.22)
    assert len(few) > 20 * RATE and len(many) < MAX_SECONDS * RATE
    assert pesq_score(few, few, RATE) == pytest.approx(4.5, abs=1e-3)
    with pytest.raises(AudioError, match="about 60 utterances"):
        pesq_score(many, noisy(many), RATE)


def test_importing_loads_neither_torch_nor_the_recipe_packages():
    code = "import sys, speechtools.measures.labels, speechtools.measures.pesq; print([m for m in sys.modules])"
    loaded = runs.call([sys.executable, "-c", code]).stdout
    assert not [package for package in ("torch", "speechbrain", "pesq", "pebble") if f"'{package}'" in loaded]
