"""Replacing stretches of a recording: what stays, and how the two are joined."""

import math

import numpy as np
import pytest

from speechtools.core.errors import AudioError, ConfigError
from speechtools.enhancement.stretches import StretchReplacer, replace_stretches

RATE = 1000


@pytest.fixture
def recordings():
    """Speech, and the same attenuated, with other noise: float32 (samples,)."""
    speech, noise = np.random.default_rng(0).standard_normal((2, 3 * RATE)).astype(np.float32)
    return 0.2 * speech, 0.1 * (speech + 0.1 * noise)


def test_outside_the_stretches_nothing_changes(recordings):
    samples, enhanced = recordings
    assert np.array_equal(replace_stretches(samples, enhanced, [], RATE), samples)
    mixed = replace_stretches(samples, enhanced, [(-1.0, 0.5), (2.0, 2.2)], RATE)
    assert mixed.dtype == np.float32
    assert np.array_equal(mixed[500:2000], samples[500:2000]) and np.array_equal(mixed[2200:], samples[2200:])
    assert (mixed[1:490] != samples[1:490]).mean() > 0.9 and (mixed[2010:2190] != samples[2010:2190]).mean() > 0.9


def test_a_stretch_keeps_the_level_of_its_speech_and_the_offset(recordings):
    speech, noise = recordings
    mixed = replace_stretches(speech + 0.1, 0.4 * speech, [(1.0, 2.0)], RATE, offset=0.1)
    np.testing.assert_allclose(mixed, speech + 0.1, atol=1e-2)
    silent = replace_stretches(noise, 0 * noise, [(1.0, 2.0)], RATE)
    assert not silent[1100:1900].any()
    weak = replace_stretches(noise, 0.01 * noise, [(1.0, 2.0)], RATE)
    assert np.abs(weak[1100:1900]).max() < 0.05 * np.abs(noise).max(), "a pause stays quiet"


def test_a_stretch_fades_linearly_inside_but_not_at_the_ends_of_the_recording():
    ones = np.ones(3 * RATE, dtype=np.float32)
    mixed = replace_stretches(0 * ones, ones, [(1.0, 2.0)], RATE, fade=0.1)
    assert not mixed[:1000].any() and not mixed[2000:].any() and np.all(mixed[1100:1900] == 1)
    assert np.diff(mixed[1000:1100]) == pytest.approx(1 / 101, abs=1e-5)
    mixed = replace_stretches(0 * ones, ones, [(0.0, 0.5), (2.5, math.inf)], RATE)
    assert mixed[0] == mixed[-1] == 1


def test_stretches_that_overlap_or_touch_are_one(recordings):
    one = replace_stretches(*recordings, [(0.5, 2.0)], RATE)
    assert np.array_equal(replace_stretches(*recordings, [(1.0, 2.0), (0.5, 1.5)], RATE), one)
    assert np.array_equal(replace_stretches(*recordings, [(0.5, 1.0), (1.0, 2.0)], RATE), one)


def test_blocks_give_nearly_the_same_without_jumps(recordings):
    samples, enhanced = recordings
    enhanced = enhanced * np.repeat([1.0, 0.6], 1500).astype(np.float32)  # the gain differs by block
    stretches = [(0.2, 2.8)]
    replace = StretchReplacer(stretches, RATE, ramp=0.5)
    blocks = [replace(samples[start : start + 1500], enhanced[start : start + 1500]) for start in (0, 1500)]
    # In a constant signal, the gain is all that changes.
    replace = StretchReplacer([(0.0, math.inf)], RATE, ramp=0.5)
    ones = np.ones(1500, dtype=np.float32)
    gains = np.concatenate([replace(0.9 * ones, 0.45 * ones), replace(0.3 * ones, 0.3 * ones)]) / 0.3
    assert gains[:1500] == pytest.approx(3.0) and gains[-1] < 2.0
    assert gains[1500] == pytest.approx(2.0) and np.abs(np.diff(gains[1500:])).max() < 3e-3
    whole = replace_stretches(samples, enhanced, stretches, RATE)
    assert np.array_equal(np.concatenate(blocks)[2800:], samples[2800:])
    assert np.corrcoef(np.concatenate(blocks), whole)[0, 1] > 0.95
    assert np.array_equal(StretchReplacer([(5.0, 6.0)], RATE)(samples, None), samples)


def test_recordings_of_different_lengths_and_reversed_stretches_are_refused(recordings):
    with pytest.raises(AudioError, match="length"):
        replace_stretches(recordings[0], recordings[1][1:], [], RATE)
    for stretch in [(1.0, 0.5), (math.nan, 1.0)]:
        with pytest.raises(ConfigError, match="stretch from"):
            replace_stretches(*recordings, [stretch], RATE)
