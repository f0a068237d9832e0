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
    names = (*noise_generators.training_noises(), *noise_generators.TEST_NOISES)
    return {name: noise_generators.make_noise(name, seconds=3.0).astype(float) for name in names}


def test_noises_have_their_level_and_do_not_clip(noises):
    for name, noise in noises.items():
        assert noise.shape == (48000,), name
        assert np.isfinite(noise).all() and np.abs(noise).max() <= 0.951, name
        assert 20 * np.log10(np.sqrt(np.mean(noise**2))) == pytest.approx(-25, abs=1.5), name
        assert np.mean(noise.reshape(-1, 160) ** 2, axis=1).min() > 10**-9, name  # nowhere digital silence


def test_noises_are_not_nearly_identical(noises):
    assert len(noises) > 100

    def features(noise):  # long-term spectrum, and the spread of levels over time, in dB
        _, power = welch(noise, 16000, nperseg=512)
        levels = 10 * np.log10(np.mean(noise.reshape(-1, 800) ** 2, axis=1))
        bands = 10 * np.log10(power[2:].reshape(-1, 5).mean(axis=1) + 1e-14)  # (51,)
        return np.concatenate([bands, np.percentile(levels, [5, 25, 50, 75, 95])])

    pairs = itertools.combinations([features(noise) for noise in noises.values()], 2)
    assert min(np.sqrt(np.mean((one - other) ** 2)) for one, other in pairs) > 0.4  # dB


def test_noises_depend_on_name_and_seed_only():
    for name in ("babble-03", "engine"):
        one, same, other = (noise_generators.make_noise(name, seed, seconds=1.0) for seed in (3, 3, 4))
        assert np.array_equal(one, same) and not np.array_equal(one, other)


def test_unseen_noises_are_what_they_are_called(noises):
    flat = 10 * np.log10(welch(noises["white"], 16000, nperseg=256)[1][2:-2])
    assert flat.std() < 0.8  # dB
    for name, low, high, share in (("engine", 0, 500, 0.7), ("baby_cry", 330, 4000, 0.8)):
        frequencies, power = welch(noises[name], 16000, nperseg=4096)
        assert power[(low <= frequencies) & (frequencies < high)].sum() > share * power.sum()


@pytest.mark.parametrize(
    ("name", "seconds", "token"), [("rain-99", 1.0, "'rain-99'"), ("rain-01", 0.0, "seconds: 0.0")]
)
def test_a_noise_that_cannot_be_made_is_refused(name, seconds, token):
    with pytest.raises(ConfigError, match=token):
        noise_generators.make_noise(name, seconds=seconds)


def test_write_noises_puts_one_file_a_type_into_the_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(noise_generators, "training_noises", lambda: ["sea-waves-01", "knocks-03"])
    folder = noise_generators.write_noises(tmp_path / "noises", seed=7, seconds=1.0)
    names = {path.stem for path in folder.iterdir()}
    assert names == {"sea-waves-01", "knocks-03", "engine", "white", "street", "baby_cry"}
    expected = noise_generators.make_noise("knocks-03", seed=7, seconds=1.0)
    np.testing.assert_allclose(audio.read(folder / "knocks-03.wav"), expected, atol=1 / 32768)
