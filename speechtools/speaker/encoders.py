"""Encoders (kind ``encoder``): from features to d-vectors, unit vectors that stand for a voice (GE2E paper, 2.1).

``(batch, time, input_size) -> (batch, embedding_size)``. The LSTMs read from the first frame to the last, and the
d-vector comes from an item's own last frame: padding on the right changes nothing.
"""

from typing import Any

import torch
from torch import Tensor, nn

from speechtools.audio.frames import frame_counts
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
    return sequence[torch.arange(len(sequence), device=sequence.device), counts - 1]


@plugin("encoder/lstmp")
class LSTMP(nn.Module):
    """LSTM layers with projection, a linear layer on the last frame, L2 norm (section 3; equation 4).

    The d-vector is as large as the projection. The paper takes 768 nodes and a projection of 256 for free text, 128
    and 64 for keywords, and scales the gradient of the projection by 0.5.

    Parameters
    ----------
    input_size, hidden_size, proj_size, num_layers : int
        As of ``torch.nn.LSTM``.
    projection_gradient_scale : float
        Factor on the gradients of the projection matrices.
    forget_gate_bias : float
        What the forget gates start at. The paper says nothing of it; at 1 the last frame, which the d-vector is read
        off, still knows of earlier ones in the first steps, and training sets off sooner.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> (batch, proj_size), each row of length 1

    Example
    -------
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
        # Hooks belong to the parameters and are not copied with them.
        super().__setstate__(state)
        self._scale_projection_gradients()

    def _scale_projection_gradients(self) -> None:
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("weight_hr"):
                # A copy of a frozen encoder takes no hook, but is to have one when it is trained again.
                trained = parameter.requires_grad
                parameter.requires_grad_(True).register_hook(self._scaled)
                parameter.requires_grad_(trained)

    def _scaled(self, gradient: Tensor) -> Tensor:
        return gradient * self.projection_gradient_scale

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        hidden, _ = self.lstm(feats)
        # (batch, time, proj_size)
        return nn.functional.normalize(self.linear(last_frames(hidden, lens)), dim=1)


@plugin("encoder/lstm")
class LSTMEncoder(nn.Module):
    """LSTM layers without projection, a linear layer on the last frame, an optional ReLU, L2 norm.

    The form of much public GE2E code, whose checkpoints :func:`convert_ge2e_state` makes loadable; and faster on a CPU
    than a projection LSTM, for which there is no fast path.

    Parameters
    ----------
    input_size, hidden_size, num_layers : int
        As of ``torch.nn.LSTM``.
    embedding_size : int
        Size of the d-vector.
    relu : bool
        Apply a ReLU before the L2 norm, as that code does: all cosines are then positive.
    forget_gate_bias : float
        What the forget gates start at; see :class:`LSTMP`.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> (batch, embedding_size), each row of length 1

    Example
    -------
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
        hidden, _ = self.lstm(feats)
        # (batch, time, hidden_size)
        embedded = self.linear(last_frames(hidden, lens))
        return nn.functional.normalize(embedded.relu() if self.relu else embedded, dim=1)


def convert_ge2e_state(state: dict[str, Any]) -> dict[str, Tensor]:
    """Weights of other GE2E code as ``encoder/lstm`` with ``relu=True`` loads them.

    Such checkpoints hold ``lstm.*`` and ``linear.*``, often inside ``model_state``, and beside them the scale and
    offset of the loss (``similarity_weight``, ``similarity_bias``), which an encoder has no use for.

    >>> state = {"linear.bias": torch.zeros(4), "similarity_weight": torch.ones(1)}
    >>> list(convert_ge2e_state({"model_state": state}))
    ['linear.bias']
    """
    state = state.get("model_state", state)
    return {name: value for name, value in state.items() if name.startswith(("lstm.", "linear."))}


class FoldedLSTMP(nn.Module):
    """A projection LSTM for inference on a CPU, as LSTMs without projection: the same function, on the fast path.

    Layer ``l`` with state ``r = P h`` computes its gates from ``W x + U r``. With ``U P`` in the place of ``U``, and
    the next layer's ``W P`` in the place of its ``W``, the projection is never made; the last one goes into the
    linear layer. It is :func:`folded` that makes one.

    Example
    -------
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
        before: Tensor | None = None  # the projection of the layer before
        with torch.no_grad():
            for layer in range(source.num_layers):
                names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")
                weight_ih, weight_hh, bias_ih, bias_hh, projection = (
                    source.get_parameter(f"{name}_l{layer}") for name in names
                )
                of_input: Tensor = weight_ih if before is None else weight_ih @ before
                plain = nn.LSTM(of_input.shape[1], source.hidden_size, batch_first=True)
                plain = plain.to(of_input.device, of_input.dtype)
                for name, value in zip(
                    ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"),
                    (of_input, weight_hh @ projection, bias_ih, bias_hh),
                    strict=True,
                ):
                    getattr(plain, name).copy_(value)
                self.layers.append(plain)
                before = projection
            self.register_buffer("weight", encoder.linear.weight @ projection)
            self.register_buffer("bias", encoder.linear.bias.clone())
        self.requires_grad_(False)

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """As of :class:`LSTMP`: feats (batch, time, input_size), lens (batch,) -> (batch, embedding_size)."""
        hidden = feats
        for layer in self.layers:
            hidden, _ = layer(hidden)
        # (batch, time, hidden_size)
        embedded = nn.functional.linear(last_frames(hidden, lens), self.weight, self.bias)
        return nn.functional.normalize(embedded, dim=1)


def folded(encoder: LSTMP) -> FoldedLSTMP:
    """``encoder`` for inference, its projections folded into the other weights.

    >>> encoder = LSTMP(40, 32, 16)
    >>> feats = torch.randn(2, 50, 40)
    >>> torch.allclose(folded(encoder)(feats), encoder(feats), atol=1e-5)
    True
    """
    return FoldedLSTMP(encoder)
