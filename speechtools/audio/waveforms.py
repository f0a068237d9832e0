"""Batches of waveforms as tensors: checked, padded and without offset."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from speechtools.audio.frames import clear_padding, frame_counts, length_mask
from speechtools.core.errors import AudioError


def check_waveforms(wavs: Tensor | np.ndarray) -> Tensor:
    """Return waveforms (batch, samples) or (samples,) as float32 (batch, samples). Gradients flow through.

    Raises
    ------
    AudioError
        The waveforms have another shape or type, are empty, or contain NaN or infinite samples.

    Examples
    --------
    >>> check_waveforms(torch.zeros(100)).shape
    torch.Size([1, 100])
    """
    wavs = torch.as_tensor(wavs)
    if wavs.dim() not in (1, 2) or 0 in wavs.shape or not wavs.is_floating_point():
        expected = "floating-point mono waveforms (batch, samples) or (samples,) with at least one sample"
        raise AudioError(f"Expected {expected}, got shape {tuple(wavs.shape)} of {wavs.dtype}.")
    if wavs.dim() == 2 and wavs.shape[0] > wavs.shape[1]:
        reason = "it has more waveforms than samples. Transpose it"
        raise AudioError(f"Expected waveforms (batch, samples), got shape {tuple(wavs.shape)}: {reason}.")
    if not torch.isfinite(wavs).all():
        raise AudioError("The waveforms contain NaN or infinite samples.")
    return torch.atleast_2d(wavs).float()


def check_lens(lens: Tensor | Sequence[float] | None, wavs: Tensor) -> Tensor:
    """Return relative lengths (batch,) of waveforms (batch, samples) on their device; None means that all are full.

    Raises
    ------
    AudioError
        There is not one length per waveform, or a length is not in (0, 1].

    Examples
    --------
    >>> check_lens(None, torch.zeros(2, 100))
    tensor([1., 1.])
    """
    lens = torch.ones(len(wavs)) if lens is None else torch.as_tensor(lens)
    if lens.shape != (len(wavs),) or not ((lens > 0) & (lens <= 1)).all():
        raise AudioError(f"Expected {len(wavs)} relative lengths in (0, 1], got {lens.tolist()}.")
    return lens.to(wavs.device)


def pad(waveforms: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Pad waveforms on the right: (batch, samples), and their relative lengths (batch,).

    Examples
    --------
    >>> wavs, lens = pad([np.ones(4), np.ones(2)])
    >>> wavs.shape, lens.tolist()
    (torch.Size([2, 4]), [1.0, 0.5])
    """
    tensors = [torch.from_numpy(np.asarray(samples, dtype=np.float32)) for samples in waveforms]
    wavs = torch.nn.utils.rnn.pad_sequence(tensors, batch_first=True)
    # float64, since a relative length in float32 can miss a sample of a long recording
    return wavs, torch.tensor([len(samples) for samples in waveforms], dtype=torch.float64) / wavs.shape[1]


def remove_offset(wavs: Tensor, lens: Tensor | None = None) -> Tensor:
    """Subtract from each waveform of (batch, samples) its DC offset, as :class:`OffsetMean` does. Padding becomes 0.

    >>> remove_offset(torch.tensor([[1.0, 2.0, 3.0], [5.0, 7.0, 9.0]]), torch.tensor([1.0, 2 / 3]))
    tensor([[-1.,  0.,  1.],
            [-1.,  1.,  0.]])
    """
    inside = length_mask(frame_counts(wavs, lens), wavs.shape[1])
    varies = nn.functional.pad(wavs[:, 1:] != wavs[:, :-1], (1, 0))
    if wavs.shape[1] > 1:
        varies[:, 0] = varies[:, 1]
    varies = varies & inside
    weights = torch.where(varies.any(dim=1, keepdim=True), varies, inside)
    # (batch, samples)
    means = torch.where(weights, wavs, 0.0).sum(dim=1) / weights.sum(dim=1)
    return clear_padding(wavs - means.unsqueeze(1), lens)
