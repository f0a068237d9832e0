"""Additive noise: exact SNRs, cuts that are never silent, and noise types of folders."""

import numpy as np
import pytest
import soundfile

from speechtools.core.errors import AudioError, ConfigError, CorpusError
from speechtools.degradations.noise import AdditiveNoise, cut_noise, mix_at_snr, partly_noisy, read_noise_types

RNG = np.random.default_rng(0)


def power_db(x):
    return 10 * np.log10(np.mean(np.square(x, dtype=np.float64)))


def write(path, samples):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, 16000, subtype="FLOAT")
    return path


@pytest.mark.parametrize("snr_db", [-10, 0, 24])
def test_the_snr_is_exact(snr_db):
    speech, noise = RNG.standard_normal((2, 8000)).astype(np.float32)
    mixed = mix_at_snr(speech, noise, snr_db)
    assert power_db(speech) - power_db(mixed - speech) == pytest.approx(snr_db, abs=1e-3)
    assert mixed.dtype == np.float32


@pytest.mark.parametrize("speech, noise, token", [(0, 1, "speech is silent"), (1, 0, "noise is silent")])
def test_silence_and_other_lengths_have_no_snr(speech, noise, token):
    with pytest.raises(AudioError, match=token):
        mix_at_snr(np.full(10, float(speech)), np.full(10, float(noise)), 0.0)
    with pytest.raises(AudioError, match="differ in length"):
        mix_at_snr(np.ones(3), np.ones(4), 0.0)


def test_noise_is_looped_and_cut_at_a_seeded_offset_and_never_silent():
    noise = np.concatenate([np.zeros(5000), RNG.uniform(0.1, 1, 1000), np.zeros(5000)])
    long = cut_noise(noise, 2500, seed=1)
    assert (long > 0).all(), "digital silence at the ends is skipped"
    np.testing.assert_array_equal(long[:1000], long[1000:2000])
    assert np.array_equal(cut_noise(noise, 300, 1), long[:300])
    assert len({float(cut_noise(noise, 1, seed)[0]) for seed in range(20)}) > 10
    rare = np.concatenate([[0.5], np.zeros(100_000), [0.5]])
    assert all(np.abs(cut_noise(rare, 50, seed)).max() == 0.5 for seed in range(10))
    with pytest.raises(AudioError, match="silent throughout"):
        cut_noise(np.zeros(100), 10, 0)


def test_partly_noisy_leaves_the_rest_alone():
    speech, noise = RNG.uniform(-0.1, 0.1, (2, 3000))
    added = partly_noisy(speech, noise, 0.0, 1000, 2000) - speech
    assert not added[:1000].any() and not added[2000:].any()
    assert power_db(added[1000:2000]) == pytest.approx(power_db(speech[1000:2000]), abs=1e-6)


def test_noise_types_are_files_and_folders_without_numbers(tmp_path):
    for name in ("one/fan", "one/rain/a", "one/rain/deep/b", "one/drill-01", "one/drill-02", "one/n1", "two/fan"):
        write(tmp_path / f"{name}.wav", [0.1])
    types = {name: len(files) for name, files in read_noise_types([tmp_path / "one", tmp_path / "two"]).items()}
    assert types == {"drill": 2, "fan": 2, "n1": 1, "rain": 2}


@pytest.mark.parametrize("folder", ["", "noises"])
def test_the_degradation_has_an_snr_in_its_range(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "noises" / "hiss.wav", RNG.uniform(-1, 1, 3000))
    degrade = AdditiveNoise(folder, snr_db=[-5, 10])
    speech = RNG.standard_normal(8000).astype(np.float32)
    snrs = [power_db(speech) - power_db(degrade(speech, RNG) - speech) for _ in range(12)]
    assert -5.01 < min(snrs) < max(snrs) < 10.01 and max(snrs) - min(snrs) > 3


def test_impossible_arguments(tmp_path):
    with pytest.raises(ConfigError, match="snr_db='loud'"):
        AdditiveNoise(snr_db="loud")
    with pytest.raises(CorpusError, match="gone does not exist"):
        AdditiveNoise(tmp_path / "gone")
    with pytest.raises(CorpusError, match="no audio file"):
        AdditiveNoise(tmp_path)


def test_a_file_in_place_of_a_noise_folder_is_named_as_such(tmp_path):
    (tmp_path / "street.wav").touch()
    for name, problem in (("street.wav", "is a file"), ("gone", "does not exist")):
        with pytest.raises(CorpusError, match=f"{name} {problem}. Pass a folder"):
            read_noise_types(tmp_path / name)
