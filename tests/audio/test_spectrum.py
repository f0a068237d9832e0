"""The invertible spectrum."""

import pytest
import torch

from speechtools.audio.spectrum import Spectrum
from speechtools.core.errors import ConfigError


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("samples", [1, 64, 513, 2000])
@pytest.mark.parametrize(("n_fft", "hop_length"), [(512, 256), (512, 128), (64, 8), (9, 3)])
def test_equals_torch_stft_and_the_inverse_restores_the_waveform(n_fft, hop_length, samples):
    spectrum, wavs = Spectrum(n_fft, hop_length), torch.randn(2, samples)
    padded = torch.nn.functional.pad(wavs, (n_fft - hop_length, n_fft))
    window = torch.hann_window(n_fft).sqrt()
    expected = torch.stft(padded, n_fft, hop_length, window=window, center=False, return_complex=True).transpose(1, 2)
    # (batch, time, bins)
    frames = spectrum(wavs)
    torch.testing.assert_close(frames, expected[:, : frames.shape[1]], atol=1e-4, rtol=0)
    assert frames.shape == (2, spectrum.num_frames(samples), spectrum.size)
    torch.testing.assert_close(spectrum.inverse(frames, samples), wavs, atol=1e-5, rtol=0)


def test_padding_changes_neither_the_spectrum_nor_the_waveform():
    spectrum, counts = Spectrum(64, 16), [500, 333, 64, 63, 1]
    lens = torch.tensor(counts) / 500
    wavs = 100 * torch.randn(5, 500)  # including the padding
    frames = spectrum(wavs, lens)
    restored = spectrum.inverse(frames, 500)
    for row, count in enumerate(counts):
        alone = spectrum(wavs[row : row + 1, :count])
        time = alone.shape[1]
        torch.testing.assert_close(frames[row : row + 1, :time], alone)
        assert (frames[row, time:] == 0).all()
        torch.testing.assert_close(restored[row, :count], wavs[row, :count], atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(restored[row, count:], torch.zeros(500 - count), atol=1e-4, rtol=0)


@pytest.mark.parametrize("hop_length", [300, 512, 0])
def test_invalid_steps(hop_length):
    with pytest.raises(ConfigError, match=f"hop_length={hop_length} .* n_fft=512"):
        Spectrum(512, hop_length)


def test_gradients_flow_through_both_directions():
    spectrum = Spectrum(8, 2).double()
    lens = torch.tensor([1.0, 0.5])
    wavs = torch.randn(2, 20, dtype=torch.float64, requires_grad=True)
    frames = torch.randn(2, spectrum.num_frames(20), spectrum.size, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda wavs: spectrum(wavs, lens), wavs)
    assert torch.autograd.gradcheck(lambda frames: spectrum.inverse(frames, 20), frames)
