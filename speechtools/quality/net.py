"""Quality-Net (Fu et al., Interspeech 2018): the BLSTM (kind ``quality``)."""

from torch import Tensor, nn

from speechtools.audio.frames import frame_counts, length_mask
from speechtools.audio.recurrent import both_ways, set_forget_gate_bias
from speechtools.core.registry import plugin
from speechtools.quality.objective import frame_weight, quality_objective

__all__ = ["QualityBLSTM", "frame_weight", "quality_objective"]


@plugin("quality/blstm")
class QualityBLSTM(nn.Module):
    """BLSTM, an ELU layer, a linear node per frame, and the mean over the valid frames (section 3.1, figure 1).

    Padding, whatever it contains, changes no score.

    Parameters
    ----------
    input_size : int
        Size of a frame: 257 bins of a 512-point spectrum.
    hidden_size : int
        LSTM nodes per direction (the paper: 100).
    linear_size : int
        ELU nodes (the paper: 50).
    forget_gate_bias : float
        Initial bias of the forget gates (section 2.2). With -3 a frame score depends less on distant frames; 1 is the
        usual choice for long memory.
    dropout : float
        Dropout of the ELU nodes (the authors' released code: 0.3; the paper: none).
    initial_score : float
        Initial bias of the output node. A value near the mean of the labels makes training start with the differences.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> scores (batch,), frame scores (batch, time).
    Frame scores beyond an item's length are 0.

    Examples
    --------
    >>> import torch
    >>> scores, frame_scores = QualityBLSTM()(torch.rand(2, 62, 257), torch.tensor([1.0, 0.5]))
    >>> scores.shape, frame_scores.shape
    (torch.Size([2]), torch.Size([2, 62]))
    """

    def __init__(
        self,
        input_size: int = 257,
        hidden_size: int = 100,
        linear_size: int = 50,
        forget_gate_bias: float = -3.0,
        dropout: float = 0.0,
        initial_score: float = 2.5,
    ):
        super().__init__()
        self.lstm_forward = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.lstm_backward = nn.LSTM(input_size, hidden_size, batch_first=True)
        self.linear = nn.Linear(2 * hidden_size, linear_size)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(linear_size, 1)
        for lstm in (self.lstm_forward, self.lstm_backward):
            set_forget_gate_bias(lstm, forget_gate_bias)
        nn.init.constant_(self.output.bias, initial_score)

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Score a padded batch: scores (batch,), frame scores (batch, time)."""
        counts = frame_counts(feats, lens)
        hidden = both_ways(self.lstm_forward, self.lstm_backward, feats, counts)
        # (batch, time, 2 * hidden_size)
        frame_scores = self.output(self.dropout(nn.functional.elu(self.linear(hidden)))).squeeze(2)
        # (batch, time)
        frame_scores = frame_scores.masked_fill(~length_mask(counts, feats.shape[1]), 0.0)
        return frame_scores.sum(dim=1) / counts, frame_scores
