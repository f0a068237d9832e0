"""Each law of the kinds encoder and speaker-loss catches a plugin that breaks it."""

import laws
import pytest
import torch
from torch import nn

from speechtools.speaker.ge2e import GE2ESoftmax


class Mean(nn.Module):
    """A linear layer, the mean over the valid frames, unit length: correct."""

    embedding_size = 6

    def __init__(self, input_size):
        super().__init__()
        self.linear = nn.Linear(input_size, 6)

    def forward(self, feats, lens=None):
        time = feats.shape[1]
        counts = torch.full((len(feats),), time) if lens is None else (lens * time).round()
        mask = (torch.arange(time) < counts[:, None]).unsqueeze(2)
        return nn.functional.normalize((self.linear(feats) * mask).sum(1), dim=1)


class Unused(Mean):
    def __init__(self, input_size):
        super().__init__(input_size)
        self.unused = nn.Linear(3, 3)


def changed(base, change):
    """A plugin whose output is ``change(forward of the base, *arguments)``."""

    class Changed(base):
        def forward(self, first, second=None):
            return change(super().forward, first, second)

    return Changed


def half_by_default(dvectors, feats, lens):
    return dvectors(feats, torch.full((len(feats),), 0.7) if lens is None else lens)


def test_a_correct_encoder_keeps_all_laws():
    assert len(laws.keeps("encoder", Mean)) == 4


@pytest.mark.parametrize(
    "plugin, law, seen",
    [
        (changed(Mean, lambda dvectors, *batch: 2 * dvectors(*batch)), "of length 1", "lengths of d-vectors and 1"),
        (changed(Mean, half_by_default), "lens=None", "the d-vectors without lens"),
        (changed(Mean, lambda dvectors, feats, lens: dvectors(feats)), "padding, whatever", "the d-vectors of 41"),
        (Unused, "a gradient reaches", "no gradient in unused.weight"),
    ],
)
def test_broken_encoders(plugin, law, seen):
    laws.must_break("encoder", plugin, law, seen)


@pytest.mark.parametrize(
    "change, law, seen",
    [
        (lambda loss, *batch: loss(*batch)[None], "finite scalar", "spread of 0.0"),
        (lambda loss, dvectors, speakers: loss(dvectors, speakers) / len(dvectors), "same loss", "differ by"),
        (lambda loss, *batch: -loss(*batch), "far apart", "random d-vectors"),
        (lambda loss, dvectors, speakers: loss(dvectors.detach(), speakers), "gradient", "the d-vectors"),
    ],
)
def test_broken_losses(change, law, seen):
    laws.must_break("speaker-loss", changed(GE2ESoftmax, change), law, seen)
