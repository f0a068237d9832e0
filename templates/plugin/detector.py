"""detector/my-net: a network that hears tokens in a stream.

THE CONTRACT
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from speechtools import plugin


class State(NamedTuple):
    """What is kept between blocks: frames (batch, frames, size) of the next step, and the hidden state of the GRU."""

    frames: Tensor
    hidden: Tensor


@plugin("detector/my-net")
class MyNetDetector(nn.Module):
    """The frames of a step in a row, a GRU, a linear layer.

    Parameters
    ----------
    input_size : int
        Size of a frame of features.
    num_tokens : int
        Tokens, the blank included.
    hidden_size : int
        GRU nodes.
    stride : int
        Frames in a step.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> (batch, time // stride, num_tokens)
    """

    def __init__(self, input_size: int = 40, num_tokens: int = 29, hidden_size: int = 128, stride: int = 3):
        super().__init__()
        self.input_size, self.stride = input_size, stride
        self.gru = nn.GRU(stride * input_size, hidden_size, batch_first=True)
        self.linear = nn.Linear(hidden_size, num_tokens)

    def num_steps(self, num_frames):
        """Steps of so many frames, a number or a Tensor (batch,)."""
        return num_frames // self.stride

    def start(self, batch: int = 1) -> State:
        """The state at the beginning of a recording."""
        weight = self.linear.weight
        frames = weight.new_zeros(batch, 0, self.input_size)
        return State(frames, weight.new_zeros(1, batch, self.gru.hidden_size))

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return log probabilities (batch, steps, num_tokens)."""
        return self.stream(feats, self.start(len(feats)))[0]

    def stream(self, feats: Tensor, state: State) -> tuple[Tensor, State]:
        """Return the log probabilities of the next frames, and the state after them."""
        frames = torch.cat([state.frames.to(feats), feats], dim=1)
        steps = self.num_steps(frames.shape[1])
        used, rest = frames[:, : steps * self.stride], frames[:, steps * self.stride :]
        if not steps:
            return feats.new_zeros(len(feats), 0, self.linear.out_features), State(rest, state.hidden)
        hidden, last = self.gru(used.reshape(len(feats), steps, -1), state.hidden)
        # (batch, steps, hidden_size)
        return self.linear(hidden).float().log_softmax(dim=2), State(rest, last)
