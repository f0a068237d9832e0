"""Recordings against their references."""

import numpy as np
import pytest
import soundfile

from speechtools.core.errors import AudioError, ConfigError, SpeechtoolsError
from speechtools.measures import find_measure
from speechtools.measures.pairs import find_measures, score_pair


@pytest.fixture
def pair(tmp_path, tone):
    """Write a reference and a recording with noise: their samples, and their paths."""

    def write(rate=16000, degraded_rate=None, cut=0):
        clean = tone(1.0, rate)
        noisy = clean + 0.01 * np.random.default_rng(0).standard_normal(len(clean)).astype(np.float32)
        paths = [str(tmp_path / f"{name}.flac") for name in ("clean", "noisy")]
        soundfile.write(paths[0], clean, rate, subtype="PCM_24")
        resampled = noisy if degraded_rate is None else tone(1.0, degraded_rate)
        soundfile.write(paths[1], resampled[cut:], degraded_rate or rate, subtype="PCM_24")
        return (*(soundfile.read(path, dtype="float32")[0] for path in paths), paths)

    return write


@pytest.mark.parametrize("rate", [16000, 44100])
def test_the_scores_are_those_of_the_measures_at_the_rate_of_the_files(pair, rate):
    clean, noisy, paths = pair(rate)
    names = ["si-sdr", "stoi", "pesq-wb"]
    result = score_pair(find_measures(names), *paths)
    assert result["seconds"] == 1.0 and list(result["scores"]) == names and result["reasons"] == {}
    assert result["scores"]["si-sdr"] == pytest.approx(find_measure("si-sdr")(clean, noisy, rate), abs=1e-3)


def test_files_of_two_rates_are_compared_at_the_lower_one(pair):
    _, _, paths = pair(44100, degraded_rate=16000)
    result = score_pair(find_measures(["si-sdr"]), *paths)
    assert result["seconds"] == pytest.approx(1.0, abs=1e-3) and np.isfinite(result["scores"]["si-sdr"])


@pytest.mark.parametrize("rates", [(16000, None), (44100, 16000)])
def test_other_lengths_are_refused_with_both(pair, rates):
    _, _, paths = pair(*rates, cut=40)
    with pytest.raises(AudioError, match="15960 samples .*clean.flac 16000"):
        score_pair(find_measures(["si-sdr"]), *paths)


def test_a_measure_that_fails_leaves_the_others(pair, tmp_path):
    clean, _, _ = pair()
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    for path in paths:
        soundfile.write(path, clean[:1000], 16000)
    result = score_pair(find_measures(["pesq-wb", "si-sdr"]), *map(str, paths))
    assert result["scores"] == {"si-sdr": 100.0} and "0.25 s" in result["reasons"]["pesq-wb"]


@pytest.mark.parametrize(
    "names, expected", [(["pesq-wd"], "pesq-wb"), (["mos"], "listeners"), (["wb", "pesq-wb"], "twice")]
)
def test_measures_that_cannot_be_computed_are_refused(names, expected):
    with pytest.raises(ConfigError, match=expected):
        find_measures(names)


def test_a_measure_whose_package_is_not_installed_is_refused_at_once(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pystoi", None)
    with pytest.raises(SpeechtoolsError, match="pip install"):
        find_measures(["stoi"])
