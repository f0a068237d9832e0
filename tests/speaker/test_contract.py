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


class NotUnit(Mean):
    def forward(self, feats, lens=None):
        return 2 * super().forward(feats, lens)


class HalfByDefault(Mean):
    def forward(self, feats, lens=None):
        return super().forward(feats, torch.full((len(feats),), 0.7) if lens is None else lens)


class IgnoresLens(Mean):
    def forward(self, feats, lens=None):
        return super().forward(feats)


class Unused(Mean):
    def __init__(self, input_size):
        super().__init__(input_size)
        self.unused = nn.Linear(3, 3)


def test_a_correct_encoder_keeps_all_laws():
    assert len(laws.keeps("encoder", Mean)) == 4


@pytest.mark.parametrize(
    "plugin, law, seen",
    [
        (NotUnit, "of length 1", "the lengths of d-vectors and 1 differ"),
        (HalfByDefault, "lens=None", "the d-vectors without lens"),
        (IgnoresLens, "padding, whatever", "the d-vectors of 41 frames"),
        (Unused, "a gradient reaches", "no gradient in unused.weight"),
    ],
)
def test_broken_encoders(plugin, law, seen):
    laws.must_break("encoder", plugin, law, seen)


def changed(change):
    """GE2E softmax whose value is ``change(loss, dvectors, speakers)``."""

    class Changed(GE2ESoftmax):
        def forward(self, dvectors, speakers=None):
            return change(super().forward, dvectors, speakers)

    return Changed


@pytest.mark.parametrize(
    "plugin, law, seen",
    [
        (changed(lambda loss, dvectors, speakers: loss(dvectors, speakers)[None]), "finite scalar", "spread of 0.0"),
        (changed(lambda loss, dvectors, speakers: loss(dvectors, speakers) / len(dvectors)), "same loss", "differ by"),
        (changed(lambda loss, dvectors, speakers: -loss(dvectors, speakers)), "far apart", "random d-vectors"),
        (changed(lambda loss, dvectors, speakers: loss(dvectors.detach(), speakers)), "gradient", "the d-vectors"),
    ],
)
def test_broken_losses(plugin, law, seen):
    laws.must_break("speaker-loss", plugin, law, seen)
