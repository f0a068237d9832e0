"""quality/my-net: a quality net.

THE CONTRACT
"""

from torch import Tensor, nn

from speechtools import plugin
from speechtools.audio.frames import frame_counts, length_mask


@plugin("quality/my-net")
class MyNetQuality(nn.Module):
    """Two layers applied to each frame, and the mean over the valid frames.

    Parameters
    ----------
    input_size : int
        Size of a frame: 257 bins of a 512-point spectrum.
    hidden_size : int
        ELU nodes.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> scores (batch,), frame scores (batch, time)
    """

    def __init__(self, input_size: int = 257, hidden_size: int = 100):
        super().__init__()
        self.hidden = nn.Linear(input_size, hidden_size)
        self.output = nn.Linear(hidden_size, 1)

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return scores (batch,) and frame scores (batch, time)."""
        time = feats.shape[1]
        counts = frame_counts(feats, lens)
        # (batch,)
        frame_scores = self.output(nn.functional.elu(self.hidden(feats))).squeeze(2)
        # (batch, time)
        frame_scores = frame_scores.masked_fill(~length_mask(counts, time), 0.0)
        return frame_scores.sum(dim=1) / counts, frame_scores
