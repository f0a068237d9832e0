"""Quality-Net (Fu et al., Interspeech 2018): the BLSTM head (kind ``quality``) and its objective.

``q`` is a predicted score, ``target`` the true one (PESQ). The paper writes the true score with a hat and the
prediction without; names here say which is which.
"""

from typing import Literal

import torch
from torch import Tensor, nn

from speechtools.audio.features import length_mask, num_samples
from speechtools.audio.recurrent import both_ways, set_forget_gate_bias
from speechtools.core.errors import ConfigError
from speechtools.core.registry import plugin


@plugin("quality/blstm")
class QualityBLSTM(nn.Module):
    """BLSTM, an ELU layer, a linear node a frame, and their mean over the valid frames (section 3.1, figure 1).

    Padding, whatever it holds, changes no score.

    Parameters
    ----------
    input_size : int
        Size of a frame: 257 bins of a 512-point spectrum.
    hidden_size : int
        LSTM nodes a direction (the paper: 100).
    linear_size : int
        ELU nodes (the paper: 50).
    forget_gate_bias : float
        Initial bias of the forget gates (section 2.2): -3 makes a frame's score depend less on distant frames, 1 is
        the usual choice for long memory. The recurrence then starts out forgetting and learns what to keep.
    dropout : float
        Share of the ELU nodes left out in training (the authors' released code: 0.3; the paper: none).
    initial_score : float
        Initial bias of the output node: near the mean of the labels, so that training starts with the differences.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> scores (batch,), frame scores (batch, time).
    Frame scores beyond an item's length are 0.

    Example
    -------
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
        batch, time, _ = feats.shape
        if lens is None:
            counts = torch.full((batch,), time, device=feats.device)
        else:
            counts = num_samples(lens, time)
        # (batch,)
        hidden = both_ways(self.lstm_forward, self.lstm_backward, feats, counts)
        # (batch, time, 2 * hidden_size)
        frame_scores = self.output(self.dropout(nn.functional.elu(self.linear(hidden)))).squeeze(2)
        # (batch, time)
        frame_scores = frame_scores.masked_fill(~length_mask(counts, time), 0.0)
        return frame_scores.sum(dim=1) / counts, frame_scores


def frame_weight(target: Tensor, q_max: float) -> Tensor:
    """Equation 2: ``10 ** (target - q_max)``, 1 for a perfect utterance and ten times less a point below.

    >>> frame_weight(torch.tensor([4.5, 3.5]), 4.5).tolist()
    [1.0, 0.10000000149011612]
    """
    return 10.0 ** (target - q_max)


def quality_objective(
    scores: Tensor,
    frame_scores: Tensor,
    target: Tensor,
    lens: Tensor,
    q_max: float = 4.5,
    alpha: float = 1.0,
    frame_reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """Equation 1: squared error of the utterance's score, plus the conditional constraint on its frames' scores.

    Parameters
    ----------
    scores, target : Tensor
        Predicted and true utterance scores (batch,).
    frame_scores : Tensor
        Predicted frame scores (batch, time), with relative lengths ``lens`` (batch,).
    q_max : float
        The best score of the scale: 4.5 for raw PESQ.
    alpha : float
        Factor on equation 2. 1 is the paper's objective, 0 its "without constraint" (section 3.2).
    frame_reduction : str
        ``"sum"`` over the frames, as equation 1 is printed, or ``"mean"``, as the authors' released code has it: then
        the constraint weighs the same for long and short utterances.

    Returns
    -------
    Tensor
        The mean over the batch, a scalar.

    Example
    -------
    >>> true, frames = torch.tensor([4.5]), torch.full((1, 10), 4.0)
    >>> quality_objective(true, frames, true, torch.ones(1), alpha=0.0).item()
    0.0
    >>> quality_objective(true, frames, true, torch.ones(1)).item()  # ten frames, each half a point away
    2.5
    """
    if frame_reduction not in ("sum", "mean"):
        raise ConfigError(f"frame_reduction={frame_reduction!r} is unknown: it is 'sum' (equation 1) or 'mean'.")
    loss = (scores - target) ** 2
    # (batch,)
    if alpha:
        time = frame_scores.shape[1]
        counts = num_samples(lens, time)
        errors = (frame_scores - target.unsqueeze(1)) ** 2 * length_mask(counts, time)
        # (batch, time)
        frames = errors.sum(dim=1)
        if frame_reduction == "mean":
            frames = frames / counts
        loss = loss + alpha * frame_weight(target, q_max) * frames
    return loss.mean()
