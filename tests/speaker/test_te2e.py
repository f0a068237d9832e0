"""Laws of the TE2E loss (equations 1 to 3), against a by-the-book version in loops."""

import math

import pytest
import torch
from torch import nn

from speechtools.speaker.te2e import TE2E, tuple_cosines, tuples

W, B = 10.0, -5.0


def by_the_book(rows: list, weight, bias):
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


def unit_batch(num_speakers=5, num_utterances=4, size=12, spread=1.0, seed=0):
    torch.manual_seed(seed)
    centres = torch.randn(num_speakers, 1, size, dtype=torch.float64)
    noise = torch.randn(num_speakers, num_utterances, size, dtype=torch.float64)
    return nn.functional.normalize((1 - spread) * centres + spread * noise, dim=2)


@pytest.mark.parametrize("num_speakers", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("num_utterances", [2, 5])
@pytest.mark.parametrize("spread", [1.0, 0.2])
def test_loss_and_gradients_by_the_book(num_speakers, num_utterances, spread):
    dvectors = unit_batch(num_speakers, num_utterances, spread=spread).requires_grad_()
    weight, bias = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (W, B))
    book = by_the_book(list(dvectors), weight, bias)
    of_dvectors, of_weight, of_bias = torch.autograd.grad(book, [dvectors, weight, bias])
    loss = TE2E(gradient_scale=1.0)
    ours = loss(dvectors)
    torch.testing.assert_close(ours, book, rtol=1e-6, atol=0)
    gradient, of_raw, of_b = torch.autograd.grad(ours, [dvectors, loss.similarity.raw_weight, loss.bias])
    assert (gradient - of_dvectors).norm() < 1e-6 * of_dvectors.norm()
    assert (of_raw / torch.sigmoid(loss.similarity.raw_weight)).item() == pytest.approx(of_weight.item(), rel=1e-5)
    assert of_b.item() == pytest.approx(of_bias.item(), rel=1e-5)


def test_values_by_hand():
    # Speaker 0 along x, speaker 1 along y. Tuple 0 is positive: cosine 1; tuple 1, of speaker 0's utterance, has 0.
    dvectors = torch.eye(2, dtype=torch.float64).unsqueeze(1).repeat(1, 3, 1)
    # w + b = 5: 1 - sigmoid(5) = sigmoid(-5); and w * 0 + b = -5
    each = 1 / (1 + math.exp(5))
    assert TE2E()(dvectors).item() == pytest.approx(2 * each, rel=1e-6)
    assert TE2E(reduction="mean")(dvectors).item() == pytest.approx(each, rel=1e-6)


@pytest.mark.parametrize("num_speakers", range(2, 12))
def test_tuples_alternate_and_use_utterances_about_once(num_speakers):
    evaluated, positive = tuples(num_speakers)
    assert positive == [row % 2 == 0 for row in range(num_speakers)]
    assert [row == whose for row, whose in enumerate(evaluated)] == positive
    if num_speakers >= 4:
        assert sorted(evaluated) == list(range(num_speakers))


def test_the_loss_falls_as_positive_cosines_rise_and_negative_ones_fall():
    """Equation 3 as printed would do the opposite."""
    dvectors = unit_batch(6, 3)
    index = torch.arange(6).repeat_interleave(3)
    before, positive = tuple_cosines(dvectors.flatten(0, 1), index, 6)
    dvectors.requires_grad_()
    TE2E()(dvectors).backward()
    moved = nn.functional.normalize(dvectors.detach() - 1e-3 * dvectors.grad, dim=2)
    after, _ = tuple_cosines(moved.flatten(0, 1), index, 6)
    assert (after > before)[positive].all() and (after < before)[~positive].all()


def test_flat_and_regular_batches_agree_whatever_the_labels():
    dvectors, labels = unit_batch(), torch.tensor([8, 2, 5, 0, 1])
    expected = TE2E()(dvectors)
    torch.testing.assert_close(TE2E()(dvectors, labels), expected)
    torch.testing.assert_close(TE2E()(dvectors.flatten(0, 1), labels.repeat_interleave(4)), expected)
    # Utterance by utterance instead of speaker by speaker: the order of the first ones is the same.
    torch.testing.assert_close(TE2E()(dvectors.transpose(0, 1).flatten(0, 1), labels.repeat(4)), expected)


def test_unequal_numbers_of_utterances_by_the_book():
    labels = [4, 9, 4, 1, 1, 9, 9, 4, 1, 9]
    dvectors = unit_batch(1, len(labels))[0]
    rows = [[e for e, label in zip(dvectors, labels, strict=True) if label == speaker] for speaker in (4, 9, 1)]
    expected = by_the_book(rows, W, B)
    torch.testing.assert_close(TE2E()(dvectors, torch.tensor(labels)), expected, rtol=1e-6, atol=0)


def test_gradient_reaches_the_utterances_of_the_tuples_only():
    # Three speakers: the one negative tuple borrows speaker 0's first utterance, and speaker 1's is used by none.
    dvectors = unit_batch(3, 3).requires_grad_()
    TE2E()(dvectors).backward()
    used = dvectors.grad.abs().sum(2) > 0
    assert used.tolist() == [[True] * 3, [False, True, True], [True] * 3]


def test_vectors_and_centroids_of_length_0():
    dvectors = unit_batch(4, 3).float()
    dvectors[0, 0] = 0.0
    dvectors[1, 2] = -dvectors[1, 1]
    dvectors.requires_grad_()
    loss = TE2E()(dvectors)
    loss.backward()
    assert loss.isfinite() and dvectors.grad.isfinite().all()


def test_w_and_b_are_those_of_ge2e():
    loss = TE2E(init_weight=3.0, init_bias=1.0)
    assert loss.weight.item() == pytest.approx(3.0) and loss.bias.item() == 1.0
    half = TE2E(3.0, 1.0, gradient_scale=0.5)
    for each in (loss, half):
        each(unit_batch()).backward()
    for one, other in zip(loss.parameters(), half.parameters(), strict=True):
        torch.testing.assert_close(50 * one.grad, other.grad)
