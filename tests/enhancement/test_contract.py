"""Each law of the kind enhancer alone catches a network that breaks it. The shared laws are tested with other kinds."""

import laws
import pytest
import torch
from torch import nn


class Masker(nn.Module):
    """A mask from each frame's own magnitudes over the level of the valid frames: correct."""

    floor = 1e-9

    def __init__(self, input_size):
        super().__init__()
        self.linear = nn.Linear(input_size, input_size)

    def level(self, feats, mask):
        return ((feats * mask).square().sum((1, 2)) / mask.sum((1, 2))).sqrt()[:, None, None] + self.floor

    def forward(self, feats, lens=None):
        time = feats.shape[1]
        counts = torch.full((len(feats),), time) if lens is None else (lens * time).round()
        mask = (torch.arange(time) < counts[:, None])[:, :, None]
        return torch.sigmoid(self.linear(feats / self.level(feats, mask)))


class Unbounded(Masker):
    def forward(self, feats, lens=None):
        return 4 * super().forward(feats, lens)


class DividesByTheLevel(Masker):
    floor = 0.0


class KeepsTheLevel(Masker):
    def level(self, feats, mask):
        return 1.0


def test_a_correct_enhancer_keeps_all_laws():
    assert len(laws.keeps("enhancer", Masker)) == 6


@pytest.mark.parametrize(
    "plugin, law, seen",
    [
        (Unbounded, "masks of the same shape, in", r"masks from [\d.]+ to [\d.]+"),
        (DividesByTheLevel, "finite for silence", "not finite"),
        (KeepsTheLevel, "the level of a recording", "40 dB lower"),
    ],
)
def test_broken_enhancers(plugin, law, seen):
    laws.must_break("enhancer", plugin, law, seen)
