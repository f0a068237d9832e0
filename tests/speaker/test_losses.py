"""What the losses that share :mod:`speechtools.speaker.losses` have in common: w and b, autocast, bad input."""

import pickle

import pytest
import torch

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.speaker.ge2e import GE2EContrast, GE2ESoftmax
from speechtools.speaker.losses import CentroidLoss, speaker_index
from speechtools.speaker.te2e import TE2E
from tests.speaker.losses import unit_batch

all_losses = pytest.mark.parametrize("loss_class", [GE2ESoftmax, GE2EContrast, TE2E])


@all_losses
def test_vectors_and_centroids_of_length_0(loss_class):
    dvectors = unit_batch("random", 4, 3).float()
    dvectors[0, 0] = 0.0
    dvectors[1, 2] = -dvectors[1, 1]  # leaves nothing for the first
    dvectors[2, 2] = -dvectors[2, 0] - dvectors[2, 1]  # a speaker without a centroid
    dvectors[3] = 0.0
    for batch in (dvectors, torch.zeros_like(dvectors)):
        leaf = batch.clone().requires_grad_()
        loss = loss_class()(leaf)
        loss.backward()
        assert loss.isfinite() and leaf.grad.isfinite().all() and leaf.grad.abs().max() < 1e3


@all_losses
def test_gradients_of_w_and_b_are_scaled_also_in_a_copy(loss_class):
    leaves, gradients = [], []
    for scale in (1.0, 0.01):
        loss = pickle.loads(pickle.dumps(loss_class(gradient_scale=scale)))
        assert loss.weight.item() == pytest.approx(10.0, abs=1e-6) and loss.bias.item() == -5.0
        leaves.append(unit_batch().requires_grad_())
        loss(leaves[-1]).backward()
        gradients.append([parameter.grad / scale for parameter in loss.parameters()])
    assert torch.equal(leaves[0].grad, leaves[1].grad)
    torch.testing.assert_close(*gradients)


@all_losses
def test_w_stays_positive(loss_class):
    loss, dvectors = loss_class(init_weight=0.01, gradient_scale=1.0), unit_batch("negative", num_utterances=2)
    optimizer = torch.optim.SGD(loss.parameters(), lr=1.0)
    for _ in range(20):  # every cosine is on the wrong side: the loss would be lower with a negative w
        optimizer.zero_grad()
        loss(dvectors).backward()
        optimizer.step()
        assert 0 < loss.weight.item() < 0.01


@all_losses
def test_autocast_does_not_change_the_loss(loss_class):
    dvectors, loss = unit_batch().float(), loss_class()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, half = loss(dvectors), loss(dvectors.bfloat16())
    assert torch.equal(inside, loss(dvectors)) and half.dtype == torch.float32
    torch.testing.assert_close(half, loss(dvectors.bfloat16().float()))


@pytest.mark.parametrize(
    "shape, speakers, message",
    [
        ((3, 1, 4), [7, 8, 9], "1 of speaker 7. Raise utterances_per_speaker"),
        ((5, 4), [3, 3, 8, 5, 5], "1 of speaker 8"),
        ((1, 3, 4), None, "got 1. Raise speakers_per_batch"),
        ((0, 4), [], "got 0"),
        ((3, 2, 4), [5, 1, 5], "5 occurs 2 times"),
        ((3, 2, 4), [5, 1], r"shape \(2,\)"),
        ((6, 4), None, "shape None"),
        ((4, 4), [0.0, 0.0, 1.0, 1.0], "torch.float32"),
    ],
)
def test_malformed_batches(shape, speakers, message):
    speakers = speakers if speakers is None else torch.tensor(speakers, dtype=None if speakers else torch.long)
    with pytest.raises(SpeechtoolsError, match=message):
        speaker_index(torch.randn(shape), speakers)


@all_losses
def test_every_loss_names_itself_and_refuses_values_that_are_not_finite(loss_class):
    with pytest.raises(SpeechtoolsError, match=f"{loss_class.name} needs at least 2 speakers"):
        loss_class()(torch.randn(1, 3, 4))
    dvectors = torch.randn(5, 4, 12)
    dvectors[1, 2, 3] = float("nan")
    with pytest.raises(SpeechtoolsError, match="1 of 20 d-vectors.*Lower the learning rate"):
        loss_class()(dvectors)


def test_impossible_parameters():
    for weight in (0.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="init_weight="):
            GE2ESoftmax(init_weight=weight)
    with pytest.raises(ConfigError, match="reduction='median'"):
        GE2ESoftmax(reduction="median")
    with pytest.raises(SpeechtoolsError, match="CentroidLoss does not define losses"):
        CentroidLoss().losses(None, None, 2)
