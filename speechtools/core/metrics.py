"""Figures of merit, as pure functions of numpy arrays (any array-like is taken).

Conventions
-----------
Predicted and true scores are one-dimensional and of equal length; a figure that is not defined for the data (a
correlation over fewer than two points, or of a constant) is ``nan``, never a silent zero. Non-finite input is an error.

Metrics
-------
mse, lcc, srcc : the three of the Quality-Net paper's tables (section 3.1).
auc : of two groups of scores, of which one should be the higher.
eer, min_dcf, det_curve : of speaker verification, from the scores of target and non-target trials.
"""

import numpy as np
from numpy.typing import ArrayLike

from speechtools.core.errors import SpeechtoolsError


def validate(predicted: ArrayLike, true: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 vectors of one length; raises SpeechtoolsError on other shapes and on non-finite values.

    >>> validate([1, 2], [1.0, 4.0])
    (array([1., 2.]), array([1., 4.]))
    """
    predicted, true = np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if predicted.ndim != 1 or predicted.shape != true.shape or predicted.size == 0:
        raise SpeechtoolsError(
            f"Predicted and true scores must be vectors of one length, at least 1; got shapes {predicted.shape} and "
            f"{true.shape}. Flatten them, one score an utterance."
        )
    for name, values in (("predicted", predicted), ("true", true)):
        if not np.isfinite(values).all():
            raise SpeechtoolsError(
                f"{np.count_nonzero(~np.isfinite(values))} of {values.size} {name} scores are NaN or infinite, so no "
                "figure computed from them would mean anything. Remove these utterances or mend the model."
            )
    return predicted, true


def mse(predicted: ArrayLike, true: ArrayLike) -> float:
    """Mean squared error.

    >>> mse([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    predicted, true = validate(predicted, true)
    return float(np.mean((predicted - true) ** 2))


def lcc(predicted: ArrayLike, true: ArrayLike) -> float:
    """Linear (Pearson) correlation coefficient, in [-1, 1]; nan where one side is constant.

    >>> round(lcc([1, 2, 3], [2, 4, 6]), 6)
    1.0
    """
    predicted, true = validate(predicted, true)
    if min(np.ptp(predicted), np.ptp(true)) == 0:
        return float("nan")
    from scipy import stats  # a second to import, and most commands need no correlation

    return float(stats.pearsonr(predicted, true).statistic)


def srcc(predicted: ArrayLike, true: ArrayLike) -> float:
    """Spearman's rank correlation coefficient, ties given their mean rank; nan where one side is constant.

    >>> round(srcc([1, 2, 3], [1, 10, 100]), 6)
    1.0
    """
    predicted, true = validate(predicted, true)
    if min(np.ptp(predicted), np.ptp(true)) == 0:
        return float("nan")
    from scipy import stats

    return float(stats.spearmanr(predicted, true).statistic)


# ---------------------------------------------------------------------------------------------- two groups of scores


def _validate_groups(groups: dict, unit: str, figure: str) -> list[np.ndarray]:
    """Each group as a float64 vector; raises SpeechtoolsError on an empty one and on non-finite values."""
    vectors = []
    for name, scores in groups.items():
        scores = np.asarray(scores, dtype=np.float64).ravel()
        if scores.size == 0:
            raise SpeechtoolsError(f"There are no {name} {unit}, and an {figure} needs both sides. Add such {unit}.")
        if not np.isfinite(scores).all():
            raise SpeechtoolsError(
                f"{np.count_nonzero(~np.isfinite(scores))} of {scores.size} {name} scores are NaN or infinite, so no "
                f"{figure} computed from them would mean anything. Mend the model or leave out these recordings."
            )
        vectors.append(scores)
    return vectors


def auc(higher: ArrayLike, lower: ArrayLike) -> float:
    """Area under the ROC curve: the probability that a score of the first group is above one of the second.

    Ties count half. 1 is a perfect separation, 0.5 none, and 0 one the wrong way round. It is the Mann-Whitney
    statistic, from the sum of ranks, over the number of pairs.

    Raises
    ------
    SpeechtoolsError
        A group has no scores, or a score is NaN or infinite.

    >>> auc([3.0, 4.0], [1.0, 2.0])
    1.0
    >>> auc([1.0, 3.0], [1.0])
    0.75
    """
    higher, lower = _validate_groups({"higher": higher, "lower": lower}, "scores", "AUC")
    from scipy import stats

    rank_sum = stats.rankdata(np.concatenate([higher, lower]))[: higher.size].sum()
    # The smallest that the sum can be is 1 + 2 + ... + n, with all of the second group above.
    above = rank_sum - higher.size * (higher.size + 1) / 2
    return float(above / (higher.size * lower.size))


# --------------------------------------------------------------------------------------------- speaker verification


def det_curve(target_scores: ArrayLike, nontarget_scores: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Miss and false-alarm rate at every threshold that matters: a trial is accepted where its score reaches it.

    Returns
    -------
    p_miss, p_fa, thresholds : np.ndarray
        (points,), by rising threshold: the distinct scores, and infinity, where everything is refused. Equal scores are
        accepted or refused together.

    Raises
    ------
    SpeechtoolsError
        A side has no trials, or a score is NaN or infinite.

    Example
    -------
    >>> p_miss, p_fa, thresholds = det_curve([2.0, 3.0], [1.0, 2.0])
    >>> p_miss.tolist(), p_fa.tolist(), thresholds.tolist()
    ([0.0, 0.0, 0.5, 1.0], [1.0, 0.5, 0.0, 0.0], [1.0, 2.0, 3.0, inf])
    """
    groups = {"target": target_scores, "non-target": nontarget_scores}
    targets, nontargets = map(np.sort, _validate_groups(groups, "trials", "error rate"))
    thresholds = np.append(np.unique(np.concatenate([targets, nontargets])), np.inf)
    p_miss = np.searchsorted(targets, thresholds, side="left") / targets.size
    p_fa = 1 - np.searchsorted(nontargets, thresholds, side="left") / nontargets.size
    return p_miss, p_fa, thresholds


def eer(target_scores: ArrayLike, nontarget_scores: ArrayLike) -> tuple[float, float]:
    """Equal error rate, and the threshold at which it is reached.

    Between two neighbouring thresholds both rates are taken as linear: the EER is where the lines cross, and the
    threshold is interpolated in the same place. Where both rates are equal without that, as they are when the scores of
    the two kinds do not overlap, any threshold between two scores would do: it is the middle. Ties are as in
    :func:`det_curve`.

    Returns
    -------
    rate : float
        In [0, 1].
    threshold : float
        Accept what reaches it.

    >>> eer([2.0, 3.0, 4.0], [0.0, 1.0])
    (0.0, 1.5)
    >>> eer([1.0, 2.0], [1.0, 2.0])[0]
    0.5
    """
    p_miss, p_fa, thresholds = det_curve(target_scores, nontarget_scores)
    # The difference rises from -1 (everything accepted) to 1 (everything refused).
    difference = p_miss - p_fa
    after = int(np.argmax(difference >= 0))
    before = after - 1
    share = -difference[before] / (difference[after] - difference[before])
    rate = p_miss[before] + share * (p_miss[after] - p_miss[before])
    high = thresholds[after] if np.isfinite(thresholds[after]) else thresholds[before]
    place = 0.5 if share == 1 else share
    return float(rate), float(thresholds[before] + place * (high - thresholds[before]))


def min_dcf(
    target_scores: ArrayLike,
    nontarget_scores: ArrayLike,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """The smallest detection cost over all thresholds, divided by that of the better decision without listening.

    Accepting nobody costs ``c_miss * p_target``, accepting everybody ``c_fa * (1 - p_target)``; 1 means that the system
    is of no use at this operating point.

    >>> min_dcf([2.0, 3.0], [0.0, 1.0])
    0.0
    """
    if not 0 < p_target < 1 or c_miss <= 0 or c_fa <= 0:
        raise SpeechtoolsError(
            f"p_target={p_target}, c_miss={c_miss}, c_fa={c_fa}: the share of targets must lie between 0 and 1, and "
            "the costs must be positive."
        )
    p_miss, p_fa, _ = det_curve(target_scores, nontarget_scores)
    cost = c_miss * p_target * p_miss + c_fa * (1 - p_target) * p_fa
    return float(cost.min() / min(c_miss * p_target, c_fa * (1 - p_target)))
