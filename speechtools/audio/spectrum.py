"""Invertible short-time spectra.

Frames reach over both ends of an utterance, so that every sample lies in ``n_fft / hop_length`` of them. The padding of
a batch changes neither the valid frames nor the waveform.
"""

import torch
from torch import Tensor, nn

from speechtools.audio.fourier import Parts, cut_frames, irfft, overlap_add, rfft
from speechtools.audio.frames import Framing, clear_padding
from speechtools.core.errors import ConfigError


class Spectrum(Framing):
    """Complex spectrum of a waveform, and its inverse by weighted overlap-add.

    The square root of a periodic Hann window is applied in both directions.

    Parameters
    ----------
    n_fft, hop_length : int
        Window and step in samples. The step must divide the window and be at most half of it.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time, n_fft // 2 + 1), complex; frames beyond an item are 0

    Raises
    ------
    ConfigError
        The step does not divide the window or exceeds half of it.

    Examples
    --------
    >>> spectrum, wavs = Spectrum(), torch.randn(2, 16000)
    >>> frames = spectrum(wavs)
    >>> frames.shape, torch.allclose(spectrum.inverse(frames, 16000), wavs, atol=1e-5)
    (torch.Size([2, 64, 257]), True)
    """

    window: Tensor

    def __init__(self, n_fft: int = 512, hop_length: int = 256):
        super().__init__()
        if hop_length < 1 or n_fft % hop_length or n_fft < 2 * hop_length:
            raise ConfigError(f"hop_length={hop_length} must divide n_fft={n_fft} and be at most half of it.")
        self.n_fft = self.win_length = n_fft
        self.hop_length, self.padding = hop_length, 2 * n_fft - hop_length - 1
        self.register_buffer("window", torch.hann_window(n_fft).sqrt(), persistent=False)

    @property
    def size(self) -> int:
        """Number of frequency bins of a frame."""
        return self.n_fft // 2 + 1

    def forward(self, wavs: Tensor, lens: Tensor | None = None) -> Tensor | Parts:
        """Compute the spectra of a padded batch."""
        samples, before = wavs.shape[1], self.n_fft - self.hop_length
        after = self.num_samples(self.num_frames(samples)) - before - samples
        wavs = nn.functional.pad(clear_padding(wavs, lens), (before, after))
        frames = cut_frames(wavs, self.n_fft, self.hop_length) * self.window
        # (batch, time, n_fft)
        return rfft(frames, self.n_fft)

    def inverse(self, spectrum: Tensor | Parts, samples: int) -> Tensor:
        """Reconstruct the waveforms (batch, samples) of spectra (batch, time, bins)."""
        frames = irfft(spectrum, self.n_fft) * self.window
        # (batch, time, n_fft)
        wavs = overlap_add(frames, self.hop_length)
        # The squared windows, which are Hann windows, add up to n_fft / (2 hop_length) everywhere.
        wavs = wavs * (2 * self.hop_length / self.n_fft)
        before = self.n_fft - self.hop_length
        return wavs[:, before : before + samples]
