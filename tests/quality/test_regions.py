"""Regions: a partition of the time line whose costs add up."""

import itertools

import numpy as np
import pytest

from speechtools.core.errors import ConfigError
from speechtools.inference import QualityNet
from speechtools.quality.inference import QualityReport
from speechtools.quality.regions import closing, merge_short_runs, moving_average

HOP = 0.016
NAMES = ("noise", "reverberation", "clipping", "loss", "band-limit", "processing")


def make_report(seconds=10.0, seed=0, silent=None, scale="raw_nb", higher_is_better=True, **causes):
    """A report of wavering frame scores and probabilities; causes are (start, end) in seconds."""
    rng = np.random.default_rng(seed)
    times = HOP * (np.arange(round(seconds / HOP)) + 1)
    scores = rng.uniform(1, 4, len(times))
    probabilities = rng.uniform(0, 0.3, (len(times), len(NAMES)))
    for name, (start, end) in causes.items():
        inside = (times >= start) & (times < end)
        # Bursts of loss have gaps, and noise is hidden by loud speech for some tenths of a second.
        packets = np.repeat(rng.random(len(times) // 3 + 1) < 0.2, 3)[: len(times)]
        present = packets if name == "loss" else np.sin(5 * times) > -0.8
        column = NAMES.index(name)
        probabilities[inside & present, column] = 0.9
    is_silent = np.zeros(len(times), dtype=bool)
    if silent:
        is_silent = (times >= silent[0]) & (times < silent[1])
    score = float(scores[~is_silent].mean())
    scores[is_silent] = score
    return QualityReport(
        score, scores, times, seconds, HOP, scale, is_silent, higher_is_better, probabilities, cause_names=NAMES
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("silent", [None, (2.0, 4.5), (0.0, 10.0)])
def test_regions_divide_the_recording_and_their_costs_add_up(seed, silent):
    report = make_report(seed=seed, silent=silent, noise=(0, 7), loss=(3, 5), clipping=(4, 9))
    regions = report.regions(min_cost=None, min_duration=0.2)
    assert regions[0].start == 0.0 and regions[-1].end == report.duration
    assert all(one.end == other.start for one, other in itertools.pairwise(regions))
    assert all(region.end - region.start >= 0.2 - 1e-9 for region in regions)
    assert all(set(one.causes) != set(other.causes) for one, other in itertools.pairwise(regions))
    assert sum(region.cost for region in regions) == pytest.approx(4.5 - report.score)
    assert sum(region.cost for region in report.regions(None, best=4.0)) == pytest.approx(4.0 - report.score)
    for region in regions:
        strengths = [region.probabilities[name] for name in region.causes]
        assert strengths == sorted(strengths, reverse=True) and set(region.probabilities) == set(NAMES)
    assert report.regions(0.3, 0.2) == [region for region in regions if region.cost >= 0.3]


def test_a_listener_would_name_these_regions():
    """Noise that loud speech hides now and then, and lost packets within a second, are one region each."""
    regions = make_report(noise=(0, 10)).regions()
    assert [(region.start, region.end, region.causes) for region in regions] == [(0.0, 10.0, ("noise",))]
    named = [region for region in make_report(loss=(3.2, 4.4)).regions() if region.causes]
    assert [region.causes for region in named] == [("loss",)]
    assert (named[0].start, named[0].end) == pytest.approx((3.2, 4.4), abs=0.3)
    both = make_report(noise=(0, 10), loss=(3.2, 4.4)).regions()
    assert [set(region.causes) for region in both] == [{"noise"}, {"noise", "loss"}, {"noise"}]


def test_silence_costs_nothing_and_long_silence_has_no_cause():
    report = make_report(noise=(0, 10), silent=(4.0, 8.0))
    regions = report.regions(None)
    assert [region.causes for region in regions] == [("noise",), (), ("noise",)]
    assert regions[1].cost == pytest.approx(0.0, abs=0.1) and regions[1].end - regions[1].start > 3.0
    assert [region.causes for region in make_report(noise=(0, 10), silent=(4.0, 4.6)).regions(None)] == [("noise",)]


def test_lower_scores_may_be_better():
    limits = {"scale": "distance", "higher_is_better": False}
    report = make_report(**limits, noise=(0, 5))
    with pytest.raises(ConfigError, match="distance is not known. Pass best="):
        report.regions()
    regions = report.regions(None, best=0.0)
    assert len(regions) == 2 and sum(region.cost for region in regions) == pytest.approx(report.score)


def test_without_causes_regions_are_degraded_or_not(tone, pretrained):
    samples = np.concatenate([tone(2.0), tone(2.0) + 0.1 * np.random.default_rng(0).standard_normal(32000)])
    report = QualityNet.from_hparams(pretrained).assess_samples(samples.astype(np.float32))
    assert report.causes is None and report.best == 4.5
    regions = report.regions(None)
    assert sum(region.cost for region in regions) == pytest.approx(4.5 - report.score, abs=1e-5)
    assert not any(region.causes or region.probabilities for region in regions)
    assert len(report.regions(None, below=-0.4)) == 1


@pytest.mark.parametrize("option, value", [("min_duration", -1.0), ("threshold", 2.0), ("best", float("nan"))])
def test_a_parameter_out_of_range_is_named(option, value):
    with pytest.raises(ConfigError, match=f"Invalid value for {option}"):
        make_report().regions(**{option: value})


def test_a_closing_fills_gaps_up_to_its_size_and_lowers_nothing():
    values = np.random.default_rng(0).random(200)
    assert (closing(values, 7) >= values).all() and np.array_equal(closing(closing(values, 7), 7), closing(values, 7))
    spikes = np.zeros(30)
    spikes[[5, 10, 20]] = 1.0
    assert np.flatnonzero(closing(spikes, 4)).tolist() == [5, 6, 7, 8, 9, 10, 20]
    assert np.array_equal(closing(values[:3], 100), np.maximum(values[:3], closing(values[:3], 2)))


def test_a_moving_average_has_no_edges_and_leaves_out_frames():
    values = np.random.default_rng(0).random(50)
    counts = np.random.default_rng(1).random(50) < 0.5
    for frame, value in enumerate(moving_average(values, 9, counts)):
        window = slice(max(frame - 4, 0), frame + 5)
        expected = values[window][counts[window]].mean() if counts[window].any() else values[frame]
        assert value == pytest.approx(expected)


def test_short_runs_are_merged_in_any_number():
    labels = np.random.default_rng(0).integers(0, 4, 100_000)
    merged = merge_short_runs(labels, np.ones(len(labels)), 10)
    lengths = np.diff(np.flatnonzero(np.diff(merged)))
    assert len(lengths) > 10 and lengths.min() >= 10
    assert set(merge_short_runs(labels[:5], np.ones(5), 10)) <= set(labels[:5].tolist())
    alternating = np.arange(200_000) % 2  # many runs of one length: a few passes, not one for each
    assert len(set(merge_short_runs(alternating, np.ones(len(alternating)), 10))) == 1
