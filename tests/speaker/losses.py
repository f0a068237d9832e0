"""Batches of d-vectors, and losses with their gradients to compare with the equations of the GE2E paper."""

import torch
from torch import nn

W, B = 10.0, -5.0


def unit_batch(kind="random", num_speakers=5, num_utterances=4, size=12):
    """float64 d-vectors (speakers, utterances, emb) of length 1."""
    torch.manual_seed(0)
    noise = torch.randn(num_speakers, num_utterances, size, dtype=torch.float64)
    centres = torch.randn(num_speakers, 1, size, dtype=torch.float64)
    dvectors = {
        "random": noise,
        "clustered": centres + 0.2 * noise,
        # Half of each speaker's utterances point away from the other half, and speakers away from each other.
        "negative": (-1.0) ** torch.arange(num_utterances).view(1, -1, 1) * centres + 0.3 * noise,
    }[kind]
    return nn.functional.normalize(dvectors, dim=2)


def assert_by_the_book(loss_class, book, dvectors, at_most, speakers=None):
    """The loss and its gradients with respect to the d-vectors, w and b are those of ``book(dvectors, w, b)``."""
    leaves = [torch.as_tensor(value).detach().double().requires_grad_() for value in (dvectors, W, B)]
    expected = book(*leaves)
    expected = [expected.detach(), *torch.autograd.grad(expected, leaves)]

    module, leaf = loss_class(W, B, gradient_scale=1.0), dvectors.detach().clone().requires_grad_()
    loss = module(leaf, speakers)
    of_dvectors, of_raw, of_bias = torch.autograd.grad(loss, [leaf, module.similarity.raw_weight, module.bias])
    # w is the softplus of the parameter.
    of_weight = of_raw / torch.sigmoid(module.similarity.raw_weight.detach())
    values = zip(
        ("loss", "d-vectors", "w", "b"), (loss.detach(), of_dvectors, of_weight, of_bias), expected, strict=True
    )
    for name, value, right in values:
        if name == "b" and right.abs() < 1e-3 * expected[2].abs():  # the softmax does not depend on b
            assert value.abs() < 1e-3
        else:
            assert (value.double() - right).norm() < at_most * right.norm(), name
