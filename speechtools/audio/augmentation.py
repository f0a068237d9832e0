"""Augmentation of batches in training: other noises, other microphones. Draws are torch's own."""

import numpy as np
import torch
from torch import Tensor

from speechtools.audio.frames import frame_counts
from speechtools.core.errors import ConfigError


def other_noise(noisy: Tensor, clean: Tensor, lens: Tensor, max_coefficient: float | None = 0.375) -> Tensor:
    """Shift and colour the noise of noisy speech at the same SNR, so that a few noises become many.

    The noise begins at a drawn offset, and passes a filter of two zeros and two poles with coefficients drawn from
    ``[-max_coefficient, max_coefficient]`` for each item, as in RNNoise (Valin: MMSP 2018, which has 3/8).

    Parameters
    ----------
    noisy, clean : Tensor
        (batch, samples): speech with and without noise, with relative lengths ``lens`` (batch,).
    max_coefficient : float or None
        0 keeps the colour and draws only the offset; None keeps the noise.

    Returns
    -------
    Tensor
        (batch, samples)

    Raises
    ------
    ConfigError
        The filter could be unstable.

    Examples
    --------
    >>> clean = torch.randn(2, 16000)
    >>> other_noise(clean + 0.1 * torch.randn(2, 16000), clean, torch.ones(2)).shape
    torch.Size([2, 16000])
    """
    if max_coefficient is None:
        return noisy
    if not 0 <= max_coefficient < 0.5:
        raise ConfigError(f"max_coefficient={max_coefficient} must be in [0, 0.5): beyond, a filter may be unstable.")
    batch, samples = noisy.shape
    counts = frame_counts(noisy, lens).unsqueeze(1)
    # (batch, 1)
    time = torch.arange(samples, device=noisy.device)
    begins = (torch.rand(batch, 1, device=noisy.device) * counts).long()
    noise = (noisy - clean).gather(1, torch.where(time < counts, (time + begins) % counts, time))
    # (batch, samples)
    coefficients = (2 * torch.rand(2, batch, 2, device=noisy.device) - 1) * max_coefficient
    taps = torch.cat([torch.ones(2, batch, 1, device=noisy.device), coefficients], dim=2)
    # (zeros and poles, batch, 3)
    above, below = torch.fft.rfft(taps, samples)
    coloured = torch.fft.irfft(torch.fft.rfft(noise) * above / below, samples) * (time < counts)
    power, new_power = (signal.square().sum(dim=1, keepdim=True) for signal in (noise, coloured))
    return clean + coloured * (power / new_power.clamp(min=1e-20)).sqrt()


def equalize(
    magnitudes: Tensor, max_db: float, level_db: float = 0.0, num_knots: int = 8, log1p: bool = False
) -> Tensor:
    """Change the frequency response of spectrograms smoothly, one draw per item, as another microphone would.

    A level is drawn from ``[-level_db, level_db]`` dB, and gains at ``num_knots`` frequencies, denser at low ones, from
    ``[-max_db, max_db]``, linear in dB between them. The SNR in every bin stays the same. After FilterAugment (Nam,
    Kim, Park: ICASSP 2022). With ``log1p``, input and output are log(1 + magnitude).

    Shape
    -----
    magnitudes (batch, time, bins) -> (batch, time, bins)

    Examples
    --------
    >>> equalize(torch.ones(2, 5, 257), max_db=4.0).shape
    torch.Size([2, 5, 257])
    """
    batch, _, bins = magnitudes.shape
    knots = (2 * torch.rand(batch, num_knots, device=magnitudes.device) - 1) * max_db
    level = (2 * torch.rand(batch, 1, device=magnitudes.device) - 1) * level_db
    place = torch.linspace(0, 1, bins, device=magnitudes.device).sqrt() * (num_knots - 1)
    # (bins,)
    below = place.long().clamp(max=num_knots - 2)
    gains = level + torch.lerp(knots[:, below], knots[:, below + 1], place - below)
    # (batch, bins)
    equalized = (magnitudes.expm1() if log1p else magnitudes) * (10 ** (gains / 20)).unsqueeze(1)
    return equalized.log1p() if log1p else equalized


def add_silence(
    samples: np.ndarray, rng: np.random.Generator, sample_rate: int, max_seconds: float = 2.0
) -> tuple[np.ndarray, int]:
    """Put silence before and behind samples (samples,): digital silence, dither of one step of 16 bits, or faint noise.

    Each of both lasts up to ``max_seconds``.

    Returns
    -------
    np.ndarray
        The longer samples.
    int
        How many were added in front.

    Examples
    --------
    >>> longer, before = add_silence(np.ones(100, dtype=np.float32), np.random.default_rng(0), 16000)
    >>> bool(longer[before : before + 100].all())
    True
    """
    before, behind = (int(rng.uniform(0, max_seconds) * sample_rate) for _ in range(2))
    level = rng.choice([0.0, 1 / 32768, 10 ** rng.uniform(-4.5, -3.2)])
    silence = (level * rng.integers(-1, 2, before + behind)).astype(samples.dtype)
    return np.concatenate([silence[:before], samples, silence[before:]]), before
