"""encoder/my-net: a speaker encoder.

THE CONTRACT
"""

from torch import Tensor, nn

from speechtools import plugin
from speechtools.audio.frames import frame_counts, length_mask


@plugin("encoder/my-net")
class MyNetEncoder(nn.Module):
    """A GRU, the mean of its frames, a linear layer, L2 norm.

    Parameters
    ----------
    input_size : int
        Size of a frame of features.
    hidden_size : int
        GRU nodes.
    embedding_size : int
        Size of the d-vector.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> (batch, embedding_size), each row of length 1
    """

    def __init__(self, input_size: int = 40, hidden_size: int = 128, embedding_size: int = 64):
        super().__init__()
        self.embedding_size = embedding_size
        self.gru = nn.GRU(input_size, hidden_size, batch_first=True)
        self.linear = nn.Linear(hidden_size, embedding_size)

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return unit d-vectors (batch, embedding_size)."""
        time = feats.shape[1]
        counts = frame_counts(feats, lens)
        # (batch,)
        hidden, _ = self.gru(feats)
        # (batch, time, hidden_size)
        hidden = hidden * length_mask(counts, time).unsqueeze(2)
        mean = hidden.sum(dim=1) / counts.unsqueeze(1)
        # (batch, hidden_size)
        return nn.functional.normalize(self.linear(mean), dim=1)
