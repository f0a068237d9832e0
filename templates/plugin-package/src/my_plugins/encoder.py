"""encoder/xvector: dilated convolutions and statistics pooling (Snyder et al., ICASSP 2018)."""

import torch
from torch import Tensor, nn

from speechtools import plugin
from speechtools.audio.frames import frame_counts, length_mask


@plugin("encoder/xvector")
class XVector(nn.Module):
    """Convolutions, mean and standard deviation over the valid frames, a linear layer, L2 norm.

    A small x-vector network: three convolutions of 5, 3 and 3 frames with dilations 1, 2 and 3 and ReLU. The network of
    the paper is wider and deeper, and its embeddings are not normalised.

    Parameters
    ----------
    input_size : int
        Size of a frame of features.
    hidden_size : int
        Channels of the convolutions.
    embedding_size : int
        Size of the d-vector.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> (batch, embedding_size), each row of length 1
    """

    def __init__(self, input_size: int = 40, hidden_size: int = 128, embedding_size: int = 64):
        super().__init__()
        self.embedding_size = embedding_size
        self.convolutions = nn.ModuleList(
            nn.Conv1d(size, hidden_size, width, dilation=dilation, padding="same")
            for size, width, dilation in ((input_size, 5, 1), (hidden_size, 3, 2), (hidden_size, 3, 3))
        )
        self.linear = nn.Linear(2 * hidden_size, embedding_size)

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return unit d-vectors (batch, embedding_size)."""
        time = feats.shape[1]
        counts = frame_counts(feats, lens)
        valid = length_mask(counts, time).unsqueeze(1)
        # (batch, 1, time)
        hidden = feats.transpose(1, 2)
        for convolution in self.convolutions:
            # Zeros beyond an item's end, layer by layer: as if it ended there.
            hidden = convolution(hidden.masked_fill(~valid, 0.0)).relu()
        # (batch, hidden_size, time)
        counts = counts.unsqueeze(1)
        mean = (hidden * valid).sum(dim=2) / counts
        variance = ((hidden - mean.unsqueeze(2)).square() * valid).sum(dim=2) / counts
        # (batch, hidden_size)
        pooled = torch.cat([mean, (variance + 1e-6).sqrt()], dim=1)
        return nn.functional.normalize(self.linear(pooled), dim=1)
