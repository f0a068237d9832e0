"""Speech enhancement by masks (kind ``enhancer``): the BLSTM that the Quality-Net paper (section 3.1) enhances with.

A mask is the share of the noisy spectrum that is speech, for every frame and frequency.
"""

import torch
from torch import Tensor, nn

from speechtools.audio.frames import frame_counts, length_mask
from speechtools.audio.recurrent import both_ways
from speechtools.core.checks import check_number
from speechtools.core.registry import plugin
from speechtools.enhancement.objective import TARGETS, enhancement_objective, ideal_ratio_mask, phase_sensitive_mask

__all__ = ["TARGETS", "EnhancerBLSTM", "enhancement_objective", "ideal_ratio_mask", "phase_sensitive_mask"]


@plugin("enhancer/blstm")
class EnhancerBLSTM(nn.Module):
    """BLSTM layers and a sigmoid: a mask for every frame, from the magnitudes of the noisy spectrum.

    The input of the network is the logarithm of the magnitudes, minus its mean over the utterance in every bin. It
    hardly depends on the level of a recording or on the colour of a steady noise, so the network generalises to noises
    outside its training set.

    Parameters
    ----------
    input_size : int
        Frequency bins: 257 of a 512-point spectrum.
    hidden_size : int
        LSTM nodes per direction.
    num_layers : int
        BLSTM layers.
    floor : float
        Added to the magnitudes before the logarithm, relative to their root mean square in the utterance: 0.01 is
        40 dB below it.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> masks (batch, time, input_size) in [0, 1]

    Examples
    --------
    >>> EnhancerBLSTM(hidden_size=8)(torch.rand(2, 62, 257), torch.tensor([1.0, 0.5])).shape
    torch.Size([2, 62, 257])
    """

    def __init__(self, input_size: int = 257, hidden_size: int = 128, num_layers: int = 2, floor: float = 0.01):
        super().__init__()
        for name, size in {"input_size": input_size, "hidden_size": hidden_size, "num_layers": num_layers}.items():
            check_number(name, size, 1, whole=True)
        check_number("floor", floor, 0, above=True)
        self.floor = floor
        sizes = [input_size] + [2 * hidden_size] * (num_layers - 1)
        self.lstms_forward = nn.ModuleList(nn.LSTM(size, hidden_size, batch_first=True) for size in sizes)
        self.lstms_backward = nn.ModuleList(nn.LSTM(size, hidden_size, batch_first=True) for size in sizes)
        self.output = nn.Linear(2 * hidden_size, input_size)

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """Compute the masks of a padded batch."""
        _, time, bins = feats.shape
        counts = frame_counts(feats, lens)
        valid = length_mask(counts, time).unsqueeze(2)
        # (batch, time, 1)
        feats = feats.masked_fill(~valid, 0.0)
        power = feats.square().sum(dim=(1, 2), keepdim=True) / (counts.view(-1, 1, 1) * bins)
        # (batch, 1, 1); 0 for a silent utterance, which stays 0
        level = torch.where(power > 0, power, 1.0).sqrt()
        logs = torch.log(feats / level + self.floor) * valid
        hidden = logs - logs.sum(dim=1, keepdim=True) / counts.view(-1, 1, 1)
        # (batch, time, input_size)
        for forward, backward in zip(self.lstms_forward, self.lstms_backward, strict=True):
            hidden = both_ways(forward, backward, hidden, counts)
            # (batch, time, 2 * hidden_size)
        return torch.sigmoid(self.output(hidden)) * valid
