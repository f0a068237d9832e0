"""Equations 1 and 2 of the Quality-Net paper."""

import numpy as np
import pytest
import torch

from speechtools.core.errors import ConfigError
from speechtools.quality.objective import quality_objective


def reference(scores, frames, target, counts, q_max, alpha, mean):
    """Equations 1 and 2 in loops over float64 numbers."""
    total = 0.0
    for s in range(len(target)):
        constraint = sum((target[s] - frames[s][t]) ** 2 for t in range(counts[s]))
        if mean:
            constraint /= counts[s]
        total += (target[s] - scores[s]) ** 2 + alpha * 10 ** (target[s] - q_max) * constraint
    return total / len(target)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("alpha", [0.0, 1.0, 0.3])
def test_objective_equals_equation_1(reduction, alpha):
    rng = np.random.default_rng(1)
    scores, frames, target = rng.normal(2, 1, 3), rng.normal(2, 1, (3, 8)), rng.uniform(-0.5, 4.5, 3)
    lens, counts = [1.0, 0.5, 0.25], [8, 4, 2]  # the padding is not 0
    expected = reference(scores, frames, target, counts, 4.5, alpha, reduction == "mean")
    objective = quality_objective(*map(torch.tensor, (scores, frames, target, lens)), 4.5, alpha, reduction)
    assert float(objective) == pytest.approx(expected, rel=1e-6)


def test_unknown_reduction():
    scores = torch.ones(1)
    with pytest.raises(ConfigError, match="frame_reduction='median'"):
        quality_objective(scores, scores[None], scores, scores, frame_reduction="median")
