"""Each law of the kinds encoder and speaker-loss catches a plugin that breaks it."""

import laws
import pytest
import torch
from torch import nn

from speechtools.speaker.encoders import LSTMEncoder
from speechtools.speaker.ge2e import GE2ESoftmax


class Unused(LSTMEncoder):
    def __init__(self, input_size):
        super().__init__(input_size)
        self.unused = nn.Linear(3, 3)


def half_by_default(encode, feats, lens=None):
    return encode(feats, torch.full((len(feats),), 0.7) if lens is None else lens)


@pytest.mark.parametrize(
    "plugin, law, seen",
    [
        (
            laws.changed(LSTMEncoder, lambda encode, *batch: 2 * encode(*batch)),
            "of length 1",
            "lengths of d-vectors and 1",
        ),
        (laws.changed(LSTMEncoder, half_by_default), "lens=None", "the d-vectors without lens"),
        (
            laws.changed(LSTMEncoder, lambda encode, feats, lens=None: encode(feats)),
            "padding, whatever",
            "the d-vectors of 41",
        ),
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
    laws.must_break("speaker-loss", laws.changed(GE2ESoftmax, change), law, seen)
