"""Voicing separates speech from noise."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import signal

import speechtools
from speechtools.audio import read
from speechtools.audio.vad import EnergyVAD
from speechtools.audio.voicing import LIMIT, speech_log_odds, voicing
from speechtools.core.errors import AudioError
from speechtools.inference import SpeakerEncoder, SpeakerVerification

RATE = 16000
DATA = Path(os.environ.get("SPEECHTOOLS_DATA", "none"))


def log_odds(samples):
    wav = torch.from_numpy(np.asarray(samples, dtype=np.float32))
    vad = EnergyVAD(RATE)
    return speech_log_odds(wav, vad(wav[None])[0], vad.hop_length)


def noises():
    generator, time = np.random.default_rng(0), np.arange(3 * RATE) / RATE
    white = generator.standard_normal(len(time))
    yield "white", white
    yield "pulsed", white * (np.sin(2 * np.pi * 3 * time) > 0)
    yield "brown", signal.detrend(np.cumsum(white))
    yield "street", signal.lfilter([1.0], [1, -0.95], white) * (1.5 + np.sin(2 * np.pi * 0.5 * time))
    yield "hum", np.sign(np.sin(2 * np.pi * 50 * time)) + 0.05 * white
    yield "tone", np.sin(2 * np.pi * 440 * time)


@pytest.mark.parametrize(("name", "noise"), list(noises()), ids=lambda value: value if isinstance(value, str) else "")
def test_noises_are_refused_by_verification(name, noise, tmp_path):
    noise = 0.3 * noise / np.abs(noise).max()
    assert log_odds(noise) < LIMIT
    with pytest.raises(AudioError, match="No speech was found"):
        SpeakerVerification.from_hparams().verify_files(noise, noise)
    assert SpeakerEncoder.from_hparams().encode_file(noise).isfinite().all()


@pytest.mark.parametrize("gain", [0.01, 1.0, 100.0])
def test_a_voice_in_noise_is_accepted_at_any_level(gain):
    assert log_odds(gain * read(speechtools.SAMPLE)) > LIMIT + 1


def test_statistics_of_a_steady_tone():
    time = torch.arange(RATE) / RATE
    wav = torch.sin(2 * torch.pi * 200 * time) + 0.01 * torch.randn(RATE, generator=torch.Generator().manual_seed(0))
    statistics = voicing(wav, torch.ones(100, dtype=torch.bool), 160)
    assert statistics["pitch_median"] == pytest.approx(1.0, abs=0.02) and statistics["low_share_10"] > 0.99
    assert statistics["centroid_90"] == pytest.approx(np.log(0.2), abs=0.05)
    silence = torch.zeros(100, dtype=torch.bool)
    assert voicing(wav, silence, 160) == {} and speech_log_odds(wav, silence, 160) == 0.0
    assert voicing(wav[:300], silence, 160) == {}


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="SPEECHTOOLS_DATA names no folder")
def test_real_speech_and_noise():
    speech = sorted((DATA / "speechocean762").rglob("*.flac"))[::40]
    noise = sorted((DATA / "ESC-10").rglob("*.flac"))[::4]
    assert np.mean([log_odds(read(path)) > LIMIT for path in speech]) == 1
    assert np.mean([log_odds(read(path)) < LIMIT for path in noise]) > 0.4


@pytest.mark.parametrize("tones", [(697, 1209), (440, 440)])
def test_pulsed_tones_are_noise(tones):
    """Dial tones vary as speech does, in pure tones."""
    time = np.arange(3 * RATE) / RATE
    assert log_odds((time % 0.18 < 0.1) * sum(np.sin(2 * np.pi * tone * time) for tone in tones)) < LIMIT
