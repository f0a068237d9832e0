"""STOI: highest for the same signal, lower with more noise, independent of the level."""

import sys

import numpy as np
import pytest

from speechtools.core.errors import AudioError, SpeechtoolsError
from speechtools.degradations.noise import mix_at_snr
from speechtools.measures.stoi import STOI
from tests.measures.signals import RATE, syllables

pytest.importorskip("pystoi")
stoi, SPEECH = STOI(), syllables(4)


def test_stoi_falls_with_noise():
    noise = np.random.default_rng(0).standard_normal(len(SPEECH))
    scores = [stoi(SPEECH, mix_at_snr(SPEECH, noise, snr), RATE) for snr in (30, 10, 0, -10)]
    assert stoi(SPEECH, SPEECH, RATE) == pytest.approx(1, abs=1e-6)
    assert 1 > scores[0] > scores[1] > scores[2] > scores[3] > -1


def test_the_level_does_not_matter():
    degraded = mix_at_snr(SPEECH, np.sin(np.arange(len(SPEECH))), 0)
    assert stoi(SPEECH, 0.01 * degraded, RATE) == pytest.approx(stoi(SPEECH, degraded, RATE), abs=1e-4)


@pytest.mark.parametrize("seconds", [0.01, 0.2])
def test_too_little_speech(seconds):
    short = SPEECH[1000 : 1000 + round(RATE * seconds)]
    with pytest.raises(AudioError, match=rf"{seconds:.2f} s of audio .* 0.4 s of speech"):
        stoi(short, short, RATE)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "pystoi", None)
    with pytest.raises(SpeechtoolsError, match=r"'pystoi'.*speechtools\[recipes\]"):
        stoi(SPEECH, SPEECH, RATE)
