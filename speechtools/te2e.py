"""The tuple-based end-to-end loss (GE2E paper, section 1.2, equations 1 to 3; Heigold et al. 2016), kind ``loss``."""

import torch
from torch import Tensor, nn

from speechtools.ge2e import ScaleAndOffset, check_reduction, normalized, reduced, speaker_index
from speechtools.registry import plugin


def tuples(num_speakers: int) -> tuple[list[int], list[bool]]:
    """Whose evaluation utterance meets each speaker's enrolment, and whether the tuple is positive.

    Speakers 0, 2, 4 … meet their own utterance (positive tuples). Among the others, each meets the next one's (negative
    tuples), so that every utterance is used once; where there is only one other, it meets speaker 0's.

    >>> tuples(6)
    ([0, 3, 2, 5, 4, 1], [True, False, True, False, True, False])
    """
    evaluated = list(range(num_speakers))
    others = evaluated[1::2]
    evaluated[1::2] = [*others[1:], others[0]] if len(others) > 1 else [0]
    return evaluated, [row % 2 == 0 for row in range(num_speakers)]


def tuple_cosines(dvectors: Tensor, index: Tensor, num_speakers: int) -> tuple[Tensor, Tensor]:
    """Cosine of every tuple's evaluation utterance with its enrolment centroid (equations 1 and 2).

    A speaker's first utterance of the batch is the one to evaluate, all others enrol.

    Returns
    -------
    cosines : Tensor
        (speakers,)
    positive : Tensor
        (speakers,), booleans
    """
    # The position of every speaker's first utterance.
    positions = torch.arange(len(index), device=index.device)
    first = positions.new_full((num_speakers,), len(index)).scatter_reduce(0, index, positions, "amin")
    # (speakers,)
    sums = dvectors.new_zeros(num_speakers, dvectors.shape[1]).index_add(0, index, dvectors)
    enrolled = sums - dvectors[first]
    # (speakers, emb): along the centroid
    evaluated, positive = tuples(num_speakers)
    cosines = (dvectors[first[evaluated]] * normalized(enrolled)).sum(dim=1)
    return cosines, torch.tensor(positive, device=index.device)


def tuple_losses(similarities: Tensor, positive: Tensor) -> Tensor:
    """Equation 3 with its sign turned: 1 - sigmoid for positive tuples, the sigmoid for negative ones.

    As printed the equation grows with the similarity within a speaker, though the text wants that similarity large.
    """
    return torch.sigmoid(torch.where(positive, -similarities, similarities))


@plugin("loss/te2e")
class TE2E(nn.Module):
    """TE2E over a batch of N speakers with M utterances: N tuples, positive and negative by turns (equations 1 to 3).

    Each has one utterance to evaluate and M - 1 to enrol from, so a batch costs the encoder as much as it does with
    GE2E, and gives N comparisons instead of N x N x M.

    Arguments
    ---------
    init_weight, init_bias, gradient_scale : float
        Of w and b in equation 2, as of ``loss/ge2e-softmax``.
    reduction : str
        ``"sum"`` over the tuples or ``"mean"``.

    Shape
    -----
    dvectors (speakers, utterances, emb), speakers None or (speakers,) -> scalar; or
    dvectors (batch, emb), speakers (batch,) -> scalar

    Example
    -------
    >>> TE2E()(torch.eye(4).unsqueeze(1).repeat(1, 3, 1)).item() < 0.1
    True
    """

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

    def forward(self, dvectors: Tensor, speakers: Tensor | None = None) -> Tensor:
        with torch.autocast(dvectors.device.type, enabled=False):
            dvectors = dvectors if dvectors.dtype == torch.float64 else dvectors.float()
            cosines, positive = tuple_cosines(*speaker_index(dvectors, speakers))
            return reduced(tuple_losses(self.similarity(cosines), positive), self.reduction)
