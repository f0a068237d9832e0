"""enhancer/my-net: an enhancer.

THE CONTRACT
"""

import torch
from torch import Tensor, nn

from speechtools import plugin
from speechtools.audio.frames import frame_counts, length_mask


@plugin("enhancer/my-net")
class MyNetEnhancer(nn.Module):
    """Log magnitudes relative to the level of the recording, an LSTM, a sigmoid.

    Parameters
    ----------
    input_size : int
        Frequency bins.
    hidden_size : int
        LSTM nodes.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> masks (batch, time, input_size) in [0, 1]
    """

    def __init__(self, input_size: int = 257, hidden_size: int = 128):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size, input_size)

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return masks (batch, time, input_size) for magnitudes of the same shape."""
        _, time, bins = feats.shape
        counts = frame_counts(feats, lens)
        valid = length_mask(counts, time).unsqueeze(2)
        # (batch, time, 1)
        feats = feats.masked_fill(~valid, 0.0)
        level = feats.sum(dim=(1, 2)) / (counts * bins)
        # (batch,): the mean over an item's own frames, or 1 for silence
        level = torch.where(level > 0, level, torch.ones_like(level)).view(-1, 1, 1)
        hidden, _ = self.lstm(torch.log(feats / level + 0.01))
        # (batch, time, hidden_size)
        return torch.sigmoid(self.output(hidden))
