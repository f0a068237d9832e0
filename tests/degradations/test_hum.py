"""Hum and rumble stay below where speech is, at the SNR that is asked for."""

import numpy as np
import pytest

from speechtools import build
from speechtools.core.laws import bursts


@pytest.mark.parametrize(
    ("name", "options", "limit_hz"),
    [("hum", {"harmonics": 1}, 61), ("rumble", {"below_hz": 20}, 45)],
)
def test_the_power_is_low_in_frequency_and_has_the_snr(name, options, limit_hz):
    clean = bursts(2.0)
    added = build(f"degradation/{name}", snr_db=10.0, **options)(clean, np.random.default_rng(3)) - clean
    power = np.square(np.abs(np.fft.rfft(added)))
    frequencies = np.fft.rfftfreq(len(added), 1 / 16000)
    assert power[frequencies < limit_hz].sum() > 0.99 * power.sum()
    snr_db = 10 * np.log10(np.square(clean).sum() / np.square(added).sum())
    assert snr_db == pytest.approx(10.0, abs=0.01)
