"""What the recurrent networks of both papers share."""

import torch
from torch import nn


def set_forget_gate_bias(lstm: nn.LSTM, bias: float) -> None:
    """Start every forget gate of an LSTM at ``bias``: below 0 it soon forgets, above it remembers (Gers et al., 2000).

    torch orders the gates input, forget, cell, output and adds two biases: one takes the value, the other 0.
    """
    size = lstm.hidden_size
    with torch.no_grad():
        for name, parameter in lstm.named_parameters():
            if name.startswith("bias_ih"):
                parameter[size : 2 * size] = bias
            elif name.startswith("bias_hh"):
                parameter[size : 2 * size] = 0.0
