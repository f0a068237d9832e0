"""Frames, spectra and running maxima of waveforms, in a form that ONNX can express where a model is exported to it.

The exporter of torch has no complex numbers, and the operators of ONNX for Fourier transforms are slow. In an export,
spectra are products with matrices of cosines and sines instead. Half of each product is saved by one step of
decimation in frequency: with y[n] = x[n] + x[n + N/2] and z[n] = x[n] - x[n + N/2], the even bins of a transform of N
points depend on y alone, and the odd ones on z.
"""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

#: A waveform is cut into frames from so many blocks at most; otherwise by a convolution.
_MOST_BLOCKS = 64
#: Logarithm to base 2 of the frames that a cumulative maximum reaches back in an export: more than a day.
_LOG_MOST_FRAMES = 23


class Parts(NamedTuple):
    """Real and imaginary part of a spectrum, in the place of a complex tensor."""

    real: Tensor
    imag: Tensor
    requires_grad: bool = False


def is_exporting() -> bool:
    """Whether a model is being exported to ONNX, where branches that depend on values are not possible."""
    return torch.onnx.is_in_onnx_export()


def not_negative(number: Any) -> Any:
    """The larger of a number and 0; while a model is exported, sizes are tensors."""
    return number.clamp(min=0) if isinstance(number, Tensor) else max(number, 0)


def cut_frames(wavs: Tensor, length: int, hop: int) -> Tensor:
    """Cut waveforms (batch, samples) into whole frames (batch, time, length), one every ``hop`` samples.

    >>> cut_frames(torch.arange(5.0)[None], 3, 1).tolist()
    [[[0.0, 1.0, 2.0], [1.0, 2.0, 3.0], [2.0, 3.0, 4.0]]]
    """
    if not is_exporting():
        return wavs.unfold(1, length, hop)
    size = math.gcd(length, hop)
    if length // size > _MOST_BLOCKS:
        identity = torch.eye(length).unsqueeze(1)
        return nn.functional.conv1d(wavs.unsqueeze(1), identity, stride=hop).transpose(1, 2)
    time = 1 + (wavs.shape[1] - length) // hop
    blocks = wavs[:, : wavs.shape[1] // size * size].reshape(wavs.shape[0], -1, size)
    step = hop // size
    parts = [blocks[:, first : first + (time - 1) * step + 1 : step] for first in range(length // size)]
    return torch.cat(parts, dim=2)


def cut_blocks(wavs: Tensor, size: int) -> Tensor:
    """Cut waveforms (batch, samples) into blocks (batch, blocks, size), the last one filled with zeros."""
    # Not unflatten: the exporter takes its sizes for constants.
    return nn.functional.pad(wavs, (0, -wavs.shape[1] % size)).reshape(wavs.shape[0], -1, size)


def rfft(frames: Tensor, n_fft: int) -> Tensor | Parts:
    """Fourier transform of frames (…, n_fft or less), which are padded with zeros: (…, n_fft // 2 + 1)."""
    if not is_exporting():
        return torch.fft.rfft(frames, n_fft)
    frames = nn.functional.pad(frames, (0, n_fft - frames.shape[-1]))
    if n_fft % 4:
        cosines, sines = _waves(torch.arange(n_fft), torch.arange(n_fft // 2 + 1), n_fft)
        return Parts(frames @ cosines, -(frames @ sines))
    even, odd = _halves(frames, n_fft)
    (even_cosines, even_sines), (odd_cosines, odd_sines) = _half_waves(n_fft)
    return Parts(
        _interleaved(even @ even_cosines, odd @ odd_cosines), -_interleaved(even @ even_sines, odd @ odd_sines)
    )


def irfft(spectrum: Tensor | Parts, n_fft: int) -> Tensor:
    """Inverse of :func:`rfft`: frames (…, n_fft)."""
    if isinstance(spectrum, Tensor):
        return torch.fft.irfft(spectrum, n_fft)
    cosines, sines = _waves(torch.arange(n_fft // 2 + 1), torch.arange(n_fft), n_fft)
    weights = torch.full((n_fft // 2 + 1, 1), 2.0 / n_fft)
    weights[0] = 1.0 / n_fft
    if n_fft % 2 == 0:
        weights[-1] = 1.0 / n_fft
    return spectrum.real @ (weights * cosines) - spectrum.imag @ (weights * sines)


def magnitude(spectrum: Tensor | Parts) -> Tensor:
    """Magnitudes (…, bins) of a spectrum."""
    if isinstance(spectrum, Tensor):
        return spectrum.abs()
    return (spectrum.real.square() + spectrum.imag.square()).sqrt()


def scaled(spectrum: Tensor | Parts, gains: Tensor) -> Tensor | Parts:
    """A spectrum times real gains (…, bins)."""
    if isinstance(spectrum, Tensor):
        return gains * spectrum
    return Parts(gains * spectrum.real, gains * spectrum.imag)


def filter_energies(wavs: Tensor, window: Tensor, hop: int, n_fft: int, filters: Tensor) -> Tensor:
    """Energies (batch, time, filters) of the frames of waveforms (batch, samples) in filters (bins, filters).

    The frames are as long as the ``window``, which is at most ``n_fft``.
    """
    if not is_exporting() or n_fft % 4:
        spectrum = rfft(cut_frames(wavs, len(window), hop) * window, n_fft)
        # (batch, time, bins)
        return (spectrum.real.square() + spectrum.imag.square()) @ filters
    if len(window) == n_fft == 2 * hop:
        blocks = wavs[:, : wavs.shape[1] // hop * hop].reshape(wavs.shape[0], -1, hop)
        first, second = (blocks * window[:hop])[:, :-1], (blocks * window[hop:])[:, 1:]
        halves = first + second, first - second
    else:
        frames = cut_frames(wavs, len(window), hop) * window
        halves = _halves(nn.functional.pad(frames, (0, n_fft - len(window))), n_fft)
    energies = []
    for half, waves, rows in zip(halves, _half_waves(n_fft), (filters[::2], filters[1::2]), strict=True):
        energies.append((half @ torch.cat(waves, dim=1)).square() @ torch.cat([rows, rows]))
    return energies[0] + energies[1]


def cumulative_max(values: Tensor) -> Tensor:
    """The largest of the values so far, along the time of (batch, time).

    >>> cumulative_max(torch.tensor([[1.0, 3.0, 2.0, 4.0]])).tolist()
    [[1.0, 3.0, 3.0, 4.0]]
    """
    if not is_exporting():
        return values.cummax(dim=1).values
    places = torch.arange(values.shape[1])
    for power in range(_LOG_MOST_FRAMES):  # each step doubles how far back the maximum reaches
        values = torch.maximum(values, values[:, (places - 2**power).clamp(min=0)])
    return values


def overlap_add(frames: Tensor, hop: int) -> Tensor:
    """Add frames (batch, time, length) that begin every ``hop`` samples, which divide their length: (batch, samples).

    >>> overlap_add(torch.ones(1, 3, 4), 2).tolist()
    [[1.0, 1.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0]]
    """
    batch, time, length = frames.shape
    if not is_exporting():
        samples = length + (time - 1) * hop
        added = nn.functional.fold(frames.transpose(1, 2), (1, samples), (1, length), stride=(1, hop))
        return added.reshape(batch, samples)
    count = length // hop
    parts = [
        nn.functional.pad(frames[:, :, number * hop : (number + 1) * hop], (0, 0, number, count - 1 - number))
        for number in range(count)
    ]
    return sum(parts[1:], parts[0]).reshape(batch, -1)


def _waves(rows: Tensor, columns: Tensor, n_fft: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines (rows, columns) of 2π · row · column / n_fft."""
    turns = torch.outer(rows.long(), columns.long()) % n_fft
    angles = 2 * math.pi * turns.double() / n_fft
    return angles.cos().float(), angles.sin().float()


def _half_waves(n_fft: int) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Cosines and sines of the even bins, and of the odd ones, (n_fft / 2, bins)."""
    samples = torch.arange(n_fft // 2)
    even, odd = (_waves(samples, torch.arange(first, n_fft // 2 + 1, 2), n_fft) for first in (0, 1))
    return even, odd


def _halves(frames: Tensor, n_fft: int) -> tuple[Tensor, Tensor]:
    """Sum and difference (…, n_fft / 2) of both halves of frames (…, n_fft)."""
    first, second = frames[..., : n_fft // 2], frames[..., n_fft // 2 :]
    return first + second, first - second


def _interleaved(even: Tensor, odd: Tensor) -> Tensor:
    """Put even bins (…, n + 1) and odd ones (…, n) in their order: (…, 2 n + 1)."""
    pairs = torch.stack([even[..., :-1], odd], dim=-1).flatten(-2)
    return torch.cat([pairs, even[..., -1:]], dim=-1)
