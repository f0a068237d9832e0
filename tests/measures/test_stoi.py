"""STOI: highest for the same signal, lower with more noise, independent of the level."""

import numpy as np
import pytest

from speechtools.core.errors import AudioError
from speechtools.degradations.noise import mix_at_snr
from speechtools.measures.stoi import STOI
from tests.measures.signals import RATE, syllables

pytest.importorskip("pystoi")
stoi, SPEECH = STOI(), syllables(4)


def test_stoi_falls_with_noise_and_the_level_does_not_matter():
    noise = np.random.default_rng(0).standard_normal(len(SPEECH))
    scores = [stoi(SPEECH, mix_at_snr(SPEECH, noise, snr), RATE) for snr in (30, 10, 0, -10)]
    assert 1 > scores[0] > scores[1] > scores[2] > scores[3] > -1
    assert stoi(SPEECH, 0.01 * mix_at_snr(SPEECH, noise, 0), RATE) == pytest.approx(scores[2], abs=1e-4)


def test_too_little_speech():
    short = SPEECH[1000:4200]
    with pytest.raises(AudioError, match=r"0.20 s of audio .* 0.4 s of speech"):
        stoi(short, short, RATE)
