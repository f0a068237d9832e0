"""Tuple-based end-to-end loss (GE2E paper, 1.2, equations 1 to 3; Heigold et al. 2016); kind ``speaker-loss``."""

import torch
from torch import Tensor

from speechtools.core.checks import check_number
from speechtools.core.registry import plugin
from speechtools.speaker.losses import CentroidLoss, inverse_length


def tuples(num_speakers: int, swapped: bool = False) -> tuple[list[int], list[bool]]:
    """Whose evaluation utterance each speaker's enrolment is compared with, and whether the tuple is positive.

    Speakers 0, 2, 4 … are compared with their own utterance (positive tuples), each of the others with that of the next
    other one (negative tuples), so that every utterance is used once. A single other one takes that of a positive
    tuple. ``swapped``: 1, 3, 5 … are the positive ones.

    >>> tuples(6)
    ([0, 3, 2, 5, 4, 1], [True, False, True, False, True, False])
    >>> tuples(4, swapped=True)
    ([2, 1, 0, 3], [False, True, False, True])
    """
    evaluated, first = list(range(num_speakers)), 0 if swapped else 1
    others = evaluated[first::2]
    evaluated[first::2] = [*others[1:], others[0]] if len(others) > 1 else [1 - first] * len(others)
    return evaluated, [(row % 2 == 0) != swapped for row in range(num_speakers)]


def evaluated_positions(index: Tensor, num_speakers: int, number: int = 0) -> Tensor:
    """Where each speaker's utterance with a number, counted from 0 in the order of the batch, is.

    The numbers of a speaker with fewer utterances begin again at 0.

    Parameters
    ----------
    index : Tensor
        The speaker of each utterance, from 0 to ``num_speakers`` - 1, (batch,).

    Returns
    -------
    Tensor
        (speakers,) positions in the batch.

    Examples
    --------
    >>> evaluated_positions(torch.tensor([1, 0, 1, 0, 1]), 2, number=2)
    tensor([1, 4])
    """
    order = torch.argsort(index, stable=True)
    counts = torch.bincount(index, minlength=num_speakers)
    # (speakers,)
    return order[counts.cumsum(0) - counts + number % counts]


def tuple_cosines(
    dvectors: Tensor, index: Tensor, num_speakers: int, number: int = 0, swapped: bool = False
) -> tuple[Tensor, Tensor]:
    """Cosine of every tuple's evaluation utterance with its enrolment centroid (equations 1 and 2).

    One utterance of a speaker in the batch is evaluated, all others are enrolled. The speakers form tuples in the order
    in which they appear in the batch.

    Parameters
    ----------
    dvectors : Tensor
        (batch, emb), of any length. The cosine with a vector of length 0 is 0.
    index : Tensor
        The speaker of each, from 0 to ``num_speakers`` - 1, (batch,).
    number : int
        Which of a speaker's utterances is evaluated: by default the first.
    swapped : bool
        As in :func:`tuples`.

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
    chosen = evaluated_positions(index, num_speakers, number)
    # (speakers,)
    enrolled = dvectors.new_zeros(num_speakers, dvectors.shape[1])
    enrolled = enrolled.index_add(0, index, dvectors.index_fill(0, chosen, 0.0))
    # (speakers, emb): along the centroid
    order = evaluated_positions(index, num_speakers).argsort()
    chosen, enrolled = chosen[order], enrolled[order]
    rows, positive = tuples(num_speakers, swapped)
    evaluated = dvectors[chosen[rows]]
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
    tuples_per_speaker : int
        Tuples of each speaker of a batch, up to M: each evaluates the next utterance, and positive and negative ones
        alternate. They cost next to nothing, since the d-vectors are the same.

    Shape
    -----
    dvectors (speakers, utterances, emb), speakers None or (speakers,) -> scalar; or
    dvectors (batch, emb), speakers (batch,) -> scalar

    Raises
    ------
    ConfigError
        ``tuples_per_speaker`` is less than 1.
    SpeechtoolsError
        In ``forward``: see :func:`speechtools.speaker.losses.speaker_index`.

    Examples
    --------
    >>> TE2E()(torch.eye(4).unsqueeze(1).repeat(1, 3, 1)).item() < 0.1
    True
    """

    name = "TE2E"

    def __init__(
        self,
        init_weight: float = 10.0,
        init_bias: float = -5.0,
        gradient_scale: float = 0.01,
        reduction: str = "sum",
        tuples_per_speaker: int = 1,
    ):
        super().__init__(init_weight, init_bias, gradient_scale, reduction)
        check_number("tuples_per_speaker", tuples_per_speaker, 1, whole=True)
        self.tuples_per_speaker = tuples_per_speaker

    def losses(self, dvectors: Tensor, index: Tensor, num_speakers: int) -> Tensor:
        """Equation 3, negated, for every tuple: (tuples_per_speaker * speakers,)."""
        losses = []
        for number in range(self.tuples_per_speaker):
            cosines, positive = tuple_cosines(dvectors, index, num_speakers, number, swapped=number % 2 == 1)
            losses.append(tuple_losses(self.similarity(cosines), positive))
        return torch.cat(losses)
