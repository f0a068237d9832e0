"""What the losses of speaker verification share: checking a batch, and w and b of equations 2 and 5 (GE2E paper).

A batch is N speakers with M utterances each, on average.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from speechtools.core.errors import ConfigError, SpeechtoolsError

#: d-vectors whose squared lengths differ from 1 by no more count as normalised (equation 4).
UNIT_TOLERANCE = 1e-5


def speaker_index(dvectors: Tensor, speakers: Tensor | None, loss: str = "GE2E") -> tuple[Tensor, Tensor, int]:
    """Check a batch and bring it to its flat form.

    Parameters
    ----------
    dvectors : Tensor
        (speakers, utterances, emb), or (batch, emb).
    speakers : Tensor or None
        Integers: in the first form None or one distinct label per speaker, (speakers,); in the second one label per
        utterance, (batch,), in any order and number.
    loss : str
        Name of the loss in messages.

    Returns
    -------
    dvectors : Tensor
        (batch, emb), of length 1 (equation 4).
    index : Tensor
        The speaker of each from 0 on, (batch,).
    num_speakers : int
        N.

    Raises
    ------
    SpeechtoolsError
        The shapes do not match, a value is not finite, there is only one speaker, a speaker has a single utterance, or
        two speakers have the same label.

    Examples
    --------
    >>> _, index, num_speakers = speaker_index(torch.eye(4), torch.tensor([7, 3, 7, 3]))
    >>> index.tolist(), num_speakers
    ([1, 0, 1, 0], 2)
    """
    check_labels(speakers)
    if dvectors.dim() == 3 and (speakers is None or speakers.shape == dvectors.shape[:1]):
        num_speakers, fewest, _ = dvectors.shape
        labels = list(range(num_speakers)) if speakers is None else speakers.tolist()
        if repeated := [label for label in labels if labels.count(label) > 1]:
            times = f"{repeated[0]} occurs {labels.count(repeated[0])} times"
            raise SpeechtoolsError(f"The labels {labels} are not distinct: {times}. Draw every speaker once.")
        index = torch.arange(num_speakers, device=dvectors.device).repeat_interleave(fewest)
        scarce = labels[0] if num_speakers else None
        dvectors = dvectors.flatten(0, 1)
    elif dvectors.dim() == 2 and speakers is not None and speakers.shape == dvectors.shape[:1]:
        labels, index, counts = torch.unique(speakers.to(dvectors.device), return_inverse=True, return_counts=True)
        num_speakers = len(labels)
        fewest, scarce = (int(counts.min()), int(labels[counts.argmin()])) if num_speakers else (0, None)
    else:
        shape = None if speakers is None else tuple(speakers.shape)
        raise SpeechtoolsError(
            f"d-vectors of shape {tuple(dvectors.shape)} do not match speakers of shape {shape}: pass (speakers, "
            "utterances, emb) with one label per speaker or none, or (batch, emb) with one label per utterance."
        )
    if num_speakers < 2:
        raise SpeechtoolsError(f"{loss} needs at least 2 speakers; got {num_speakers}. Raise speakers_per_batch.")
    if fewest < 2:
        raise SpeechtoolsError(
            f"{loss} needs 2 utterances per speaker; got {fewest} of speaker {scarce}. Raise utterances_per_speaker."
        )
    return unit(dvectors), index, num_speakers


def check_labels(speakers: Tensor | None) -> None:
    """Raise SpeechtoolsError if the labels are not integers.

    >>> check_labels(torch.tensor([0, 0, 1, 1]))
    """
    if speakers is not None and (speakers.is_floating_point() or speakers.dtype == torch.bool):
        raise SpeechtoolsError(f"The labels are {speakers.dtype}, not integers. Number the speakers from 0.")


def unit(dvectors: Tensor) -> Tensor:
    """Equation 4: d-vectors (batch, emb) of length 1. Those of an encoder have it and are returned unchanged.

    Raises SpeechtoolsError if a value is not finite.

    >>> unit(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    squares = torch.linalg.vecdot(dvectors, dvectors)
    if bool(((squares.detach() - 1).abs() <= UNIT_TOLERANCE).all()):
        return dvectors
    if bad := int((~squares.isfinite()).sum()):
        raise SpeechtoolsError(
            f"{bad} of {len(dvectors)} d-vectors are NaN, infinite or too large. Lower the learning rate, or clip the "
            "gradient; if that does not help, look for a damaged recording."
        )
    return dvectors * inverse_length(squares).unsqueeze(1)


def inverse_length(squares: Tensor, floor: Tensor | float = 0.0) -> Tensor:
    """1 / length from its square; 0, with no gradient, where the square is not above ``floor``.

    >>> inverse_length(torch.tensor([4.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    return torch.where(squares > floor, squares, torch.inf).rsqrt()


class _ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient * ctx.factor, None


class ScaleAndOffset(nn.Module):
    """The learnable w and b of equations 2 and 5: ``w * cosine + b``, with w > 0 by construction.

    ``w`` is the softplus of a parameter, which at 10 has almost the same gradient as w itself. The paper starts with
    (10, -5) and scales the gradients of both by 0.01 (section 3). No hook does this, since copies lose hooks.

    Examples
    --------
    >>> round(ScaleAndOffset()(torch.tensor(0.7)).item(), 5)
    2.0
    """

    def __init__(self, init_weight: float = 10.0, init_bias: float = -5.0, gradient_scale: float = 0.01):
        super().__init__()
        if not 0 < init_weight < math.inf:
            raise ConfigError(f"init_weight={init_weight} must be positive and finite.")
        start = torch.tensor(float(init_weight), dtype=torch.float64)
        self.raw_weight = nn.Parameter((start + torch.log(-torch.expm1(-start))).float())  # the inverse of softplus
        self.bias = nn.Parameter(torch.tensor(float(init_bias)))
        self.gradient_scale = gradient_scale

    @property
    def weight(self) -> Tensor:
        """w, positive."""
        return nn.functional.softplus(self.raw_weight)

    def forward(self, cosines: Tensor) -> Tensor:
        """w cos + b of cosines of any shape (equation 5)."""
        weight = _ScaledGradient.apply(self.weight, self.gradient_scale)
        bias = _ScaledGradient.apply(self.bias, self.gradient_scale)
        return torch.addcmul(bias.to(cosines.dtype), weight.to(cosines.dtype), cosines)


def check_reduction(reduction: str) -> str:
    """Return ``reduction``; raise ConfigError if it is unknown.

    >>> check_reduction("sum")
    'sum'
    """
    if reduction not in ("sum", "mean"):
        raise ConfigError(f"reduction={reduction!r} is unknown. Use 'sum' (equation 10) or 'mean'.")
    return reduction


class CentroidLoss(nn.Module):
    """Base of GE2E and TE2E: w and b, the reduction, and at least float32 even under autocast.

    A subclass defines ``name``, for messages, and :meth:`losses`.

    Examples
    --------
    >>> class Distances(CentroidLoss):
    ...     name = "distances"
    ...     def losses(self, dvectors, index, num_speakers):
    ...         return 1 - self.similarity(dvectors @ dvectors.T).diagonal()
    >>> Distances(init_weight=1.0, init_bias=0.0, reduction="mean")(torch.eye(4).view(2, 2, 4)).item()
    0.0
    """

    name: str

    def __init__(
        self, init_weight: float = 10.0, init_bias: float = -5.0, gradient_scale: float = 0.01, reduction: str = "sum"
    ):
        super().__init__()
        self.similarity = ScaleAndOffset(init_weight, init_bias, gradient_scale)
        self.reduction = check_reduction(reduction)

    @property
    def weight(self) -> Tensor:
        """w, positive."""
        return self.similarity.weight

    @property
    def bias(self) -> Tensor:
        """b."""
        return self.similarity.bias

    def losses(self, dvectors: Tensor, index: Tensor, num_speakers: int) -> Tensor:
        """One loss for each utterance or tuple, of the values that :func:`speaker_index` returns."""
        raise SpeechtoolsError(f"{type(self).__name__} does not define losses(dvectors, index, num_speakers). Add it.")

    def forward(self, dvectors: Tensor, speakers: Tensor | None = None) -> Tensor:
        """d-vectors (speakers, utterances, emb), or (batch, emb) with labels (batch,) -> the loss, a scalar."""
        with torch.autocast(dvectors.device.type, enabled=False):
            dvectors = dvectors if dvectors.dtype == torch.float64 else dvectors.float()
            losses = self.losses(*speaker_index(dvectors, speakers, self.name))
            return losses.sum() if self.reduction == "sum" else losses.mean()
