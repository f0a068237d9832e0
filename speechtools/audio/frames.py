"""Lengths of padded batches, in samples and in frames.

A batch is padded on the right. ``lens`` are SpeechBrain's relative lengths in (0, 1]; counts are whole numbers.
"""

import torch
from torch import Tensor, nn

from speechtools.audio.framing import FrameGrid


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
        return torch.full((batch.shape[0],), batch.shape[1], device=batch.device)
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


def moved_to_front(kept: Tensor) -> tuple[Tensor, Tensor]:
    """Places (batch, time) of frames after those that are ``kept`` (batch, time) have moved to the front; and back.

    Both orders stay: that of the frames that are kept, and that of the others. The second result says which frame is at
    each place.

    >>> places, order = moved_to_front(torch.tensor([[False, True, False, True]]))
    >>> places.tolist(), order.tolist()
    ([[2, 0, 3, 1]], [[1, 3, 0, 2]])
    """
    before, others = kept.long().cumsum(dim=1), (~kept).long().cumsum(dim=1)
    places = torch.where(kept, before, before[:, -1:] + others) - 1
    return places, places.argsort(dim=1)


class Framing(FrameGrid, nn.Module):
    """Base class of modules that cut waveforms into frames."""

    def frame_lens(self, lens: Tensor, samples: int) -> Tensor:
        """Convert relative lengths (batch,) of waveforms padded to ``samples`` to those of their frames, exactly."""
        return self.num_frames(num_samples(lens, samples)).to(lens.dtype) / self.num_frames(samples)
