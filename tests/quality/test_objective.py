"""Equations 1 and 2 of the Quality-Net paper."""

import copy

import numpy as np
import pytest
import torch

from speechtools.core.errors import ConfigError
from speechtools.measures import find_measure
from speechtools.measures.si_sdr import SISDR
from speechtools.quality.net import QualityBLSTM
from speechtools.quality.objective import (
    contrast_objective,
    point_of,
    quality_objective,
    rank_objective,
    start_in_range,
)


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


@pytest.mark.parametrize("scale", ["raw_nb", "nb", "wb", "mos"])
def test_scales_like_pesq_start_as_the_model_is_built(scale):
    net, same = (copy.deepcopy(module) for module in [QualityBLSTM(hidden_size=4, linear_size=3)] * 2)
    start_in_range(net, find_measure(scale), [1.0, 2.0])
    assert point_of(find_measure(scale)) == 1.0
    assert all(torch.equal(one, other) for one, other in zip(net.parameters(), same.parameters(), strict=True))


@pytest.mark.parametrize("minimum, maximum", [(-10.0, 35.0), (0.0, 100.0), (0.0, 1.0)])
def test_other_scales_start_at_the_mean_of_their_labels(minimum, maximum):
    net, measure = QualityBLSTM(hidden_size=4, linear_size=3), SISDR()
    measure.minimum, measure.maximum = minimum, maximum
    before = net.output.weight.detach().clone()
    start_in_range(net, measure, [-3.0, 5.0])
    assert net.output.bias.item() == 1.0
    torch.testing.assert_close(net.output.weight, before * 4)
    start_in_range(torch.nn.Identity(), measure, [1.0])  # nothing to start


def random_causes(*shape):
    return torch.where(torch.rand(*shape, 6) < 0.2, 1.0, -1.0)


def test_contrast_ignores_what_an_utterance_scores():
    torch.manual_seed(0)
    causes, scores = random_causes(3, 50), torch.rand(3, 50)
    expected = contrast_objective(scores, causes, max_gap=0)
    torch.testing.assert_close(
        contrast_objective(scores + torch.tensor([[1.0], [-2.0], [3.0]]), causes, max_gap=0), expected
    )


def test_contrast_lowers_frames_with_a_cause_and_raises_the_others():
    torch.manual_seed(0)
    causes, scores = random_causes(1, 50), torch.rand(1, 50, requires_grad=True)
    contrast_objective(scores, causes, max_gap=0).backward()
    faulty = (causes == 1).any(dim=2)
    assert (scores.grad[faulty] > 0).all() and (scores.grad[~faulty] < 0).all()


def test_contrast_needs_frames_of_both_kinds_whose_causes_are_known():
    scores = torch.rand(4, 5)
    causes = torch.stack([torch.full((5, 6), value) for value in (1.0, -1.0, 0.0, -1.0)])
    causes[3, 1:] = 0.0  # padding, or an unknown cause
    assert contrast_objective(scores, causes) == 0


def test_contrast_fills_short_gaps():
    causes = torch.full((1, 9, 6), -1.0)
    causes[0, [2, 5], 0] = 1.0
    scores = torch.rand(1, 9)
    filled = causes.clone()
    filled[0, 2:6, 0] = 1.0
    torch.testing.assert_close(
        contrast_objective(scores, causes, max_gap=2), contrast_objective(scores, filled, max_gap=0)
    )
    assert contrast_objective(scores, causes, max_gap=1) == contrast_objective(scores, causes, max_gap=0)


def test_rank_objective_equals_a_loop_over_pairs():
    rng = np.random.default_rng(2)
    scores, target = rng.normal(2, 1, 6), np.array([1.0, 2.0, 2.05, 3.0, 4.0, 4.5])
    losses = [
        np.log1p(np.exp(scores[j] - scores[i])) for i in range(6) for j in range(6) if target[i] - target[j] > 0.1
    ]
    assert len(losses) == 14  # of 15 pairs, one is as good as tied
    assert float(rank_objective(torch.tensor(scores), torch.tensor(target))) == pytest.approx(np.mean(losses))


def test_rank_objective_of_equal_utterances_is_0():
    scores = torch.tensor([1.0, 2.0], requires_grad=True)
    rank_objective(scores, torch.tensor([3.0, 3.0])).backward()
    assert scores.grad.tolist() == [0.0, 0.0]


def test_rank_objective_depends_on_differences_alone():
    scores, target = torch.tensor([1.0, 3.0, 2.0]), torch.tensor([1.0, 2.0, 3.0])
    torch.testing.assert_close(rank_objective(scores + 5, target), rank_objective(scores, target))
