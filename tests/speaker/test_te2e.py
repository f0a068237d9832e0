"""Laws of the TE2E loss (equations 1 to 3), against a by-the-book version in loops."""

import pytest
import torch

from speechtools.core.errors import ConfigError
from speechtools.speaker.te2e import TE2E, evaluated_positions, tuples
from tests.speaker.losses import B, W, assert_by_the_book, unit_batch


def by_the_book(rows, weight, bias):
    """Equations 1 to 3, the sign turned: rows of d-vectors, one for each speaker in the order of the batch."""
    odd = [row for row in range(len(rows)) if row % 2]
    total = 0.0
    for j in range(len(rows)):
        k = j if j % 2 == 0 else (odd[(odd.index(j) + 1) % len(odd)] if len(odd) > 1 else 0)
        centroid = sum(rows[j][1:]) / len(rows[j][1:])
        evaluated = rows[k][0]
        s = weight * (evaluated @ centroid) / (evaluated.norm() * centroid.norm()) + bias
        same = float(j == k)
        total = total + same * (1 - torch.sigmoid(s)) + (1 - same) * torch.sigmoid(s)
    return total


@pytest.mark.parametrize("num_speakers, num_utterances", [(2, 5), (3, 2), (4, 3), (7, 5)])
@pytest.mark.parametrize("kind", ["random", "clustered"])
def test_loss_and_gradients_by_the_book(num_speakers, num_utterances, kind):
    assert_by_the_book(TE2E, by_the_book, unit_batch(kind, num_speakers, num_utterances), 1e-6)


def test_labelled_batches_by_the_book():
    labels = [4, 9, 4, 1, 1, 9, 9, 4, 1, 9]  # unequal numbers, in any order
    dvectors = unit_batch("random", 1, len(labels))[0]
    rows = [[e for e, label in zip(dvectors, labels, strict=True) if label == speaker] for speaker in (4, 9, 1)]
    torch.testing.assert_close(TE2E()(dvectors, torch.tensor(labels)), by_the_book(rows, W, B), rtol=1e-6, atol=0)


def test_several_tuples_of_a_speaker_by_the_book():
    dvectors = unit_batch("random", 6, 4).double()
    expected = 0.0
    for number in range(3):
        rows = [[row[number], *(e for k, e in enumerate(row) if k != number)] for row in dvectors]
        if number % 2:  # the others are the positive tuples: the same, begun one speaker later
            rows = [*rows[1:], rows[0]]
        expected = expected + by_the_book(rows, W, B)
    torch.testing.assert_close(TE2E(W, B, tuples_per_speaker=3)(dvectors), expected, rtol=1e-6, atol=0)


def test_numbers_begin_again_where_a_speaker_has_fewer_utterances():
    index = torch.tensor([0, 1, 0, 1, 0])
    assert [evaluated_positions(index, 2, number).tolist() for number in range(4)] == [[0, 1], [2, 3], [4, 1], [0, 3]]


@pytest.mark.parametrize("num_speakers", range(2, 8))
@pytest.mark.parametrize("swapped", [False, True])
def test_tuples_of_others_are_negative(num_speakers, swapped):
    evaluated, positive = tuples(num_speakers, swapped)
    assert [speaker == row for row, speaker in enumerate(evaluated)] == positive


def test_tuples_per_speaker_are_at_least_1():
    with pytest.raises(ConfigError, match="tuples_per_speaker: 0"):
        TE2E(tuples_per_speaker=0)
