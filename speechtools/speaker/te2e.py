"""Tuple-based end-to-end loss (GE2E paper, 1.2, equations 1 to 3; Heigold et al. 2016); kind ``speaker-loss``."""

import torch
from torch import Tensor

from speechtools.core.registry import plugin
from speechtools.speaker.losses import CentroidLoss, inverse_length


def tuples(num_speakers: int) -> tuple[list[int], list[bool]]:
    """Whose evaluation utterance each speaker's enrolment is compared with, and whether the tuple is positive.

    Speakers 0, 2, 4 … are compared with their own utterance (positive tuples), each of the others with that of the next
    other one (negative tuples), so that every utterance is used once. A single other one takes speaker 0's.

    >>> tuples(6)
    ([0, 3, 2, 5, 4, 1], [True, False, True, False, True, False])
    """
    evaluated = list(range(num_speakers))
    others = evaluated[1::2]
    evaluated[1::2] = [*others[1:], others[0]] if len(others) > 1 else [0] * len(others)
    return evaluated, [row % 2 == 0 for row in range(num_speakers)]


def tuple_cosines(dvectors: Tensor, index: Tensor, num_speakers: int) -> tuple[Tensor, Tensor]:
    """Cosine of every tuple's evaluation utterance with its enrolment centroid (equations 1 and 2).

    A speaker's first utterance in the batch is evaluated, all others are enrolled. The speakers form tuples in the
    order in which they appear in the batch.

    Parameters
    ----------
    dvectors : Tensor
        (batch, emb), of any length. The cosine with a vector of length 0 is 0.
    index : Tensor
        The speaker of each, from 0 to ``num_speakers`` - 1, (batch,).

    Returns
    -------
    cosines : Tensor
        (speakers,), in the order of the batch
    positive : Tensor
        (speakers,), booleans

    Examples
    --------
    >>> alike = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    >>> tuple_cosines(alike, torch.tensor([0, 0, 1, 1]), 2)  # the second tuple has another speaker's utterance
    (tensor([1., 0.]), tensor([ True, False]))
    """
    positions = torch.arange(len(index), device=index.device)
    first = positions.new_full((num_speakers,), len(index)).scatter_reduce(0, index, positions, "amin")
    # (speakers,): the position of every speaker's first utterance
    enrolled = dvectors.new_zeros(num_speakers, dvectors.shape[1])
    enrolled = enrolled.index_add(0, index, dvectors.index_fill(0, first, 0.0))
    # (speakers, emb): along the centroid
    first, order = first.sort()
    enrolled = enrolled[order]
    rows, positive = tuples(num_speakers)
    evaluated = dvectors[first[rows]]
    # (speakers, emb)
    dot = torch.linalg.vecdot
    lengths = inverse_length(dot(evaluated, evaluated)) * inverse_length(dot(enrolled, enrolled))
    return dot(evaluated, enrolled) * lengths, torch.tensor(positive, device=index.device)


def tuple_losses(similarities: Tensor, positive: Tensor) -> Tensor:
    """Equation 3, negated: 1 - sigmoid for positive tuples, the sigmoid for negative ones.

    As printed, δσ(s) + (1 - δ)(1 - σ(s)), it grows with the similarity of the same speaker, which should be large. This
    is δ(1 - σ(s)) + (1 - δ)σ(s). (speakers,) and booleans (speakers,) -> (speakers,)

    >>> [round(loss, 3) for loss in tuple_losses(torch.tensor([5.0, 5.0]), torch.tensor([True, False])).tolist()]
    [0.007, 0.993]
    """
    return torch.sigmoid(torch.where(positive, -similarities, similarities))


@plugin("speaker-loss/te2e")
class TE2E(CentroidLoss):
    """TE2E of N speakers with M utterances each: N tuples, alternately positive and negative (equations 1 to 3).

    A tuple has one utterance to evaluate and M - 1 to enrol. A batch costs the encoder as much as with GE2E, and gives
    N comparisons instead of N x N x M.

    Parameters
    ----------
    init_weight, init_bias, gradient_scale : float
        For w and b of equation 2, as in ``speaker-loss/ge2e-softmax``.
    reduction : str
        ``"sum"`` over the tuples or ``"mean"``.

    Shape
    -----
    dvectors (speakers, utterances, emb), speakers None or (speakers,) -> scalar; or
    dvectors (batch, emb), speakers (batch,) -> scalar

    Raises
    ------
    SpeechtoolsError
        In ``forward``: see :func:`speechtools.speaker.losses.speaker_index`.

    Examples
    --------
    >>> TE2E()(torch.eye(4).unsqueeze(1).repeat(1, 3, 1)).item() < 0.1
    True
    """

    name = "TE2E"

    def losses(self, dvectors: Tensor, index: Tensor, num_speakers: int) -> Tensor:
        """Equation 3, negated, for every tuple: (speakers,)."""
        cosines, positive = tuple_cosines(dvectors, index, num_speakers)
        return tuple_losses(self.similarity(cosines), positive)
