"""``quality/conv-lstm``: ``quality/conv-blstm`` for streams, which looks a few frames ahead instead of to the end."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import conv1d, elu, pad

from speechtools.audio.frames import length_mask
from speechtools.core.checks import check_number
from speechtools.core.registry import plugin
from speechtools.quality.conv_blstm import ConvBLSTM


class ConvLSTMState(NamedTuple):
    """What the network keeps from one block of a stream to the next. Pairs are pairs of frames.

    Attributes
    ----------
    frames : Tensor
        (1, frames, input_size): those that further pairs see.
    local : Tensor
        (1, channels, pairs): outputs of the first convolution that the second still sees.
    waiting : Tensor
        (1, pairs, channels): outputs of the first convolution whose context is not known yet.
    hidden, cell : Tensor
        (1, 1, hidden_size): of the LSTM.
    skipped : int
        Outputs of the LSTM that are still to be left out: it runs ahead of the scores.
    num_frames : int
        Frames that are scored.
    num_seen : int
        Frames that came.
    """

    frames: Tensor
    local: Tensor
    waiting: Tensor
    hidden: Tensor
    cell: Tensor
    skipped: int
    num_frames: int
    num_seen: int


@plugin("quality/conv-lstm")
class ConvLSTM(ConvBLSTM):
    """Two convolutions over time, an LSTM at half the frame rate that looks ahead, and a score per frame.

    The score of a pair of frames depends on all frames before it, and on ``2 * lookahead + 6`` after it, four of which
    the convolutions see. With frames of 32 ms every 16 ms and a lookahead of 2, it is known 192 ms after it began.

    Weights of a :class:`~speechtools.quality.conv_blstm.ConvBLSTM` of these sizes can be loaded, for a training that
    starts from them: those of its backward LSTM are left out.

    Parameters
    ----------
    lookahead : int
        Pairs of frames that the LSTM has heard after the one whose score it gives.
    input_size, channels, kernel_size, hidden_size, linear_size, dropout, forget_gate_bias, initial_score, measures
        As :class:`~speechtools.quality.conv_blstm.ConvBLSTM` has them.

    Shape
    -----
    As :class:`~speechtools.quality.conv_blstm.ConvBLSTM`.

    Examples
    --------
    >>> net = ConvLSTM().eval()
    >>> feats = torch.rand(1, 61, 80)
    >>> (first, _), state = net.stream(feats[:, :40], net.start())
    >>> (last, _), state = net.stream(feats[:, 40:], state)
    >>> torch.cat([first, last, net.finish(state)[0]], dim=1).allclose(net(feats)[1], atol=1e-5)
    True
    """

    is_bidirectional = False
    #: A training can start from a network of this class, too.
    starts_from = ConvBLSTM

    def __init__(
        self,
        input_size: int = 80,
        channels: int = 96,
        kernel_size: int = 5,
        hidden_size: int = 96,
        linear_size: int = 64,
        dropout: float = 0.1,
        forget_gate_bias: float = 1.0,
        initial_score: float = 2.5,
        measures: Sequence[str] = (),
        lookahead: int = 2,
    ):
        super().__init__(
            input_size,
            channels,
            kernel_size,
            hidden_size,
            linear_size,
            dropout,
            forget_gate_bias,
            initial_score,
            measures,
        )
        check_number("lookahead", lookahead, 0, 100, whole=True)
        self.lookahead = lookahead
        self.register_load_state_dict_pre_hook(_without_backward)

    @property
    def frames_ahead(self) -> int:
        """Frames after the first of a pair that its score depends on."""
        return self.conv_half.kernel_size[0] // 2 + 2 * (self.conv.kernel_size[0] // 2) + 2 * self.lookahead

    def recurrent(self, context: Tensor, pairs: Tensor) -> Tensor:
        """Outputs of the LSTM for contexts (batch, time / 2, channels), of which ``pairs`` (batch,) count."""
        inside = length_mask(pairs, context.shape[1]).unsqueeze(2)
        # (batch, time / 2, 1)
        hidden, _ = self.lstm_forward(pad(context * inside, (0, 0, 0, self.lookahead)))
        return hidden[:, self.lookahead :]

    def start(self) -> ConvLSTMState:
        """The state at the beginning of a stream, before which are zeros, as before a recording."""
        weight, half = self.output.weight, self.conv_half.kernel_size[0] // 2
        channels, hidden = self.conv.in_channels, weight.new_zeros(1, 1, self.lstm_forward.hidden_size)
        frames = weight.new_zeros(1, half, self.conv_half.in_channels)
        local, waiting = weight.new_zeros(1, channels, half), weight.new_zeros(1, 0, channels)
        return ConvLSTMState(frames, local, waiting, hidden, hidden, self.lookahead, 0, 0)

    @torch.no_grad()
    def stream(self, feats: Tensor, state: ConvLSTMState) -> tuple[tuple[Tensor, Tensor], ConvLSTMState]:
        """Take the next frames of a stream.

        Parameters
        ----------
        feats : Tensor
            (1, time, input_size)
        state : ConvLSTMState

        Returns
        -------
        tuple of Tensor
            Scores (1, frames) of the frames that are known now, and the logits of their causes (1, frames, causes).
        ConvLSTMState
        """
        state = state._replace(num_seen=state.num_seen + feats.shape[1])
        local, state = self._local(feats, state)
        context, state = self._context(local, state)
        return self._scored(context, state)

    @torch.no_grad()
    def finish(self, state: ConvLSTMState) -> tuple[Tensor, Tensor]:
        """Scores and causes, as of :meth:`stream`, of the last frames: after them come zeros."""
        left, half = state.num_seen - state.num_frames, self.conv.kernel_size[0] // 2
        local, state = self._local(state.frames.new_zeros(1, half, state.frames.shape[2]), state)
        context, state = self._context(torch.cat([local, local.new_zeros(1, local.shape[1], half)], dim=2), state)
        context = pad(context[:, : -(-left // 2)], (0, 0, 0, self.lookahead))
        (scores, causes), _ = self._scored(context, state)
        return scores[:, :left], causes[:, :left]

    def _local(self, feats: Tensor, state: ConvLSTMState) -> tuple[Tensor, ConvLSTMState]:
        """Outputs (1, channels, pairs) of the first convolution."""
        frames, kernel = torch.cat([state.frames, feats], dim=1), self.conv_half.kernel_size[0]
        pairs = max(0, (frames.shape[1] - kernel) // 2 + 1)
        state = state._replace(frames=frames[:, 2 * pairs :])
        if not pairs:
            return frames.new_zeros(1, self.conv.in_channels, 0), state
        seen = frames[:, : 2 * (pairs - 1) + kernel].transpose(1, 2)
        return elu(conv1d(seen, self.conv_half.weight, self.conv_half.bias, stride=2)), state

    def _context(self, local: Tensor, state: ConvLSTMState) -> tuple[Tensor, ConvLSTMState]:
        """Outputs (1, pairs, channels) of the second convolution."""
        seen, kernel = torch.cat([state.local, local], dim=2), self.conv.kernel_size[0]
        pairs = max(0, seen.shape[2] - kernel + 1)
        state = state._replace(
            local=seen[:, :, pairs:], waiting=torch.cat([state.waiting, local.transpose(1, 2)], dim=1)
        )
        if not pairs:
            return local.new_zeros(1, 0, self.conv.out_channels), state
        return elu(conv1d(seen, self.conv.weight, self.conv.bias)).transpose(1, 2), state

    def _scored(self, context: Tensor, state: ConvLSTMState) -> tuple[tuple[Tensor, Tensor], ConvLSTMState]:
        """Scores (1, frames) and causes (1, frames, causes) of pairs whose contexts (1, pairs, channels) are known."""
        hidden, carried = context.new_zeros(1, 0, self.lstm_forward.hidden_size), (state.hidden, state.cell)
        if context.shape[1]:
            hidden, carried = self.lstm_forward(context, carried)
        skipped = min(state.skipped, hidden.shape[1])
        hidden = hidden[:, skipped:]
        pairs = hidden.shape[1]
        joined = torch.cat([hidden, state.waiting[:, :pairs]], dim=2)
        # (1, pairs, hidden_size + channels)
        nodes = elu(self.linear(joined)).repeat_interleave(2, dim=1)
        # (1, frames, linear_size)
        state = state._replace(
            waiting=state.waiting[:, pairs:],
            hidden=carried[0],
            cell=carried[1],
            skipped=state.skipped - skipped,
            num_frames=state.num_frames + 2 * pairs,
        )
        return (self.output(nodes).squeeze(2), self.cause_output(nodes)), state


def _without_backward(module: ConvLSTM, state_dict: dict, prefix: str, *_: Any) -> None:
    """Leave out what is of the backward LSTM, if the weights are of a bidirectional network."""
    backward = [key for key in state_dict if key.startswith(f"{prefix}lstm_backward.")]
    for key in backward:
        del state_dict[key]
    if backward:
        size, weight = module.lstm_forward.hidden_size, state_dict[f"{prefix}linear.weight"]
        state_dict[f"{prefix}linear.weight"] = torch.cat([weight[:, :size], weight[:, 2 * size :]], dim=1)
