"""Laws of the GE2E losses (equations 4 to 10), against a by-the-book version in loops."""

from functools import partial

import pytest
import torch
from torch import nn

from speechtools.speaker.ge2e import GE2EContrast, GE2ESoftmax, cosines
from tests.speaker.losses import assert_by_the_book, unit_batch

both_losses = pytest.mark.parametrize("loss_class", [GE2ESoftmax, GE2EContrast])


def by_the_book(dvectors, weight, bias, index, contrast):
    """Equations 1 and 6 to 10 in loops; ``index`` is the speaker of each of the d-vectors (batch, emb)."""
    total, dvectors = 0.0, dvectors.flatten(0, -2)
    for row, (dvector, speaker) in enumerate(zip(dvectors, index, strict=True)):
        similarities = []
        for k in range(max(index) + 1):
            of_k = [dvectors[other] for other in range(len(index)) if index[other] == k and other != row]
            centroid = sum(of_k) / len(of_k)
            cosine = (dvector @ centroid) / (dvector.norm() * centroid.norm())
            similarities.append(weight * cosine + bias)
        others = [similarity for k, similarity in enumerate(similarities) if k != speaker]
        if contrast:
            total = total + 1 - torch.sigmoid(similarities[speaker]) + max(torch.sigmoid(s) for s in others)
        else:
            total = total - similarities[speaker] + torch.log(sum(torch.exp(s) for s in similarities))
    return total


def compare(loss_class, dvectors, index, at_most, speakers=None):
    book = partial(by_the_book, index=index, contrast=loss_class is GE2EContrast)
    assert_by_the_book(loss_class, book, dvectors, at_most, speakers)


@pytest.mark.parametrize("kind", ["random", "clustered", "negative"])
@both_losses
def test_loss_and_gradients_by_the_book(loss_class, kind):
    dvectors, index = unit_batch(kind), [speaker for speaker in range(5) for _ in range(4)]
    compare(loss_class, dvectors, index, 2e-7)  # w and b are float32
    compare(loss_class, dvectors.float(), index, 2e-6)


@both_losses
def test_unequal_numbers_of_utterances_by_the_book(loss_class):
    index = [2, 0, 1, 1, 0, 2, 2, 1, 2, 2]
    labels = torch.tensor([70, -3, 9])[torch.tensor(index)]
    compare(loss_class, unit_batch("random", 1, len(index))[0], index, 2e-7, labels)


@pytest.mark.parametrize("loss_class, expected", [(GE2ESoftmax, 10.891801), (GE2EContrast, 6.207005)])
def test_the_required_values(loss_class, expected):
    dvectors = torch.tensor([[1, 1], [2, 1], [3, 1], [1, 2], [2, 2], [3, 2]], dtype=torch.float64).view(3, 2, 2)
    assert loss_class()(dvectors).item() == pytest.approx(expected, abs=1e-6)
    assert loss_class()(dvectors.float()).item() == pytest.approx(expected, abs=1e-5)
    assert loss_class(reduction="mean")(dvectors).item() == pytest.approx(expected / 6)


def test_cosines_of_vectors_of_any_length():
    torch.manual_seed(5)
    dvectors = unit_batch("negative") * (0.1 + 5 * torch.rand(5, 4, 1, dtype=torch.float64))
    flat, index = dvectors.flatten(0, 1), torch.arange(5).repeat_interleave(4)
    left = (dvectors.sum(1, keepdim=True) - dvectors).flatten(0, 1)
    expected = nn.functional.cosine_similarity(flat[:, None], dvectors.mean(1)[None], dim=2)
    expected[torch.arange(20), index] = nn.functional.cosine_similarity(flat, left, dim=1)
    torch.testing.assert_close(cosines(flat, index, 5), expected, atol=1e-12, rtol=0)
    assert torch.autograd.gradcheck(lambda leaf: cosines(leaf, index, 5), flat.requires_grad_())


def test_an_own_centroid_without_direction():
    # Two utterances that point away from each other: no centroid, but each without the other has one.
    leaf = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [0.5, 1.0], [1.0, -1.0]], dtype=torch.float64, requires_grad=True)
    index = torch.tensor([0, 0, 1, 1])
    assert cosines(leaf, index, 2)[0, 0].item() == pytest.approx(-1.0)
    assert torch.autograd.gradcheck(lambda leaf: cosines(leaf, index, 2).gather(1, index[:, None]), leaf)


def test_tight_clusters_keep_their_digits_in_float32():
    # log(1 + tiny) would round a loss of about 1e-5 an utterance to steps of 1e-7
    near_axes = torch.eye(4).double().unsqueeze(1) + 0.01 * unit_batch("random", 4, 3, 4)
    dvectors = nn.functional.normalize(near_axes, dim=2).float()
    assert GE2ESoftmax()(dvectors) / 12 < 1e-3
    compare(GE2ESoftmax, dvectors, [speaker for speaker in range(4) for _ in range(3)], 5e-6)


@both_losses
def test_order_and_lengths_do_not_matter(loss_class):
    dvectors, loss, labels = unit_batch(), loss_class(), torch.tensor([8, 2, 5, 0, 1])
    order = torch.randperm(20)
    for batch in (
        (dvectors.flip(0), None),
        (dvectors.flip(1), labels),
        (dvectors.flatten(0, 1)[order], labels.repeat_interleave(4)[order]),
        (dvectors * (0.01 + 10 * torch.rand(5, 4, 1, dtype=torch.float64)), None),
    ):
        torch.testing.assert_close(loss(*batch), loss(dvectors))
    raw = (3 * dvectors).requires_grad_()
    assert torch.autograd.gradcheck(loss, raw)
    loss(raw).backward()
    # no gradient along the vector itself
    torch.testing.assert_close((raw * raw.grad).sum(2), torch.zeros(5, 4, dtype=torch.float64), atol=1e-9, rtol=0)
