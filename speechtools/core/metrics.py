"""Metrics as pure functions of numpy arrays or array-likes.

Predicted and true scores are vectors of equal length. A metric that is undefined for the data, such as a correlation
over fewer than two points or of a constant, is ``nan``. Non-finite scores are an error.

mse, lcc, srcc
    The metrics of the Quality-Net paper's tables (section 3.1).
auc
    Separation of two groups of scores.
mean_interval
    Confidence interval of a mean.
logged_metrics
    Those of the paper, as a validation logs them.
eer, eer_interval, eer_bootstrap, min_dcf, det_curve
    Speaker verification, from the scores of target and non-target trials.
cllr, min_cllr
    Log-likelihood ratios of target and non-target trials, as they are and at best.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike

from speechtools.core.errors import SpeechtoolsError


def _check_finite(scores: np.ndarray, name: str) -> None:
    count = np.count_nonzero(~np.isfinite(scores))
    if count:
        raise SpeechtoolsError(
            f"{count} of {scores.size} {name} scores are NaN or infinite. Remove these recordings or fix the model."
        )


def validate(predicted: ArrayLike, true: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Convert both to float64 vectors.

    Raises
    ------
    SpeechtoolsError
        They are not vectors of one length, or a score is NaN or infinite.

    Examples
    --------
    >>> validate([1, 2], [1.0, 4.0])
    (array([1., 2.]), array([1., 4.]))
    """
    predicted, true = np.asarray(predicted, dtype=np.float64), np.asarray(true, dtype=np.float64)
    if predicted.ndim != 1 or predicted.shape != true.shape or predicted.size == 0:
        shapes = f"{predicted.shape} and {true.shape}"
        raise SpeechtoolsError(f"Predicted and true scores must be vectors of one length; got the shapes {shapes}.")
    _check_finite(predicted, "predicted")
    _check_finite(true, "true")
    return predicted, true


def mse(predicted: ArrayLike, true: ArrayLike) -> float:
    """Mean squared error.

    >>> mse([1.0, 2.0], [1.0, 4.0])
    2.0
    """
    predicted, true = validate(predicted, true)
    return float(np.mean((predicted - true) ** 2))


def lcc(predicted: ArrayLike, true: ArrayLike) -> float:
    """Linear (Pearson) correlation coefficient in [-1, 1]; nan if one side is constant.

    >>> round(lcc([1, 2, 3], [2, 4, 6]), 6)
    1.0
    """
    return _correlation("pearsonr", predicted, true)


def srcc(predicted: ArrayLike, true: ArrayLike) -> float:
    """Spearman's rank correlation coefficient, ties with their mean rank; nan if one side is constant.

    >>> round(srcc([1, 2, 3], [1, 10, 100]), 6)
    1.0
    """
    return _correlation("spearmanr", predicted, true)


def _correlation(name: str, predicted: ArrayLike, true: ArrayLike) -> float:
    predicted, true = validate(predicted, true)
    if min(np.ptp(predicted), np.ptp(true)) == 0:
        return float("nan")
    from scipy import stats  # slow to import, and most commands need no correlation

    return float(getattr(stats, name)(predicted, true).statistic)


def _validate_groups(unit: str, **groups: ArrayLike) -> list[np.ndarray]:
    vectors = []
    for name, scores in groups.items():
        name, vector = name.replace("_", "-"), np.asarray(scores, dtype=np.float64).ravel()
        if vector.size == 0:
            raise SpeechtoolsError(f"There are no {name} {unit}. Both groups need at least one.")
        _check_finite(vector, name)
        vectors.append(vector)
    return vectors


def auc(higher: ArrayLike, lower: ArrayLike) -> float:
    """Area under the ROC curve: the probability that a score of the first group is above one of the second.

    Ties count half. 1 is perfect separation, 0.5 is chance. Computed as the Mann-Whitney statistic over the number of
    pairs.

    Raises
    ------
    SpeechtoolsError
        A group is empty, or a score is NaN or infinite.

    Examples
    --------
    >>> auc([3.0, 4.0], [1.0, 2.0])
    1.0
    >>> auc([1.0, 3.0], [1.0])
    0.75
    """
    higher, lower = _validate_groups("scores", higher=higher, lower=lower)
    from scipy import stats

    rank_sum = stats.rankdata(np.concatenate([higher, lower]))[: higher.size].sum()
    # The smallest possible sum is 1 + 2 + … + n, if all scores of the second group are above.
    return float((rank_sum - higher.size * (higher.size + 1) / 2) / (higher.size * lower.size))


def mean_interval(
    values: ArrayLike, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Confidence interval of the mean of a vector: the percentile bootstrap (Efron, 1979).

    The values must be independent, and many: of the 95 % intervals of exponentially distributed values, 93 % contain
    the true mean with 50 values, 86 % with 10 and 78 % with 5.

    Parameters
    ----------
    values : array-like
        (values,): two or more finite numbers. Their order changes the resamples, and so the interval, slightly.
    level : float
        Probability that the interval contains the true mean, between 0 and 1.
    resamples : int
        Number of samples that are drawn with replacement, each as long as the vector.
    seed : int
        Of the draws: equal arguments give equal intervals.

    Returns
    -------
    low, high : float
        Equal if all values are.

    Raises
    ------
    SpeechtoolsError
        There are fewer than two values, one is NaN or infinite, or ``level`` or ``resamples`` is out of range.

    Examples
    --------
    >>> [round(limit, 2) for limit in mean_interval([0.1, 0.3, 0.2, 0.0, 0.4])]
    [0.08, 0.32]
    """
    (values,) = _validate_groups("values", given=values)
    if values.size < 2 or not 0 < level < 1 or resamples < 1:
        given = f"{values.size} values, level={level}, resamples={resamples}"
        raise SpeechtoolsError(f"An interval needs two values, a level between 0 and 1 and resamples; got {given}.")
    from scipy import stats

    result = stats.bootstrap(
        (values,),
        np.mean,
        n_resamples=resamples,
        batch=max(1, 2**20 // values.size),  # 8 MB at a time
        vectorized=True,
        confidence_level=level,
        method="percentile",
        random_state=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def det_curve(target_scores: ArrayLike, nontarget_scores: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Miss and false-alarm rates at all distinct thresholds; a trial is accepted if its score reaches the threshold.

    Returns
    -------
    p_miss, p_fa, thresholds : np.ndarray
        (points,), by rising threshold: the distinct scores, and infinity, where everything is rejected.

    Raises
    ------
    SpeechtoolsError
        A side has no trials, or a score is NaN or infinite.

    Examples
    --------
    >>> p_miss, p_fa, thresholds = det_curve([2.0, 3.0], [1.0, 2.0])
    >>> p_miss.tolist(), p_fa.tolist(), thresholds.tolist()
    ([0.0, 0.0, 0.5, 1.0], [1.0, 0.5, 0.0, 0.0], [1.0, 2.0, 3.0, inf])
    """
    vectors = _validate_groups("trials", target=target_scores, non_target=nontarget_scores)
    targets, nontargets = map(np.sort, vectors)
    thresholds = np.append(np.unique(np.concatenate([targets, nontargets])), np.inf)
    p_miss = np.searchsorted(targets, thresholds, side="left") / targets.size
    p_fa = 1 - np.searchsorted(nontargets, thresholds, side="left") / nontargets.size
    return p_miss, p_fa, thresholds


def eer(target_scores: ArrayLike, nontarget_scores: ArrayLike) -> tuple[float, float]:
    """Equal error rate, and its threshold.

    Between neighbouring thresholds both rates are interpolated linearly; the EER is where the lines cross, and the
    threshold is interpolated at the same place. If the rates are equal between two scores, for example because the
    groups do not overlap, the threshold is the middle of the scores.

    Returns
    -------
    rate : float
        In [0, 1].
    threshold : float
        Accept scores that reach it.

    Examples
    --------
    >>> eer([2.0, 3.0, 4.0], [0.0, 1.0])
    (0.0, 1.5)
    >>> eer([1.0, 2.0], [1.0, 2.0])[0]
    0.5
    """
    p_miss, p_fa, thresholds = det_curve(target_scores, nontarget_scores)
    rate, before, share = _crossing(p_miss, p_fa)
    after = before + 1
    high = thresholds[after] if np.isfinite(thresholds[after]) else thresholds[before]
    place = 0.5 if share == 1 else share
    return rate, float(thresholds[before] + place * (high - thresholds[before]))


def _crossing(p_miss: np.ndarray, p_fa: np.ndarray) -> tuple[float, int, float]:
    """Where rising and falling rates cross: the rate, the point before, and the share of the way to the next."""
    # The difference rises from -1 (all accepted) to 1 (all rejected).
    difference = p_miss - p_fa
    after = int(np.argmax(difference >= 0))
    before = after - 1
    share = -difference[before] / (difference[after] - difference[before])
    rate = p_miss[before] + share * (p_miss[after] - p_miss[before])
    return float(rate), before, float(share)


def eer_interval(rate: float, num_targets: int, num_nontargets: int, level: float = 0.95) -> tuple[float, float]:
    """Confidence interval of an equal error rate: the exact binomial one (Clopper and Pearson) of the smaller group.

    Trials count as independent. Those that share recordings or speakers are not, so the true interval is wider.

    Parameters
    ----------
    rate : float
        The equal error rate, in [0, 1].
    num_targets, num_nontargets : int
        Numbers of trials.
    level : float
        Probability that the interval contains the true rate.

    Returns
    -------
    low, high : float
        In [0, 1].

    Examples
    --------
    >>> [round(limit, 3) for limit in eer_interval(0.05, 100, 1000)]
    [0.016, 0.113]
    >>> [round(limit, 3) for limit in eer_interval(0.0, 100, 1000)]
    [0.0, 0.036]
    """
    trials = min(num_targets, num_nontargets)
    if trials < 1 or not 0 <= rate <= 1 or not 0 < level < 1:
        values = f"rate={rate}, num_targets={num_targets}, num_nontargets={num_nontargets}, level={level}"
        raise SpeechtoolsError(
            f"{values} are out of range. Pass rates from 0 to 1, and at least one trial of each kind."
        )
    from scipy.stats import beta

    errors, tail = rate * trials, (1 - level) / 2
    low = beta.ppf(tail, errors, trials - errors + 1) if errors > 0 else 0.0
    high = beta.ppf(1 - tail, errors + 1, trials - errors) if errors < trials else 1.0
    return float(low), float(high)


def eer_bootstrap(
    scores: ArrayLike,
    first_speakers: ArrayLike,
    second_speakers: ArrayLike,
    level: float = 0.95,
    resamples: int = 200,
    seed: int = 0,
) -> tuple[float, float]:
    """Confidence interval of an equal error rate: the percentile bootstrap over speakers.

    Trials share speakers, so they are not independent, but speakers are. Each resample draws as many speakers as there
    are, with replacement; a trial counts as often as its speaker was drawn, and a trial of two speakers as often as
    both together (the product).

    Parameters
    ----------
    scores : array-like
        (trials,)
    first_speakers, second_speakers : array-like
        (trials,): the speakers of both sides. Target trials are those in which they are equal.
    level : float
        Probability that the interval contains the true rate.
    resamples : int
        Number of resamples; those without a target or a non-target trial are left out.
    seed : int
        Of the draws.

    Returns
    -------
    low, high : float
        In [0, 1].

    Raises
    ------
    SpeechtoolsError
        A kind of trials is missing, a score is NaN or infinite, the vectors differ in length, or ``level`` or
        ``resamples`` is out of range.

    Examples
    --------
    >>> firsts, seconds = ["a", "b", "c", "a", "a", "b"], ["a", "b", "c", "b", "c", "c"]
    >>> eer_bootstrap([3.0, 4.0, 5.0, 0.0, 1.0, 2.0], firsts, seconds)
    (0.0, 0.0)
    """
    scores = np.asarray(scores, dtype=np.float64)
    firsts, seconds = np.asarray(first_speakers), np.asarray(second_speakers)
    if scores.ndim != 1 or not scores.shape == firsts.shape == seconds.shape:
        shapes = f"{scores.shape}, {firsts.shape} and {seconds.shape}"
        raise SpeechtoolsError(f"Scores and speakers must be vectors of one length; got the shapes {shapes}.")
    if not 0 < level < 1 or resamples < 1:
        raise SpeechtoolsError(f"level={level}, resamples={resamples}: pass a level between 0 and 1, and resamples.")
    _validate_groups("trials", target=scores[firsts == seconds], non_target=scores[firsts != seconds])
    order = np.argsort(scores, kind="stable")
    names, labels = np.unique(np.concatenate([firsts, seconds]), return_inverse=True)
    first, second = (part[order] for part in labels.reshape(2, -1))
    is_target = first == second
    last_of_score = np.append(np.flatnonzero(np.diff(scores[order])), scores.size - 1)
    rng, rates = np.random.default_rng(seed), []
    for _ in range(resamples):
        drawn = np.bincount(rng.integers(len(names), size=len(names)), minlength=len(names)).astype(np.float64)
        weights = np.where(is_target, drawn[first], drawn[first] * drawn[second])
        misses, rejections = (np.cumsum(np.where(kind, weights, 0.0)) for kind in (is_target, ~is_target))
        # (trials,): weight of the trials of each kind up to each score
        if misses[-1] == 0 or rejections[-1] == 0:
            continue
        p_miss = np.append(0.0, misses[last_of_score] / misses[-1])
        p_fa = np.append(1.0, 1 - rejections[last_of_score] / rejections[-1])
        rates.append(_crossing(p_miss, p_fa)[0])
    if not rates:
        raise SpeechtoolsError(f"None of {resamples} resamples has trials of both kinds. Use more speakers.")
    tail = (1 - level) / 2
    low, high = np.quantile(rates, [tail, 1 - tail])
    return float(low), float(high)


def min_dcf(
    target_scores: ArrayLike,
    nontarget_scores: ArrayLike,
    p_target: float = 0.01,
    c_miss: float = 1.0,
    c_fa: float = 1.0,
) -> float:
    """Minimum normalised detection cost over all thresholds.

    The cost is divided by that of the better constant decision: rejecting all trials costs ``c_miss * p_target``,
    accepting all ``c_fa * (1 - p_target)``. A value of 1 means that the system is useless at this operating point.

    >>> min_dcf([2.0, 3.0], [0.0, 1.0])
    0.0
    """
    if not 0 < p_target < 1 or c_miss <= 0 or c_fa <= 0:
        values = f"p_target={p_target}, c_miss={c_miss}, c_fa={c_fa}"
        raise SpeechtoolsError(f"{values} are out of range. Choose p_target between 0 and 1, and positive costs.")
    p_miss, p_fa, _ = det_curve(target_scores, nontarget_scores)
    cost = c_miss * p_target * p_miss + c_fa * (1 - p_target) * p_fa
    return float(cost.min() / min(c_miss * p_target, c_fa * (1 - p_target)))


def cllr(target_llrs: ArrayLike, nontarget_llrs: ArrayLike) -> float:
    """Cost of log-likelihood ratios, in bits (Brümmer and du Preez, 2006).

    It measures both how well the ratios separate the trials and whether they are true. Ratios that are always 0 cost
    1, and wrong ones more.

    Parameters
    ----------
    target_llrs, nontarget_llrs : array-like
        Natural logarithms of the likelihood ratios of target and non-target trials.

    Raises
    ------
    SpeechtoolsError
        A side has no trials, or a ratio is NaN or infinite.

    Examples
    --------
    >>> cllr([0.0, 0.0], [0.0])
    1.0
    >>> round(cllr([2.0, 3.0], [-4.0]), 4)
    0.0764
    """
    targets, nontargets = _validate_groups("trials", target=target_llrs, non_target=nontarget_llrs)
    return float((np.logaddexp(0, -targets).mean() + np.logaddexp(0, nontargets).mean()) / (2 * math.log(2)))


def min_cllr(target_scores: ArrayLike, nontarget_scores: ArrayLike) -> float:
    """The lowest :func:`cllr` that a rising function of the scores can reach, in bits.

    The best function is that of isotonic regression (pool adjacent violators). The difference between Cllr and this
    value is what better calibration could gain.

    Raises
    ------
    SpeechtoolsError
        A side has no trials, or a score is NaN or infinite.

    Examples
    --------
    >>> min_cllr([2.0, 3.0], [0.0, 1.0])
    0.0
    >>> min_cllr([1.0, 1.0], [1.0])
    1.0
    """
    targets, nontargets = _validate_groups("trials", target=target_scores, non_target=nontarget_scores)
    from scipy.optimize import isotonic_regression

    values, place = np.unique(np.concatenate([targets, nontargets]), return_inverse=True)
    # Both groups weigh the same, so that the prior is one half and the log odds are the log-likelihood ratio.
    target_weights = np.bincount(place[: targets.size], minlength=values.size) / targets.size
    nontarget_weights = np.bincount(place[targets.size :], minlength=values.size) / nontargets.size
    weights = target_weights + nontarget_weights
    probability = isotonic_regression(target_weights / weights, weights=weights).x
    # (scores,): of a target
    with np.errstate(divide="ignore", invalid="ignore"):  # a side without trials at a score costs nothing there
        costs = np.where(target_weights > 0, -target_weights * np.log2(probability), 0.0)
        costs += np.where(nontarget_weights > 0, -nontarget_weights * np.log2(1 - probability), 0.0)
    return abs(float(costs.sum() / 2))


def logged_metrics(results: Mapping[str, float | None]) -> dict[str, float]:
    """MSE, LCC and SRCC as a validation logs them and chooses its best epoch by them.

    An undefined correlation, as of scores without spread, is 0; an undefined error is infinite, and so never the best.

    >>> logged_metrics({"mse": None, "lcc": 0.5, "srcc": None})
    {'mse': inf, 'lcc': 0.5, 'srcc': 0.0}
    """
    mse = results["mse"]
    return {"mse": math.inf if mse is None else mse} | {key: results[key] or 0.0 for key in ("lcc", "srcc")}
