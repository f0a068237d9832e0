"""Voice activity detection with pauses, clipping, offsets and clicks. The contract of the kind is tested elsewhere."""

import sys

import numpy as np
import pytest
import torch

import speechtools
from speechtools.audio import read
from speechtools.audio.vad import EnergyVAD
from speechtools.core.errors import ConfigError

RATE = 16000


def talk(background):
    """Return bursts from 0.5 to 1.5 s and from 2.5 to 3 s in 4 s of background."""
    rng = np.random.default_rng(0)
    wave = background * rng.standard_normal(4 * RATE)
    for start, end in ((0.5, 1.5), (2.5, 3.0)):
        wave[round(start * RATE) : round(end * RATE)] += 0.2 * rng.standard_normal(round((end - start) * RATE))
    return torch.from_numpy(wave.astype(np.float32)).unsqueeze(0)


@pytest.mark.parametrize("background", [0.0, 1e-3, 0.01])
def test_bursts_are_found_within_50_ms(background):
    wav = talk(background)
    clipped = (20 * talk(1e-4)).clamp(-1, 1)
    for speech in EnergyVAD()(torch.cat([wav, wav + 0.3, 1e-3 * wav, clipped])):
        edges = torch.nonzero(speech[1:] != speech[:-1]).flatten() + 1
        assert torch.allclose(edges / 100, torch.tensor([0.5, 1.5, 2.5, 3.0]), atol=0.05)


def test_a_constant_is_not_speech_and_even_noise_is_speech_throughout():
    torch.manual_seed(0)
    constant, noise = EnergyVAD()(torch.stack([torch.full((RATE,), 0.25), 0.1 * torch.randn(RATE)]))
    assert not constant.any() and noise.all()


def test_short_gaps_are_closed_and_short_bursts_removed():
    wav = talk(0.0)
    wav[0, 16000:17600] = 0  # 100 ms of silence within the first burst
    wav[0, 56000:56480] = wav[0, 9000:9480]  # 30 ms of sound by itself
    speech = EnergyVAD()(wav)[0]
    assert speech[55:145].all() and not speech[330:].any()
    assert not EnergyVAD(hangover_ms=0)(wav)[0, 103:107].any()
    assert EnergyVAD(min_speech_ms=0)(wav)[0, 351]


@pytest.mark.parametrize("background", [1e-3, 0.01])
def test_a_click_in_quiet_sound_changes_nothing(background):
    wav = 1e-3 * talk(background)
    even = 1e-4 * torch.from_numpy(np.random.default_rng(0).standard_normal((1, 4 * RATE)).astype(np.float32))
    vad = EnergyVAD()
    for quiet in (wav, even):
        click = quiet.clone()
        click[0, 12000] = 1.0
        assert (vad(click) != vad(quiet)).sum() <= 3


def test_nothing_but_a_click_is_not_speech_throughout():
    wav = torch.zeros(1, 4 * RATE)
    wav[0, 12000] = 1.0
    assert EnergyVAD()(wav + 0.1).sum() <= 3


def test_invalid_threshold():
    with pytest.raises(ConfigError, match=r"threshold=1.5"):
        EnergyVAD(threshold=1.5)


def test_webrtc_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "webrtcvad", None)
    with pytest.raises(ConfigError, match=r"pip install speechtools\[vad\]"):
        speechtools.build("vad/webrtc")


def test_webrtc_finds_more_in_speech_than_in_silence():
    pytest.importorskip("webrtcvad")
    detector = speechtools.build("vad/webrtc")
    speech = detector(talk(0.0))[0]
    # Its hangover is about 150 ms.
    assert not speech[:49].any() and not speech[170:249].any() and not speech[320:].any()
    assert speech[52:150].all() and speech[252:300].all()
    assert not detector(torch.zeros(1, RATE)).any()
    with pytest.raises(ConfigError, match="sample_rate=44100"):
        speechtools.build("vad/webrtc", sample_rate=44100)


def test_smoothed_decisions_are_a_majority_that_is_extended():
    """Against the definition, frame by frame."""
    pytest.importorskip("webrtcvad")
    rng = np.random.default_rng(0)
    detector = speechtools.build("vad/webrtc-smoothed")
    for count in (1, 5, 40, 200):
        decisions = rng.random(count) < 0.6
        padded = np.concatenate([np.zeros(3), decisions, np.zeros(4)])
        most = [padded[i : i + 8].sum() > 4 for i in range(count)]
        near = [any(most[max(i - 3, 0) : i + 4]) for i in range(count)]
        assert detector._smooth(decisions).tolist() == near
    with pytest.raises(ConfigError, match="average_frames=0"):
        speechtools.build("vad/webrtc-smoothed", average_frames=0)


def test_silero_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "silero_vad", None)
    with pytest.raises(ConfigError, match=r"pip install speechtools\[vad\]"):
        speechtools.build("vad/silero")


def test_silero_tells_speech_from_noise():
    pytest.importorskip("silero_vad")
    detector = speechtools.build("vad/silero")
    voice = torch.from_numpy(read(speechtools.SAMPLE))
    noise = 0.3 * torch.randn(len(voice), generator=torch.Generator().manual_seed(0))
    speech = detector(torch.stack([voice, noise]))
    assert speech[0].float().mean() > 0.4 and not speech[1].any()
    assert detector(0.01 * voice[None]).float().mean() > 0.4
    with pytest.raises(ConfigError, match="sample_rate=44100"):
        speechtools.build("vad/silero", sample_rate=44100)


def test_padding_of_a_batch_changes_nothing_at_the_end_of_an_item():
    wav = talk(1e-3)[:, : 29 * RATE // 10 + 24]  # it ends in a burst, with a shorter frame
    alone = EnergyVAD()(wav)
    padded = torch.nn.functional.pad(wav, (0, RATE))
    together = EnergyVAD()(padded, torch.tensor([wav.shape[1] / padded.shape[1]]))
    assert alone[0, -1] and torch.equal(together[:, : alone.shape[1]], alone)
    assert not together[:, alone.shape[1] :].any()
