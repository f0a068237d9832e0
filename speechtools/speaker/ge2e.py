"""The generalized end-to-end loss (GE2E paper, section 2.1): softmax and contrast.

Every utterance of a batch is compared with the centroids of all speakers, and with that of its own speaker computed
without it.
"""

from typing import Any

import torch
from torch import Tensor, nn

from speechtools.core.registry import plugin
from speechtools.speaker.losses import CentroidLoss, inverse_length


def cosines(dvectors: Tensor, index: Tensor, num_speakers: int) -> Tensor:
    """Cosine of every d-vector with every centroid, that of its own speaker without it (equations 1, 8 and 9).

    In closed form: with the sum s of a speaker's d-vectors, the centroid points along s, and without e along s - e. One
    product of all d-vectors with all sums gives everything: e·(s - e) = e·s - e·e, and ‖s - e‖² = ‖s‖² - 2 e·s + e·e.
    In float32, a centroid without e that is shorter than about 1/250 of a d-vector is lost in rounding.

    Parameters
    ----------
    dvectors : Tensor
        (batch, emb), of any length. The cosine with a vector of length 0 is 0, and no gradient is NaN.
    index : Tensor
        The speaker of each, from 0 to ``num_speakers`` - 1, (batch,).
    num_speakers : int
        N.

    Returns
    -------
    Tensor
        (batch, speakers); differentiable once.

    Examples
    --------
    >>> dvectors = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [-2.0, 0.0]])
    >>> [[round(c, 3) for c in row] for row in cosines(dvectors, torch.tensor([0, 0, 1, 1]), 2).tolist()]
    [[0.0, -1.0], [0.0, 0.0], [-0.707, 1.0], [-0.707, 1.0]]
    """
    return _Cosines.apply(dvectors, index, num_speakers)


class _Cosines(torch.autograd.Function):
    """``cosines`` with its gradient in closed form, which takes less time and memory than autograd's.

    Backward, G is the gradient with respect to the cosines C; g and c are the entries of the own speaker; l = s - e:

    - for another speaker, C = e·s / (‖e‖‖s‖), so dC/de = s / (‖e‖‖s‖) - C e / ‖e‖², and dC/ds likewise;
    - for the own speaker, c = e·l / (‖e‖‖l‖), so dc/dl = e / (‖e‖‖l‖) - c l / ‖l‖², and dc/de at constant l likewise.
      As l = s - e, the gradient of l is added to that of s and subtracted from that of e. With a = g / (‖e‖‖l‖) and
      z = g c / ‖l‖², s gets (a + z) e - z s, and e gets (a + z) s - (2a + z) e.

    Both are products with one matrix H, which is G / (‖e‖‖s‖), with a + z in the column of the own speaker.
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
        # A vector of length 0 may have a tiny length after rounding, but has no direction.
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
        # (batch,): the sum includes the own speaker
        of_dvectors = (matrix @ sums).addcmul_(dvectors, along.unsqueeze(1), value=-1)
        return of_dvectors.add_(of_sums.index_select(0, index)), None, None


def softmax_losses(similarities: Tensor, index: Tensor) -> Tensor:
    """Equation 6, negated so that it is minimised: (batch, speakers) and (batch,) -> (batch,).

    log Σ exp(S_k) - S_j = softplus(log Σ_{k≠j} exp(S_k) - S_j), which stays precise where the loss is near 0.

    >>> round(softmax_losses(torch.zeros(1, 2), torch.tensor([0])).item(), 4)  # log 2: no better than chance
    0.6931
    """
    own, others = _own_and_others(similarities, index)
    return nn.functional.softplus(others.logsumexp(dim=1) - own, threshold=40.0)


def contrast_losses(similarities: Tensor, index: Tensor) -> Tensor:
    """Equation 7, own centroid against the most similar other one: (batch, speakers) and (batch,) -> (batch,).

    >>> contrast_losses(torch.zeros(1, 2), torch.tensor([0])).item()
    1.0
    """
    own, others = _own_and_others(similarities, index)
    # 1 - sigmoid(x) = sigmoid(-x), and the sigmoid is monotonic, so its maximum is at the largest similarity.
    return torch.sigmoid(-own) + torch.sigmoid(others.amax(dim=1))


def _own_and_others(similarities: Tensor, index: Tensor) -> tuple[Tensor, Tensor]:
    own = index.unsqueeze(1)
    return similarities.gather(1, own).squeeze(1), similarities.scatter(1, own, -torch.inf)


@plugin("speaker-loss/ge2e-softmax")
class GE2ESoftmax(CentroidLoss):
    """GE2E with a softmax over all speakers (equations 5, 6, 8, 9, 10), which the paper prefers for free text.

    Parameters
    ----------
    init_weight, init_bias : float
        Initial w and b (section 3: 10 and -5).
    gradient_scale : float
        Factor on the gradients of both.
    reduction : str
        ``"sum"`` over the utterances, as in equation 10, or ``"mean"``.

    Shape
    -----
    dvectors (speakers, utterances, emb), speakers None or (speakers,) -> scalar; or
    dvectors (batch, emb), speakers (batch,) -> scalar, for unequal numbers of utterances

    Raises
    ------
    SpeechtoolsError
        In ``forward``: see :func:`speechtools.speaker.losses.speaker_index`.

    Examples
    --------
    >>> loss = GE2ESoftmax()
    >>> alike = torch.eye(3).unsqueeze(1).repeat(1, 4, 1)  # three speakers, four equal utterances each
    >>> loss(alike).item() < loss(torch.randn(3, 4, 3)).item()
    True
    """

    name = "GE2E"

    def losses(self, dvectors: Tensor, index: Tensor, num_speakers: int) -> Tensor:
        """Equation 6, negated, for every utterance: (batch,)."""
        return softmax_losses(self.similarity(cosines(dvectors, index, num_speakers)), index)


@plugin("speaker-loss/ge2e-contrast")
class GE2EContrast(CentroidLoss):
    """GE2E with the most similar other speaker only (equations 5, 7, 8, 9, 10), which the paper prefers for keywords.

    Parameters, shapes and errors are those of ``speaker-loss/ge2e-softmax``.

    Examples
    --------
    >>> GE2EContrast(reduction="mean")(torch.eye(2).unsqueeze(1).repeat(1, 3, 1)).item() < 0.02
    True
    """

    name = "GE2E"

    def losses(self, dvectors: Tensor, index: Tensor, num_speakers: int) -> Tensor:
        """Equation 7 for every utterance: (batch,)."""
        return contrast_losses(self.similarity(cosines(dvectors, index, num_speakers)), index)
