"""Calibration of scores, and their normalisation by a cohort."""

import json
import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from speechtools.core import metrics
from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.speaker import calibration
from speechtools.speaker.calibration import Calibration, Conditions, Term
from speechtools.speaker.normalization import ASNorm


def trials(targets, nontargets, seed=0):
    """Scores, answers and conditions whose log-likelihood ratio is known: 4 s, less log 4 s if there are 4 recordings.

    A voiceprint of several recordings has higher scores with everyone.
    """
    rng = np.random.default_rng(seed)
    answers = np.arange(targets + nontargets) < targets
    recordings = np.where(rng.random(len(answers)) < 0.5, 1, 4)
    scores = rng.normal(np.where(answers, 0.5, -0.5), 0.5) + 0.25 * np.log(recordings)
    return scores, answers, Conditions(recordings=recordings)


def test_the_fit_finds_the_ratios_of_normal_distributions():
    scores, answers, conditions = trials(20000, 40000)
    fitted = calibration.fit(scores, answers, conditions)
    for recordings in (1, 4):
        given = Conditions(recordings=recordings)
        for score in (-1.0, 0.0, 0.7):
            assert fitted.llr(score, given) == pytest.approx(4 * score - math.log(recordings), abs=0.12)
        assert fitted.threshold(given) == pytest.approx(math.log(recordings) / 4, abs=0.02)
        assert fitted.llr(fitted.threshold(given, prior=0.2), given) == pytest.approx(math.log(4))
    new_scores, new_answers, new_conditions = trials(20000, 20000, seed=1)
    ratios = fitted.llr(new_scores, new_conditions)
    cost, least = (cllr(ratios[new_answers], ratios[~new_answers]) for cllr in (metrics.cllr, metrics.min_cllr))
    assert least <= cost < 1.02 * least


def test_it_does_not_depend_on_the_share_of_targets():
    many, few = (calibration.fit(*trials(count, 40000)) for count in (40000, 2000))
    assert many.llr(0.3, Conditions(recordings=2)) == pytest.approx(few.llr(0.3, Conditions(recordings=2)), abs=0.15)


def test_the_fit_is_the_minimum_of_its_cost():
    scores, answers, conditions = trials(60, 90, seed=2)
    logs = np.log(conditions.recordings)

    smoothed, shares = np.where(answers, 61 / 62, 1 / 92), np.where(answers, 1 / 120, 1 / 180)
    centred, deviations = scores - shares @ scores, logs - shares @ logs
    spreads = np.sqrt([shares @ deviations**2, shares @ (deviations * centred) ** 2])

    def cost(values):
        slope, offset, *of_term = values
        ratios = offset + slope * centred + (of_term[0] + of_term[1] * centred) * deviations
        return shares @ (np.logaddexp(0, ratios) - smoothed * ratios) + ((spreads * of_term) ** 2).sum() / (4 * 60)

    expected = minimize(cost, [1.0, 0.0, 0.0, 0.0], method="BFGS", options={"gtol": 1e-9}).x
    fitted = calibration.fit(scores, answers, conditions)
    term = fitted.terms["recordings"]
    assert fitted.slope == pytest.approx(expected[0], rel=1e-4)
    assert fitted.offset + fitted.slope * fitted.centre == pytest.approx(expected[1], abs=1e-4)
    assert (term.weight, term.gain) == pytest.approx(expected[2:], rel=1e-3)


def test_few_speakers_say_little_about_conditions():
    scores, answers, conditions = trials(2000, 2000)
    weights = [
        abs(calibration.fit(scores, answers, conditions, speakers=n).terms["recordings"].weight) for n in (4, 90)
    ]
    assert weights[0] < 0.8 * weights[1]
    same = calibration.fit(scores, answers, conditions, speakers=2000)
    assert same == calibration.fit(scores, answers, conditions)


def trials_of_quality(targets, nontargets, seed=0):
    """Scores whose log-likelihood ratio is 4 s at the quality 3, and s at the quality 1."""
    rng = np.random.default_rng(seed)
    answers = np.arange(targets + nontargets) < targets
    quality = np.where(rng.random(len(answers)) < 0.5, 1.0, 3.0)
    scores = rng.normal(np.where(answers, 0.5, -0.5), np.where(quality == 3, 0.5, 1.0))
    return scores, answers, Conditions(test_quality=quality)


def test_the_quality_changes_the_slope():
    fitted = calibration.fit(*trials_of_quality(20000, 40000))
    for quality, slope in ((3.0, 4.0), (1.0, 1.0), (9.0, 4.0), (-9.0, 1.0)):
        given = Conditions(test_quality=quality)
        assert fitted.llr(1.0, given) - fitted.llr(0.0, given) == pytest.approx(slope, rel=0.05)
        assert fitted.threshold(given) == pytest.approx(0, abs=0.03)
        assert fitted.llr(fitted.threshold(given, prior=0.2), given) == pytest.approx(math.log(4))
    scaled, given = fitted.rescaled(0.5, -1.0), Conditions(test_quality=[1.0, 2.0, math.nan])
    np.testing.assert_allclose(scaled.llr(0.3, given), 0.5 * fitted.llr(0.3, given) - 1.0)
    assert fitted.llr(0.3, given)[2] == fitted.llr(0.3)
    new_scores, new_answers, new_conditions = trials_of_quality(20000, 20000, seed=1)
    ratios, without = fitted.llr(new_scores, new_conditions), fitted.llr(new_scores)
    cost, least = (cllr(ratios[new_answers], ratios[~new_answers]) for cllr in (metrics.cllr, metrics.min_cllr))
    assert least <= cost < 1.01 * least
    assert cost < 0.95 * metrics.min_cllr(without[new_answers], without[~new_answers])


def test_the_slope_remains_positive():
    term = Term(weight=0.5, mean=2.0, low=0.0, high=4.0, gain=3.0)
    fitted = Calibration(4.0, -1.0, terms={"model_quality": term, "test_quality": term}, centre=0.25)
    bad = Conditions(model_quality=0.0, test_quality=0.0)  # 4 - 12 without a limit
    assert fitted.llr(1.25, bad) - fitted.llr(0.25, bad) == pytest.approx(calibration.MIN_SLOPE * 4.0)
    assert fitted.llr(0.25, bad) == pytest.approx(4.0 * 0.25 - 1.0 - 2 * 0.5 * 2.0)  # the slope turns about the centre
    for given in (bad, Conditions(model_quality=4.0, test_quality=1.0), None):
        assert fitted.llr(fitted.threshold(given, prior=0.9), given) == pytest.approx(-math.log(9))
    np.testing.assert_allclose(fitted.rescaled(2.0, 1.0).llr(0.7, bad), 2 * fitted.llr(0.7, bad) + 1.0)


def test_separated_trials_give_finite_ratios_and_no_more_than_they_prove():
    fitted = calibration.fit([5.0] * 30 + [1.0] * 30, [True] * 30 + [False] * 30)
    assert fitted.llr(5.0) == pytest.approx(math.log(31), abs=0.01)
    assert fitted.llr(1.0) == pytest.approx(-math.log(31), abs=0.01)


def test_unknown_conditions_count_as_the_mean_and_extremes_as_the_nearest_known():
    fitted = Calibration(4.0, 0.5, terms={"test_seconds": Term(2.0, 1.0, 0.0, 3.0)})
    assert fitted.llr(1.0) == fitted.llr(1.0, Conditions(test_seconds=None)) == 4.5
    assert fitted.llr(1.0, Conditions(test_seconds=0.0)) == 4.5  # as in files of voices without durations
    assert fitted.llr(1.0, Conditions(test_seconds=math.e)) == pytest.approx(4.5)
    assert fitted.llr(1.0, Conditions(test_seconds=1e9)) == pytest.approx(4.5 + 2 * 2)
    assert fitted.llr(1.0, Conditions(model_quality=3.0)) == 4.5  # a condition that it does not use
    both = fitted.llr([1.0, 2.0], Conditions(test_seconds=[math.nan, math.e**2]))
    assert both == pytest.approx([4.5, 10.5])


def test_the_ratio_may_be_scaled():
    fitted = Calibration(4.0, 0.5, "as-norm", {"recordings": Term(2.0, 1.0, 0.0, 3.0)})
    scaled, given = fitted.rescaled(0.5, -1.0), Conditions(recordings=[1, 7])
    np.testing.assert_allclose(scaled.llr(0.3, given), 0.5 * fitted.llr(0.3, given) - 1.0)
    assert scaled.scale == "as-norm"


def test_plain_values_are_read_back_and_others_refused():
    fitted = calibration.fit(*trials(50, 50), scale="as-norm")
    plain = json.loads(json.dumps(fitted.to_plain()))
    assert Calibration.from_plain(plain) == fitted
    earlier = {"slope": 4.0, "offset": 0.5, "scale": "cosine"}  # without gains
    earlier["terms"] = {"test_quality": {"weight": 2.0, "mean": 1.0, "low": 0.0, "high": 3.0}}
    read = Calibration.from_plain(earlier)
    assert read == Calibration(4.0, 0.5, terms={"test_quality": Term(2.0, 1.0, 0.0, 3.0)})
    assert read.llr(1.0, Conditions(test_quality=2.0)) == 6.5
    wrong = [
        (None, "keys"),
        ({}, "keys"),
        (plain | {"slope": 0.0}, "slope=0"),
        (plain | {"slope": "x"}, "not a finite number"),
        (plain | {"offset": math.inf}, "not a finite number"),
        (plain | {"centre": None}, "not a finite number"),
        (plain | {"scale": 3}, "scale=3"),
        (plain | {"terms": {"weather": plain["terms"]["recordings"]}}, "weather"),
        (plain | {"terms": {"recordings": {"weight": 1.0}}}, "missing"),
        (plain | {"terms": [1]}, "calibration"),
    ]
    for value, message in wrong:
        with pytest.raises(ConfigError, match=message):
            Calibration.from_plain(value)


def test_what_cannot_be_fitted_is_an_error():
    for arguments, message in [
        (([1.0, 2.0], [True, True]), "no non-target"),
        (([1.0, 2.0], [False, False]), "no target"),
        (([1.0, math.nan], [True, False]), "NaN"),
        (([1.0, 2.0, 1.5], [True, False, False]), "higher scores"),
        (([1.0, 1.0], [True, False]), "higher scores"),
    ]:
        with pytest.raises(SpeechtoolsError, match=message):
            calibration.fit(*arguments)
    for prior in (0, 1, math.nan, "x"):
        with pytest.raises(ConfigError, match="prior"):
            calibration.probability(0.0, prior)
    assert calibration.probability(1000.0) == 1 and calibration.probability(-1000.0) == 0


def test_held_out_ratios_come_from_trials_of_other_speakers():
    labels = np.arange(40) // 4  # 10 speakers
    first, second = np.triu_indices(40, 1)
    one, other = labels[first], labels[second]
    seen = []

    def fitted(chosen):
        seen.append({*one[chosen].tolist(), *other[chosen].tolist()})

        def rate(tested):
            assert not seen[-1] & {*one[tested].tolist(), *other[tested].tolist()}
            return tested.astype(float)

        return rate

    ratios = calibration.held_out(fitted, one, other)
    assert ratios.tolist() == list(range(len(first)))  # each is rated once
    assert len(seen) == 15 and all(len(speakers) >= 6 for speakers in seen)


def test_target_trials_join_recordings_to_speakers():
    first, second = np.array([0, 2, 4, 0, 5]), np.array([1, 3, 2, 4, 1])
    groups = calibration.speaker_groups(first, second, np.array([True, True, True, False, False]))
    assert groups[0][0] == groups[1][0] and groups[0][2] == groups[1][1] == groups[0][1]
    assert len({groups[0][0], groups[0][1], groups[0][4]}) == 3


# ------------------------------------------------------------------------------------------------------- normalisation


def test_as_norm_is_that_of_its_equation():
    rng = np.random.default_rng(0)
    cohort, models, tests = (rng.normal(size=(size, 6)) for size in (20, 3, 4))
    norm = ASNorm(20, 6, top=5).double()
    norm.set_cohort(torch.from_numpy(cohort))
    for model in models:
        for test in tests:
            values = []
            score = model @ test / np.linalg.norm(model) / np.linalg.norm(test)
            for side in (model, test):
                cosines = sorted(side @ other / np.linalg.norm(side) / np.linalg.norm(other) for other in cohort)[-5:]
                values.append((score - np.mean(cosines)) / np.std(cosines))
            sides = (norm.statistics(torch.from_numpy(side)[None]) for side in (model, test))
            assert norm(torch.tensor([score]), *sides).item() == pytest.approx(np.mean(values))


def test_as_norm_finds_a_target_whatever_the_channel_of_one_side():
    """A channel that moves all d-vectors to one place raises the scores of some trials, and not of others."""
    torch.manual_seed(0)
    speakers, cohort = torch.randn(200, 32), torch.randn(100, 32)
    channel = 6 * torch.nn.functional.normalize(torch.randn(32), dim=0)
    models = speakers + 0.6 * torch.randn(200, 32) + channel
    tests = speakers + 0.6 * torch.randn(200, 32) + channel * (torch.arange(200) % 2)[:, None]
    norm = ASNorm(100, 32, top=30)
    norm.set_cohort(cohort + channel * (torch.arange(100) % 2)[:, None])
    scores = torch.nn.functional.cosine_similarity(models[:, None], tests[None], dim=2)
    normalised = norm(scores, norm.statistics(models)[:, None], norm.statistics(tests)[None])
    same = torch.eye(200, dtype=torch.bool)
    before, after = (metrics.eer(s[same], s[~same])[0] for s in (scores, normalised))
    assert after < before / 2


def test_cohorts_that_cannot_be_used_are_refused():
    norm = ASNorm(4, 3)
    assert norm.top == 4
    for dvectors, message in [
        (torch.ones(3, 3), r"\(3, 3\) instead of \(4, 3\)"),
        (torch.zeros(4, 3), "zero"),
        (torch.full((4, 3), math.nan), "not finite"),
    ]:
        with pytest.raises(ConfigError, match=message):
            norm.set_cohort(dvectors)
    with pytest.raises(ConfigError, match="top"):
        ASNorm(4, 3, top=1)
