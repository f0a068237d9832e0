"""Laws of the figures of merit."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from speechtools.core import metrics
from speechtools.core.errors import SpeechtoolsError

METRICS = [metrics.mse, metrics.lcc, metrics.srcc]
CORRELATIONS = [metrics.lcc, metrics.srcc]


@pytest.fixture
def scores():
    random = np.random.default_rng(3)
    true = random.uniform(1.0, 4.5, 200)
    return true + random.normal(0, 0.5, 200), true


# -------------------------------------------------------------------------------------------------------- values


def test_values_by_hand():
    # deviations: predicted -1.5 -0.5 0.5 1.5, true -1.5 0.5 -0.5 1.5; products 2.25 -0.25 -0.25 2.25; squares sum to 5
    predicted, true = [1, 2, 3, 4], [1, 3, 2, 4]
    assert metrics.mse(predicted, true) == 0.5
    assert metrics.lcc(predicted, true) == pytest.approx(0.8)
    # 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15)
    assert metrics.srcc(predicted, true) == pytest.approx(0.8)


def test_lcc_and_srcc_part_ways_where_the_relation_is_bent():
    predicted, true = [1, 2, 3], [1, 10, 1000]
    assert metrics.srcc(predicted, true) == pytest.approx(1.0)
    # deviations of true from their mean 337: -336 -327 663
    assert metrics.lcc(predicted, true) == pytest.approx(999 / math.sqrt(2 * (336**2 + 327**2 + 663**2)))


def test_agreement_with_scipy(scores):
    assert metrics.lcc(*scores) == pytest.approx(np.corrcoef(*scores)[0, 1])
    assert metrics.srcc(*scores) == pytest.approx(np.corrcoef(*map(stats.rankdata, scores))[0, 1])


def test_ties_have_their_mean_rank():
    # ranks 1.5 1.5 3 and 1 2 3: deviations -.5 -.5 1 and -1 0 1, so 1.5 / sqrt(1.5 * 2)
    assert metrics.srcc([1, 1, 2], [5, 6, 7]) == pytest.approx(1.5 / math.sqrt(3))


# ----------------------------------------------------------------------------------------------------- invariances


@pytest.mark.parametrize("slope, offset", [(2.0, 0.0), (1e-3, 7.0), (40.0, -90.0)])
def test_lcc_ignores_scale_and_offset(scores, slope, offset):
    predicted, true = scores
    assert metrics.lcc(slope * predicted + offset, true) == pytest.approx(metrics.lcc(predicted, true), abs=1e-9)
    assert metrics.lcc(-slope * predicted + offset, true) == pytest.approx(-metrics.lcc(predicted, true), abs=1e-9)


@pytest.mark.parametrize("bend", [np.exp, np.arctan, lambda x: x**3])
def test_srcc_ignores_any_increasing_bend(scores, bend):
    predicted, true = scores
    assert metrics.srcc(bend(predicted), true) == pytest.approx(metrics.srcc(predicted, true), abs=1e-12)
    assert metrics.srcc(-bend(predicted), true) == pytest.approx(-metrics.srcc(predicted, true), abs=1e-12)


def test_mse_of_an_offset_is_its_square(scores):
    _, true = scores
    assert metrics.mse(true + 0.25, true) == pytest.approx(0.0625)
    assert metrics.mse(true, true) == 0.0


@pytest.mark.parametrize("metric", METRICS)
def test_neither_side_nor_order_matters(scores, metric):
    predicted, true = scores
    order = np.random.default_rng(4).permutation(len(true))
    assert metric(predicted, true) == pytest.approx(metric(true, predicted), abs=1e-12)
    assert metric(predicted[order], true[order]) == pytest.approx(metric(predicted, true), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_any_array_like_gives_a_plain_float(metric):
    # A checkpoint whose meta data holds a numpy scalar cannot be listed again.
    outcomes = [metric(kind([1, 2, 4]), kind([2, 1, 5])) for kind in (list, tuple, np.array, np.float32)]
    assert {type(outcome) for outcome in outcomes} == {float}
    assert outcomes == pytest.approx([outcomes[0]] * len(outcomes))


# ------------------------------------------------------------------------------------------------- what has no value


@pytest.mark.parametrize("metric", CORRELATIONS)
@pytest.mark.parametrize("predicted, true", [([2, 2, 2], [1, 2, 3]), ([1, 2, 3], [4, 4, 4]), ([1], [2])])
def test_correlation_with_a_constant_is_nan(metric, predicted, true):
    assert math.isnan(metric(predicted, true))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_non_finite_scores_are_refused_and_their_side_named(metric, bad):
    with pytest.raises(SpeechtoolsError, match="1 of 3 predicted scores are NaN or infinite"):
        metric([1, bad, 2], [1, 2, 3])
    with pytest.raises(SpeechtoolsError, match="2 of 3 true scores are NaN or infinite"):
        metric([1, 2, 3], [bad, bad, 3])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("predicted, true", [([1, 2], [1, 2, 3]), ([[1, 2]], [[1, 2]]), ([], []), (1.0, 2.0)])
def test_other_shapes_are_refused(metric, predicted, true):
    with pytest.raises(SpeechtoolsError, match="must be vectors of one length, at least 1"):
        metric(predicted, true)


# --------------------------------------------------------------------------------------------- two groups of scores


def tied(seed):
    """Few distinct scores on two short sides."""
    rng = np.random.default_rng(seed)
    return [np.round(rng.normal(mean, 1, rng.integers(1, 12)), int(rng.integers(0, 2))) for mean in (1, 0)]


def test_the_auc_is_the_share_of_pairs_in_the_right_order():
    for seed in range(40):
        higher, lower = tied(seed)
        wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in higher for b in lower]
        assert metrics.auc(higher, lower) == pytest.approx(sum(wins) / len(wins), abs=1e-12)


def test_the_auc_does_not_know_the_scale_or_the_order():
    for seed in range(20):
        higher, lower = tied(seed)
        area = metrics.auc(higher, lower)
        assert metrics.auc(lower, higher) == pytest.approx(1 - area, abs=1e-12)
        assert metrics.auc(-lower, -higher) == pytest.approx(area, abs=1e-12)
        assert metrics.auc(higher[::-1], np.sort(lower)) == area
        assert metrics.auc(np.repeat(higher, 3), lower) == pytest.approx(area, abs=1e-12)
        for bend in (lambda x: 3 * x - 7, np.exp, np.arctan, lambda x: x**3):
            assert metrics.auc(bend(higher), bend(lower)) == pytest.approx(area, abs=1e-12)


def test_the_auc_of_separated_and_of_equal_groups():
    scores = np.random.default_rng(0).normal(size=50)
    assert metrics.auc(scores + 100, scores) == 1 and metrics.auc(scores, scores + 100) == 0
    assert metrics.auc([2.0] * 3, [2.0] * 5) == 0.5 and metrics.auc(scores, scores) == pytest.approx(0.5)
    assert type(metrics.auc(np.float32([1, 2]), [1])) is float


def test_the_auc_of_two_normal_distributions():
    # The difference of two deviates has the variance 2.
    rng = np.random.default_rng(1)
    area = metrics.auc(rng.normal(1, 1, 20000), rng.normal(0, 1, 20000))
    assert area == pytest.approx(stats.norm.cdf(1 / math.sqrt(2)), abs=0.005)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_auc_of_non_finite_scores_or_of_one_group_is_refused(bad):
    with pytest.raises(SpeechtoolsError, match="1 of 2 higher scores are NaN or infinite, so no AUC"):
        metrics.auc([1.0, bad], [0.0])
    with pytest.raises(SpeechtoolsError, match="2 of 3 lower scores are NaN or infinite"):
        metrics.auc([1.0], [bad, 0.0, bad])
    with pytest.raises(SpeechtoolsError, match="There are no lower scores, and an AUC needs both sides"):
        metrics.auc([1.0], [])


# ------------------------------------------------------------------------------------------- speaker verification


def test_the_eer_is_the_crossing_in_exact_fractions():
    for seed in range(60):
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


def test_error_rates_do_not_know_the_scale_the_order_or_which_side_is_which():
    for seed in range(20):
        targets, nontargets = tied(seed)
        rate, cost = metrics.eer(targets, nontargets)[0], metrics.min_dcf(targets, nontargets, 0.3)
        for bend in (lambda x: 3 * x - 7, np.exp, np.arctan, lambda x: x**3):
            assert metrics.eer(bend(targets), bend(nontargets))[0] == pytest.approx(rate, abs=1e-12)
            assert metrics.min_dcf(bend(targets), bend(nontargets), 0.3) == pytest.approx(cost, abs=1e-12)
        assert metrics.eer(targets[::-1], nontargets[::-1])[0] == rate
        # Misses of the one question are false alarms of the other.
        assert metrics.eer(-nontargets, -targets)[0] == pytest.approx(rate, abs=1e-12)
        assert metrics.min_dcf(-nontargets, -targets, 0.7) == pytest.approx(cost, abs=1e-12)
        # Every trial twice is no other test.
        assert metrics.eer(np.repeat(targets, 2), np.repeat(nontargets, 2))[0] == pytest.approx(rate, abs=1e-12)


def test_separation_equal_sides_and_the_wrong_way_round():
    rng = np.random.default_rng(0)
    scores = rng.normal(size=50)
    assert metrics.eer(scores + 100, scores)[0] == 0 and metrics.min_dcf(scores + 100, scores) == 0
    assert metrics.eer(scores, scores + 100)[0] == 1 and metrics.min_dcf(scores, scores + 100) == 1
    assert metrics.eer([1.0] * 3, [1.0] * 5) == (0.5, 1.0)
    assert metrics.eer(rng.normal(size=4000), rng.normal(size=4000))[0] == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("distance", [0.5, 1.0, 2.0])
def test_the_eer_of_two_normal_distributions(distance):
    # They cross half way: a target is missed with the probability that a deviate is below -distance / 2.
    rng = np.random.default_rng(1)
    rate, threshold = metrics.eer(rng.normal(distance, 1, 40000), rng.normal(0, 1, 40000))
    assert rate == pytest.approx(stats.norm.cdf(-distance / 2), abs=0.005)
    assert threshold == pytest.approx(distance / 2, abs=0.03)


@pytest.mark.parametrize("p_target", [0.01, 0.05, 0.5, 0.99])
def test_the_cost_never_exceeds_that_of_not_listening(p_target):
    for seed in range(20):
        assert 0 <= metrics.min_dcf(*tied(seed), p_target) <= 1


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("metric", [metrics.eer, metrics.min_dcf, metrics.det_curve])
def test_non_finite_trials_are_refused_and_their_side_named(metric, bad):
    with pytest.raises(SpeechtoolsError, match="1 of 2 target scores are NaN or infinite"):
        metric([1.0, bad], [0.0])
    with pytest.raises(SpeechtoolsError, match="2 of 3 non-target scores are NaN or infinite"):
        metric([1.0], [bad, 0.0, bad])
