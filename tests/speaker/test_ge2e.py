"""Laws of the GE2E losses (equations 4 to 10), against a by-the-book version in loops."""

import copy
import pickle

import pytest
import torch
from torch import nn

from speechtools.speaker.ge2e import GE2EContrast, GE2ESoftmax, cosines

LOSSES = [GE2ESoftmax, GE2EContrast]
W, B = 10.0, -5.0


def by_the_book(dvectors, index, weight, bias, contrast):
    """Equations 1 and 6 to 10 in loops; d-vectors (batch, emb), one speaker 0 … N - 1 each."""
    total, num_speakers = 0.0, max(index) + 1
    for row, (dvector, speaker) in enumerate(zip(dvectors, index, strict=True)):
        similarities = []
        for k in range(num_speakers):
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


def unit_batch(kind: str, num_speakers=5, num_utterances=4, size=12, seed=0):
    """float64 d-vectors (speakers, utterances, emb) of length 1."""
    torch.manual_seed(seed)
    noise = torch.randn(num_speakers, num_utterances, size, dtype=torch.float64)
    centres = torch.randn(num_speakers, 1, size, dtype=torch.float64)
    dvectors = {
        "random": noise,
        "clustered": centres + 0.2 * noise,
        # Half of each speaker's utterances point away from the other half, and speakers away from each other.
        "negative": (-1.0) ** torch.arange(num_utterances).view(1, -1, 1) * centres + 0.3 * noise,
    }[kind]
    return nn.functional.normalize(dvectors, dim=2)


def index_of(dvectors) -> list[int]:
    return [speaker for speaker in range(len(dvectors)) for _ in range(dvectors.shape[1])]


def book_and_gradients(dvectors, index, contrast):
    """Loss, and gradients with respect to the d-vectors, w and b."""
    leaves = [dvectors.detach().double().clone(), torch.tensor(W).double(), torch.tensor(B).double()]
    leaves = [leaf.requires_grad_() for leaf in leaves]
    loss = by_the_book(leaves[0].flatten(0, -2), index, leaves[1], leaves[2], contrast)
    return [loss.detach(), *torch.autograd.grad(loss, leaves)]


def loss_and_gradients(loss_class, dvectors, speakers=None):
    module = loss_class(W, B, gradient_scale=1.0)
    leaf = dvectors.detach().clone().requires_grad_()
    loss = module(leaf, speakers)
    of_dvectors, of_raw, of_bias = torch.autograd.grad(loss, [leaf, module.similarity.raw_weight, module.bias])
    # dL/dw from the gradient of the parameter whose softplus w is
    of_weight = of_raw / torch.sigmoid(module.similarity.raw_weight)
    return [loss.detach(), of_dvectors, of_weight.detach(), of_bias]


def relative_error(one, other) -> float:
    return float((one.double() - other).norm() / other.norm())


def assert_near(values, book, at_most, least_gradient=1e-3):
    for what, one, other in zip(("loss", "d-vectors", "w", "b"), values, book, strict=True):
        if what == "b" and other.abs() < least_gradient * book[2].abs():  # the softmax does not depend on b
            assert one.abs() < least_gradient
        else:
            assert relative_error(one, other) < at_most, what


# -------------------------------------------------------------------------------------------------------- equations


@pytest.mark.parametrize("kind", ["random", "clustered", "negative"])
@pytest.mark.parametrize("loss_class", LOSSES)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_loss_and_gradients_by_the_book(loss_class, kind, seed):
    dvectors = unit_batch(kind, seed=seed)
    book = book_and_gradients(dvectors, index_of(dvectors), loss_class is GE2EContrast)
    # w and b are float32 parameters, so their gradients are rounded to float32
    assert_near(loss_and_gradients(loss_class, dvectors), book, 2e-7)
    single = dvectors.float()
    book = book_and_gradients(single, index_of(dvectors), loss_class is GE2EContrast)
    assert_near(loss_and_gradients(loss_class, single), book, 2e-6)


@pytest.mark.parametrize("loss_class", LOSSES)
def test_unequal_numbers_of_utterances_by_the_book(loss_class):
    index = [2, 0, 1, 1, 0, 2, 2, 1, 2, 2]
    dvectors = unit_batch("random", 1, len(index))[0]
    book = book_and_gradients(dvectors, index, loss_class is GE2EContrast)
    labels = torch.tensor([70, -3, 9])[torch.tensor(index)]
    assert_near(loss_and_gradients(loss_class, dvectors, labels), book, 2e-7)


@pytest.mark.parametrize("loss_class, expected", [(GE2ESoftmax, 10.891801), (GE2EContrast, 6.207005)])
@pytest.mark.parametrize("dtype, at_most", [(torch.float64, 1e-6), (torch.float32, 1e-5)])
def test_the_required_values(loss_class, expected, dtype, at_most):
    dvectors = torch.tensor([[1, 1], [2, 1], [3, 1], [1, 2], [2, 2], [3, 2]], dtype=dtype)
    loss = loss_class()(dvectors.view(3, 2, 2)).item()
    assert loss == pytest.approx(expected, abs=at_most)
    assert loss_class(reduction="mean")(dvectors.view(3, 2, 2)).item() == pytest.approx(loss / 6)


@pytest.mark.parametrize("loss_class", LOSSES)
@pytest.mark.parametrize("raw", [False, True])
def test_gradcheck(loss_class, raw):
    torch.manual_seed(0)
    dvectors = 3 * torch.randn(3, 3, 5, dtype=torch.float64) if raw else unit_batch("random", 3, 3, 5)
    assert torch.autograd.gradcheck(loss_class(), dvectors.requires_grad_())


def test_gradcheck_of_the_cosines_alone():
    torch.manual_seed(0)
    dvectors = 3 * torch.randn(9, 5, dtype=torch.float64)
    index = torch.tensor([0, 2, 1, 1, 0, 2, 2, 1, 2])
    assert torch.autograd.gradcheck(lambda leaf: cosines(leaf, index, 3), dvectors.requires_grad_())
    # Two utterances that point away from each other: no centroid, but each without the other has one.
    opposite = torch.tensor([[1.0, 2.0], [-1.0, -2.0], [0.5, 1.0], [1.0, -1.0]], dtype=torch.float64)
    leaf, index = opposite.requires_grad_(), torch.tensor([0, 0, 1, 1])
    own = cosines(leaf, index, 2)[0, 0]
    assert own.item() == pytest.approx(-1.0)
    assert torch.autograd.gradcheck(lambda leaf: cosines(leaf, index, 2).gather(1, index[:, None]), leaf)


@pytest.mark.parametrize("kind", ["random", "clustered", "negative"])
def test_cosines_of_vectors_of_any_length(kind):
    torch.manual_seed(5)
    dvectors = unit_batch(kind) * (0.1 + 5 * torch.rand(5, 4, 1, dtype=torch.float64))
    flat, index = dvectors.flatten(0, 1), torch.tensor(index_of(dvectors))
    left = (dvectors.sum(1, keepdim=True) - dvectors).flatten(0, 1)
    centroids = dvectors.mean(1)
    expected = torch.stack([nn.functional.cosine_similarity(flat, centroid, dim=1) for centroid in centroids], dim=1)
    expected[torch.arange(20), index] = nn.functional.cosine_similarity(flat, left, dim=1)
    torch.testing.assert_close(cosines(flat, index, 5), expected, atol=1e-12, rtol=0)


def test_tight_clusters_keep_their_digits_in_float32():
    # log(1 + tiny) would round a loss of about 1e-5 an utterance to steps of 1e-7
    dvectors = nn.functional.normalize(torch.eye(4).double().unsqueeze(1) + 0.01 * unit_batch("random", 4, 3, 4), dim=2)
    single = dvectors.float()
    book = book_and_gradients(single, index_of(single), contrast=False)
    assert book[0] / 12 < 1e-3
    values = loss_and_gradients(GE2ESoftmax, single)
    assert relative_error(values[0], book[0]) < 5e-6
    assert relative_error(values[1], book[1]) < 5e-6


# -------------------------------------------------------------------------------------------------------- invariances


@pytest.mark.parametrize("loss_class", LOSSES)
def test_order_does_not_matter(loss_class):
    dvectors, loss = unit_batch("random"), loss_class()
    expected = loss(dvectors)
    torch.testing.assert_close(loss(dvectors.flip(0)), expected)
    torch.testing.assert_close(loss(dvectors.flip(1)), expected)
    torch.testing.assert_close(loss(dvectors, torch.tensor([8, 2, 5, 0, 1])), expected)
    order = torch.randperm(20)
    labels = torch.tensor([8, 2, 5, 0, 1]).repeat_interleave(4)
    torch.testing.assert_close(loss(dvectors.flatten(0, 1)[order], labels[order]), expected)


@pytest.mark.parametrize("loss_class", LOSSES)
def test_only_directions_matter(loss_class):
    dvectors, loss = unit_batch("random"), loss_class()
    lengths = 0.01 + 10 * torch.rand(5, 4, 1, dtype=torch.float64)
    torch.testing.assert_close(loss(dvectors * lengths), loss(dvectors))
    raw = (3 * dvectors).requires_grad_()
    loss(raw).backward()
    # no gradient along the vector itself
    torch.testing.assert_close((raw * raw.grad).sum(2), torch.zeros(5, 4, dtype=torch.float64), atol=1e-9, rtol=0)


@pytest.mark.parametrize("loss_class", LOSSES)
def test_negative_cosines_have_their_gradient(loss_class):
    # A d-vector opposite to all the others of its speaker: a step down the gradient must bring it nearer to them.
    dvectors = torch.eye(3, dtype=torch.float64).unsqueeze(1).repeat(1, 4, 1)
    dvectors[0, 0] = nn.functional.normalize(torch.tensor([-1.0, 0.2, 0.1], dtype=torch.float64), dim=0)
    dvectors.requires_grad_()
    loss_class(init_weight=1.0, init_bias=0.0)(dvectors).backward()
    assert dvectors.grad[0, 0, 0] < -0.01


@pytest.mark.parametrize("loss_class", LOSSES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_vectors_and_centroids_of_length_0(loss_class, dtype):
    dvectors = unit_batch("random", 4, 3).to(dtype)
    dvectors[0, 0] = 0.0
    dvectors[1, 1] = -dvectors[1, 0]  # leaves nothing for the third
    dvectors[2, 2] = -dvectors[2, 0] - dvectors[2, 1]  # a speaker without a centroid
    dvectors[3] = 0.0
    for batch in (dvectors, torch.zeros_like(dvectors)):
        leaf = batch.clone().requires_grad_()
        loss = loss_class()(leaf)
        loss.backward()
        assert loss.isfinite() and leaf.grad.isfinite().all()
        assert leaf.grad.abs().max() < 1e3


# ------------------------------------------------------------------------------------------------------------ w and b


@pytest.mark.parametrize("loss_class", LOSSES)
def test_w_and_b_start_at_their_initial_values_and_w_stays_positive(loss_class):
    loss = loss_class()
    assert loss.weight.item() == pytest.approx(10.0, abs=1e-6) and loss.bias.item() == -5.0
    small = loss_class(init_weight=0.01, gradient_scale=1.0)
    assert small.weight.item() == pytest.approx(0.01, rel=1e-5)
    # Everybody in the wrong place: the loss would like w to be negative.
    dvectors = unit_batch("negative", num_utterances=2)
    optimizer = torch.optim.SGD(small.parameters(), lr=1.0)
    for _ in range(20):
        optimizer.zero_grad()
        small(dvectors).backward()
        optimizer.step()
        assert 0 < small.weight.item() < 0.01


@pytest.mark.parametrize("loss_class", LOSSES)
@pytest.mark.parametrize("through", [lambda m: m, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_gradient_scale_of_w_and_b_survives_copies(loss_class, through):
    dvectors = unit_batch("random")
    gradients = {}
    for scale in (1.0, 0.01):
        loss = through(loss_class(gradient_scale=scale))
        leaf = dvectors.clone().requires_grad_()
        loss(leaf).backward()
        gradients[scale] = leaf.grad, [parameter.grad for parameter in loss.parameters()]
    assert torch.equal(gradients[1.0][0], gradients[0.01][0])
    for whole, part in zip(gradients[1.0][1], gradients[0.01][1], strict=True):
        torch.testing.assert_close(0.01 * whole, part)


def test_gradient_of_the_parameter_is_about_that_of_w():
    dvectors = unit_batch("random")
    book = book_and_gradients(dvectors, index_of(dvectors), contrast=False)
    loss = GE2ESoftmax(gradient_scale=1.0)
    loss(dvectors).backward()
    assert loss.similarity.raw_weight.grad.item() == pytest.approx(book[2].item(), rel=1e-4)


@pytest.mark.parametrize("loss_class", LOSSES)
def test_autocast_does_not_change_the_loss(loss_class):
    dvectors, loss = unit_batch("random").float(), loss_class()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(loss(dvectors), loss_class()(dvectors))
        half = loss(dvectors.bfloat16())
    assert half.dtype == torch.float32
    torch.testing.assert_close(half, loss(dvectors.bfloat16().float()))
