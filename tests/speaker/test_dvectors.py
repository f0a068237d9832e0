"""Sliding windows and the d-vectors of whole utterances."""

import itertools

import pytest
import torch

from speechtools.core.errors import ConfigError
from speechtools.speaker import dvectors


class MeanEncoder(torch.nn.Module):
    """The unit mean of the valid frames, which padding must not change."""

    def forward(self, feats, lens):
        counts = (lens * feats.shape[1]).round().unsqueeze(1)
        mask = torch.arange(feats.shape[1]) < counts
        return dvectors.unit((feats * mask.unsqueeze(2)).sum(dim=1) / counts)


@pytest.mark.parametrize("num_frames", [1, 79, 80, 159, 160, 161, 239, 240, 241, 1000, 1001])
def test_windows_cover_every_frame_and_end_within_the_utterance(num_frames):
    starts = dvectors.window_starts(num_frames, 160, 80)
    covered = set()
    for start in starts:
        covered.update(range(start, min(start + 160, num_frames)))
    assert covered == set(range(num_frames))
    assert starts == sorted(set(starts))
    assert max(starts) + 160 <= max(num_frames, 160)
    assert all(later - earlier <= 80 for earlier, later in itertools.pairwise(starts))


def test_a_window_as_long_as_the_utterance_gives_the_plain_dvector():
    torch.manual_seed(0)
    feats = torch.randn(160, 7)
    (windows,) = dvectors.window_dvectors(MeanEncoder(), [feats])
    plain = MeanEncoder()(feats.unsqueeze(0), torch.ones(1))
    assert torch.allclose(windows, plain, atol=1e-6)
    assert torch.allclose(dvectors.utterance_dvector(windows), plain[0], atol=1e-6)


@pytest.mark.parametrize("batch_windows", [1, 3, 512])
def test_many_utterances_in_one_batch_equal_one_window_at_a_time(batch_windows):
    torch.manual_seed(0)
    encoder = MeanEncoder()
    feats = [torch.randn(frames, 5) for frames in (40, 700, 160, 161, 3, 330)]
    found = dvectors.window_dvectors(encoder, feats, 160, 80, batch_windows)
    for frames, windows in zip(feats, found, strict=True):
        starts = dvectors.window_starts(len(frames), 160, 80)
        alone = [encoder(frames[start : start + 160].unsqueeze(0), torch.ones(1))[0] for start in starts]
        assert torch.allclose(windows, torch.stack(alone), atol=1e-5)


def test_the_mean_of_unit_windows_lies_in_the_unit_ball():
    torch.manual_seed(0)
    windows = dvectors.unit(torch.randn(9, 4))
    assert dvectors.utterance_dvector(windows).norm() < 1
    assert torch.allclose(dvectors.utterance_dvector(windows), windows.mean(dim=0))


def test_cosine_scores_are_of_the_pairs():
    torch.manual_seed(0)
    models, tests = torch.randn(3, 6), torch.randn(4, 6)
    scores = dvectors.cosine_scores(models, tests)
    assert scores.shape == (3, 4)
    for i in range(3):
        expected = torch.nn.functional.cosine_similarity(models[i : i + 1], tests)
        assert torch.allclose(scores[i], expected, atol=1e-6)


@pytest.mark.parametrize("numbers", [(100, 160, 0), (100, 80, 81), (0, 160, 80), (100, 0, 0)])
def test_windows_that_cannot_cover_an_utterance_are_refused(numbers):
    with pytest.raises(ConfigError, match="cannot cover"):
        dvectors.window_starts(*numbers)
