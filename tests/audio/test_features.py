"""Features against scipy, numpy and the definition of log-mel energies."""

import numpy as np
import pytest
import torch
from scipy import signal

from speechtools.audio.features import LevelledLogMel, LogMel, Magnitude
from speechtools.core.errors import ConfigError


def test_frames_are_the_spectra_of_hamming_windows():
    wav = np.random.default_rng(0).standard_normal(4000)
    normal = np.pad(wav / np.abs(wav).max(), (0, 512))
    window = signal.get_window("hamming", 512)  # periodic, as in torch
    starts = range(0, 4000 - 512 + 256, 256)
    expected = np.stack([np.abs(np.fft.rfft(normal[s : s + 512] * window)) for s in starts])
    feats = Magnitude()(torch.tensor(wav, dtype=torch.float32)[None])[0]
    np.testing.assert_allclose(feats.numpy(), expected, atol=2e-5)


@pytest.mark.parametrize(
    "features",
    [
        Magnitude(log1p=True),
        Magnitude(level="loud"),
        Magnitude(level="robust-peak"),
        LogMel(mean_norm=True),
        LogMel(level=0.1),
    ],
)
def test_padding_changes_no_frame(features):
    torch.manual_seed(0)
    lengths = torch.tensor([700, 3000, 5001])
    batch = torch.randn(3, 5001)  # the padding is as loud as the rest
    feats = features(batch, lengths / 5001)
    for row, wav, length in zip(feats, batch, lengths.tolist(), strict=True):
        alone = features(wav[None, :length])[0]
        torch.testing.assert_close(row[: len(alone)], alone, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("level", ["peak", "robust-peak", "loud"])
def test_level_normalisation(level):
    wav, features = torch.randn(1, 12000), Magnitude(level=level)
    torch.testing.assert_close(features(0.01 * wav), features(wav), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(features(wav, levels=2 * features.levels(wav)), features(wav) / 2)
    logs = Magnitude(level=level, log1p=True)
    torch.testing.assert_close(logs(wav).expm1(), features(wav), atol=1e-4, rtol=1e-4)
    plain = Magnitude(level="none")
    torch.testing.assert_close(plain(2 * wav), 2 * plain(wav))
    assert not features(torch.zeros(1, 2000)).any()


@pytest.mark.parametrize("samples", [1, 5119, 10240])
def test_the_loud_level_is_that_of_the_loudest_tenth(samples):
    """In blocks of 512 samples, at least one; padding does not count."""
    wav = torch.nn.functional.pad(torch.randn(samples), (0, 777))
    energies = sorted((float(block.double().square().sum()) for block in wav.split(512)), reverse=True)
    count = max(samples // 5120, 1)
    expected = (sum(energies[:count]) / min(count * 512, samples)) ** 0.5 / 0.3
    levels = Magnitude(level="loud").levels(wav[None], torch.tensor([samples / len(wav)]))
    torch.testing.assert_close(levels, torch.tensor([expected], dtype=torch.float32))


@pytest.mark.parametrize("seconds", [0.1, 1.0, 5.0])
def test_the_robust_peak_ignores_a_click(seconds):
    wav = torch.randn(1, round(16000 * seconds), generator=torch.Generator().manual_seed(0))
    features = Magnitude(level="robust-peak")
    expected = wav.abs().amax(dim=1)
    torch.testing.assert_close(features.levels(wav), expected)
    wav[0, 800] = 1000.0
    if seconds < 0.5:  # three blocks are too few to tell
        expected = torch.tensor([1000.0])
    torch.testing.assert_close(features.levels(wav), expected, rtol=0.1, atol=0)


def test_a_level_makes_log_mel_energies_independent_of_the_gain():
    wav = torch.randn(2, 16000) * torch.linspace(1e-4, 1, 16000)
    features = LogMel(level=0.1)
    for gain in (0.01, 100.0):
        torch.testing.assert_close(features(gain * wav), features(wav), atol=1e-3, rtol=0)
    assert not torch.isclose(LogMel()(0.01 * wav), LogMel()(wav), atol=0.1).all()
    assert torch.isfinite(features(torch.zeros(1, 16000))).all()


def log_mel_reference(wav, n_mels=40):
    """Section 3 of the GE2E paper in float64: triangles on the HTK mel scale, from 20 to 8000 Hz."""
    mel = np.linspace(*(2595 * np.log10(1 + np.array([20.0, 8000.0]) / 700)), n_mels + 2)
    edges = 700 * (10 ** (mel / 2595) - 1)
    bins = np.linspace(0, 8000, 257)
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    filters = np.clip(np.minimum(rising, falling), 0, None)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frames = [wav[start : start + 400] * window for start in range(0, len(wav) - 399, 160)]
    power = np.abs(np.fft.rfft(frames, 512)) ** 2
    return np.log(power @ filters + 1e-6)


def test_log_mel_equals_the_reference():
    wav = 0.1 * torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    expected = torch.from_numpy(log_mel_reference(wav[0].double().numpy())).float()
    torch.testing.assert_close(LogMel()(wav)[0], expected, atol=1e-3, rtol=0)
    torch.testing.assert_close(LogMel(scale="db")(wav)[0], 10 / np.log(10) * expected, atol=5e-3, rtol=0)
    torch.testing.assert_close(LogMel(mean_norm=True)(wav)[0], expected - expected.mean(dim=0), atol=1e-3, rtol=0)


def test_invalid_arguments():
    arguments = {Magnitude: {"window": "kaiser", "level": "rms", "hop_length": 600}}
    arguments[LogMel] = {"level": 0.0, "scale": "bel", "hop_ms": 30.0, "f_max": 9000.0}
    for features, values in arguments.items():
        for name, value in values.items():
            with pytest.raises(ConfigError, match=name):
                features(**{name: value})


def test_levelled_log_mel_begins_at_its_lowest_frequency():
    time = torch.arange(16000) / 16000
    speech = 0.1 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    rumble = 0.3 * torch.sin(2 * torch.pi * 25 * time)
    for f_min, hears in ((20.0, True), (100.0, False)):
        features = LevelledLogMel(f_min=f_min, level="none")
        changed = (features((speech + rumble)[None]) - features(speech[None])).abs()[..., :5].mean()
        assert (changed > 0.1) == hears, changed
    with pytest.raises(ConfigError, match="f_min=9000"):
        LevelledLogMel(f_min=9000)


def test_parts_show_gaps_and_clipping_that_the_filters_hardly_show():
    features = LevelledLogMel(parts=8, level="none")
    speech = 0.1 * torch.randn(8192, generator=torch.Generator().manual_seed(0))
    before = features(speech[None])[0]
    gap = speech.clone()
    gap[10 * 256 + 127 : 10 * 256 + 160] = 0.0  # 2 ms, the first part of frame 10
    changed = (features(gap[None])[0] - before).abs()
    assert changed[10, 80] > 1.5 and changed[10, :80].mean() < 0.1
    assert changed[12:].max() == 0 and changed[:9].max() == 0
    clipped = features(speech.clamp(-0.1, 0.1)[None])[0]
    assert (clipped[:, 88] < before[:, 88] - 0.2).all()


def test_parts_ignore_offset_rumble_and_padding():
    features = LevelledLogMel(parts=8, f_min=100.0, level="none")
    speech = 0.1 * torch.randn(8192, generator=torch.Generator().manual_seed(0))
    rumble = 0.1 + 0.1 * torch.sin(2 * torch.pi * 20 * torch.arange(8192) / 16000)
    assert (features((speech + rumble)[None]) - features(speech[None]))[..., 80:].abs().mean() < 0.05
    padded = features(torch.cat([speech, torch.full((3000,), 9.0)])[None], torch.tensor([8192 / 11192]))
    torch.testing.assert_close(padded[:, :30], features(speech[None])[:, :30])


@pytest.mark.parametrize("parts", [-1, 7, 257])
def test_parts_must_divide_the_step(parts):
    with pytest.raises(ConfigError, match=f"parts={parts}"):
        LevelledLogMel(parts=parts)
