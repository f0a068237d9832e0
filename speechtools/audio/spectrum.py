"""Short-time spectra that a waveform can be made of again, exactly.

Frames reach over both ends of an utterance, so that every sample lies in ``n_fft / hop_length`` of them; what pads a
batch on the right is in no frame that counts, and the waveform does not depend on it.
"""

import torch
from torch import Tensor, nn

from speechtools.audio.features import Count, length_mask, num_samples
from speechtools.core.errors import ConfigError


class Spectrum(nn.Module):
    """Complex spectrum of a waveform, and its inverse by weighted overlap-add.

    The square root of a periodic Hann window is applied on both ways.

    Parameters
    ----------
    n_fft, hop_length : int
        Window and step in samples; the step divides the window, and is at most half of it.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time, n_fft // 2 + 1), complex; frames beyond an item's are 0.

    Raises
    ------
    ConfigError
        The step does not divide the window, or is more than half of it.

    Example
    -------
    >>> spectrum, wavs = Spectrum(), torch.randn(2, 16000)
    >>> frames = spectrum(wavs)
    >>> frames.shape, torch.allclose(spectrum.inverse(frames, 16000), wavs, atol=1e-5)
    (torch.Size([2, 64, 257]), True)
    """

    window: Tensor

    def __init__(self, n_fft: int = 512, hop_length: int = 256):
        super().__init__()
        if hop_length < 1 or n_fft % hop_length or n_fft < 2 * hop_length:
            raise ConfigError(
                f"hop_length={hop_length} must divide n_fft={n_fft} and be at most half of it, or a waveform cannot be "
                "made of its spectrum again. Take a half or a quarter."
            )
        self.n_fft, self.hop_length = n_fft, hop_length
        self.register_buffer("window", torch.hann_window(n_fft).sqrt(), persistent=False)

    @property
    def size(self) -> int:
        """Number of frequency bins a frame."""
        return self.n_fft // 2 + 1

    def num_frames(self, samples: Count) -> Count:
        """Frames of an utterance of so many samples (int or integer tensor)."""
        return (samples + self.n_fft - 1) // self.hop_length

    def frame_lens(self, lens: Tensor, samples: int) -> Tensor:
        """Relative lengths (batch,) of frames, from those of waveforms, ``lens`` (batch,), padded to ``samples``."""
        return self.num_frames(num_samples(lens, samples)).to(lens.dtype) / self.num_frames(samples)

    def forward(self, wavs: Tensor, lens: Tensor | None = None) -> Tensor:
        samples = wavs.shape[1]
        time = self.num_frames(samples)
        if lens is not None:
            wavs = wavs * length_mask(num_samples(lens, samples), samples)
        before = self.n_fft - self.hop_length
        wavs = nn.functional.pad(wavs, (before, (time - 1) * self.hop_length + self.n_fft - before - samples))
        frames = wavs.unfold(1, self.n_fft, self.hop_length) * self.window
        # (batch, time, n_fft)
        return torch.fft.rfft(frames)

    def inverse(self, spectrum: Tensor, samples: int) -> Tensor:
        """The waveforms (batch, samples) of spectra (batch, time, bins)."""
        frames = torch.fft.irfft(spectrum, self.n_fft) * self.window
        # (batch, time, n_fft)
        batch, time, _ = frames.shape
        length = (time - 1) * self.hop_length + self.n_fft
        wavs = nn.functional.fold(
            frames.transpose(1, 2), (1, length), (1, self.n_fft), stride=(1, self.hop_length)
        ).reshape(batch, length)
        # The squared windows, which are Hann windows, add up to n_fft / (2 hop_length) everywhere.
        wavs = wavs * (2 * self.hop_length / self.n_fft)
        before = self.n_fft - self.hop_length
        return wavs[:, before : before + samples]
