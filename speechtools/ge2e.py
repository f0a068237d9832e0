"""The generalized end-to-end loss (GE2E paper, section 2.1), kind ``loss``: softmax and contrast.

A batch is N speakers with M utterances each, on average. Every utterance is compared with the centroids of all
speakers, with its own speaker's centroid made without it.
"""

import torch
from torch import Tensor, nn

from speechtools.errors import ConfigError, SpeechtoolsError
from speechtools.registry import plugin


class _ScaledGradient(torch.autograd.Function):
    """The identity, whose gradient is multiplied by a factor."""

    @staticmethod
    def forward(ctx, value, factor):
        ctx.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.factor, None


class ScaleAndOffset(nn.Module):
    """The learnable w and b of equations 2 and 5: ``w * cosine + b``, with w > 0 by construction.

    ``w`` is the softplus of a parameter, which at 10 has almost the same gradient as w itself. The paper starts with
    (10, -5) and scales the gradients of both by 0.01 (section 3).
    """

    def __init__(self, init_weight: float = 10.0, init_bias: float = -5.0, gradient_scale: float = 0.01):
        super().__init__()
        if init_weight <= 0:
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
        weight = _ScaledGradient.apply(self.weight, self.gradient_scale)
        bias = _ScaledGradient.apply(self.bias, self.gradient_scale)
        return weight.to(cosines.dtype) * cosines + bias.to(cosines.dtype)


def speaker_index(dvectors: Tensor, speakers: Tensor | None) -> tuple[Tensor, Tensor, int]:
    """A batch in its flat form, checked: unit d-vectors (batch, emb), the speaker of each from 0 on (batch,), and N.

    ``dvectors`` are (speakers, utterances, emb), with ``speakers`` None or one distinct label a speaker; or (batch,
    emb) with one label an utterance, in any order and number. They are brought to length 1 (equation 4), which they
    usually have.

    Raises
    ------
    SpeechtoolsError
        The shapes do not go together, a value is not finite, there is one speaker only, a speaker has a single
        utterance, or a label stands for two speakers.
    """
    if dvectors.dim() == 3:
        num_speakers, num_utterances, _ = dvectors.shape
        if speakers is not None:
            if speakers.shape != (num_speakers,):
                raise SpeechtoolsError(
                    f"{num_speakers} speakers but labels of shape {tuple(speakers.shape)}: give one label a speaker."
                )
            if len(torch.unique(speakers)) < num_speakers:
                raise SpeechtoolsError(
                    f"The speakers {speakers.tolist()} are not distinct: a speaker twice in a batch would be pushed "
                    "away from itself. Draw every speaker of a batch once."
                )
        index = torch.arange(num_speakers, device=dvectors.device).repeat_interleave(num_utterances)
        dvectors, fewest = dvectors.flatten(0, 1), num_utterances
        names = range(num_speakers)
    elif dvectors.dim() == 2 and speakers is not None and speakers.shape == (len(dvectors),):
        names, index, counts = torch.unique(speakers, return_inverse=True, return_counts=True)
        num_speakers = len(names)
        fewest, names = (int(counts.min()), names[counts < 2].tolist()) if num_speakers else (0, [])
    else:
        given = None if speakers is None else tuple(speakers.shape)
        raise SpeechtoolsError(
            f"d-vectors of shape {tuple(dvectors.shape)} with speakers of shape {given} are no batch: give (speakers, "
            "utterances, emb), or (batch, emb) and the speaker of each utterance, (batch,)."
        )
    if num_speakers < 2:
        raise SpeechtoolsError(
            f"GE2E tells speakers from each other, so a batch needs at least 2; got {num_speakers}. "
            "Raise speakers_per_batch."
        )
    if fewest < 2:
        raise SpeechtoolsError(
            f"GE2E leaves one utterance out of its own centroid, so a speaker needs at least 2; got {fewest} of "
            f"speaker {list(names)[0]}. Raise utterances_per_speaker."
        )
    if not torch.isfinite(dvectors).all():
        raise SpeechtoolsError(
            "The d-vectors hold NaN or infinite values: the training has diverged, or a recording is damaged. "
            "Lower the learning rate, or clip the gradient."
        )
    return normalized(dvectors), index, num_speakers


def cosines(dvectors: Tensor, index: Tensor, num_speakers: int) -> Tensor:
    """Cosine of every d-vector with every centroid, its own speaker's made without it (equations 1, 8 and 9).

    In closed form: with the sum s of a speaker's d-vectors, its centroid points along s, and without e along s - e. So
    one product of all d-vectors with all sums gives everything.

    Arguments
    ---------
    dvectors : Tensor
        (batch, emb), each of length 1.
    index : Tensor
        Speaker of each, from 0 to ``num_speakers`` - 1, (batch,).

    Returns
    -------
    Tensor
        (batch, speakers)
    """
    sums = dvectors.new_zeros(num_speakers, dvectors.shape[1]).index_add(0, index, dvectors)
    # (speakers, emb)
    others = dvectors @ normalized(sums).T
    # (batch, speakers)
    left = sums[index] - dvectors
    # (batch, emb): by subtraction, since ‖s‖² - 2 e·s + 1 loses digits where the others nearly cancel
    own = (dvectors * normalized(left)).sum(dim=1, keepdim=True)
    # (batch, 1)
    return others.scatter(1, index.unsqueeze(1), own)


def normalized(vectors: Tensor) -> Tensor:
    """Vectors of length 1 (equation 4); a vector of length 0 stays 0."""
    return nn.functional.normalize(vectors, dim=-1, eps=torch.finfo(vectors.dtype).tiny ** 0.5)


def softmax_losses(similarities: Tensor, index: Tensor) -> Tensor:
    """Equation 6 with its sign turned, so that it is minimised: (batch, speakers) and (batch,) -> (batch,)."""
    return nn.functional.cross_entropy(similarities, index, reduction="none")


def contrast_losses(similarities: Tensor, index: Tensor) -> Tensor:
    """Equation 7: the own centroid against the most similar other one: (batch, speakers), (batch,) -> (batch,)."""
    own = index.unsqueeze(1)
    positive = torch.sigmoid(similarities.gather(1, own)).squeeze(1)
    # The sigmoid grows with its argument, so the largest similarity has the largest.
    hardest = similarities.scatter(1, own, -torch.inf).amax(dim=1)
    return 1 - positive + torch.sigmoid(hardest)


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """``"sum"`` over the utterances, as equation 10, or their ``"mean"``."""
    return losses.sum() if reduction == "sum" else losses.mean()


def check_reduction(reduction: str) -> str:
    """``reduction`` itself; raises ConfigError where it is unknown."""
    if reduction not in ("sum", "mean"):
        raise ConfigError(f"reduction={reduction!r} is unknown: it is 'sum' (equation 10) or 'mean'.")
    return reduction


class _GE2E(nn.Module):
    def __init__(self, init_weight: float, init_bias: float, gradient_scale: float, reduction: str):
        super().__init__()
        self.similarity = ScaleAndOffset(init_weight, init_bias, gradient_scale)
        self.reduction = check_reduction(reduction)

    def forward(self, dvectors: Tensor, speakers: Tensor | None = None) -> Tensor:
        with torch.autocast(dvectors.device.type, enabled=False):
            dvectors = dvectors if dvectors.dtype == torch.float64 else dvectors.float()
            dvectors, index, num_speakers = speaker_index(dvectors, speakers)
            similarities = self.similarity(cosines(dvectors, index, num_speakers))
            # (batch, speakers)
            return reduced(self.losses(similarities, index), self.reduction)


@plugin("loss/ge2e-softmax")
class GE2ESoftmax(_GE2E):
    """GE2E with the softmax over all speakers of the batch (equations 5, 6, 8, 9, 10): better for free text.

    Arguments
    ---------
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

    Example
    -------
    >>> loss = GE2ESoftmax()
    >>> alike = torch.eye(3).unsqueeze(1).repeat(1, 4, 1)  # three speakers, four equal utterances each
    >>> loss(alike).item() < loss(torch.randn(3, 4, 3)).item()
    True
    """

    losses = staticmethod(softmax_losses)

    def __init__(
        self,
        init_weight: float = 10.0,
        init_bias: float = -5.0,
        gradient_scale: float = 0.01,
        reduction: str = "sum",
    ):
        super().__init__(init_weight, init_bias, gradient_scale, reduction)


@plugin("loss/ge2e-contrast")
class GE2EContrast(_GE2E):
    """GE2E with the most similar other speaker alone (equations 5, 7, 8, 9, 10): better for keywords.

    Arguments, shapes and errors as of ``loss/ge2e-softmax``.

    Example
    -------
    >>> GE2EContrast(reduction="mean")(torch.eye(2).unsqueeze(1).repeat(1, 3, 1)).item() < 0.02
    True
    """

    losses = staticmethod(contrast_losses)

    def __init__(
        self,
        init_weight: float = 10.0,
        init_bias: float = -5.0,
        gradient_scale: float = 0.01,
        reduction: str = "sum",
    ):
        super().__init__(init_weight, init_bias, gradient_scale, reduction)
