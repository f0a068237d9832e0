"""Networks that hear tokens in a stream (kind ``detector``): features -> log probabilities of tokens and the blank.

``(batch, time, input_size) -> (batch, steps, num_tokens)``, trained with CTC (Graves et al., ICML 2006). A step depends
on earlier frames alone, so a stream gives the same steps as the whole recording.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from speechtools.audio.frames import frame_counts
from speechtools.audio.recurrent import set_forget_gate_bias
from speechtools.core.checks import check_number
from speechtools.core.registry import plugin

#: Mean and deviation of log-mel energies of speech at a usual level, roughly.
_OFFSET, _SCALE = 5.0, 4.0


class DetectorState(NamedTuple):
    """What a network keeps from one block of a stream to the next.

    Attributes
    ----------
    frames : Tensor
        (batch, frames, input_size): those that belong to the next step.
    hidden, cell : Tensor
        (layers, batch, hidden_size): of the LSTM.
    """

    frames: Tensor
    hidden: Tensor
    cell: Tensor


@plugin("detector/lstm")
class LSTMDetector(nn.Module):
    """A causal convolution that takes several frames a step, LSTM layers, and a linear layer.

    Parameters
    ----------
    input_size : int
        Size of a frame.
    num_tokens : int
        Tokens, the blank included.
    channels, hidden_size, num_layers : int
        Of the convolution and the LSTM.
    stride : int
        Frames in a step. The convolution also sees as many frames before them.
    dropout : float
        Share of the inputs of each layer of the LSTM and of the linear layer that are left out in training, the same
        in all steps of a recording (Gal and Ghahramani, NIPS 2016), which also takes less time than others in each.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> (batch, time // stride, num_tokens)

    Examples
    --------
    >>> LSTMDetector(40, 30)(torch.randn(2, 100, 40)).shape
    torch.Size([2, 33, 30])
    """

    def __init__(
        self,
        input_size: int = 40,
        num_tokens: int = 29,
        channels: int = 160,
        hidden_size: int = 240,
        num_layers: int = 2,
        stride: int = 3,
        dropout: float = 0.0,
    ):
        super().__init__()
        check_number("num_tokens", num_tokens, 2, whole=True)
        check_number("stride", stride, 1, whole=True)
        check_number("dropout", dropout, 0, 1)
        self.stride = stride
        self.convolution = nn.Conv1d(input_size, channels, 2 * stride, stride)
        self.layers = nn.ModuleList()
        for layer in range(num_layers):
            lstm = nn.LSTM(hidden_size if layer else channels, hidden_size, batch_first=True)
            set_forget_gate_bias(lstm, 1.0)
            self.layers.append(lstm)
        self.dropout = nn.Dropout1d(dropout)
        self.linear = nn.Linear(hidden_size, num_tokens)

    def num_steps(self, num_frames):
        """Steps of so many frames, a number or a Tensor (batch,)."""
        return num_frames // self.stride

    def start(self, batch: int = 1) -> DetectorState:
        """The state at the beginning of a recording: silence before it."""
        weight = self.linear.weight
        zeros = weight.new_zeros(len(self.layers), batch, self.linear.in_features)
        before = weight.new_full((batch, self.stride, self.convolution.in_channels), -_OFFSET)
        return DetectorState(before, zeros, zeros)

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return log probabilities (batch, steps, num_tokens) of feats (batch, time, input_size).

        Steps of the padding, after ``num_steps`` of an item's frames, have no meaning.
        """
        return self.stream(feats, self.start(len(feats)))[0]

    def _dropped(self, outputs: Tensor) -> Tensor:
        """Outputs (batch, steps, size) without a share of the size, in training."""
        return self.dropout(outputs.transpose(1, 2)).transpose(1, 2)

    def stream(self, feats: Tensor, state: DetectorState) -> tuple[Tensor, DetectorState]:
        """Return the log probabilities (batch, steps, num_tokens) of the next frames, and the state after them."""
        frames = torch.cat([state.frames.to(feats), feats], dim=1)
        # (batch, stride + remaining + time, input_size)
        steps = (frames.shape[1] - self.stride) // self.stride
        rest = frames[:, steps * self.stride :]
        if not steps:
            empty = feats.new_zeros(len(feats), 0, self.linear.out_features)
            return empty, DetectorState(rest, state.hidden, state.cell)
        used = (frames[:, : (steps + 1) * self.stride] + _OFFSET) / _SCALE
        outputs = self.convolution(used.transpose(1, 2)).relu().transpose(1, 2)
        # (batch, steps, channels)
        hidden, cell = [], []
        for number, layer in enumerate(self.layers):
            before = state.hidden[number : number + 1], state.cell[number : number + 1]
            outputs, (last_hidden, last_cell) = layer(self._dropped(outputs), before)
            # (batch, steps, hidden_size)
            hidden.append(last_hidden)
            cell.append(last_cell)
        log_probs = self.linear(self._dropped(outputs)).float().log_softmax(dim=2)
        # (batch, steps, num_tokens)
        return log_probs, DetectorState(rest, torch.cat(hidden), torch.cat(cell))


def step_counts(detector: nn.Module, feats: Tensor, lens: Tensor | None) -> Tensor:
    """Steps (batch,) of the items of padded feats (batch, time, input_size) with relative lens (batch,)."""
    counts: Tensor = detector.num_steps(frame_counts(feats, lens))  # type: ignore[operator]
    return counts
