"""Replacing stretches of a recording: what stays, and how the two are joined."""

import numpy as np
import pytest

from speechtools.core.errors import AudioError
from speechtools.enhancement.stretches import replace_stretches

RATE = 1000


@pytest.fixture
def recordings():
    rng = np.random.default_rng(0)
    return rng.standard_normal((2, 3 * RATE)).astype(np.float32)


def test_without_stretches_nothing_changes_and_the_whole_is_replaced(recordings):
    samples, enhanced = recordings
    assert np.array_equal(replace_stretches(samples, enhanced, [], RATE), samples)
    np.testing.assert_allclose(replace_stretches(samples, enhanced, [(0.0, 3.0)], RATE), enhanced, atol=1e-6)


def test_an_enhanced_stretch_keeps_the_level_of_its_speech(recordings):
    speech, noise = recordings
    blended = replace_stretches(speech, 0.4 * speech, [(1.0, 2.0)], RATE)
    np.testing.assert_allclose(blended, speech, atol=1e-5)
    silent = replace_stretches(noise, 0 * noise, [(1.0, 2.0)], RATE)
    assert not silent[1100:1900].any()
    weak = replace_stretches(noise, 0.01 * noise, [(1.0, 2.0)], RATE)
    assert np.abs(weak[1100:1900]).max() < 0.05 * np.abs(noise).max(), "a pause stays quiet"


def test_only_the_stretch_changes_and_fades_linearly():
    blended = replace_stretches(np.zeros(3 * RATE), np.ones(3 * RATE), [(1.0, 2.0)], RATE, fade_seconds=0.1)
    assert not blended[:950].any() and not blended[2050:].any()
    assert np.allclose(blended[1050:1950], 1)
    steps = np.diff(blended[950:1050])
    assert steps == pytest.approx(0.01, abs=1e-5)
    assert blended[1000] == pytest.approx(0.5, abs=0.01)


def test_the_ends_of_a_recording_are_not_faded(recordings):
    samples, enhanced = recordings
    blended = replace_stretches(samples, enhanced, [(-1.0, 0.5), (2.5, 9.0)], RATE)
    np.testing.assert_allclose(blended[[0, -1]], enhanced[[0, -1]], atol=1e-6)


def test_overlapping_stretches_are_one(recordings):
    one = replace_stretches(*recordings, [(0.5, 2.0)], RATE)
    assert np.array_equal(replace_stretches(*recordings, [(0.5, 1.5), (1.0, 2.0)], RATE), one)


def test_neighbouring_stretches_do_not_add_up():
    blended = replace_stretches(np.zeros(RATE), np.ones(RATE), [(0.2, 0.4), (0.405, 0.6)], RATE, fade_seconds=0.1)
    assert blended.max() <= 1 + 1e-6 and blended[402] > 0.9


def test_recordings_of_different_lengths_are_refused(recordings):
    with pytest.raises(AudioError, match="length"):
        replace_stretches(recordings[0], recordings[1][1:], [], RATE)
