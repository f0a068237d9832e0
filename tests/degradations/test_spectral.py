"""Enhancers without a network: gains against loops by the book, estimates of noise, and noisy speech."""

import laws
import numpy as np
import pytest
from scipy.special import exp1

from speechtools.core.errors import ConfigError
from speechtools.core.laws import bursts
from speechtools.degradations import spectral
from speechtools.degradations.noise import mix_at_snr
from speechtools.degradations.spectral import SpectralEnhancer

RNG = np.random.default_rng(0)
METHODS = ["subtraction", "wiener", "log-mmse", "gate"]
TIME, BINS, FLOOR = 12, 9, 0.1


def subtraction(power, noise):
    gains = np.empty((TIME, BINS))
    for t in range(TIME):
        snr_db = 10 * np.log10(power[t].sum() / noise[t].sum())
        factor = 4 - 3 / 20 * min(max(snr_db, -5), 20)
        for k in range(BINS):
            left = max(power[t, k] - factor * noise[t, k], FLOOR**2 * noise[t, k])
            gains[t, k] = np.sqrt(left / power[t, k])
    return gains


def decision_directed(power, noise, gain):
    gains = np.empty((TIME, BINS))
    for k in range(BINS):
        gamma = power[:, k] / noise[:, k]
        speech = max(gamma[0] - 1, 0)
        for t in range(TIME):
            xi = max(0.98 * speech + 0.02 * max(gamma[t] - 1, 0), 10 ** (-25 / 10))
            gains[t, k] = max(gain(xi, gamma[t]), FLOOR)
            speech = gains[t, k] ** 2 * gamma[t]
    return gains


def wiener(power, noise):
    return decision_directed(power, noise, lambda xi, gamma: xi / (1 + xi))


def log_mmse(power, noise):
    def gain(xi, gamma):
        v = xi / (1 + xi) * gamma
        return min(xi / (1 + xi) * np.exp(exp1(v) / 2), 1)

    return decision_directed(power, noise, gain)


def gate(power, noise):
    gains = np.empty((TIME, BINS))
    for t in range(TIME):
        for k in range(BINS):
            around = [
                power[i, j] > 4 * noise[i, j]
                for i in np.clip([t - 1, t, t + 1], 0, TIME - 1)
                for j in np.clip(range(k - 2, k + 3), 0, BINS - 1)
            ]
            gains[t, k] = FLOOR + (1 - FLOOR) * np.mean(around)
    return gains


@pytest.mark.parametrize("method, book", list(zip(METHODS, [subtraction, wiener, log_mmse, gate], strict=True)))
def test_gains_are_those_of_a_loop_by_the_book(method, book):
    noise = RNG.uniform(0.5, 2, (TIME, BINS)).astype(np.float32)
    power = (noise * RNG.exponential(1, (TIME, BINS)) * 10 ** RNG.uniform(-3, 3, (TIME, 1))).astype(np.float32)
    gains = spectral._GAINS[method](power, noise, FLOOR)
    assert gains.dtype == np.float32
    # The exponential integral is read from a table.
    np.testing.assert_allclose(gains, book(power.astype(float), noise.astype(float)), rtol=3e-3)


@pytest.mark.parametrize("hops", [2, 4])
@pytest.mark.parametrize("samples", [1, 300, 5001])
def test_without_gains_spectra_give_the_samples_back(hops, samples):
    clean = RNG.standard_normal(samples).astype(np.float32)
    again = spectral._synthesise(spectral._analyse(clean, 512, hops), hops, samples)
    np.testing.assert_allclose(again, clean, atol=1e-5)


@pytest.mark.parametrize("hops", [2, 4])
def test_both_estimates_of_noise_hear_the_noise_behind_speech(hops):
    noise = RNG.standard_normal(64000).astype(np.float32)
    noisy = noise + np.where(np.arange(64000) // 8000 % 3 > 0, 10 * RNG.standard_normal(64000), 0).astype(np.float32)
    power, truth = (np.abs(spectral._analyse(x, 512, hops)) ** 2 for x in (noisy, noise))
    for estimate in (spectral.minimum_statistics(power, 0.032 / hops), spectral.quietest_frames(power)):
        assert abs(10 * np.log10(estimate.mean() / truth.mean())) < 1.5


@pytest.mark.parametrize("tracker", ["minimum", "quietest"])
@pytest.mark.parametrize("method", METHODS)
def test_noise_falls_and_speech_stays(method, tracker):
    speech = bursts(3.0)
    noisy = mix_at_snr(speech, RNG.standard_normal(len(speech)).astype(np.float32), 10)
    enhanced = SpectralEnhancer(method, strength=1.5, floor_db=-20, tracker=tracker)(noisy, np.random.default_rng(1))
    pause = speech == 0
    assert np.square(enhanced[pause]).mean() < 0.2 * np.square(noisy[pause]).mean()
    share = enhanced @ speech / (speech @ speech)
    assert 0.7 < share < 1.05, "the speech keeps its level"


def test_laws_hold_for_every_method():
    for method in METHODS:
        assert laws.keeps("degradation", lambda method=method: SpectralEnhancer(method))


def test_impossible_parameters_are_named():
    with pytest.raises(ConfigError, match="strength"):  # it is drawn in its logarithm
        SpectralEnhancer(strength=(0, 2))
    with pytest.raises(ConfigError, match="method='winer'"):
        SpectralEnhancer("winer")
    with pytest.raises(ConfigError, match="overlap"):
        SpectralEnhancer(overlap=0.3)
