"""Lengths of padded batches, in samples and in frames.

A batch is padded on the right. ``lens`` are SpeechBrain's relative lengths in (0, 1]; counts are whole numbers.
"""

from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

#: Samples or frames: one number, or an integer tensor of them.
Count = TypeVar("Count", int, Tensor)


def num_samples(lens: Tensor, longest: int) -> Tensor:
    """Convert relative lengths (batch,) to whole numbers of samples or frames (batch,), at least 1.

    >>> num_samples(torch.tensor([1.0, 0.5]), 62).tolist()
    [62, 31]
    """
    return (lens * longest).round().long().clamp(1, longest)


def frame_counts(batch: Tensor, lens: Tensor | None = None) -> Tensor:
    """Number of valid frames or samples (batch,) of each item of ``batch`` (batch, time, …); all without ``lens``.

    >>> frame_counts(torch.zeros(2, 62, 257)).tolist()
    [62, 62]
    """
    if lens is None:
        return torch.full((len(batch),), batch.shape[1], device=batch.device)
    return num_samples(lens, batch.shape[1])


def length_mask(counts: Tensor, longest: int) -> Tensor:
    """Booleans (batch, longest), true within the first ``counts[i]`` positions of row i.

    >>> length_mask(torch.tensor([3, 1]), 3).tolist()
    [[True, True, True], [True, False, False]]
    """
    return torch.arange(longest, device=counts.device) < counts.unsqueeze(1)


def clear_padding(wavs: Tensor, lens: Tensor | None) -> Tensor:
    """Set the padding of waveforms (batch, samples) to zero."""
    return wavs if lens is None else wavs * length_mask(frame_counts(wavs, lens), wavs.shape[1])


class Framing(nn.Module):
    """Base class of modules that cut waveforms into frames.

    Attributes
    ----------
    win_length, hop_length : int
        Window and step in samples.
    padding : int
        Zeros, at most, that are added to a waveform to fill its windows.
    """

    win_length: int
    hop_length: int
    padding: int = 0

    def num_frames(self, samples: Count) -> Count:
        """Number of frames of a waveform of ``samples`` samples (int or integer tensor)."""
        beyond = samples + self.padding - self.win_length
        beyond = beyond.clamp(min=0) if isinstance(beyond, Tensor) else max(beyond, 0)
        return 1 + beyond // self.hop_length

    def num_samples(self, frames: int) -> int:
        """Number of samples that ``frames`` whole windows cover."""
        return self.win_length + (frames - 1) * self.hop_length

    def frame_lens(self, lens: Tensor, samples: int) -> Tensor:
        """Convert relative lengths (batch,) of waveforms padded to ``samples`` to those of their frames, exactly."""
        return self.num_frames(num_samples(lens, samples)).to(lens.dtype) / self.num_frames(samples)

    def frame_times(self, samples: int) -> np.ndarray:
        """Middle of each frame of a waveform of ``samples`` samples, in samples."""
        return np.minimum(np.arange(self.num_frames(samples)) * self.hop_length + self.win_length / 2, samples)
