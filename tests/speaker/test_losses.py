"""Bad input of the losses that share :mod:`speechtools.speaker.losses`."""

import pytest
import torch

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.speaker.ge2e import GE2EContrast, GE2ESoftmax
from speechtools.speaker.losses import CentroidLoss, speaker_index
from speechtools.speaker.te2e import TE2E


@pytest.mark.parametrize(
    "shape, speakers, message",
    [
        ((3, 1, 4), None, "1 of speaker 0. Raise utterances_per_speaker"),
        ((3, 1, 4), [7, 8, 9], "1 of speaker 7"),
        ((5, 4), [3, 3, 8, 5, 5], "1 of speaker 8"),
        ((1, 3, 4), None, "got 1. Raise speakers_per_batch"),
        ((3, 4), [6, 6, 6], "got 1. Raise speakers_per_batch"),
        ((0, 4), [], "got 0"),
        ((0, 2, 4), None, "got 0"),
        ((3, 2, 4), [5, 1, 5], "5 occurs 2 times"),
        ((3, 2, 4), [5, 1], r"shape \(2,\)"),
        ((3, 2, 4), [0, 0, 1, 1, 2, 2], r"shape \(6,\)"),
        ((6, 4), None, "shape None"),
        ((6, 4), [0, 0, 1, 1, 2], r"shape \(5,\)"),
        ((4,), [0, 0, 1, 1], r"d-vectors of shape \(4,\)"),
        ((4, 4), [0.0, 0.0, 1.0, 1.0], "torch.float32"),
    ],
)
def test_malformed_batches(shape, speakers, message):
    speakers = speakers if speakers is None else torch.tensor(speakers, dtype=None if speakers else torch.long)
    with pytest.raises(SpeechtoolsError, match=message):
        speaker_index(torch.randn(shape), speakers)


@pytest.mark.parametrize("loss_class", [GE2ESoftmax, GE2EContrast, TE2E])
def test_every_loss_names_itself_and_refuses_values_that_are_not_finite(loss_class):
    with pytest.raises(SpeechtoolsError, match=f"{loss_class.name} needs at least 2 speakers"):
        loss_class()(torch.randn(1, 3, 4))
    for bad in (float("nan"), float("inf")):
        dvectors = torch.randn(5, 4, 12)
        dvectors[1, 2, 3] = bad
        with pytest.raises(SpeechtoolsError, match="1 of 20 d-vectors.*Lower the learning rate"):
            loss_class()(dvectors)


def test_impossible_parameters():
    for weight in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="init_weight="):
            GE2ESoftmax(init_weight=weight)
    with pytest.raises(ConfigError, match="reduction='median'"):
        GE2ESoftmax(reduction="median")


def test_a_subclass_without_losses():
    class Mine(CentroidLoss):
        name = "loss/mine"

    with pytest.raises(NotImplementedError, match="Mine"):
        Mine()(torch.randn(3, 2, 4))
