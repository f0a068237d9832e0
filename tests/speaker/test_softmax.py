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
    loss = Softmax(8, 5, scale=3.0)
    weight, bias = loss.linear.weight.detach().double(), loss.linear.bias.detach().double()
    expected = 0.0
    for dvector, speaker in zip(dvectors.double(), speakers.tolist(), strict=True):
        logits = [float(row @ (3.0 * dvector) + offset) for row, offset in zip(weight, bias, strict=True)]
        expected += math.log(sum(math.exp(logit) for logit in logits)) - logits[speaker]
    assert loss(dvectors, speakers).item() == pytest.approx(expected, rel=1e-6)
    loss.reduction = "mean"
    assert loss(dvectors, speakers).item() == pytest.approx(expected / 6, rel=1e-6)


def test_without_weights_the_loss_is_that_of_chance(batch):
    loss = Softmax(8, 5)
    nn.init.zeros_(loss.linear.weight)
    nn.init.zeros_(loss.linear.bias)
    assert loss(*batch).item() == pytest.approx(6 * math.log(5), rel=1e-6)


def test_flat_and_regular_batches_agree(batch):
    dvectors, _ = batch
    loss, speakers = Softmax(8, 5), torch.tensor([3, 0, 4])
    regular = loss(dvectors.view(3, 2, 8), speakers)
    torch.testing.assert_close(regular, loss(dvectors, speakers.repeat_interleave(2)))
    order = torch.tensor([5, 2, 0, 4, 1, 3])
    torch.testing.assert_close(regular, loss(dvectors[order], speakers.repeat_interleave(2)[order]))


def test_the_speakers_come_from_the_data(batch):
    torch.manual_seed(1)
    early = Softmax(8, 5)
    torch.manual_seed(1)
    late = Softmax()
    late.set_speakers(num_speakers=5, embedding_size=8)
    assert torch.equal(early(*batch), late(*batch))
    assert [name for name, _ in late.named_parameters()] == ["linear.weight", "linear.bias"]


def test_it_learns_and_the_gradient_reaches_the_dvectors(batch):
    dvectors, speakers = batch
    loss, leaf = Softmax(8, 5), dvectors.clone().requires_grad_()
    optimizer = torch.optim.SGD(loss.parameters(), lr=0.01)
    losses = []
    for _ in range(50):
        optimizer.zero_grad()
        losses.append(loss(leaf, speakers))
        losses[-1].backward()
        optimizer.step()
    assert losses[-1] < 0.2 * losses[0]
    assert (leaf.grad.abs().sum(1) > 0).all()


def test_autocast_does_not_change_the_loss(batch):
    loss = Softmax(8, 5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = loss(*batch)
    assert torch.equal(inside, loss(*batch))


def test_use_before_the_speakers_are_known(batch):
    with pytest.raises(ConfigError, match="call set_speakers"):
        Softmax()(*batch)


@pytest.mark.parametrize("sizes", [(8, 1), (8, 0), (0, 5), (-1, 5)])
def test_impossible_sizes(sizes):
    with pytest.raises(ConfigError, match=f"num_speakers={sizes[1]} and embedding_size={sizes[0]}"):
        Softmax().set_speakers(sizes[1], sizes[0])


@pytest.mark.parametrize(
    "shape, speakers, message",
    [
        ((3, 8), None, "needs labels"),
        ((3, 8), [0, 5, 1], "Speakers 0 to 5 .* 0 to 4"),
        ((3, 8), [0, -1, 1], "Speakers -1 to 1 "),
        ((3, 8), [0, 1], r"shape \(2,\)"),
        ((3, 7), [0, 1, 2], "give .batch, 8."),
        ((3, 2, 8), [0, 1], r"shape \(2,\)"),
        ((3, 8), [0.0, 1.0, 2.0], "torch.float32"),
        ((0, 8), [], r"shape \(0,\)"),
    ],
)
def test_malformed_batches(shape, speakers, message):
    speakers = speakers if speakers is None else torch.tensor(speakers, dtype=None if speakers else torch.long)
    with pytest.raises(SpeechtoolsError, match=message):
        Softmax(8, 5)(torch.randn(shape), speakers)


def test_values_that_are_not_finite(batch):
    dvectors, speakers = batch
    dvectors[0, 0] = float("nan")
    with pytest.raises(SpeechtoolsError, match="NaN"):
        Softmax(8, 5)(dvectors, speakers)


def test_unknown_reduction():
    with pytest.raises(ConfigError, match="reduction='median'"):
        Softmax(reduction="median")
