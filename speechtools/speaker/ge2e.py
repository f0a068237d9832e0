"""The generalized end-to-end loss (GE2E paper, section 2.1), kind ``loss``: softmax and contrast.

A batch is N speakers with M utterances each, on average. Every utterance is compared with the centroids of all
speakers, with its own speaker's centroid made without it.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.registry import plugin

#: d-vectors whose squared lengths are so near 1 count as normalised (equation 4) and are taken as they are.
UNIT_TOLERANCE = 1e-5


# ---------------------------------------------------------------------------------------------------- the equations


def cosines(dvectors: Tensor, index: Tensor, num_speakers: int) -> Tensor:
    """Cosine of every d-vector with every centroid, its own speaker's made without it (equations 1, 8 and 9).

    In closed form: with the sum s of a speaker's d-vectors, its centroid points along s, and without e along s - e. So
    one product of all d-vectors with all sums gives everything: e·(s - e) = e·s - e·e, and ‖s - e‖² = ‖s‖² - 2 e·s +
    e·e. In float32 a centroid that is left shorter than about 1/250 of a d-vector is lost in rounding.

    Parameters
    ----------
    dvectors : Tensor
        (batch, emb), of any length. The cosine with, or of, a vector of length 0 is 0, and no gradient is NaN.
    index : Tensor
        Speaker of each, from 0 to ``num_speakers`` - 1, (batch,).

    Returns
    -------
    Tensor
        (batch, speakers); differentiable once

    Example
    -------
    >>> dvectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-2.0, 0.0]])
    >>> [[round(c, 3) for c in row] for row in cosines(dvectors, torch.tensor([0, 0, 1, 1]), 2).tolist()]
    [[0.0, -1.0], [0.0, 0.0], [-0.707, 1.0], [-0.707, 1.0]]
    """
    return _Cosines.apply(dvectors, index, num_speakers)


class _Cosines(torch.autograd.Function):
    """``cosines`` with its gradient in closed form, which takes less time and memory than the recorded one.

    Backward, G is the gradient of the cosines C, g and c are their entries for the own speaker, l = s - e:

    - of another speaker, C = e·s / (‖e‖‖s‖): dC/de = s / (‖e‖‖s‖) - C e / ‖e‖², and likewise dC/ds;
    - of the own, c = e·l / (‖e‖‖l‖): dc/dl = e / (‖e‖‖l‖) - c l / ‖l‖², and dc/de with l held likewise; as l = s - e,
      what flows into l goes on to s, and to e with its sign turned. With a = g / (‖e‖‖l‖) and z = g c / ‖l‖² that is
      (a + z) e - z s for s, and (2a + z) times -e, plus (a + z) s, for e.

    So both are products with one matrix H, which is G / (‖e‖‖s‖) and a + z on the own speaker's place.
    """

    @staticmethod
    def forward(ctx: Any, dvectors: Tensor, index: Tensor, num_speakers: int) -> Tensor:
        own = index.unsqueeze(1)
        # (batch, 1)
        sums = dvectors.new_zeros(num_speakers, dvectors.shape[1]).index_add_(0, index, dvectors)
        # (speakers, emb)
        squares, sum_squares = torch.linalg.vecdot(dvectors, dvectors), torch.linalg.vecdot(sums, sums)
        # (batch,), (speakers,)
        products = dvectors @ sums.T
        # (batch, speakers)
        own_product, own_squares = products.gather(1, own).squeeze(1), sum_squares.index_select(0, index)
        # What rounding may leave of a length of 0 is no direction.
        rounding = 64 * torch.finfo(dvectors.dtype).eps * (own_squares + squares)
        inverse, sum_inverse = inverse_length(squares), inverse_length(sum_squares)
        left_inverse = inverse_length(own_squares - 2 * own_product + squares, rounding)
        own_cosine = (own_product - squares) * inverse * left_inverse
        # (batch,)
        cosines = products.mul_(inverse.unsqueeze(1)).mul_(sum_inverse).scatter_(1, own, own_cosine.unsqueeze(1))
        ctx.save_for_backward(
            dvectors, index, sums, cosines, inverse, sum_inverse, left_inverse, own_product, own_cosine
        )
        return cosines

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        dvectors, index, sums, cosines, inverse, sum_inverse, left_inverse, own_product, own_cosine = ctx.saved_tensors
        own = index.unsqueeze(1)
        own_gradient = gradient.gather(1, own).squeeze(1)
        a, z = own_gradient * inverse * left_inverse, own_gradient * own_cosine * left_inverse**2
        # (batch,)
        matrix = (gradient * inverse.unsqueeze(1)).mul_(sum_inverse).scatter_(1, own, (a + z).unsqueeze(1))
        # (batch, speakers): H
        of_sums = matrix.T @ dvectors
        # (speakers, emb)
        zeros = torch.zeros_like(sum_inverse)
        others = torch.linalg.vecdot(sums, of_sums).index_add_(0, index, (a + z) * own_product, alpha=-1)
        # (speakers,): the sum of G C over the d-vectors of other speakers
        of_sums.addcmul_(sums, (others * sum_inverse**2 + zeros.index_add_(0, index, z)).unsqueeze(1), value=-1)
        along = (gradient * cosines).sum(dim=1) * inverse**2 + 2 * a + z
        # (batch,): the sum runs over the own speaker, too
        of_dvectors = (matrix @ sums).addcmul_(dvectors, along.unsqueeze(1), value=-1)
        return of_dvectors.add_(of_sums.index_select(0, index)), None, None


def inverse_length(squares: Tensor, floor: Tensor | float = 0.0) -> Tensor:
    """1 / length from its square; 0, with no gradient, where the square is not above ``floor``.

    >>> inverse_length(torch.tensor([4.0, 0.0])).tolist()
    [0.5, 0.0]
    """
    return torch.where(squares > floor, squares, torch.inf).rsqrt()


def softmax_losses(similarities: Tensor, index: Tensor) -> Tensor:
    """Equation 6 with its sign turned, so that it is minimised: (batch, speakers) and (batch,) -> (batch,).

    log Σ exp(S_k) - S_j = softplus(log Σ_{k≠j} exp(S_k) - S_j), which keeps its digits where the loss is near 0.

    >>> round(softmax_losses(torch.zeros(1, 2), torch.tensor([0])).item(), 4)  # log 2: no better than chance
    0.6931
    """
    own, others = _own_and_others(similarities, index)
    return nn.functional.softplus(others.logsumexp(dim=1) - own, threshold=40.0)


def contrast_losses(similarities: Tensor, index: Tensor) -> Tensor:
    """Equation 7: the own centroid against the most similar other one: (batch, speakers), (batch,) -> (batch,).

    >>> contrast_losses(torch.zeros(1, 2), torch.tensor([0])).item()
    1.0
    """
    own, others = _own_and_others(similarities, index)
    # 1 - sigmoid(x) = sigmoid(-x); and the sigmoid grows with its argument, so the largest similarity has the largest.
    return torch.sigmoid(-own) + torch.sigmoid(others.amax(dim=1))


def _own_and_others(similarities: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    own = index.unsqueeze(1)
    return similarities.gather(1, own).squeeze(1), similarities.scatter(1, own, -torch.inf)


# ------------------------------------------------------------------------------------------------------- the batch


def speaker_index(dvectors: Tensor, speakers: Tensor | None, loss: str = "GE2E") -> tuple[Tensor, Tensor, int]:
    """A batch in its flat form, checked: unit d-vectors (batch, emb), the speaker of each from 0 on (batch,), and N.

    ``dvectors`` are (speakers, utterances, emb), with ``speakers`` None or one distinct label a speaker; or (batch,
    emb) with one label an utterance, in any order and number. Those of other lengths than 1 are brought to it
    (equation 4). ``loss`` is the name in errors.

    Raises
    ------
    SpeechtoolsError
        The shapes do not go together, a value is not finite, there is one speaker only, a speaker has a single
        utterance, or a label stands for two speakers.

    Example
    -------
    >>> _, index, num_speakers = speaker_index(torch.eye(4), torch.tensor([7, 3, 7, 3]))
    >>> index.tolist(), num_speakers
    ([1, 0, 1, 0], 2)
    """
    check_labels(speakers)
    if dvectors.dim() == 3 and (speakers is None or speakers.shape == dvectors.shape[:1]):
        num_speakers, fewest, _ = dvectors.shape
        labels = range(num_speakers) if speakers is None else speakers.tolist()
        repeated = sorted({label for label in labels if labels.count(label) > 1}) if speakers is not None else []
        if repeated:
            raise SpeechtoolsError(
                f"The speakers {labels} are not distinct: {repeated[0]} comes {labels.count(repeated[0])} times, and "
                "would be pushed away from itself. Draw every speaker of a batch once."
            )
        index = torch.arange(num_speakers, device=dvectors.device).repeat_interleave(fewest)
        scarce = labels[0] if num_speakers else None
        dvectors = dvectors.flatten(0, 1)
    elif dvectors.dim() == 2 and speakers is not None and speakers.shape == dvectors.shape[:1]:
        labels, index, counts = torch.unique(speakers.to(dvectors.device), return_inverse=True, return_counts=True)
        num_speakers = len(labels)
        fewest, scarce = (int(counts.min()), int(labels[counts.argmin()])) if num_speakers else (0, None)
    else:
        given = None if speakers is None else tuple(speakers.shape)
        raise SpeechtoolsError(
            f"d-vectors of shape {tuple(dvectors.shape)} with speakers of shape {given} are no batch: give (speakers, "
            "utterances, emb) with one label a speaker or none, or (batch, emb) with one label an utterance."
        )
    if num_speakers < 2:
        raise SpeechtoolsError(
            f"{loss} tells speakers from each other, so a batch needs at least 2; got {num_speakers}. "
            "Raise speakers_per_batch."
        )
    if fewest < 2:
        raise SpeechtoolsError(
            f"{loss} leaves one utterance out of its own centroid, so a speaker needs at least 2; got {fewest} of "
            f"speaker {scarce}. Raise utterances_per_speaker."
        )
    return unit(dvectors), index, num_speakers


def check_labels(speakers: Tensor | None) -> None:
    """Raises SpeechtoolsError where the labels are no integers.

    >>> check_labels(torch.tensor([0, 0, 1, 1]))
    """
    if speakers is not None and (speakers.is_floating_point() or speakers.dtype == torch.bool):
        raise SpeechtoolsError(
            f"The labels of the speakers are {speakers.dtype}: they must be integers. Number the speakers, and give "
            "each utterance the number of its own."
        )


def unit(dvectors: Tensor) -> Tensor:
    """Equation 4: d-vectors (batch, emb) of length 1. Those of an encoder have it and come back as they are.

    Raises SpeechtoolsError where a value is not finite.

    >>> unit(torch.tensor([[3.0, 4.0]]))
    tensor([[0.6000, 0.8000]])
    """
    squares = torch.linalg.vecdot(dvectors, dvectors)
    if bool(((squares.detach() - 1).abs() <= UNIT_TOLERANCE).all()):
        return dvectors
    bad = int((~squares.isfinite()).sum())
    if bad:
        raise SpeechtoolsError(
            f"{bad} of {len(dvectors)} d-vectors hold NaN, infinite or far too large values: the training has "
            "diverged, or a recording is damaged. Lower the learning rate, or clip the gradient."
        )
    return dvectors * inverse_length(squares).unsqueeze(1)


# ------------------------------------------------------------------------------------------------------ the modules


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
    (10, -5) and scales the gradients of both by 0.01 (section 3): here, not by a hook, so that a copy does it, too.

    Example
    -------
    >>> round(ScaleAndOffset()(torch.tensor(0.7)).item(), 5)
    2.0
    """

    def __init__(self, init_weight: float = 10.0, init_bias: float = -5.0, gradient_scale: float = 0.01):
        super().__init__()
        if not 0 < init_weight < math.inf:
            raise ConfigError(f"init_weight={init_weight} must be positive: a larger cosine means more alike.")
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
    """``reduction`` itself; raises ConfigError where it is unknown.

    >>> check_reduction("sum")
    'sum'
    """
    if reduction not in ("sum", "mean"):
        raise ConfigError(f"reduction={reduction!r} is unknown: it is 'sum' (equation 10) or 'mean'.")
    return reduction


class CentroidLoss(nn.Module):
    """What GE2E and TE2E share: w and b, the reduction, and at least float32, whatever autocast says.

    A subclass has a ``name`` for errors, and ``losses(dvectors, index, num_speakers)`` with what ``speaker_index``
    gives: one loss for each utterance or tuple.

    Example
    -------
    >>> class Distances(CentroidLoss):
    ...     name = "distances"
    ...     def losses(self, dvectors, index, num_speakers):
    ...         return 1 - self.similarity(dvectors @ dvectors.T).diagonal()
    >>> Distances(init_weight=1.0, init_bias=0.0, reduction="mean")(torch.eye(4).view(2, 2, 4)).item()
    0.0
    """

    name: str

    def __init__(
        self,
        init_weight: float = 10.0,
        init_bias: float = -5.0,
        gradient_scale: float = 0.01,
        reduction: str = "sum",
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
        """One loss for each utterance or tuple: what a subclass is about."""
        raise SpeechtoolsError(f"{type(self).__name__} does not define losses(dvectors, index, num_speakers). Add it.")

    def forward(self, dvectors: Tensor, speakers: Tensor | None = None) -> Tensor:
        """d-vectors (speakers, utterances, emb), or (batch, emb) and a label each -> the loss, a scalar."""
        with torch.autocast(dvectors.device.type, enabled=False):
            dvectors = dvectors if dvectors.dtype == torch.float64 else dvectors.float()
            losses = self.losses(*speaker_index(dvectors, speakers, self.name))
            return losses.sum() if self.reduction == "sum" else losses.mean()


@plugin("speaker-loss/ge2e-softmax")
class GE2ESoftmax(CentroidLoss):
    """GE2E with the softmax over all speakers (equations 5, 6, 8, 9, 10); by the paper the better for free text.

    Parameters
    ----------
    init_weight, init_bias : float
        Where w and b start (section 3: 10 and -5).
    gradient_scale : float
        Factor on the gradients of both.
    reduction : str
        ``"sum"`` over the utterances, as equation 10, or ``"mean"``.

    Shape
    -----
    dvectors (speakers, utterances, emb), speakers None or (speakers,) -> scalar; or
    dvectors (batch, emb), speakers (batch,) -> scalar, for unequal numbers of utterances

    Raises
    ------
    SpeechtoolsError
        In ``forward``: a batch that :func:`speaker_index` refuses.

    Example
    -------
    >>> loss = GE2ESoftmax()
    >>> alike = torch.eye(3).unsqueeze(1).repeat(1, 4, 1)  # three speakers, four equal utterances each
    >>> loss(alike).item() < loss(torch.randn(3, 4, 3)).item()
    True
    """

    name = "GE2E"

    def losses(self, dvectors: Tensor, index: Tensor, num_speakers: int) -> Tensor:
        """Equation 6, turned, for every utterance: (batch,)."""
        return softmax_losses(self.similarity(cosines(dvectors, index, num_speakers)), index)


@plugin("speaker-loss/ge2e-contrast")
class GE2EContrast(CentroidLoss):
    """GE2E with the most similar other speaker alone (equations 5, 7, 8, 9, 10); by the paper the better for keywords.

    Arguments, shapes and errors as of ``speaker-loss/ge2e-softmax``.

    Example
    -------
    >>> GE2EContrast(reduction="mean")(torch.eye(2).unsqueeze(1).repeat(1, 3, 1)).item() < 0.02
    True
    """

    name = "GE2E"

    def losses(self, dvectors: Tensor, index: Tensor, num_speakers: int) -> Tensor:
        """Equation 7 for every utterance: (batch,)."""
        return contrast_losses(self.similarity(cosines(dvectors, index, num_speakers)), index)
