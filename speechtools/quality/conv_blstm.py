"""``quality/conv-blstm``: a convolutional front end and a BLSTM, for all kinds of degradations."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from speechtools.audio.frames import frame_counts, length_mask
from speechtools.audio.recurrent import both_ways, set_forget_gate_bias
from speechtools.core.errors import ConfigError
from speechtools.core.registry import plugin
from speechtools.degradations.causes import CAUSES
from speechtools.quality.outputs import QualityOutputs


@plugin("quality/conv-blstm")
class ConvBLSTM(nn.Module):
    """Two convolutions over time, a BLSTM at half the frame rate, and a score per frame, whose mean is the score.

    The frame scores and their mean follow Quality-Net (Fu et al., Interspeech 2018, section 3.1); the convolutions, the
    further outputs and the lower rate, at which two frames share a score, do not. Each pair of frames also sees the
    output of the first convolution, so that short losses keep their place. Padding, whatever it contains, changes no
    score.

    Parameters
    ----------
    input_size : int
        Size of a frame: the number of mel filters.
    channels : int
        Of the convolutions.
    kernel_size : int
        Frames that a convolution sees; an odd number.
    hidden_size : int
        LSTM nodes per direction.
    linear_size : int
        ELU nodes.
    dropout : float
        Dropout before the BLSTM and of the ELU nodes.
    forget_gate_bias : float
        Initial bias of the forget gates.
    initial_score : float
        Initial bias of the score.
    measures : sequence of str
        Names of further scores of the utterance, such as ``["stoi", "mos"]``: each has a linear node of its own, whose
        mean over the frames is the score.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> scores (batch,), frame scores (batch, time); with ``details``,
    :class:`~speechtools.quality.outputs.QualityOutputs`. Frame scores beyond an item's length are 0.

    Examples
    --------
    >>> net = ConvBLSTM()
    >>> scores, frame_scores = net(torch.rand(2, 62, 80), torch.tensor([1.0, 0.5]))
    >>> scores.shape, frame_scores.shape
    (torch.Size([2]), torch.Size([2, 62]))
    >>> net(torch.rand(2, 62, 80), details=True).causes.shape
    torch.Size([2, 62, 6])
    """

    #: What the outputs ``causes`` are, in their order.
    causes = CAUSES
    is_bidirectional = True

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
    ):
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise ConfigError(f"kernel_size={kernel_size} must be an odd number, so that a frame is in the middle.")
        #: Names of the further scores.
        self.measures = tuple(measures)
        padding = kernel_size // 2
        self.conv_half = nn.Conv1d(input_size, channels, kernel_size, stride=2, padding=padding)
        self.conv = nn.Conv1d(channels, channels, kernel_size, padding=padding)
        self.dropout = nn.Dropout(dropout)
        self.lstm_forward = nn.LSTM(channels, hidden_size, batch_first=True)
        set_forget_gate_bias(self.lstm_forward, forget_gate_bias)
        if self.is_bidirectional:
            self.lstm_backward = nn.LSTM(channels, hidden_size, batch_first=True)
            set_forget_gate_bias(self.lstm_backward, forget_gate_bias)
        self.linear = nn.Linear((1 + self.is_bidirectional) * hidden_size + channels, linear_size)
        self.output = nn.Linear(linear_size, 1)
        nn.init.constant_(self.output.bias, initial_score)
        self.cause_output = nn.Linear(linear_size, len(CAUSES))
        self.measure_outputs = nn.ModuleDict({name: nn.Linear(linear_size, 1) for name in measures})

    def forward(self, feats: Tensor, lens: Tensor | None = None, details: bool = False) -> tuple | QualityOutputs:
        """Score a padded batch: scores (batch,), frame scores (batch, time); with ``details``, all outputs."""
        counts = frame_counts(feats, lens)
        valid = length_mask(counts, feats.shape[1])
        # (batch, time)
        pairs = (counts + 1) // 2
        pair_mask = valid[:, ::2].unsqueeze(1)
        # (batch, 1, time / 2)
        local = nn.functional.elu(self.conv_half(feats.transpose(1, 2) * valid.unsqueeze(1))) * pair_mask
        context = nn.functional.elu(self.conv(local)).transpose(1, 2)
        # (batch, channels, time / 2) and (batch, time / 2, channels)
        hidden = self.recurrent(self.dropout(context), pairs)
        joined = torch.cat([hidden, local.transpose(1, 2)], dim=2)
        # (batch, time / 2, 2 * hidden_size + channels)
        nodes = self.dropout(nn.functional.elu(self.linear(joined)))
        # (batch, time / 2, linear_size)
        with torch.autocast(feats.device.type, enabled=False):  # scores keep their precision in mixed training
            return self._outputs(nodes.to(self.output.weight), valid, counts, details)

    def recurrent(self, context: Tensor, pairs: Tensor) -> Tensor:
        """Outputs of the recurrent layer for contexts (batch, time / 2, channels), ``pairs`` (batch,) of them."""
        return both_ways(self.lstm_forward, self.lstm_backward, context, pairs)

    def _outputs(self, nodes: Tensor, valid: Tensor, counts: Tensor, details: bool) -> tuple | QualityOutputs:
        """Outputs from nodes (batch, time / 2, linear_size) of pairs of frames."""
        time = valid.shape[1]
        frame_scores = _for_each_frame(self.output(nodes), time).squeeze(2).masked_fill(~valid, 0.0)
        # (batch, time)
        scores = frame_scores.sum(dim=1) / counts
        if not details:
            return scores, frame_scores
        causes = _for_each_frame(self.cause_output(nodes), time)
        # (batch, time, causes)
        mean_nodes = (_for_each_frame(nodes, time) * valid.unsqueeze(2)).sum(dim=1) / counts.unsqueeze(1)
        # (batch, linear_size); the mean of a linear node over the frames is that node of the mean
        measures = {name: output(mean_nodes).squeeze(1) for name, output in self.measure_outputs.items()}
        return QualityOutputs(scores, frame_scores, causes, measures)


def _for_each_frame(values: Tensor, time: int) -> Tensor:
    """Repeat values of pairs of frames (batch, time / 2, size): (batch, time, size)."""
    return values.repeat_interleave(2, dim=1)[:, :time]
