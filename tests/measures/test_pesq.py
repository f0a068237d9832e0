"""PESQ: its scales, the conversion between them, and signals that it would score wrong."""

import sys

import numpy as np
import pytest
import runs

from speechtools.core.errors import AudioError, ConfigError, SpeechtoolsError
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


@pytest.mark.parametrize("name, near", [("n_b", "nb"), ("rawnb", "raw_nb"), ("pesq-row", "pesq-raw"), (3, "")])
def test_an_unknown_measure_names_the_nearest(name, near):
    with pytest.raises(ConfigError, match=f"{name!r}.*{near}"):
        find_measure(name)


def test_conversion_gives_the_numbers_of_the_pesq_project():
    assert raw_from_nb(1.6072) == pytest.approx(1.9686, abs=1e-4)
    np.testing.assert_allclose(nb_from_raw([-0.5, 4.5]), [SCALES["nb"].minimum, SCALES["nb"].maximum], atol=5e-4)


def test_conversions_are_inverse_to_each_other():
    raw = np.linspace(-0.7, 4.6, 50).reshape(5, 10)
    np.testing.assert_allclose(raw_from_nb(nb_from_raw(raw)), raw, atol=1e-12)


@pytest.mark.parametrize("value", [0.999, 5.0, np.nan])
def test_conversion_refuses_scores_outside_the_mapping(value):
    with pytest.raises(ConfigError, match="scale nb"):
        raw_from_nb([2.0, value])


@pytest.mark.parametrize("name", ["nb", "wb"])
def test_the_score_equals_that_of_the_package(name):
    assert pesq_score(CLEAN, NOISY, RATE, name) == pesq.pesq(RATE, CLEAN, NOISY, name)


def test_a_dc_offset_changes_little():
    assert pesq_score(CLEAN, NOISY + 0.1, RATE) == pytest.approx(pesq_score(CLEAN, NOISY, RATE), abs=0.02)


def test_8_khz():
    narrow = syllables(2, sample_rate=8000)
    assert pesq_score(narrow, narrow, 8000) == pytest.approx(4.5, abs=1e-3)


@pytest.mark.parametrize(
    "reference, degraded, sample_rate, scale, reason",
    [
        (CLEAN, 0 * CLEAN, RATE, "raw_nb", "degraded signal is silent"),
        (0 * CLEAN, CLEAN, RATE, "raw_nb", "reference is silent"),
        (CLEAN[:3999], CLEAN[:3999], RATE, "nb", "0.2499 s"),
        (CLEAN[:0], CLEAN[:0], RATE, "nb", "silent"),
        (CLEAN, CLEAN[:-1], RATE, "wb", "length mismatch"),
        (CLEAN, NOISY, 44100, "nb", "44100 Hz"),
        (CLEAN, NOISY, 8000, "wb", "16000 Hz; got 8000 Hz"),
        (CLEAN, np.full(len(CLEAN), np.nan), RATE, "nb", "degraded signal holds NaN"),
        (np.full(len(CLEAN), np.inf), CLEAN, RATE, "nb", "reference holds NaN"),
        (CLEAN.reshape(2, -1), NOISY.reshape(2, -1), RATE, "nb", "one channel"),
        (CLICK, NOISY, RATE, "nb", "no speech in the reference"),
        (np.ones(300 * RATE), np.ones(300 * RATE), RATE, "nb", "lasts 300 s.*at most 60 s"),
    ],
)
def test_signals_that_cannot_be_scored(reference, degraded, sample_rate, scale, reason):
    with pytest.raises(AudioError, match=reason):
        pesq_score(reference, degraded, sample_rate, scale)


@pytest.mark.parametrize(
    "error, reason",
    [
        (pesq.OutOfMemoryError(b"no"), r"out of memory \(no\)"),
        (pesq.BufferTooShortError(b"short"), "short"),
        (ValueError("cannot convert float NaN to integer"), "NaN"),
    ],
)
def test_errors_of_the_package_are_audio_errors(monkeypatch, error, reason):
    def fail(*_):
        raise error

    monkeypatch.setattr(pesq, "pesq", fail)
    with pytest.raises(AudioError, match=reason):
        pesq_score(CLEAN, NOISY, RATE)


def test_a_score_that_is_not_finite_is_an_audio_error(monkeypatch):
    monkeypatch.setattr(pesq, "pesq", lambda *_: float("nan"))
    with pytest.raises(AudioError, match="nan"):
        pesq_score(CLEAN, NOISY, RATE)


def test_more_utterances_than_pesq_has_room_for_are_refused():
    words = syllables(60, 0.25, 0.22)
    assert len(words) / RATE < MAX_SECONDS
    with pytest.raises(AudioError, match="about 60 utterances"):
        pesq_score(words, noisy(words), RATE)


def test_long_files_with_fewer_utterances_are_scored():
    words = syllables(35, 0.4, 0.25)
    assert len(words) / RATE > 20
    assert pesq_score(words, words, RATE) == pytest.approx(4.5, abs=1e-3)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pesq", None)
    with pytest.raises(SpeechtoolsError, match=r"'pesq'.*speechtools\[recipes\]"):
        pesq_score(CLEAN, NOISY, RATE)


def test_importing_loads_neither_torch_nor_the_recipe_packages():
    code = "import sys, speechtools.measures.labels, speechtools.measures.pesq; print([m for m in sys.modules])"
    loaded = runs.call([sys.executable, "-c", code]).stdout
    for package in ("'torch'", "'speechbrain'", "'pesq'", "'pebble'"):
        assert package not in loaded
