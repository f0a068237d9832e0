"""`features/centred-mel` and levels."""

import math

import pytest
import torch

from speechtools.audio.centred_mel import CentredMel
from speechtools.audio.level import to_level
from speechtools.core.errors import ConfigError


@pytest.mark.parametrize("samples", [1, 399, 1600, 16000, 16001])
def test_frames_are_those_of_a_centred_transform(samples):
    torch.manual_seed(0)
    wav, features = 0.1 * torch.randn(samples), CentredMel(level_db=None)
    spectrum = torch.stft(wav, 400, 160, window=torch.hann_window(400), pad_mode="constant", return_complex=True)
    expected = (spectrum.abs().square().T @ features.filters)[: math.ceil(samples / 160)]
    assert features(wav[None])[0].allclose(expected, atol=1e-5)
    log = CentredMel(level_db=None, scale="log", floor=1e-3)(wav[None])[0]
    assert log.allclose(expected.clamp(min=1e-3).log(), atol=1e-4)


def test_frames_are_those_of_librosa():
    librosa = pytest.importorskip("librosa")
    torch.manual_seed(0)
    wav = 0.1 * torch.randn(16001)
    expected = librosa.feature.melspectrogram(y=wav.numpy(), sr=16000, n_fft=400, hop_length=160, n_mels=40).T
    feats = CentredMel(level_db=None)(wav[None])[0]
    assert feats.shape == expected.shape and feats.allclose(torch.from_numpy(expected), atol=1e-5)


def test_levels_are_reached_whatever_the_padding():
    torch.manual_seed(0)
    wavs = torch.randn(3, 4000) * torch.tensor([[0.5], [0.001], [0.0]])
    lens = torch.tensor([1.0, 0.5, 1.0])
    levelled = to_level(wavs, lens, -20.0)
    rms = [float(wav[:count].square().mean().sqrt()) for wav, count in zip(levelled, (4000, 2000, 4000), strict=True)]
    assert rms == pytest.approx([0.1, 0.1, 0.0], abs=1e-6) and not levelled[1, 2000:].any()
    only_up = to_level(wavs, lens, -20.0, only_up=True)
    assert torch.equal(only_up[0], wavs[0]) and torch.equal(only_up[1], levelled[1])
    assert to_level(wavs, lens, 0.0, "peak").abs().amax(dim=1).tolist() == pytest.approx([1, 1, 0])


def test_a_waveform_that_has_its_level_is_left():
    wav = 0.001 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    features = CentredMel()
    assert torch.equal(features(features.levelled(wav), level=False), features(wav))
    assert features(wav, level=False).sum() < 0.01 * features(wav).sum()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"mel": "bark"}, "mel='bark'.*'slaney' or 'htk'"),
        ({"scale": "db"}, "scale='db'"),
        ({"level_of": "loud"}, "level_of='loud'"),
        ({"hop_ms": 30.0}, "hop_ms=30"),
        ({"floor": 0.0}, "floor=0"),
        ({"f_min": 8000.0}, "f_min=8000"),
    ],
)
def test_invalid_options(options, message):
    with pytest.raises(ConfigError, match=message):
        CentredMel(**options)
