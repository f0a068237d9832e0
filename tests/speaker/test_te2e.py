"""Laws of the TE2E loss (equations 1 to 3), against a by-the-book version in loops."""

import pytest
import torch

from speechtools.speaker.te2e import TE2E
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
