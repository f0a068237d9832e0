"""Building blocks of the recurrent networks of both papers."""

import torch
from torch import Tensor, nn


def set_forget_gate_bias(lstm: nn.LSTM, bias: float) -> None:
    """Set the initial bias of the forget gates of an LSTM: negative forgets, positive remembers (Gers et al., 2000).

    torch orders the gates input, forget, cell, output and adds two biases; one gets the value, the other 0.

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
    """Limit the norm of the weights from the hidden state to each LSTM gate to ``max_norm``, in place.

    With a limit near 0, the past reaches a frame only through the cell state, as in the released code of the
    Quality-Net authors.

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
    """Combine two one-directional LSTMs to a bidirectional LSTM; outputs (batch, time, 2 * hidden_size).

    The backward LSTM reads each utterance reversed within its own length of ``counts`` (batch,) frames. On a
    right-padded batch this equals a packed bidirectional LSTM, but stays on the fast path of the CPU library, which
    packing leaves. Padding, whatever it contains, changes no valid frame.

    >>> outputs = both_ways(nn.LSTM(3, 5, batch_first=True), nn.LSTM(3, 5, batch_first=True), torch.randn(2, 7, 3),
    ...     torch.tensor([7, 4]))
    >>> outputs.shape
    torch.Size([2, 7, 10])
    """
    order = reversal(counts, feats.shape[1])
    # (batch, time)
    outputs, _ = forward(feats)
    reversed_outputs, _ = backward(take_frames(feats, order))
    return torch.cat([outputs, take_frames(reversed_outputs, order)], dim=2)


def reversal(counts: Tensor, time: int) -> Tensor:
    """Frame indices (batch, time) that reverse the first ``counts[i]`` frames of each item and keep its padding.

    >>> reversal(torch.tensor([3, 2]), 3).tolist()
    [[2, 1, 0], [1, 0, 2]]
    """
    frames = torch.arange(time, device=counts.device)
    mirrored = counts.unsqueeze(1) - 1 - frames
    return torch.where(mirrored >= 0, mirrored, frames)


def take_frames(sequence: Tensor, order: Tensor) -> Tensor:
    """Gather ``sequence[i, order[i]]`` for each item: (batch, time, size) and (batch, time) -> (batch, time, size).

    >>> take_frames(torch.tensor([[[1.0], [2.0], [3.0]]]), torch.tensor([[2, 0, 0]])).flatten().tolist()
    [3.0, 1.0, 1.0]
    """
    batch, time, size = sequence.shape
    rows = order + torch.arange(batch, device=order.device).unsqueeze(1) * time
    return sequence.reshape(-1, size).index_select(0, rows.flatten()).view(batch, time, size)
