"""vad/my-net: speech detection.

THE CONTRACT
"""

import torch
from torch import Tensor, nn

from speechtools import plugin
from speechtools.audio.frames import clear_padding


@plugin("vad/my-net")
class MyNetVAD(nn.Module):
    """A frame is speech if its level is within ``range_db`` of the loudest frame's.

    Parameters
    ----------
    sample_rate : int
        In Hz.
    hop_ms : float
        Length of a frame in milliseconds.
    range_db : float
        How far below the loudest frame speech may lie.

    Shape
    -----
    wavs (batch, samples), lens (batch,) -> booleans (batch, time), time = ceil(samples / hop_length)
    """

    def __init__(self, sample_rate: int = 16000, hop_ms: float = 10.0, range_db: float = 30.0):
        super().__init__()
        self.hop_length = round(hop_ms * sample_rate / 1000)
        self.share = 10 ** (-range_db / 10)

    @torch.no_grad()
    def forward(self, wavs: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return whether each frame is speech: booleans (batch, time)."""
        samples = wavs.shape[1]
        wavs = clear_padding(wavs, lens)
        time = -(-samples // self.hop_length)
        padded = nn.functional.pad(wavs, (0, time * self.hop_length - samples))
        energy = padded.view(len(wavs), time, self.hop_length).square().sum(dim=2)
        # (batch, time)
        loudest = energy.amax(dim=1, keepdim=True)
        return (energy >= self.share * loudest) & (energy > 0)
