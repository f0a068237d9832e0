"""Metrics against values by hand, exact fractions and closed forms."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from speechtools.core import metrics
from speechtools.core.errors import SpeechtoolsError

METRICS = [metrics.mse, metrics.lcc, metrics.srcc]
INCREASING = [lambda x: 3 * x - 7, np.exp, np.arctan, lambda x: x**3]


@pytest.fixture
def scores():
    rng = np.random.default_rng(3)
    true = rng.uniform(1.0, 4.5, 200)
    return true + rng.normal(0, 0.5, 200), true


def test_values_by_hand():
    # deviations: predicted -1.5 -0.5 0.5 1.5, true -1.5 0.5 -0.5 1.5; products 2.25 -0.25 -0.25 2.25; squares sum to 5
    predicted, true = [1, 2, 3, 4], [1, 3, 2, 4]
    assert metrics.mse(predicted, true) == 0.5
    assert metrics.lcc(predicted, true) == pytest.approx(0.8)
    # 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15)
    assert metrics.srcc(predicted, true) == pytest.approx(0.8)
    # ties have their mean rank: 1.5 1.5 3 and 1 2 3, deviations -.5 -.5 1 and -1 0 1, so 1.5 / sqrt(1.5 * 2)
    assert metrics.srcc([1, 1, 2], [5, 6, 7]) == pytest.approx(1.5 / math.sqrt(3))


def test_agreement_with_numpy(scores):
    assert metrics.lcc(*scores) == pytest.approx(np.corrcoef(*scores)[0, 1])
    assert metrics.srcc(*scores) == pytest.approx(np.corrcoef(*map(stats.rankdata, scores))[0, 1])


def test_invariances(scores):
    predicted, true = scores
    order = np.random.default_rng(4).permutation(len(true))
    for metric in METRICS:
        assert metric(predicted, true) == pytest.approx(metric(true, predicted), abs=1e-12)
        assert metric(predicted[order], true[order]) == pytest.approx(metric(predicted, true), abs=1e-12)
    assert metrics.lcc(-40 * predicted - 90, true) == pytest.approx(-metrics.lcc(predicted, true), abs=1e-9)
    for increasing in INCREASING:
        assert metrics.srcc(increasing(predicted), true) == pytest.approx(metrics.srcc(predicted, true), abs=1e-12)
    assert metrics.mse(true + 0.25, true) == pytest.approx(0.0625)


@pytest.mark.parametrize("metric", METRICS)
def test_any_array_like_gives_a_plain_float(metric):
    # SpeechBrain cannot list a checkpoint whose meta data holds a numpy scalar.
    values = [metric(kind([1, 2, 4]), kind([2, 1, 5])) for kind in (list, tuple, np.array, np.float32)]
    assert {type(value) for value in values} == {float}
    assert values == pytest.approx([values[0]] * len(values))


@pytest.mark.parametrize("metric", [metrics.lcc, metrics.srcc])
@pytest.mark.parametrize(("predicted", "true"), [([2, 2, 2], [1, 2, 3]), ([1, 2, 3], [4, 4, 4]), ([1], [2])])
def test_correlation_with_a_constant_is_nan(metric, predicted, true):
    assert math.isnan(metric(predicted, true))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_non_finite_scores_are_refused(bad):
    for metric in METRICS:
        with pytest.raises(SpeechtoolsError, match="1 of 3 predicted"):
            metric([1, bad, 2], [1, 2, 3])
        with pytest.raises(SpeechtoolsError, match="2 of 3 true"):
            metric([1, 2, 3], [bad, bad, 3])
    with pytest.raises(SpeechtoolsError, match="2 of 3 lower"):
        metrics.auc([1.0], [bad, 0.0, bad])
    for metric in (metrics.eer, metrics.min_dcf, metrics.det_curve):
        with pytest.raises(SpeechtoolsError, match="2 of 3 non-target"):
            metric([1.0], [bad, 0.0, bad])


def test_other_shapes_are_refused():
    for predicted, true in (([1, 2], [1, 2, 3]), ([[1, 2]], [[1, 2]]), ([], []), (1.0, 2.0)):
        with pytest.raises(SpeechtoolsError, match="shapes"):
            metrics.validate(predicted, true)
    with pytest.raises(SpeechtoolsError, match="no lower scores"):
        metrics.auc([1.0], [])


def tied(seed):
    """Draw two short groups with few distinct scores."""
    rng = np.random.default_rng(seed)
    return [np.round(rng.normal(mean, 1, rng.integers(1, 12)), int(rng.integers(0, 2))) for mean in (1, 0)]


@pytest.mark.parametrize("seed", range(20))
def test_the_auc_is_the_share_of_ordered_pairs(seed):
    higher, lower = tied(seed)
    area = metrics.auc(higher, lower)
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in higher for b in lower]
    assert area == pytest.approx(sum(wins) / len(wins), abs=1e-12)
    assert metrics.auc(lower, higher) == pytest.approx(1 - area, abs=1e-12)
    assert metrics.auc(np.repeat(higher, 3), lower) == pytest.approx(area, abs=1e-12)
    for increasing in INCREASING:
        assert metrics.auc(increasing(higher), increasing(lower)) == pytest.approx(area, abs=1e-12)


def test_the_auc_of_two_normal_distributions():
    # The difference of two deviates has the variance 2.
    rng = np.random.default_rng(1)
    area = metrics.auc(rng.normal(1, 1, 20000), rng.normal(0, 1, 20000))
    assert area == pytest.approx(stats.norm.cdf(1 / math.sqrt(2)), abs=0.005)
    assert type(metrics.auc(np.float32([1, 2]), [1])) is float


@pytest.mark.parametrize("seed", range(20))
def test_the_eer_is_the_crossing_in_exact_fractions(seed):
    targets, nontargets = tied(seed)
    points = [
        (
            Fraction(sum(score < threshold for score in targets.tolist()), len(targets)),
            Fraction(sum(score >= threshold for score in nontargets.tolist()), len(nontargets)),
        )
        for threshold in [*sorted({*targets.tolist(), *nontargets.tolist()}), math.inf]
    ]
    # miss0 + s (miss1 - miss0) = alarm0 + s (alarm1 - alarm0), solved for s in [0, 1]
    crossings = [
        miss0 + (miss1 - miss0) * (alarm0 - miss0) / (miss1 - miss0 + alarm0 - alarm1)
        for (miss0, alarm0), (miss1, alarm1) in itertools.pairwise(points)
        if miss0 <= alarm0 and miss1 >= alarm1
    ]
    assert len(set(crossings)) == 1  # two segments may share the point
    assert metrics.eer(targets, nontargets)[0] == pytest.approx(float(crossings[0]), abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_invariances_of_error_rates(seed):
    targets, nontargets = tied(seed)
    rate, cost = metrics.eer(targets, nontargets)[0], metrics.min_dcf(targets, nontargets, 0.3)
    for increasing in INCREASING:
        assert metrics.eer(increasing(targets), increasing(nontargets))[0] == pytest.approx(rate, abs=1e-12)
        assert metrics.min_dcf(increasing(targets), increasing(nontargets), 0.3) == pytest.approx(cost, abs=1e-12)
    # Exchanging the sides exchanges misses and false alarms.
    assert metrics.eer(-nontargets, -targets)[0] == pytest.approx(rate, abs=1e-12)
    assert metrics.min_dcf(-nontargets, -targets, 0.7) == pytest.approx(cost, abs=1e-12)
    assert metrics.eer(np.repeat(targets, 2), np.repeat(nontargets, 2))[0] == pytest.approx(rate, abs=1e-12)
    for p_target in (0.01, 0.5, 0.99):
        assert 0 <= metrics.min_dcf(targets, nontargets, p_target) <= 1


def test_separated_equal_and_reversed_groups():
    scores = np.random.default_rng(0).normal(size=50)
    assert metrics.eer(scores + 100, scores)[0] == 0 == metrics.min_dcf(scores + 100, scores)
    assert metrics.eer(scores, scores + 100)[0] == 1 == metrics.min_dcf(scores, scores + 100)
    assert metrics.eer([1.0] * 3, [1.0] * 5) == (0.5, 1.0)
    assert (metrics.auc(scores + 100, scores), metrics.auc(scores, scores + 100)) == (1, 0)
    assert metrics.auc([2.0] * 3, [2.0] * 5) == 0.5


@pytest.mark.parametrize("distance", [0.5, 2.0])
def test_the_eer_of_two_normal_distributions(distance):
    # They cross half way: a target is missed if a deviate is below -distance / 2.
    rng = np.random.default_rng(1)
    rate, threshold = metrics.eer(rng.normal(distance, 1, 40000), rng.normal(0, 1, 40000))
    assert rate == pytest.approx(stats.norm.cdf(-distance / 2), abs=0.005)
    assert threshold == pytest.approx(distance / 2, abs=0.03)


def test_invalid_costs_are_refused():
    with pytest.raises(SpeechtoolsError, match="p_target=0"):
        metrics.min_dcf([1.0], [0.0], p_target=0)


@pytest.mark.parametrize("seed", range(8))
def test_error_rates_are_those_counted_at_every_threshold(seed):
    rng = np.random.default_rng(seed)
    # Few distinct values, so that there are ties within and between the two groups.
    targets = np.round(rng.normal(1, 1, rng.integers(1, 30)), 1)
    nontargets = np.round(rng.normal(0, 1, rng.integers(1, 40)), 1)
    points = [
        (np.mean(targets < threshold), np.mean(nontargets >= threshold), threshold)
        for threshold in [*sorted({*targets, *nontargets}), np.inf]
    ]
    p_miss, p_fa, thresholds = metrics.det_curve(targets, nontargets)
    assert np.allclose(np.stack([p_miss, p_fa, thresholds], axis=1)[:-1], points[:-1])
    assert (p_miss[-1], p_fa[-1], thresholds[-1]) == points[-1]
    cost = min(0.1 * miss + 3 * 0.9 * alarm for miss, alarm, _ in points) / min(0.1, 3 * 0.9)
    assert metrics.min_dcf(targets, nontargets, 0.1, c_fa=3) == pytest.approx(cost)
