"""Additive noise: exact SNRs, cuts that are never silent, and noise types of folders."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechtools.core.errors import AudioError, ConfigError, CorpusError
from speechtools.degradations.noise import AdditiveNoise, cut_noise, mix_at_snr, partly_noisy, read_noise_types

RNG = np.random.default_rng(0)


def power_db(x):
    return 10 * np.log10(np.mean(np.square(x, dtype=np.float64)))


def write(path: Path, samples, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(samples, dtype=np.float32), rate, subtype="FLOAT")
    return path


@pytest.mark.parametrize("snr_db", [-10, 0, 24])
def test_the_snr_is_exact(snr_db):
    speech, noise = RNG.standard_normal((2, 8000)).astype(np.float32)
    mixed = mix_at_snr(speech, noise, snr_db)
    assert power_db(speech) - power_db(mixed - speech) == pytest.approx(snr_db, abs=1e-3)
    assert mixed.dtype == np.float32


@pytest.mark.parametrize("speech, noise, which", [(0, 1, "speech"), (1, 0, "noise")])
def test_silence_has_no_snr(speech, noise, which):
    with pytest.raises(AudioError, match=f"{which} is silent"):
        mix_at_snr(np.full(10, float(speech)), np.full(10, float(noise)), 0.0)


def test_mixing_refuses_other_lengths():
    with pytest.raises(AudioError, match="differ in length"):
        mix_at_snr(np.ones(3), np.ones(4), 0.0)


def test_noise_is_looped_and_cut_at_a_seeded_offset():
    noise = RNG.uniform(0.1, 1, 1000)
    long = cut_noise(noise, 2500, seed=1)
    np.testing.assert_array_equal(long[:1000], long[1000:2000])
    assert np.array_equal(cut_noise(noise, 300, 1), long[:300])
    assert len({float(cut_noise(noise, 1, seed)[0]) for seed in range(20)}) > 10


def test_digital_silence_at_the_ends_is_skipped():
    noise = np.concatenate([np.zeros(5000), RNG.uniform(0.1, 1, 100), np.zeros(5000)])
    assert (cut_noise(noise, 400, seed=3) > 0).all()


def test_a_cut_is_never_silent():
    noise = np.concatenate([[0.5], np.zeros(100_000), [0.5]])
    assert all(np.abs(cut_noise(noise, 50, seed)).max() == 0.5 for seed in range(10))
    with pytest.raises(AudioError, match="silent throughout"):
        cut_noise(np.zeros(100), 10, 0)


def test_partly_noisy_leaves_the_rest_alone():
    speech, noise = RNG.uniform(-0.1, 0.1, (2, 3000))
    mixed = partly_noisy(speech, noise, 0.0, 1000, 2000)
    np.testing.assert_array_equal(mixed[:1000], speech[:1000])
    np.testing.assert_array_equal(mixed[2000:], speech[2000:])
    assert power_db(mixed[1000:2000] - speech[1000:2000]) == pytest.approx(power_db(speech[1000:2000]), abs=1e-6)


def test_noise_types_are_files_and_folders_without_numbers(tmp_path):
    for name in ("fan", "rain/a", "rain/deep/b", "drill-01", "drill-02", "n1", "n2"):
        write(tmp_path / f"{name}.wav", [0.1])
    types = {name: len(files) for name, files in read_noise_types(tmp_path).items()}
    assert types == {"drill": 2, "fan": 1, "n1": 1, "n2": 1, "rain": 2}


def test_a_type_in_two_folders_is_one_type(tmp_path):
    for name in ("one/fan", "two/rain", "two/fan"):
        write(tmp_path / f"{name}.wav", [0.1])
    types = read_noise_types([tmp_path / "one", tmp_path / "two"])
    assert {name: len(files) for name, files in types.items()} == {"fan": 2, "rain": 1}


def test_missing_and_empty_noise_folders(tmp_path):
    with pytest.raises(CorpusError, match="gone does not exist"):
        read_noise_types(tmp_path / "gone")
    with pytest.raises(CorpusError, match="no audio file"):
        read_noise_types(tmp_path)


@pytest.mark.parametrize("folder", ["", "own"])
def test_the_degradation_has_one_of_its_snrs(tmp_path, folder):
    if folder:
        write(tmp_path / "own" / "hiss.wav", RNG.uniform(-1, 1, 3000))
        folder = str(tmp_path / "own")
    degrade = AdditiveNoise(folder, snrs_db=[-5, 10])
    speech = RNG.standard_normal(8000).astype(np.float32)
    snrs = {round(power_db(speech) - power_db(degrade(speech, RNG) - speech), 2) for _ in range(12)}
    assert snrs == {-5.0, 10.0}


def test_snrs_must_be_a_list():
    with pytest.raises(ConfigError, match="snrs_db=5"):
        AdditiveNoise(snrs_db=5)
