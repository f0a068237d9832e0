"""Each law of the kinds encoder, speaker-loss and score-norm catches a plugin that breaks it."""

import laws
import pytest
import torch
from torch import nn

from speechtools.speaker.encoders import LSTMEncoder
from speechtools.speaker.ge2e import GE2ESoftmax
from speechtools.speaker.normalization import ASNorm


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


def bent(norm, *batch):
    normalised = norm(*batch)
    return normalised / (1 + normalised.abs())


class Forgetful(ASNorm):
    def set_cohort(self, dvectors):
        self.members = dvectors

    def statistics(self, dvectors):
        cosines = dvectors @ getattr(self, "members", self.cohort).T
        return torch.stack([cosines.mean(dim=1), cosines.std(dim=1) + 0.1], dim=1)


@pytest.mark.parametrize(
    "plugin, law, seen",
    [
        (laws.changed(ASNorm, lambda norm, *batch: norm(*batch).double()), "finite float32", "float64"),
        (laws.changed(ASNorm, lambda norm, scores, *sides: scores / 0), "finite float32", "not finite"),
        (type("Unnamed", (ASNorm,), {"scale": "cosine"}), "names their scale", "scale='cosine'"),
        (laws.changed(ASNorm, lambda norm, scores, *sides: scores - scores.mean()), "normalised alone", "differ by"),
        (laws.changed(ASNorm, lambda norm, *batch: -norm(*batch)), "rising function", "not higher"),
        (laws.changed(ASNorm, bent), "rising function", "the next 0.1"),
        (Forgetful, "state has the cohort", "differ by"),
    ],
)
def test_broken_normalisations(plugin, law, seen):
    laws.must_break("score-norm", plugin, law, seen)
