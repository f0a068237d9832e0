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


def test_values_by_hand():
    # deviations: predicted -1.5 -0.5 0.5 1.5, true -1.5 0.5 -0.5 1.5; products 2.25 -0.25 -0.25 2.25; squares sum to 5
    predicted, true = [1, 2, 3, 4], [1, 3, 2, 4]
    assert metrics.mse(predicted, true) == 0.5
    assert metrics.lcc(predicted, true) == pytest.approx(0.8)
    # 1 - 6 * (0 + 1 + 1 + 0) / (4 * 15)
    assert metrics.srcc(predicted, true) == pytest.approx(0.8)
    # ties have their mean rank: 1.5 1.5 3 and 1 2 3, deviations -.5 -.5 1 and -1 0 1, so 1.5 / sqrt(1.5 * 2)
    assert metrics.srcc([1, 1, 2], [5, 6, 7]) == pytest.approx(1.5 / math.sqrt(3))


def test_symmetry_order_and_increasing_functions():
    rng = np.random.default_rng(3)
    true = rng.uniform(1.0, 4.5, 200)
    predicted, order = true + rng.normal(0, 0.5, 200), rng.permutation(200)
    for metric in METRICS:
        value = metric(predicted, true)
        assert type(value) is float  # SpeechBrain cannot list a checkpoint whose metadata contains a numpy scalar
        assert metric(true, predicted) == pytest.approx(value, abs=1e-12)
        assert metric(predicted[order], true[order]) == pytest.approx(value, abs=1e-12)
    assert metrics.lcc(-40 * predicted - 90, true) == pytest.approx(-metrics.lcc(predicted, true), abs=1e-9)
    assert metrics.srcc(np.arctan(predicted), true) == pytest.approx(metrics.srcc(predicted, true), abs=1e-12)


def test_correlation_with_a_constant_is_nan():
    assert math.isnan(metrics.lcc([2, 2, 2], [1, 2, 3])) and math.isnan(metrics.srcc([1], [2]))


def test_scores_that_cannot_be_compared_are_refused():
    with pytest.raises(SpeechtoolsError, match="2 of 3 true"):
        metrics.mse([1, 2, 3], [math.inf, math.nan, 3])
    with pytest.raises(SpeechtoolsError, match="2 of 3 non-target"):
        metrics.eer([1.0], [math.nan, 0.0, math.nan])
    for predicted, true in (([1, 2], [1, 2, 3]), ([[1, 2]], [[1, 2]]), ([], [])):
        with pytest.raises(SpeechtoolsError, match="shapes"):
            metrics.validate(predicted, true)
    with pytest.raises(SpeechtoolsError, match="no lower scores"):
        metrics.auc([1.0], [])
    with pytest.raises(SpeechtoolsError, match="p_target=0"):
        metrics.min_dcf([1.0], [0.0], p_target=0)


def tied(seed):
    """Draw two short groups with few distinct scores."""
    rng = np.random.default_rng(seed)
    return [np.round(rng.normal(mean, 1, rng.integers(1, 12)), int(rng.integers(0, 2))) for mean in (1, 0)]


@pytest.mark.parametrize("seed", range(20))
def test_the_auc_is_the_share_of_ordered_pairs(seed):
    higher, lower = tied(seed)
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in higher for b in lower]
    assert metrics.auc(higher, lower) == pytest.approx(sum(wins) / len(wins), abs=1e-12)
    assert metrics.auc(lower, higher) == pytest.approx(1 - sum(wins) / len(wins), abs=1e-12)


@pytest.mark.parametrize("seed", range(20))
def test_error_rates_are_those_counted_in_exact_fractions(seed):
    targets, nontargets = tied(seed)
    points = [
        (
            Fraction(sum(score < threshold for score in targets.tolist()), len(targets)),
            Fraction(sum(score >= threshold for score in nontargets.tolist()), len(nontargets)),
        )
        for threshold in [*sorted({*targets.tolist(), *nontargets.tolist()}), math.inf]
    ]
    p_miss, p_fa, _ = metrics.det_curve(targets, nontargets)
    np.testing.assert_allclose(np.stack([p_miss, p_fa], axis=1), np.array(points, dtype=float), atol=1e-12)
    cost = min(0.1 * float(miss) + 3 * 0.9 * float(alarm) for miss, alarm in points) / min(0.1, 3 * 0.9)
    assert metrics.min_dcf(targets, nontargets, 0.1, c_fa=3) == pytest.approx(cost)
    # miss0 + s (miss1 - miss0) = alarm0 + s (alarm1 - alarm0), solved for s in [0, 1]
    crossings = [
        miss0 + (miss1 - miss0) * (alarm0 - miss0) / (miss1 - miss0 + alarm0 - alarm1)
        for (miss0, alarm0), (miss1, alarm1) in itertools.pairwise(points)
        if miss0 <= alarm0 and miss1 >= alarm1
    ]
    assert len(set(crossings)) == 1  # two segments may share the point
    assert metrics.eer(targets, nontargets)[0] == pytest.approx(float(crossings[0]), abs=1e-12)


def test_separated_equal_and_reversed_groups():
    scores = np.random.default_rng(0).normal(size=50)
    assert metrics.eer(scores + 100, scores)[0] == 0 == metrics.min_dcf(scores + 100, scores)
    assert metrics.eer(scores, scores + 100)[0] == 1 == metrics.min_dcf(scores, scores + 100)
    assert metrics.eer([1.0] * 3, [1.0] * 5) == (0.5, 1.0)


def test_two_normal_distributions():
    # They cross half way: a target is missed if a deviate is below -1. The difference of two has the variance 2.
    rng = np.random.default_rng(1)
    targets, nontargets = rng.normal(2, 1, 40000), rng.normal(0, 1, 40000)
    assert metrics.eer(targets, nontargets) == pytest.approx((stats.norm.cdf(-1), 1.0), abs=0.03)
    assert metrics.auc(targets, nontargets) == pytest.approx(stats.norm.cdf(2 / math.sqrt(2)), abs=0.005)


def test_the_interval_of_an_error_rate_is_the_exact_binomial_one():
    for errors, trials in ((0, 30), (3, 30), (30, 30)):
        expected = stats.binomtest(errors, trials).proportion_ci(0.95, method="exact")
        assert metrics.eer_interval(errors / trials, 1000, trials) == pytest.approx((expected.low, expected.high))
    assert metrics.eer_interval(0.1, 50, 200) == metrics.eer_interval(0.1, 200, 50)
    for arguments in ((0.1, 0, 5), (1.1, 5, 5), (0.1, 5, 5, 1.0)):
        with pytest.raises(SpeechtoolsError, match="out of range"):
            metrics.eer_interval(*arguments)


def bits(targets, nontargets):
    """Cllr by its definition, in plain Python."""
    of_targets = [math.log2(1 + math.exp(-ratio)) for ratio in targets]
    of_nontargets = [math.log2(1 + math.exp(ratio)) for ratio in nontargets]
    return (sum(of_targets) / len(of_targets) + sum(of_nontargets) / len(of_nontargets)) / 2


def pooled(targets, nontargets):
    """The log-likelihood ratios of pool adjacent violators, in exact fractions: for each trial, of both kinds."""
    values = sorted({*targets, *nontargets})
    blocks = []  # shares of all targets and of all non-targets, and the scores
    for value in values:
        shares = [Fraction(side.count(value), len(side)) for side in (targets, nontargets)]
        blocks.append([*shares, [value]])
        # a / (a + b) must not fall
        while len(blocks) > 1 and blocks[-2][0] * blocks[-1][1] >= blocks[-1][0] * blocks[-2][1]:
            a, b, members = blocks.pop()
            blocks[-1] = [blocks[-1][0] + a, blocks[-1][1] + b, blocks[-1][2] + members]
    # Finite ratios in the place of infinite ones, whose cost is 0.
    ratios = {v: math.log(a / b) if a and b else 700.0 if a else -700.0 for a, b, members in blocks for v in members}
    return [[ratios[score] for score in side] for side in (targets, nontargets)]


@pytest.mark.parametrize("seed", range(20))
def test_cllr_is_that_of_its_definition_and_its_minimum_that_of_pooling(seed):
    targets, nontargets = (side.tolist() for side in tied(seed))
    assert metrics.cllr(targets, nontargets) == pytest.approx(bits(targets, nontargets), abs=1e-12)
    least = metrics.min_cllr(targets, nontargets)
    assert least == pytest.approx(bits(*pooled(targets, nontargets)), abs=1e-12)
    # It depends on the order of the scores alone, and no rising function of them reaches less.
    assert least == pytest.approx(metrics.min_cllr(*(np.exp(side) for side in (targets, nontargets))), abs=1e-12)
    for scale, offset in ((1.0, 0.0), (0.3, 0.1), (4.0, -2.0)):
        assert least <= metrics.cllr(*(scale * np.array(side) + offset for side in (targets, nontargets))) + 1e-12


def test_true_ratios_of_normal_distributions_cost_the_minimum():
    rng = np.random.default_rng(3)
    targets, nontargets = rng.normal(1, 1, 40000), rng.normal(-1, 1, 40000)  # whose log-likelihood ratio is 2 x
    least = metrics.min_cllr(targets, nontargets)
    assert metrics.cllr(2 * targets, 2 * nontargets) == pytest.approx(least, abs=0.002)
    assert metrics.cllr(targets, nontargets) > least + 0.02
    assert metrics.cllr([-800.0], [800.0]) == pytest.approx(800 / math.log(2))  # without an overflow
    for wrong in ([], [math.inf], [math.nan]):
        for function in (metrics.cllr, metrics.min_cllr):
            with pytest.raises(SpeechtoolsError, match="target"):
                function(wrong, [0.0])


def test_the_bootstrap_of_an_error_rate_draws_speakers():
    rng = np.random.default_rng(4)

    def interval(speakers, utterances, **options):
        """Of speakers whose scores share an offset, as voices that are easily or hardly recognised."""
        labels = np.repeat(np.arange(speakers), utterances)
        first, second = (grid.ravel() for grid in np.meshgrid(labels, labels, indexing="ij"))
        offset = rng.normal(size=speakers)
        scores = 2.0 * (first == second) + offset[first] / 2 + offset[second] / 2 + rng.normal(size=len(first))
        rate = metrics.eer(scores[first == second], scores[first != second])[0]
        low, high = metrics.eer_bootstrap(scores, first, second, **options)
        assert low <= rate <= high
        return high - low

    few, many = interval(6, 12), interval(60, 3)
    assert 0 < many < few / 1.5  # more speakers say more, with as many target trials or fewer
    scores, first = rng.normal(size=9), np.arange(9) // 3
    assert metrics.eer_bootstrap(scores, first, np.arange(9) % 3) == metrics.eer_bootstrap(
        3 * scores + 1, first, np.arange(9) % 3
    )
    with pytest.raises(SpeechtoolsError, match="one length"):
        metrics.eer_bootstrap(scores, first, first[:4])
    with pytest.raises(SpeechtoolsError, match="level=1"):
        metrics.eer_bootstrap(scores, first, np.arange(9) % 3, level=1)
    with pytest.raises(SpeechtoolsError, match="no non-target"):
        metrics.eer_bootstrap(scores, first, first)
