"""Gaps and clicks: what is changed, by how much, and what is left as it was."""

import numpy as np
import pytest

from speechtools.core.runs import true_runs
from speechtools.degradations.interruptions import Clicks, Gaps

RNG = np.random.default_rng(0)
NOISE = RNG.uniform(0.1, 1, 32000).astype(np.float32) * RNG.choice([-1, 1], 32000).astype(np.float32)


def test_gaps_are_as_many_and_as_long_as_asked_and_nothing_else_changes():
    degraded = Gaps(count=2, milliseconds=50, fill="silence")(NOISE, np.random.default_rng(1))
    gaps = true_runs(degraded == 0)
    assert [end - start for start, end in gaps] == [800, 800]
    np.testing.assert_array_equal(degraded[degraded != 0], NOISE[degraded != 0])


def test_gaps_begin_in_speech():
    speech = NOISE.copy()
    speech[4000:28000] *= 1e-4
    for seed in range(10):
        degraded = Gaps(count=1, milliseconds=20, fill="silence")(speech, np.random.default_rng(seed))
        start, _ = true_runs(degraded == 0)[0]
        assert start < 4160 or start >= 27840


def test_the_background_is_that_of_the_pauses():
    speech = NOISE.copy()
    speech[16000:] *= 0.01
    degraded = Gaps(count=1, milliseconds=300, fill="background")(speech, np.random.default_rng(2))
    gap = degraded[degraded != speech]
    assert gap.size > 4000
    assert np.std(gap) == pytest.approx(np.std(speech[16000:]), rel=0.1)


def test_clicks_are_short_as_loud_and_as_many_as_asked():
    counts = []
    for seed in range(20):
        added = Clicks(per_second=10, level=0.5)(NOISE, np.random.default_rng(seed)) - NOISE
        changed = np.abs(added) > 1e-6
        assert np.median([end - start for start, end in true_runs(changed)]) <= 48
        assert 0.5 * np.abs(NOISE).max() <= np.abs(added).max() + 1e-6
        # a click has one largest sample or several of the same value
        loud = np.convolve(np.abs(added) > 0.49 * np.abs(NOISE).max(), np.ones(12), "same") > 0
        counts.append(len(true_runs(loud)))
    assert np.mean(counts) == pytest.approx(20, rel=0.2)


@pytest.mark.parametrize("degrade", [Gaps(), Clicks()])
@pytest.mark.parametrize("samples", [0, 1, 30])
def test_very_short_and_empty_samples_stay_as_long_as_they_are(degrade, samples):
    degraded = degrade(NOISE[:samples], np.random.default_rng(0))
    assert degraded.shape == (samples,) and degraded.dtype == np.float32
