"""Speed of the GE2E losses, forward and backward, against a plain reference: ``python benchmarks/ge2e_loss.py``.

The reference is vectorised, too: a tensor of the centroids without the utterance, one product with all centroids, and
``where`` on the diagonal (equations 8 and 9). Both sides are timed in turns, and the best time of each counts.
"""

import argparse
from functools import partial

import torch
from timing import in_turns, print_table
from torch import Tensor, nn

import speechtools
from speechtools.core.memory import keep_freed_memory

#: (speakers, utterances, size): target, as a share of the time of the reference
SHAPES = {(64, 10, 256): 0.8, (256, 10, 256): 0.9}


class Plain(nn.Module):
    """Equations 5 to 10 with a centroid for each utterance left out; w and b as parameters."""

    def __init__(self, contrast: bool):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.tensor(10.0)), nn.Parameter(torch.tensor(-5.0))
        self.contrast = contrast

    def forward(self, dvectors: Tensor) -> Tensor:
        """Return the loss of unit d-vectors (speakers, utterances, emb): a scalar."""
        num_speakers, num_utterances, _ = dvectors.shape
        centroids = dvectors.mean(dim=1)
        # (speakers, emb)
        exclusive = (dvectors.sum(dim=1, keepdim=True) - dvectors) / (num_utterances - 1)
        # (speakers, utterances, emb)
        own = nn.functional.cosine_similarity(dvectors, exclusive, dim=2)
        # (speakers, utterances)
        others = dvectors @ nn.functional.normalize(centroids, dim=1).T  # the d-vectors have length 1
        # (speakers, utterances, speakers)
        diagonal = torch.eye(num_speakers, dtype=torch.bool).unsqueeze(1)
        similarities = self.weight * torch.where(diagonal, own.unsqueeze(2), others) + self.bias
        if self.contrast:
            shares = torch.sigmoid(similarities)
            positive = torch.sigmoid(self.weight * own + self.bias)
            return (1 - positive + shares.masked_fill(diagonal, 0.0).amax(dim=2)).sum()
        index = torch.arange(num_speakers).repeat_interleave(num_utterances)
        return nn.functional.cross_entropy(similarities.flatten(0, 1), index, reduction="sum")


def step(loss: nn.Module, dvectors: Tensor) -> None:
    """Forward and backward, to the d-vectors and to w and b."""
    dvectors.grad = None
    loss.zero_grad(set_to_none=True)
    loss(dvectors).backward()


def bench(shape: tuple[int, int, int], name: str, repeats: int) -> tuple[float, float, float]:
    """Seconds of the reference and of the toolkit, and the relative difference of their gradients."""
    torch.manual_seed(0)
    dvectors = nn.functional.normalize(torch.randn(shape), dim=2).requires_grad_()
    plain, toolkit = Plain(contrast=name == "ge2e-contrast"), speechtools.build(f"speaker-loss/{name}")
    gradients = []
    for loss in (plain, toolkit):
        step(loss, dvectors)
        gradients.append(dvectors.grad)
    # The reference assumes length 1, which changes its gradient along the d-vectors.
    along = dvectors.detach()
    one, other = (grad - (grad * along).sum(dim=2, keepdim=True) * along for grad in gradients)
    difference = float((other - one).norm() / one.norm())
    return *in_turns(partial(step, plain, dvectors), partial(step, toolkit, dvectors), repeats=repeats), difference


def main() -> None:
    """Run both losses on both shapes and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as in training.start()
    rows = []
    for shape, reach in SHAPES.items():
        for name in ("ge2e-softmax", "ge2e-contrast"):
            plain, toolkit, difference = bench(shape, name, arguments.repeats)
            size = " × ".join(map(str, shape))
            what = f"speaker-loss/{name}, {size}; gradients differ by {difference:.0e}"
            sides = f"{1000 * plain:.2f} ms", f"{1000 * toolkit:.2f} ms", f"{toolkit / plain:.2f}×"
            rows.append((what, *sides, f"≤ {reach}×"))
    print_table(f"torch {torch.__version__}, {arguments.threads} thread(s)", rows)


if __name__ == "__main__":
    main()
