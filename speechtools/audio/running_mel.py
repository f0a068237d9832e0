"""Mel energies whose level depends on what came before alone: ``features/running-mel``, for streams."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from speechtools.audio.features import LevelledLogMel
from speechtools.audio.fourier import cumulative_max, cut_frames, rfft
from speechtools.core.checks import check_number
from speechtools.core.registry import plugin


class LevelState(NamedTuple):
    """What the running level keeps from one block of a stream to the next.

    Attributes
    ----------
    log_power : Tensor
        (batch,): logarithm of the running power after the last frame.
    recent : Tensor
        (batch, 2): powers of the last two frames.
    """

    log_power: Tensor
    recent: Tensor


@plugin("features/running-mel")
class RunningLogMel(LevelledLogMel):
    """``features/mel`` relative to a running level instead of that of the whole recording.

    With the power e_k of frame k, averaged with the two frames before, the level of frame t is that of the loudest
    frame so far, which falls with time::

        L_t² = max(L_0², max_{k <= t} e_k · 10^(-fall_db · (t - k) · hop / 10)) / 0.16

    Parameters
    ----------
    sample_rate, n_mels, n_fft, hop_length, window, floor, f_min, parts
        As :class:`~speechtools.audio.features.LevelledLogMel` has them.
    fall_db : float
        How fast the level falls, in dB per second.
    least_db : float
        Least level, in dB below a full scale of 1, so that a quiet background before the first word stays quiet.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> (batch, time, n_mels); with parts, (batch, time, n_mels + parts + 1).

    Examples
    --------
    >>> RunningLogMel(parts=8)(torch.randn(2, 16000)).shape
    torch.Size([2, 62, 89])
    """

    #: A training can start from a model with features of this class, too.
    starts_from = LevelledLogMel
    #: Power of the loudest frames of speech at the level that ``features/mel`` calls loud.
    TARGET = 0.16

    def __init__(
        self,
        sample_rate: int = 16000,
        n_mels: int = 80,
        n_fft: int = 512,
        hop_length: int = 256,
        window: str = "hamming",
        floor: float = 1e-6,
        f_min: float = 20.0,
        parts: int = 0,
        fall_db: float = 1.0,
        least_db: float = 50.0,
    ):
        super().__init__(sample_rate, n_mels, n_fft, hop_length, window, "none", floor, f_min, parts)
        check_number("fall_db", fall_db, 0)
        check_number("least_db", least_db, 0, 120)
        self.fall_db, self.least_db = fall_db, least_db
        #: By which the logarithm of the level falls in a frame.
        self.fall = fall_db * hop_length / sample_rate * math.log(10) / 10

    def start(self, batch: int = 1) -> LevelState:
        """The state at the beginning of a stream."""
        log_power = self.window.new_full((batch,), -self.least_db * math.log(10) / 10)
        return LevelState(log_power, self.window.new_zeros(batch, 2))

    def of_waveform(self, wavs: Tensor) -> Tensor:
        """Features (batch, time, size) of waveforms (batch, samples) that fill whole windows."""
        return self.stream(wavs, self.start(wavs.shape[0]))[0]

    def stream(self, wavs: Tensor, state: LevelState) -> tuple[Tensor, LevelState]:
        """Features (batch, time, size) of the next windows of a stream, and the state after them."""
        spectrum = rfft(cut_frames(wavs, self.n_fft, self.hop_length) * self.window, self.n_fft)
        power = spectrum.real.square() + spectrum.imag.square()
        # (batch, time, bins)
        log_level, state = self._running_level(power, state)
        # (batch, time, 1). With x the power and L the level, log(x / L² + floor) is log(x + floor · L²) - log L².
        floor = self.floor * log_level.exp()
        parts = [torch.log(power @ self.filters + floor) - log_level]
        if self.parts:
            mean, largest, differences = self.part_powers(wavs, power.shape[1])
            parts.append(torch.log(differences + 0.01 * floor) - log_level)
            parts.append(torch.log(largest + floor) - torch.log(mean + floor))
        return torch.cat(parts, dim=2) / self.SCALE, state

    def _running_level(self, power: Tensor, state: LevelState) -> tuple[Tensor, LevelState]:
        """The logarithm of the squared level (batch, time, 1) of power spectra (batch, time, bins)."""
        # Parseval: the sum over all n_fft bins, of which the two at the ends occur once.
        frames = (2 * power.sum(dim=2) - power[..., 0] - power[..., -1]) / (self.n_fft * self.window.square().sum())
        frames = torch.cat([state.recent.to(frames), frames], dim=1)
        # (batch, 2 + time)
        smooth = nn.functional.avg_pool1d(frames.unsqueeze(1), 3, 1).squeeze(1)
        falls = self.fall * torch.arange(1, smooth.shape[1] + 1, device=smooth.device)
        # (time,). Relative to a level that falls all the time, the loudest so far is a cumulative maximum.
        risen = torch.maximum((smooth + 1e-20).log() + falls, state.log_power.unsqueeze(1))
        log_power = (cumulative_max(risen) - falls).clamp(min=-self.least_db * math.log(10) / 10)
        # (batch, time)
        return log_power.unsqueeze(2) - math.log(self.TARGET), LevelState(log_power[:, -1], frames[:, -2:])
