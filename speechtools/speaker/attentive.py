"""An LSTM over stacked frames whose d-vector is pooled over time: fast, since the LSTM takes fewer and larger steps."""

import math

import torch
from torch import Tensor, nn

from speechtools.audio.frames import frame_counts, length_mask
from speechtools.audio.recurrent import set_forget_gate_bias
from speechtools.core.errors import ConfigError
from speechtools.core.registry import plugin
from speechtools.speaker.encoders import last_frames

POOLINGS = ("attention", "mean", "last")


@plugin("encoder/attentive-lstm")
class AttentiveLSTM(nn.Module):
    """Stacked frames, LSTM layers, pooling over time, a linear layer, L2 norm.

    ``stack`` neighbouring frames become one step of the LSTM, so that it takes fewer steps, and can be larger in the
    same time (Sak et al.: Fast and accurate recurrent neural network acoustic models, Interspeech 2015). With the
    attention of Chowdhury et al. (Attention-based models for text-dependent speaker verification, ICASSP 2018,
    sections 3.1 and 3.2: a shared non-linear score of each step), steps that tell voices apart count more.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
        As in ``torch.nn.LSTM``; ``input_size`` is that of a frame.
    embedding_size : int
        Size of the d-vector.
    stack : int
        Frames of a step. The last step of an utterance is filled with zeros.
    pooling : str
        ``attention``, ``mean`` or ``last``.
    forget_gate_bias : float
        Initial bias of the forget gates; see :class:`~speechtools.speaker.encoders.LSTMP`.
    dropout : float
        Share of the outputs of all layers but the last that is set to 0 in training, in [0, 1).

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> (batch, embedding_size), each row of length 1

    Raises
    ------
    ConfigError
        ``stack`` is less than 1, ``pooling`` is unknown, or ``dropout`` is out of range.

    Examples
    --------
    >>> AttentiveLSTM(embedding_size=64, stack=4)(torch.randn(2, 161, 40)).shape
    torch.Size([2, 64])
    """

    def __init__(
        self,
        input_size: int = 40,
        hidden_size: int = 256,
        num_layers: int = 2,
        embedding_size: int = 256,
        stack: int = 2,
        pooling: str = "attention",
        forget_gate_bias: float = 1.0,
        dropout: float = 0.0,
    ):
        super().__init__()
        if not 0 <= dropout < 1:
            raise ConfigError(f"dropout={dropout} must be at least 0 and less than 1.")
        if stack < 1:
            raise ConfigError(f"stack={stack}: a step of the LSTM needs at least 1 frame.")
        if pooling not in POOLINGS:
            raise ConfigError(f"pooling={pooling!r} is unknown. Use {', '.join(POOLINGS)}.")
        self.stack, self.pooling = stack, pooling
        self.lstm = nn.LSTM(stack * input_size, hidden_size, num_layers, batch_first=True, dropout=dropout)
        set_forget_gate_bias(self.lstm, forget_gate_bias)
        self.linear = nn.Linear(hidden_size, embedding_size)
        if pooling == "attention":
            self.scores = nn.Sequential(nn.Linear(hidden_size, 64), nn.Tanh(), nn.Linear(64, 1, bias=False))

    @property
    def embedding_size(self) -> int:
        """Size of a d-vector."""
        return self.linear.out_features

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return unit d-vectors (batch, embedding_size) of feats (batch, time, input_size)."""
        steps, counts = self._stacked(feats, lens)
        hidden, _ = self.lstm(steps)
        # (batch, steps, hidden_size)
        return nn.functional.normalize(self.linear(self._pooled(hidden, counts)), dim=1)

    def _stacked(self, feats: Tensor, lens: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Steps (batch, steps, stack * input_size), and how many of them are valid (batch,)."""
        batch, time, size = feats.shape
        counts = None
        if lens is not None:
            frames = frame_counts(feats, lens)
            feats = feats * length_mask(frames, time).unsqueeze(2)
            counts = (frames + self.stack - 1) // self.stack
        feats = nn.functional.pad(feats, (0, 0, 0, -time % self.stack))
        return feats.reshape(batch, -1, self.stack * size), counts

    def _pooled(self, hidden: Tensor, counts: Tensor | None) -> Tensor:
        """One vector (batch, hidden_size) of hidden (batch, steps, hidden_size)."""
        if self.pooling == "last":
            return last_frames(hidden, None if counts is None else counts / hidden.shape[1])
        inside = None if counts is None else length_mask(counts, hidden.shape[1])
        if self.pooling == "mean":
            if inside is None:
                return hidden.mean(dim=1)
            return (hidden * inside.unsqueeze(2)).sum(dim=1) / inside.sum(dim=1, keepdim=True)
        scores = self.scores(hidden).squeeze(2).float()
        # (batch, steps)
        if inside is not None:
            scores = scores.masked_fill(~inside, -math.inf)
        weights = scores.softmax(dim=1).to(hidden.dtype)
        return torch.einsum("bs,bsh->bh", weights, hidden)
