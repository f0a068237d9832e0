"""The training objective of Quality-Net (Fu et al., Interspeech 2018, equations 1 and 2)."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from speechtools.audio.frames import frame_counts, length_mask
from speechtools.core.errors import ConfigError
from speechtools.measures import Measure

#: Widest range on which a point counts as one of raw PESQ, for which the paper chose its constants.
PESQ_RANGE = 5.0


def point_of(measure: Measure) -> float:
    """Points on the scale of a measure that count as one point of PESQ: 1, or more on a scale wider than PESQ's.

    Examples
    --------
    >>> from speechtools.measures import find_measure
    >>> point_of(find_measure("raw_nb")), point_of(find_measure("stoi")), point_of(find_measure("si-sdr"))
    (1.0, 1.0, 40.0)
    """
    return point_of_range(measure.minimum, measure.maximum)


def point_of_range(low: float, high: float) -> float:
    """Return the same for a scale from ``low`` to ``high``: a fifth of it, but at least 1.

    >>> point_of_range(-20.0, 40.0)
    12.0
    """
    return max(1.0, (high - low) / PESQ_RANGE)


def start_in_range(net: nn.Module, measure: Measure, labels: Sequence[float]) -> None:
    """Initialise the output layer ``net.output`` for labels (utterances,) on a scale unlike PESQ's.

    The bias becomes their mean, and the weights are multiplied by their standard deviation, which for PESQ is about 1:
    the learning rates of the recipe change scores of that size. Models for PESQ and for mean opinion scores begin as
    they are built, and so do models without such a layer.
    """
    is_like_pesq = measure.minimum < 2.5 < measure.maximum and point_of(measure) == 1.0
    output = getattr(net, "output", None)
    if is_like_pesq or not isinstance(output, nn.Linear) or output.out_features != 1:
        return
    start_output(output, labels)


def start_output(output: nn.Linear, labels: Sequence[float]) -> None:
    """Initialise an output layer for labels (utterances,): by their mean, and their standard deviation if it is not 0.

    >>> output = nn.Linear(3, 1)
    >>> start_output(output, [1.0, 3.0])
    >>> output.bias.item()
    2.0
    """
    with torch.no_grad():
        output.weight.mul_(float(np.std(labels)) or 1.0)
        output.bias.fill_(float(np.mean(labels)))


def point_errors(predicted: dict[str, Tensor], targets: Tensor, points: dict[str, float]) -> Tensor:
    """Errors (batch, measures) of further scores in points of PESQ; 0, without a gradient, where a target is unknown.

    Parameters
    ----------
    predicted : dict
        Scores (batch,) by measure.
    targets : Tensor
        (batch, measures), NaN where unknown.
    points : dict
        What :func:`point_of` returns, by measure, in the order of the targets.

    Examples
    --------
    >>> point_errors({"mos": torch.tensor([3.0, 4.0])}, torch.tensor([[2.0], [float("nan")]]), {"mos": 1.0}).tolist()
    [[1.0], [0.0]]
    """
    scores = torch.stack([predicted[name] for name in points], dim=1)
    errors = scores - torch.where(targets.isnan(), scores.detach(), targets.to(scores))
    return errors / torch.tensor(list(points.values())).to(scores)


def frame_weight(target: Tensor, q_max: float) -> Tensor:
    """Equation 2: ``10 ** (target - q_max)``, 1 for a perfect utterance and ten times less for each point below.

    >>> import torch
    >>> frame_weight(torch.tensor([4.5, 3.5]), 4.5).tolist()
    [1.0, 0.10000000149011612]
    """
    return 10.0 ** (target - q_max)


def cause_objective(logits: Tensor, causes: Tensor) -> Tensor:
    """Logistic loss of the presence of causes, averaged over the frames for which it is known.

    Parameters
    ----------
    logits, causes : Tensor
        (batch, time, causes); ``causes`` are 1 where one is present, -1 where it is absent, 0 where unknown, and
        in the padding.

    Examples
    --------
    >>> cause_objective(torch.zeros(1, 2, 1), torch.tensor([[[1.0], [0.0]]])).item()
    0.6931471824645996
    """
    known = causes != 0
    losses = nn.functional.softplus(-causes * logits)
    # (batch, time, causes)
    return (losses * known).sum() / known.sum().clamp(min=1)


def contrast_objective(frame_scores: Tensor, causes: Tensor, margin: float = 0.5, max_gap: int = 16) -> Tensor:
    """Logistic loss of frames with a cause that do not score below the frames of the same utterance without one.

    The mean of all frames remains free, so that what a fault costs is charged to the frames that have it, and the score
    of the utterance stays what equation 1 makes it. Utterances that have a cause throughout, or none, contribute
    nothing.

    Parameters
    ----------
    frame_scores : Tensor
        (batch, time)
    causes : Tensor
        (batch, time, causes), those of :func:`cause_objective`.
    margin : float
        Points by which faulty frames should be below the mean of the others, and the others above the mean of the
        faulty ones.
    max_gap : int
        So many frames between two with a cause belong to the same fault: speech between two lost packets.

    Returns
    -------
    Tensor
        Mean over the utterances with both kinds of frames, a scalar; 0 if there are none.

    Examples
    --------
    >>> causes = torch.tensor([[[-1.0], [1.0]]])
    >>> right, wrong = torch.tensor([[4.0, 1.0]]), torch.tensor([[1.0, 4.0]])
    >>> bool(contrast_objective(right, causes) < 0.01), bool(contrast_objective(wrong, causes) > 3)
    (True, True)
    """
    faulty = _without_gaps((causes == 1).any(dim=2), max_gap)
    faultless = (causes == -1).all(dim=2) & ~faulty
    # (batch, time)
    low, high = (_mean_where(frame_scores, frames) for frames in (faulty, faultless))
    # (batch, 1)
    losses = _mean_where(_logistic(frame_scores - high + margin), faulty)
    losses = (losses + _mean_where(_logistic(low - frame_scores + margin), faultless)) / 2
    both = faulty.any(dim=1, keepdim=True) & faultless.any(dim=1, keepdim=True)
    return (losses * both).sum() / both.sum().clamp(min=1)


def rank_objective(scores: Tensor, target: Tensor, min_difference: float = 0.1) -> Tensor:
    """Logistic loss of pairs of utterances in the wrong order (RankNet: Burges et al., ICML 2005, section 3).

    Parameters
    ----------
    scores, target : Tensor
        Predicted and true utterance scores (batch,).
    min_difference : float
        Pairs whose true scores are closer do not count.

    Returns
    -------
    Tensor
        Mean over the pairs, a scalar; 0 if there are none.

    Examples
    --------
    >>> true = torch.tensor([1.0, 4.0])
    >>> rank_objective(torch.tensor([2.0, 2.0]), true).item()
    0.6931471824645996
    """
    better = target.unsqueeze(1) - target.unsqueeze(0) > min_difference
    # (batch, batch): the row is better than the column
    losses = nn.functional.softplus(scores.unsqueeze(0) - scores.unsqueeze(1))
    return (losses * better).sum() / better.sum().clamp(min=1)


def _logistic(differences: Tensor, temperature: float = 0.5) -> Tensor:
    return temperature * nn.functional.softplus(differences / temperature)


def _mean_where(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean of the chosen values (batch, time) of each utterance: (batch, 1), 0 where none is chosen."""
    return (values * chosen).sum(dim=1, keepdim=True) / chosen.sum(dim=1, keepdim=True).clamp(min=1)


def _without_gaps(frames: Tensor, max_gap: int) -> Tensor:
    """Fill gaps of up to ``max_gap`` frames between true ones: booleans (batch, time)."""
    if not max_gap:
        return frames
    reach = nn.functional.pad(frames.float().unsqueeze(1), (max_gap, max_gap))
    grown = nn.functional.max_pool1d(reach, max_gap + 1, stride=1)
    # (batch, 1, time + max_gap): true if one of the max_gap + 1 frames up to there is
    return -nn.functional.max_pool1d(-grown, max_gap + 1, stride=1).squeeze(1) > 0


def quality_objective(
    scores: Tensor,
    frame_scores: Tensor,
    target: Tensor,
    lens: Tensor,
    q_max: float = 4.5,
    alpha: float = 1.0,
    frame_reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """Equation 1: squared error of the utterance score, plus the conditional constraint on the frame scores.

    Parameters
    ----------
    scores, target : Tensor
        Predicted and true utterance scores (batch,).
    frame_scores : Tensor
        Predicted frame scores (batch, time), with relative lengths ``lens`` (batch,).
    q_max : float
        Best score of the scale: 4.5 for raw PESQ.
    alpha : float
        Factor on equation 2: 1 is the paper's objective, 0 its "without constraint" (section 3.2).
    frame_reduction : str
        ``"sum"`` over the frames, as equation 1 is printed; or ``"mean"``, as in the authors' released code, which
        gives the constraint the same weight for long and short utterances.

    Returns
    -------
    Tensor
        Mean over the batch, a scalar.

    Examples
    --------
    >>> import torch
    >>> true, frames = torch.tensor([4.5]), torch.full((1, 10), 4.0)
    >>> quality_objective(true, frames, true, torch.ones(1), alpha=0.0).item()
    0.0
    >>> quality_objective(true, frames, true, torch.ones(1)).item()  # ten frames, each half a point away
    2.5
    """
    if frame_reduction not in ("sum", "mean"):
        raise ConfigError(f"Unknown frame_reduction={frame_reduction!r}. Choose 'sum' (equation 1) or 'mean'.")
    loss = (scores - target) ** 2
    # (batch,)
    if alpha:
        counts = frame_counts(frame_scores, lens)
        errors = (frame_scores - target.unsqueeze(1)) ** 2 * length_mask(counts, frame_scores.shape[1])
        # (batch, time)
        frames = errors.sum(dim=1)
        if frame_reduction == "mean":
            frames = frames / counts
        loss = loss + alpha * frame_weight(target, q_max) * frames
    return loss.mean()
