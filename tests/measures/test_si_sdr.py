"""SI-SDR: the SNR of added noise that is orthogonal to the reference, whatever the level."""

import numpy as np
import pytest

from speechtools.measures.si_sdr import SISDR

TIME = 2 * np.pi * np.arange(16000) / 16000
REFERENCE, ORTHOGONAL = np.sin(100 * TIME), np.sin(250 * TIME)


@pytest.mark.parametrize("snr_db", [-20, 0, 30])
@pytest.mark.parametrize("level", [0.01, -3.0])
def test_it_is_the_snr_at_any_level(snr_db, level):
    degraded = level * (REFERENCE + 10 ** (-snr_db / 20) * ORTHOGONAL)
    assert SISDR()(REFERENCE, degraded, 16000) == pytest.approx(snr_db, abs=1e-6)


def test_the_ends_of_the_range():
    assert SISDR()(REFERENCE, 0.5 * REFERENCE, 16000) == SISDR.maximum
    assert SISDR()(REFERENCE, ORTHOGONAL, 16000) == SISDR.minimum
