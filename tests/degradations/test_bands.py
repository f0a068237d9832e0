"""Band limits, coloration and resampling, by their effect on tones and on white noise."""

import itertools

import numpy as np
import pytest

from speechtools.core.errors import ConfigError
from speechtools.degradations.bands import BandLimit, Equalizer, Resampling, filter_zero_phase

WHITE = np.random.default_rng(0).standard_normal(32000).astype(np.float32)


def band_db(samples, low, high):
    """The power of a band, in dB."""
    power = np.abs(np.fft.rfft(samples)) ** 2
    frequencies = np.fft.rfftfreq(len(samples), 1 / 16000)
    return 10 * np.log10(power[(frequencies >= low) & (frequencies < high)].mean())


def rms(samples):
    return np.sqrt(np.mean(np.square(samples, dtype=np.float64)))


def tone(frequency, samples=16000):
    return np.sin(2 * np.pi * frequency * np.arange(samples) / 16000).astype(np.float32)


@pytest.mark.parametrize(
    "kind, passed, stopped",
    [
        ("low-pass", [(50, 1500)], [(3000, 8000)]),
        ("high-pass", [(1500, 8000)], [(20, 400)]),
        ("band-pass", [(1200, 1500)], [(20, 400), (3000, 8000)]),
        ("telephone", [(500, 3000)], [(20, 150), (5000, 8000)]),
    ],
)
def test_bands_are_passed_and_stopped(kind, passed, stopped):
    degraded = BandLimit(kind, low_pass_hz=2000, high_pass_hz=800, order=8)(WHITE, np.random.default_rng(0))
    for band in passed:
        for other in stopped:
            assert band_db(degraded, *band) > band_db(degraded, *other) + 30


def test_a_cutoff_is_3_db_down_and_order_1_falls_by_6_db_an_octave():
    gain = BandLimit("low-pass", 2000, order=1)
    levels = [
        band_db(gain(WHITE, np.random.default_rng(0)), f - 50, f + 50) - band_db(WHITE, f - 50, f + 50)
        for f in (100, 2000, 8000 - 50)
    ]
    assert levels[0] - levels[1] == pytest.approx(3, abs=0.2)
    assert levels[0] - levels[2] == pytest.approx(10 * np.log10(1 + 3.97**2), abs=0.3)


def test_filters_have_no_phase_and_do_not_wrap_around():
    click = np.zeros(4001, dtype=np.float32)
    click[2000] = 1
    filtered = filter_zero_phase(click, lambda f: (f < 2000).astype(float))
    np.testing.assert_allclose(filtered, filtered[::-1], atol=1e-4)
    end = np.zeros(4001, dtype=np.float32)
    end[-1] = 1
    assert np.abs(filter_zero_phase(end, lambda f: 1 / (1 + (f / 500) ** 4))[:2000]).max() < 1e-4


def test_coloration_reaches_its_range_and_not_further():
    coloured = Equalizer(range_db=12, num_points=6)(WHITE, np.random.default_rng(3))
    edges = np.geomspace(80, 8000, 60)
    changes = [band_db(coloured, *band) - band_db(WHITE, *band) for band in itertools.pairwise(edges)]
    assert np.ptp(changes) == pytest.approx(24, abs=1)
    assert np.abs(np.diff(changes)).max() < 6, "smooth"


@pytest.mark.parametrize("method, aliased", [("soxr", False), ("linear", True), ("hold", True)])
def test_resampling_removes_high_frequencies_or_folds_them_down(method, aliased):
    degrade = Resampling(4000, method)
    low = degrade(tone(200), np.random.default_rng(0))
    assert np.corrcoef(low[200:-200], tone(200)[200:-200])[0, 1] > 0.98, "aligned"
    mixed = degrade(tone(200) + tone(3000), np.random.default_rng(0))
    assert (band_db(mixed, 990, 1010) > band_db(mixed, 190, 210) - 20) == aliased


@pytest.mark.parametrize("degrade", [BandLimit(), Equalizer(), Resampling()])
@pytest.mark.parametrize("samples", [1, 50, 8009])
def test_any_length_keeps_its_length_and_level(degrade, samples):
    clean = tone(440, samples) + np.float32(0.1)
    for seed in range(6):
        degraded = degrade(clean, np.random.default_rng(seed))
        assert degraded.shape == clean.shape and degraded.dtype == np.float32
        assert rms(degraded) == pytest.approx(rms(clean), rel=1e-4)


def test_impossible_parameters_are_named():
    with pytest.raises(ConfigError, match="high_pass_hz"):
        BandLimit(high_pass_hz=9000)
    with pytest.raises(ConfigError, match="rate_hz"):
        Resampling(rate_hz=(0, 8000))
    with pytest.raises(ConfigError, match="method='sinc'"):
        Resampling(method="sinc")
