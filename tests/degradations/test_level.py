"""Level, offset and bits."""

import numpy as np
import pytest

from speechtools.core.errors import ConfigError
from speechtools.degradations.level import Level, Offset, Quantization, at_level_of

RNG = np.random.default_rng(0)
CLEAN = RNG.uniform(-0.5, 0.5, 8000).astype(np.float32)


def test_level_is_a_gain_that_may_exceed_full_scale():
    np.testing.assert_allclose(Level(20)(CLEAN, RNG), 10 * CLEAN, rtol=1e-6)
    gains = [float(Level((-30, 6))(CLEAN, RNG)[0] / CLEAN[0]) for _ in range(200)]
    assert 10 ** (-30 / 20) <= min(gains) < 0.05 and 1.5 < max(gains) <= 10 ** (6 / 20)


def test_an_offset_has_both_signs():
    offsets = {round(float((Offset(0.2)(CLEAN, RNG) - CLEAN).mean()), 3) for _ in range(20)}
    assert offsets == {round(sign * 0.2 * float(np.abs(CLEAN).max()), 3) for sign in (1, -1)}


@pytest.mark.parametrize("bits", [2, 6, 10])
def test_quantization_has_its_levels_and_its_error(bits):
    rounded = Quantization(bits)(CLEAN, RNG)
    step = 2 * np.abs(CLEAN).max() / 2**bits
    assert len(np.unique(rounded)) == 2**bits + 1
    error = rounded - CLEAN
    assert np.abs(error).max() <= step / 2 * 1.001
    assert error.std() == pytest.approx(step / np.sqrt(12), rel=0.05)


def test_silence_stays_silent():
    silence = np.zeros(100, dtype=np.float32)
    for degrade in (Level(), Offset(), Quantization()):
        assert not degrade(silence, RNG).any()
    assert not at_level_of(CLEAN[:100], silence).any()


def test_impossible_parameters_are_named():
    with pytest.raises(ConfigError, match="bits=1"):
        Quantization(1)
    with pytest.raises(ConfigError, match="offset"):
        Offset(2)
    with pytest.raises(ConfigError, match="gain_db='loud'"):
        Level("loud")
