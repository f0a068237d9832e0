"""Encoders (kind ``encoder``): from features to d-vectors, unit vectors that represent a voice (GE2E paper, 2.1).

``(batch, time, input_size) -> (batch, embedding_size)``. The LSTMs are unidirectional, and the d-vector comes from the
last valid frame of an item, or from all valid frames: padding on the right changes nothing.
"""

import math

import torch
from torch import Tensor, nn

from speechtools.audio.frames import frame_counts, length_mask
from speechtools.audio.recurrent import set_forget_gate_bias
from speechtools.core.registry import plugin


def last_frames(sequence: Tensor, lens: Tensor | None) -> Tensor:
    """Each item's last valid frame: (batch, time, size) and relative lens (batch,) -> (batch, size).

    >>> last_frames(torch.tensor([[[1.0], [2.0]], [[3.0], [0.0]]]), torch.tensor([1.0, 0.5])).tolist()
    [[2.0], [3.0]]
    """
    if lens is None:
        return sequence[:, -1]
    counts = frame_counts(sequence, lens)
    rows = (counts - 1).view(-1, 1, 1).expand(-1, 1, sequence.shape[2])
    return sequence.gather(1, rows).squeeze(1)


@plugin("encoder/lstmp")
class LSTMP(nn.Module):
    """LSTM layers with projection, a linear layer on the last frame, L2 norm (section 3; equation 4).

    The d-vector has the size of the projection. The paper uses 768 nodes and a projection of 256 for free text, 128 and
    64 for keywords, and scales the gradient of the projection by 0.5.

    Parameters
    ----------
    input_size, hidden_size, proj_size, num_layers : int
        As in ``torch.nn.LSTM``.
    projection_gradient_scale : float
        Factor on the gradients of the projection matrices.
    forget_gate_bias : float
        Initial bias of the forget gates, which the paper does not specify. At 1, the last frame, from which the
        d-vector is computed, depends on earlier ones from the start, and training progresses sooner.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> (batch, proj_size), each row of length 1

    Examples
    --------
    >>> LSTMP(40, 128, 64)(torch.randn(2, 160, 40)).norm(dim=1).allclose(torch.ones(2))
    True
    """

    def __init__(
        self,
        input_size: int = 40,
        hidden_size: int = 768,
        proj_size: int = 256,
        num_layers: int = 3,
        projection_gradient_scale: float = 0.5,
        forget_gate_bias: float = 1.0,
    ):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True, proj_size=proj_size)
        set_forget_gate_bias(self.lstm, forget_gate_bias)
        self.linear = nn.Linear(proj_size, proj_size)
        self.projection_gradient_scale = projection_gradient_scale
        self._scale_projection_gradients()

    @property
    def embedding_size(self) -> int:
        """Size of a d-vector."""
        return self.linear.out_features

    def __setstate__(self, state: dict) -> None:
        # Hooks belong to the parameters, and are lost in copies.
        super().__setstate__(state)
        self._scale_projection_gradients()

    def _scale_projection_gradients(self) -> None:
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("weight_hr"):
                # A frozen parameter accepts no hook, but needs one when it is trained again.
                trained = parameter.requires_grad
                parameter.requires_grad_(True).register_hook(self._scaled)
                parameter.requires_grad_(trained)

    def _scaled(self, gradient: Tensor) -> Tensor:
        return gradient * self.projection_gradient_scale

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return unit d-vectors (batch, embedding_size) of feats (batch, time, input_size)."""
        hidden, _ = self.lstm(feats)
        # (batch, time, proj_size)
        return nn.functional.normalize(self.linear(last_frames(hidden, lens)), dim=1)


@plugin("encoder/lstm")
class LSTMEncoder(nn.Module):
    """LSTM layers without projection, a linear layer on the last frame, an optional ReLU, L2 norm.

    Much public GE2E code has this form; :mod:`speechtools.speaker.conversion` reads its checkpoints. It is faster on a
    CPU than an LSTM with projection, for which PyTorch has no fast path.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
        As in ``torch.nn.LSTM``.
    embedding_size : int
        Size of the d-vector.
    relu : bool
        Apply a ReLU before the L2 norm, as that code does, which makes all cosines positive.
    forget_gate_bias : float
        Initial bias of the forget gates; see :class:`LSTMP`.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> (batch, embedding_size), each row of length 1

    Examples
    --------
    >>> LSTMEncoder(embedding_size=64)(torch.randn(2, 160, 40)).shape
    torch.Size([2, 64])
    """

    def __init__(
        self,
        input_size: int = 40,
        hidden_size: int = 256,
        num_layers: int = 3,
        embedding_size: int = 256,
        relu: bool = False,
        forget_gate_bias: float = 1.0,
    ):
        super().__init__()
        self.lstm = nn.LSTM(input_size, hidden_size, num_layers, batch_first=True)
        set_forget_gate_bias(self.lstm, forget_gate_bias)
        self.linear = nn.Linear(hidden_size, embedding_size)
        self.relu = relu

    @property
    def embedding_size(self) -> int:
        """Size of a d-vector."""
        return self.linear.out_features

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return unit d-vectors (batch, embedding_size) of feats (batch, time, input_size)."""
        hidden, _ = self.lstm(feats)
        # (batch, time, hidden_size)
        embedded = self.linear(last_frames(hidden, lens))
        return nn.functional.normalize(embedded.relu() if self.relu else embedded, dim=1)


@plugin("encoder/lstm-attention")
class LSTMAttentionEncoder(LSTMEncoder):
    """LSTM layers, a linear layer and tanh on every frame, their mean weighed by attention, L2 norm.

    This is the network of yistLin/dvector. A frame's weight is the softmax over time of a linear function of it.

    Parameters
    ----------
    input_size, hidden_size, num_layers, embedding_size, forget_gate_bias
        As in :class:`LSTMEncoder`.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> (batch, embedding_size), each row of length 1

    Examples
    --------
    >>> LSTMAttentionEncoder(embedding_size=64)(torch.randn(2, 160, 40)).shape
    torch.Size([2, 64])
    """

    def __init__(
        self,
        input_size: int = 40,
        hidden_size: int = 256,
        num_layers: int = 3,
        embedding_size: int = 256,
        forget_gate_bias: float = 1.0,
    ):
        super().__init__(input_size, hidden_size, num_layers, embedding_size, forget_gate_bias=forget_gate_bias)
        # A bias would add the same to every frame, which the softmax ignores.
        self.attention = nn.Linear(embedding_size, 1, bias=False)

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return unit d-vectors (batch, embedding_size) of feats (batch, time, input_size)."""
        hidden, _ = self.lstm(feats)
        embedded = self.linear(hidden).tanh()
        # (batch, time, embedding_size)
        weights = self.attention(embedded).squeeze(2)
        # (batch, time)
        if lens is not None:
            inside = length_mask(frame_counts(feats, lens), feats.shape[1])
            weights = weights.masked_fill(~inside, -math.inf)
        pooled = (weights.softmax(dim=1).unsqueeze(1) @ embedded).squeeze(1)
        return nn.functional.normalize(pooled, dim=1)


class FoldedLSTMP(nn.Module):
    """An :class:`LSTMP` for inference on a CPU, as LSTMs without projection: the same function on the fast path.

    Layer ``l`` with state ``r = P h`` computes its gates from ``W x + U r``. With ``U P`` instead of ``U``, and
    ``W P`` instead of the ``W`` of the next layer, the projection is never computed; the last one is merged with the
    linear layer.

    Examples
    --------
    >>> encoder, feats = LSTMP(40, 16, 8).eval(), torch.randn(2, 50, 40)
    >>> torch.allclose(FoldedLSTMP(encoder)(feats), encoder(feats), atol=1e-6)
    True
    """

    weight: Tensor
    bias: Tensor

    def __init__(self, encoder: LSTMP):
        super().__init__()
        source = encoder.lstm
        self.embedding_size = encoder.embedding_size
        self.layers = nn.ModuleList()
        before: Tensor | None = None  # the projection of the previous layer
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
        with torch.no_grad():
            for layer in range(source.num_layers):
                of_input, of_state, *biases, projection = (source.get_parameter(f"{name}_l{layer}") for name in names)
                values = (of_input if before is None else of_input @ before, of_state @ projection, *biases)
                plain = nn.LSTM(values[0].shape[1], source.hidden_size, batch_first=True)
                plain = plain.to(of_input.device, of_input.dtype)
                for name, value in zip(names, values, strict=False):
                    plain.get_parameter(f"{name}_l0").copy_(value)
                self.layers.append(plain)
                before = projection
            self.register_buffer("weight", encoder.linear.weight @ projection)
            self.register_buffer("bias", encoder.linear.bias.clone())
        self.requires_grad_(False)

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """feats (batch, time, input_size), lens (batch,) -> (batch, embedding_size); see :class:`LSTMP`."""
        hidden = feats
        for layer in self.layers:
            hidden, _ = layer(hidden)
        # (batch, time, hidden_size)
        embedded = nn.functional.linear(last_frames(hidden, lens), self.weight, self.bias)
        return nn.functional.normalize(embedded, dim=1)


def folded(encoder: LSTMP) -> FoldedLSTMP:
    """Fold the projections of ``encoder`` into the other weights, for inference.

    >>> encoder = LSTMP(40, 32, 16)
    >>> feats = torch.randn(2, 50, 40)
    >>> torch.allclose(folded(encoder)(feats), encoder(feats), atol=1e-5)
    True
    """
    return FoldedLSTMP(encoder)
