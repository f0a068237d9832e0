"""Laws of the classifier over the training speakers."""

import math

import pytest
import torch
from torch import nn

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.speaker.softmax import Softmax


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return nn.functional.normalize(torch.randn(6, 8), dim=1), torch.tensor([4, 0, 2, 2, 0, 4])


def test_cross_entropy_by_the_book(batch):
    dvectors, speakers = batch
    loss = Softmax(scale=3.0)
    with pytest.raises(ConfigError, match="call set_speakers"):
        loss(*batch)
    loss.set_speakers(num_speakers=5, embedding_size=8)
    weight, bias = loss.linear.weight.detach().double(), loss.linear.bias.detach().double()
    expected = 0.0
    for dvector, speaker in zip(dvectors.double(), speakers.tolist(), strict=True):
        logits = [float(row @ (3.0 * dvector) + offset) for row, offset in zip(weight, bias, strict=True)]
        expected += math.log(sum(math.exp(logit) for logit in logits)) - logits[speaker]
    assert loss(dvectors, speakers).item() == pytest.approx(expected, rel=1e-6)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert loss(*batch).item() == pytest.approx(expected, rel=1e-6)
    loss.reduction = "mean"
    assert loss(dvectors, speakers).item() == pytest.approx(expected / 6, rel=1e-6)


@pytest.mark.parametrize(
    "shape, speakers, message",
    [
        ((3, 8), None, "needs labels"),
        ((3, 8), [0, 5, 1], "Speakers 0 to 5 .* 0 to 4"),
        ((3, 8), [0, 1], r"shape \(2,\)"),
        ((3, 7), [0, 1, 2], "pass .batch, 8."),
        ((3, 8), [0.0, 1.0, 2.0], "torch.float32"),
        ((0, 8), [], r"shape \(0,\)"),
    ],
)
def test_malformed_batches(shape, speakers, message):
    speakers = speakers if speakers is None else torch.tensor(speakers, dtype=None if speakers else torch.long)
    with pytest.raises(SpeechtoolsError, match=message):
        Softmax(8, 5)(torch.randn(shape), speakers)


def test_values_that_are_not_finite_and_impossible_sizes(batch):
    dvectors, speakers = batch
    dvectors[0, 0] = float("nan")
    with pytest.raises(SpeechtoolsError, match="NaN"):
        Softmax(8, 5)(dvectors, speakers)
    for sizes in ((8, 1), (0, 5)):
        with pytest.raises(ConfigError, match=f"num_speakers={sizes[1]} and embedding_size={sizes[0]}"):
            Softmax().set_speakers(sizes[1], sizes[0])
