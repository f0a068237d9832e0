"""Each law of the kind quality catches a network that breaks it."""

import laws
import pytest
import torch
from torch import nn


class Head(nn.Module):
    """A linear score a frame and their mean over the valid frames: correct."""

    def __init__(self, input_size):
        super().__init__()
        self.linear = nn.Linear(input_size, 1)

    def assess_frames(self, feats, mask):
        return self.linear(feats).squeeze(2)

    def average(self, frame_scores, mask):
        return (frame_scores * mask).sum(1) / mask.sum(1)

    def forward(self, feats, lens=None):
        time = feats.shape[1]
        counts = torch.full((len(feats),), time) if lens is None else (lens * time).round()
        mask = torch.arange(time) < counts[:, None]
        frame_scores = self.assess_frames(feats, mask)
        return self.average(frame_scores, mask), frame_scores


def changed(change):
    """``Head`` that scores the frames ``change(feats)``."""

    class Changed(Head):
        def assess_frames(self, feats, mask):
            return super().assess_frames(change(feats), mask)

    return Changed


class ColumnOfScores(Head):
    def average(self, frame_scores, mask):
        return super().average(frame_scores, mask)[:, None]


class OnlyScores(Head):
    def forward(self, feats, lens=None):
        return super().forward(feats, lens)[0]


class MeanOfPadded(Head):
    def average(self, frame_scores, mask):
        return (frame_scores * mask).mean(1)


class HalfByDefault(Head):
    def forward(self, feats, lens=None):
        return super().forward(feats, torch.full((len(feats),), 0.5) if lens is None else lens)


class SortedOnly(Head):
    def assess_frames(self, feats, mask):
        nn.utils.rnn.pack_padded_sequence(feats, mask.sum(1), batch_first=True)
        return super().assess_frames(feats, mask)


def test_a_correct_network_keeps_all_laws():
    assert len(laws.keeps("quality", Head)) == 8


@pytest.mark.parametrize(
    "plugin, law, seen",
    [
        (ColumnOfScores, "float32 scores (batch,)", r"of shape \(4, 1\) instead of torch.float32 of shape \(4,\)"),
        (OnlyScores, "float32 scores (batch,)", r"returned a Tensor instead of \(scores, frame_scores\)"),
        (lambda input_size: Head(input_size).forward, "float32 scores (batch,)", "instead of a torch.nn.Module"),
        (changed(lambda x: x / x.norm(dim=2, keepdim=True)), "features that are all 0", "not finite"),
        (MeanOfPadded, "is the mean", "an item of 41 of 60 frames"),
        (HalfByDefault, "lens=None", "the scores without lens"),
        (changed(lambda x: x - x.mean(1, keepdim=True)), "padding, whatever", "the scores of 41 frames"),
        (SortedOnly, "order of the batch", "RuntimeError: `lengths` array must be sorted"),
        (changed(torch.detach), "a gradient reaches", "no gradient in the input feats"),
        (
            changed(lambda x: x + (x - x).sqrt()),
            "a gradient reaches",
            "a gradient in the input feats that is not finite",
        ),
    ],
)
def test_broken_networks(plugin, law, seen):
    laws.must_break("quality", plugin, law, seen)
