"""Sliding windows and the d-vectors of whole utterances."""

import itertools

import pytest
import torch

from speechtools.core.errors import ConfigError
from speechtools.speaker import dvectors
from speechtools.speaker.encoders import LSTMEncoder


@pytest.mark.parametrize("num_frames", [1, 159, 160, 161, 240, 241, 1001])
def test_windows_cover_every_frame_and_end_within_the_utterance(num_frames):
    starts = dvectors.window_starts(num_frames, 160, 80)
    covered = set()
    for start in starts:
        covered.update(range(start, min(start + 160, num_frames)))
    assert covered == set(range(num_frames))
    assert starts == sorted(set(starts))
    assert max(starts) + 160 <= max(num_frames, 160)
    assert all(later - earlier <= 80 for earlier, later in itertools.pairwise(starts))


@pytest.mark.parametrize("batch_windows", [1, 3])
def test_many_utterances_in_one_batch_equal_one_window_at_a_time(batch_windows):
    torch.manual_seed(0)
    encoder = LSTMEncoder(5, 6, 1, 4)
    feats = [torch.randn(frames, 5) for frames in (40, 700, 160, 161, 3, 330)]
    found = dvectors.window_dvectors(encoder, feats, 160, 80, batch_windows)
    for frames, windows in zip(feats, found, strict=True):
        starts = dvectors.window_starts(len(frames), 160, 80)
        alone = [encoder(frames[start : start + 160].unsqueeze(0), torch.ones(1))[0] for start in starts]
        assert torch.allclose(windows, torch.stack(alone), atol=1e-5)


@pytest.mark.parametrize("numbers", [(100, 160, 0), (100, 80, 81), (0, 160, 80), (100, 0, 0)])
def test_windows_that_cannot_cover_an_utterance_are_refused(numbers):
    with pytest.raises(ConfigError, match="cannot cover"):
        dvectors.window_starts(*numbers)
