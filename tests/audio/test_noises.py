"""The generated noises."""

import itertools

import numpy as np
import pytest
from scipy.signal import welch

from speechtools import audio
from speechtools.audio import noises as noise_generators
from speechtools.core.errors import ConfigError


@pytest.fixture(scope="module")
def noises():
    return {
        name: noise_generators.make_noise(name, seconds=3.0)
        for name in (*noise_generators.training_noises(), *noise_generators.TEST_NOISES)
    }


def test_there_are_enough_noises_and_the_test_noises_have_their_own_generators():
    training = noise_generators.training_noises()
    assert len(training) == len(set(training)) >= 100
    assert noise_generators.TEST_NOISES == ("engine", "white", "street", "baby_cry")
    assert tuple(noise_generators._TESTS) == noise_generators.TEST_NOISES
    assert not set(noise_generators._TESTS.values()) & set(noise_generators._FAMILIES.values())
    assert not any(word in name for name in training for word in ("engine", "white", "street", "baby", "cry"))


def test_noises_have_their_level_and_do_not_clip(noises):
    for name, noise in noises.items():
        assert noise.dtype == np.float32 and noise.shape == (48000,), name
        assert np.isfinite(noise).all() and np.abs(noise).max() <= 0.951, name
        assert 20 * np.log10(np.sqrt(np.mean(noise.astype(float) ** 2))) == pytest.approx(-25, abs=1.5), name
        frames = noise.reshape(-1, 160).astype(float)
        assert np.mean(frames**2, axis=1).min() > 10**-9, name  # nowhere digital silence


def test_noises_are_not_nearly_identical(noises):
    def features(noise):  # long-term spectrum, and the spread of levels over time, in dB
        _, power = welch(noise.astype(float), 16000, nperseg=512)
        levels = 10 * np.log10(np.mean(noise.reshape(-1, 800).astype(float) ** 2, axis=1))
        bands = 10 * np.log10(power[2:].reshape(-1, 5).mean(axis=1) + 1e-14)  # (51,)
        return np.concatenate([bands, np.percentile(levels, [5, 25, 50, 75, 95])])

    matrix = np.array([features(noise) for noise in noises.values()])  # (noises, features)
    distance = np.sqrt(np.mean((matrix[:, None] - matrix[None]) ** 2, axis=-1))  # dB
    names = list(noises)
    near = [(names[i], names[j]) for i, j in itertools.combinations(range(len(names)), 2) if distance[i, j] < 0.4]
    assert near == []


def test_noises_depend_on_name_and_seed_only():
    make = noise_generators.make_noise
    for name in ("rain-01", "babble-03", "engine", "white"):
        first = make(name, seed=3, seconds=1.0)
        make("bells-01", seed=4, seconds=1.0)
        np.testing.assert_array_equal(make(name, seed=3, seconds=1.0), first)
        assert not np.array_equal(make(name, seed=4, seconds=1.0), first)


def test_unseen_noises_are_what_they_are_called(noises):
    flat = 10 * np.log10(welch(noises["white"].astype(float), 16000, nperseg=256)[1][2:-2])
    assert flat.std() < 0.8  # dB
    frequencies, power = welch(noises["engine"].astype(float), 16000, nperseg=4096)
    assert power[frequencies < 500].sum() > 0.7 * power.sum()
    frequencies, power = welch(noises["baby_cry"].astype(float), 16000, nperseg=1024)
    assert power[(frequencies > 330) & (frequencies < 4000)].sum() > 0.8 * power.sum()


@pytest.mark.parametrize(("name", "seconds"), [("rain-99", 1.0), ("rain", 1.0), ("rain-01", 0.0), ("nothing-01", 1.0)])
def test_a_noise_that_cannot_be_made_is_refused(name, seconds):
    with pytest.raises(ConfigError, match=f"{name}|seconds={seconds}"):
        noise_generators.make_noise(name, seconds=seconds)


def test_write_noises_puts_one_file_a_type_into_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(noise_generators, "training_noises", lambda: ["sea-waves-01", "knocks-03"])
    folder = noise_generators.write_noises(tmp_path / "noises", seed=7, seconds=1.0)
    assert {path.name for path in folder.iterdir()} == {
        *("sea-waves-01.wav", "knocks-03.wav", "engine.wav", "white.wav", "street.wav", "baby_cry.wav")
    }
    expected = noise_generators.make_noise("knocks-03", seed=7, seconds=1.0)
    np.testing.assert_allclose(audio.read(folder / "knocks-03.wav"), expected, atol=1 / 32768)
