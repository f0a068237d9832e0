"""What the recurrent networks of both papers share."""

import torch
from torch import Tensor, nn


def set_forget_gate_bias(lstm: nn.LSTM, bias: float) -> None:
    """Start every forget gate of an LSTM at ``bias``: below 0 it soon forgets, above it remembers (Gers et al., 2000).

    torch orders the gates input, forget, cell, output and adds two biases: one takes the value, the other 0.

    >>> lstm = nn.LSTM(3, 1)
    >>> set_forget_gate_bias(lstm, -3.0)
    >>> (lstm.bias_ih_l0 + lstm.bias_hh_l0)[1].item()
    -3.0
    """
    size = lstm.hidden_size
    with torch.no_grad():
        for name, parameter in lstm.named_parameters():
            if name.startswith("bias_ih"):
                parameter[size : 2 * size] = bias
            elif name.startswith("bias_hh"):
                parameter[size : 2 * size] = 0.0


def limit_recurrent_norm(module: nn.Module, max_norm: float) -> None:
    """Scale the weights from the hidden state to every LSTM gate down to a norm of at most ``max_norm``, in place.

    With a limit near 0, the past reaches a frame through the cell state alone: how the authors of Quality-Net limit the
    context in their released code.

    >>> lstm = nn.LSTM(3, 5)
    >>> limit_recurrent_norm(lstm, 0.1)
    >>> bool((lstm.weight_hh_l0.norm(dim=1) < 0.1001).all())
    True
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if name.split(".")[-1].startswith("weight_hh"):
                parameter.copy_(torch.renorm(parameter, p=2, dim=0, maxnorm=max_norm))


def both_ways(forward: nn.Module, backward: nn.Module, feats: Tensor, counts: Tensor) -> Tensor:
    """Outputs (batch, time, 2 * hidden_size) of a bidirectional LSTM, of two one-directional ones.

    The backward one reads every utterance reversed within its own length, ``counts`` (batch,) frames. On a right-padded
    batch this equals a packed bidirectional LSTM and stays on the fast path of the CPU library, which packing leaves.
    Padding, whatever it holds, changes no frame that counts.

    >>> outputs = both_ways(nn.LSTM(3, 5, batch_first=True), nn.LSTM(3, 5, batch_first=True), torch.randn(2, 7, 3),
    ...     torch.tensor([7, 4]))
    >>> outputs.shape
    torch.Size([2, 7, 10])
    """
    order = reversal(counts, feats.shape[1])
    # (batch, time)
    ahead, _ = forward(feats)
    behind, _ = backward(take_frames(feats, order))
    return torch.cat([ahead, take_frames(behind, order)], dim=2)


def reversal(counts: Tensor, time: int) -> Tensor:
    """Frame indices (batch, time) that reverse each item's first ``counts[i]`` frames and leave the padding in place.

    >>> reversal(torch.tensor([3, 2]), 3).tolist()
    [[2, 1, 0], [1, 0, 2]]
    """
    frames = torch.arange(time, device=counts.device)
    mirrored = counts.unsqueeze(1) - 1 - frames
    return torch.where(mirrored >= 0, mirrored, frames)


def take_frames(sequence: Tensor, order: Tensor) -> Tensor:
    """``sequence[i, order[i]]`` for every item: (batch, time, size) and (batch, time) -> (batch, time, size).

    >>> take_frames(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[2, 0, 0]])).flatten().tolist()
    [3.0, 1.0, 1.0]
    """
    batch, time, size = sequence.shape
    rows = order + torch.arange(batch, device=order.device).unsqueeze(1) * time
    return sequence.reshape(-1, size).index_select(0, rows.flatten()).view(batch, time, size)
