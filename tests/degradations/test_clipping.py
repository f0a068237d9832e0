"""Clipping and over-driven gain control."""

import numpy as np
import pytest

import speechtools
from speechtools.core.errors import ConfigError
from speechtools.degradations.causes import Presence
from speechtools.degradations.clipping import Clipping, GainControl

RNG = np.random.default_rng(0)


def rms(samples):
    return np.sqrt(np.mean(np.square(samples, dtype=np.float64)))


def test_hard_clipping_limits_to_a_share_of_the_peak():
    clean = np.linspace(-0.4, 0.8, 1000, dtype=np.float32)
    clipped = Clipping(0.25, "hard")(clean, RNG)
    cut = np.clip(clean, -0.2, 0.2)
    np.testing.assert_allclose(clipped, cut * rms(clean) / rms(cut), rtol=1e-5)


def test_soft_clipping_saturates():
    clean = np.linspace(-0.4, 0.8, 1000, dtype=np.float32)
    saturated = 0.2 * np.tanh(clean / 0.2)
    np.testing.assert_allclose(Clipping(0.25, "soft")(clean, RNG), saturated * rms(clean) / rms(saturated), rtol=1e-5)


@pytest.mark.parametrize("degrade", [Clipping(0.03), GainControl(overdrive_db=24)])
def test_clipped_speech_has_the_level_of_the_clean(degrade):
    clean = (0.1 * RNG.standard_normal(8000)).astype(np.float32)
    assert rms(degrade(clean, RNG)) == pytest.approx(rms(clean), rel=1e-5)


def test_gain_control_falls_fast_rises_slowly_and_clips():
    background = (0.001 * RNG.standard_normal(48000)).astype(np.float32)
    clean = background.copy()
    clean[16000:24000] += np.sin(np.arange(8000, dtype=np.float32) / 5)
    degrade = GainControl(overdrive_db=18, attack_ms=5, release_ms=200, max_gain_db=20)
    controlled = degrade(clean, RNG)
    gain = [rms(controlled[i : i + 1600]) / rms(clean[i : i + 1600]) for i in range(0, 48000, 1600)]
    assert gain[9] > 20 * gain[12], "the pause is louder than the clipped speech"
    assert gain[15] < gain[17] < gain[20] < gain[29], "and rises slowly behind it"
    assert gain[29] == pytest.approx(gain[5], rel=0.1)
    # The first milliseconds of speech meet the gain of the pause.
    full_scale = np.abs(controlled).max()
    assert (np.abs(controlled[16000:24000]) > 0.999 * full_scale).mean() > 0.3


def test_impossible_parameters_are_named():
    with pytest.raises(ConfigError, match="level=0"):
        Clipping(level=0)
    with pytest.raises(ConfigError, match="kind='tough'.*'hard'"):
        speechtools.build("degradation/clipping", kind="tough")
    with pytest.raises(ConfigError, match="kind"):
        Clipping(kind=[])
    with pytest.raises(ConfigError, match="overdrive_db"):
        GainControl(overdrive_db=(20, 10))


def test_clipping_is_present_where_samples_are_cut_off():
    clean = np.where(np.arange(16000) < 8000, 0.1, 1.0) * np.sin(np.arange(16000) / 5)
    presence = Presence()
    clean = clean.astype(np.float32)
    presence.add(("clipping",), clean, Clipping(0.5, "hard")(clean, RNG), 16000)
    blocks = presence.blocks["clipping"]
    assert not blocks[:31].any() and blocks[32:].all(), "quiet samples are only louder"
