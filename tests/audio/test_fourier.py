"""What spectra are replaced by in an export computes the same."""

import pytest
import torch

import speechtools
from speechtools.audio import fourier
from speechtools.audio.meter import LevelMeter
from speechtools.audio.spectrum import Spectrum


@pytest.fixture
def exporting(monkeypatch):
    """Compute, within the block, as an export does."""
    return lambda: monkeypatch.setattr(fourier, "is_exporting", lambda: True)


@pytest.mark.parametrize("n_fft", [512, 400, 6, 5])
def test_transforms_by_products_are_those_of_torch(n_fft, exporting):
    frames = torch.randn(2, 7, n_fft - 1)
    expected = torch.fft.rfft(frames, n_fft)
    exporting()
    parts = fourier.rfft(frames, n_fft)
    torch.testing.assert_close(parts.real, expected.real, atol=1e-4, rtol=0)
    torch.testing.assert_close(parts.imag, expected.imag, atol=1e-4, rtol=0)
    torch.testing.assert_close(fourier.magnitude(parts), expected.abs(), atol=1e-4, rtol=0)
    torch.testing.assert_close(fourier.irfft(parts, n_fft)[..., :-1], frames, atol=1e-5, rtol=0)


@pytest.mark.parametrize(("length", "hop"), [(512, 256), (400, 160), (67, 5)])
def test_frames_are_those_of_unfold(length, hop, exporting):
    wavs, window = torch.randn(2, 1500), torch.rand(length)
    filters = torch.rand(257, 3)
    frames = fourier.cut_frames(wavs, length, hop)
    energies = fourier.filter_energies(wavs, window, hop, 512, filters)
    exporting()
    torch.testing.assert_close(fourier.cut_frames(wavs, length, hop), frames)
    torch.testing.assert_close(fourier.filter_energies(wavs, window, hop, 512, filters), energies, atol=0.01, rtol=1e-4)


def test_a_spectrum_is_inverted(exporting):
    wavs, spectrum = torch.randn(2, 3000), Spectrum(256, 64)
    exporting()
    halved = fourier.scaled(spectrum(wavs), torch.tensor(0.5))
    torch.testing.assert_close(spectrum.inverse(halved, 3000), wavs / 2, atol=1e-5, rtol=0)


@pytest.mark.parametrize("level", ["peak", "robust-peak", "loud"])
@pytest.mark.parametrize("seconds", [0.5, 9.3])
def test_the_level_of_segments_is_that_of_the_features(level, seconds, tone):
    features, samples = speechtools.build("features/magnitude", level=level), tone(seconds)
    samples[3000] = 0.9  # a click
    meter = LevelMeter(512)
    for first in range(0, len(samples), 10 * 512):
        meter.add(0.25 + samples[first : first + 10 * 512])
    assert meter.offset == pytest.approx(0.25 + samples.mean(), abs=1e-5)
    expected = features.levels(torch.from_numpy(samples - samples.mean())[None])
    assert meter.level(level) == pytest.approx(float(expected), rel=1e-4)
