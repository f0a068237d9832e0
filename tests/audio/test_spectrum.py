"""Laws of the spectrum that a waveform can be made of again."""

import pytest
import torch

from speechtools.audio.features import num_samples
from speechtools.audio.spectrum import Spectrum
from speechtools.core.errors import ConfigError

STFTS = [(512, 256), (512, 128), (64, 8), (9, 3)]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.mark.parametrize("samples", [1, 7, 63, 64, 511, 512, 513, 3000])
@pytest.mark.parametrize("n_fft, hop_length", STFTS)
def test_a_waveform_is_made_again_whatever_its_length(n_fft, hop_length, samples):
    spectrum, wavs = Spectrum(n_fft, hop_length), torch.randn(3, samples)
    frames = spectrum(wavs)
    assert frames.shape == (3, spectrum.num_frames(samples), spectrum.size)
    again = spectrum.inverse(frames, samples)
    assert again.shape == wavs.shape
    torch.testing.assert_close(again, wavs, atol=1e-5, rtol=0)


@pytest.mark.parametrize("n_fft, hop_length", STFTS)
def test_the_frames_are_those_of_torchs_stft(n_fft, hop_length):
    spectrum, wavs = Spectrum(n_fft, hop_length), torch.randn(2, 2000)
    padded = torch.nn.functional.pad(wavs, (n_fft - hop_length, n_fft))
    window = torch.hann_window(n_fft).sqrt()
    expected = torch.stft(padded, n_fft, hop_length, window=window, center=False, return_complex=True).transpose(1, 2)
    # (batch, time, bins)
    frames = spectrum(wavs)
    torch.testing.assert_close(frames, expected[:, : frames.shape[1]], atol=1e-4, rtol=0)
    assert spectrum.size == expected.shape[2]


@pytest.mark.parametrize("n_fft, hop_length", STFTS)
def test_every_sample_lies_in_as_many_frames(n_fft, hop_length):
    """Of an impulse anywhere, the power is shared among all of its frames, and these are n_fft / hop_length."""
    spectrum, impulses = Spectrum(n_fft, hop_length), torch.eye(n_fft + 3)
    power = spectrum(impulses).abs().square()
    power = power.sum(dim=2) + power[:, :, 1 : (n_fft + 1) // 2].sum(dim=2)  # bins of negative frequency
    # (samples, time)
    totals = power.sum(dim=1) / n_fft
    torch.testing.assert_close(totals, torch.full_like(totals, n_fft / (2 * hop_length)), atol=1e-4, rtol=0)
    assert ((power > 1e-6).sum(dim=1) <= n_fft // hop_length).all()
    assert ((power > 1e-6).sum(dim=1) >= n_fft // hop_length - 1).all()  # the window begins with 0


@pytest.mark.parametrize("n_fft, hop_length", STFTS)
def test_no_frame_holds_padding_alone(n_fft, hop_length):
    spectrum = Spectrum(n_fft, hop_length)
    for samples in (2 * n_fft, 2 * n_fft + 2):  # of one sample more, the window's first point, 0, is all that is seen
        power = spectrum(torch.randn(1, samples)).abs().sum(dim=2)
        assert (power > 0).all()


def test_padding_changes_neither_the_spectrum_nor_the_waveform():
    spectrum, counts = Spectrum(64, 16), [500, 333, 64, 63, 1]
    lens = torch.tensor(counts) / 500
    wavs = 100 * torch.randn(5, 500)  # the padding is as loud as the rest
    frames = spectrum(wavs, lens)
    again = spectrum.inverse(frames, 500)
    for row, count in enumerate(counts):
        alone = spectrum(wavs[row : row + 1, :count])
        time = alone.shape[1]
        torch.testing.assert_close(frames[row : row + 1, :time], alone)
        assert (frames[row, time:] == 0).all()
        torch.testing.assert_close(again[row, :count], wavs[row, :count], atol=1e-4, rtol=1e-5)
        torch.testing.assert_close(again[row, count:], torch.zeros(500 - count), atol=1e-4, rtol=0)


@pytest.mark.parametrize("n_fft, hop_length", STFTS)
def test_frame_lens_are_exact(n_fft, hop_length):
    """Each number of samples gives back its number of frames, by way of two relative lengths in float32."""
    spectrum, samples = Spectrum(n_fft, hop_length), 2999
    counts = torch.arange(1, samples + 1)
    lens = spectrum.frame_lens(counts / samples, samples)
    assert lens.dtype == torch.float32 and lens.max() == 1
    assert torch.equal(num_samples(lens, spectrum.num_frames(samples)), spectrum.num_frames(counts))


def test_frame_lens_are_exact_for_a_long_recording():
    spectrum, samples = Spectrum(), 60 * 16000
    counts = torch.tensor([1, 256, 257, samples // 3, samples - 1, samples])
    lens = spectrum.frame_lens(counts.double() / samples, samples)
    assert torch.equal(num_samples(lens, spectrum.num_frames(samples)), spectrum.num_frames(counts))


def test_both_ways_are_linear():
    spectrum, one, other = Spectrum(64, 32), torch.randn(2, 300), torch.randn(2, 300)
    torch.testing.assert_close(
        spectrum(2 * one - 3 * other), 2 * spectrum(one) - 3 * spectrum(other), atol=1e-4, rtol=0
    )
    frames = torch.randn(2, 2, spectrum.num_frames(300), spectrum.size, dtype=torch.complex64)
    both = spectrum.inverse(2 * frames[0] - 3 * frames[1], 300)
    torch.testing.assert_close(
        both, 2 * spectrum.inverse(frames[0], 300) - 3 * spectrum.inverse(frames[1], 300), atol=1e-4, rtol=0
    )


def test_a_step_later_is_a_frame_later():
    spectrum, wavs = Spectrum(64, 16), torch.randn(1, 400)
    later = torch.nn.functional.pad(wavs, (16, 0))
    torch.testing.assert_close(spectrum(later)[:, 1:], spectrum(wavs))


def test_gradients_of_both_ways():
    spectrum = Spectrum(8, 4).double()
    wavs = torch.randn(2, 13, dtype=torch.float64, requires_grad=True)
    lens = torch.tensor([1.0, 0.6])
    frames = torch.randn(2, spectrum.num_frames(13), 5, dtype=torch.complex128, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: spectrum(x, lens), wavs)
    assert torch.autograd.gradcheck(lambda x: spectrum.inverse(x, 13), frames)


@pytest.mark.parametrize("n_fft, hop_length", [(512, 300), (512, 512), (512, 0), (400, 256), (512, -256)])
def test_steps_that_leave_nothing_to_make_a_waveform_of(n_fft, hop_length):
    with pytest.raises(ConfigError, match=f"hop_length={hop_length} must divide n_fft={n_fft} and be at most half"):
        Spectrum(n_fft, hop_length)


def test_the_window_is_no_part_of_a_checkpoint():
    assert not Spectrum().state_dict()
