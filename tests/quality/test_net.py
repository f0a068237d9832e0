"""Laws of the BLSTM head and of equations 1 and 2."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from speechtools.audio.features import num_samples
from speechtools.audio.recurrent import reversal, take_frames
from speechtools.core.errors import ConfigError
from speechtools.quality.net import QualityBLSTM, frame_weight, quality_objective


@pytest.fixture
def batch():
    torch.manual_seed(0)
    feats, lens = torch.rand(5, 40, 257), torch.tensor([1.0, 0.9, 0.5, 0.3, 0.025])
    return feats, lens


def packed_reference(net: QualityBLSTM, feats, counts):
    """The same parameters in one packed bidirectional LSTM."""
    lstm = nn.LSTM(257, net.lstm_forward.hidden_size, batch_first=True, bidirectional=True).to(feats.dtype)
    weights = {}
    for direction, suffix in ((net.lstm_forward, ""), (net.lstm_backward, "_reverse")):
        weights |= {name + suffix: parameter for name, parameter in direction.named_parameters()}
    packed = pack_padded_sequence(feats, counts, batch_first=True, enforce_sorted=False)
    hidden, _ = pad_packed_sequence(torch.func.functional_call(lstm, weights, (packed,))[0], batch_first=True)
    frames = net.output(nn.functional.elu(net.linear(hidden))).squeeze(2)
    scores = torch.stack([row[:count].mean() for row, count in zip(frames, counts, strict=True)])
    return scores, frames


def test_equals_a_packed_bidirectional_lstm_with_its_gradients(batch):
    feats, lens = batch
    net = QualityBLSTM(hidden_size=16, linear_size=8)
    counts = num_samples(lens, 40)
    scores, frame_scores = net(feats, lens)
    expected, expected_frames = packed_reference(net, feats, counts)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)
    for row, other, count in zip(frame_scores, expected_frames, counts, strict=True):
        torch.testing.assert_close(row[:count], other[:count], atol=1e-5, rtol=0)
    weights = torch.randn(5)
    ours = torch.autograd.grad((scores * weights).sum(), list(net.parameters()))
    theirs = torch.autograd.grad((expected * weights).sum(), list(net.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_padding_changes_no_score_whatever_it_holds(batch):
    feats, lens = batch
    net = QualityBLSTM(hidden_size=16)
    spoiled = feats.clone()
    for row, count in zip(spoiled, num_samples(lens, 40), strict=True):
        row[count:] = 1e3
    for one, other in zip(net(feats, lens), net(spoiled, lens), strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=0)
    alone, _ = net(feats[2:3, :20])
    torch.testing.assert_close(alone, net(feats, lens)[0][2:3], atol=1e-5, rtol=0)


def test_the_score_is_the_mean_of_the_valid_frames(batch):
    feats, lens = batch
    scores, frame_scores = QualityBLSTM(hidden_size=4)(feats, lens)
    counts = num_samples(lens, 40)
    torch.testing.assert_close(scores, torch.stack([f[:c].mean() for f, c in zip(frame_scores, counts, strict=True)]))
    assert all((frames[count:] == 0).all() for frames, count in zip(frame_scores, counts, strict=True))


def test_reading_backwards_uses_the_future():
    net = QualityBLSTM(hidden_size=4, forget_gate_bias=2.0)
    feats = torch.rand(1, 10, 257)
    changed = feats.clone()
    changed[0, -1] += 1
    assert not torch.equal(net(feats)[1][0, 0], net(changed)[1][0, 0])


@pytest.mark.parametrize("bias", [-3.0, 1.0])
def test_forget_gate_bias_is_the_sum_of_torchs_two(bias):
    net = QualityBLSTM(hidden_size=7, forget_gate_bias=bias)
    for lstm in (net.lstm_forward, net.lstm_backward):
        total = lstm.bias_ih_l0 + lstm.bias_hh_l0
        assert torch.equal(total[7:14], torch.full((7,), bias))
        assert not torch.isclose(total[:7], torch.full((7,), bias)).any()


def test_a_small_forget_gate_bias_forgets_distant_frames():
    """Section 2.2: with -3 a change reaches less far than with 1."""
    reach = {}
    for bias in (-3.0, 1.0):
        torch.manual_seed(0)
        net = QualityBLSTM(forget_gate_bias=bias)
        feats = torch.rand(1, 60, 257)
        changed = feats.clone()
        changed[0, 30:] += 1
        reach[bias] = float((net(feats)[1] - net(changed)[1])[0, 15].abs())
    assert reach[-3.0] < 0.01 * reach[1.0]


def test_reversal_twice_is_nothing():
    order = reversal(torch.tensor([4, 1, 3]), 4)
    sequence = torch.randn(3, 4, 2)
    assert torch.equal(take_frames(take_frames(sequence, order), order), sequence)
    assert torch.equal(take_frames(sequence, order)[2], sequence[2, [2, 1, 0, 3]])


def by_the_book(scores, frames, target, counts, q_max, alpha, mean):
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
def test_objective_is_equation_1(reduction, alpha):
    rng = np.random.default_rng(1)
    scores, frames, target = rng.normal(2, 1, 3), rng.normal(2, 1, (3, 8)), rng.uniform(-0.5, 4.5, 3)
    lens, counts = [1.0, 0.5, 0.25], [8, 4, 2]
    expected = by_the_book(scores, frames, target, counts, 4.5, alpha, reduction == "mean")
    given = quality_objective(*map(torch.tensor, (scores, frames, target, lens)), 4.5, alpha, reduction)
    assert float(given) == pytest.approx(expected, rel=1e-6)


def test_objective_ignores_padding_and_vanishes_for_perfect_frames():
    target, lens = torch.tensor([3.0, 1.0]), torch.tensor([1.0, 0.5])
    frames = target.unsqueeze(1).expand(2, 6).clone()
    frames[1, 3:] = 100.0
    assert float(quality_objective(target, frames, target, lens)) == 0


def test_frame_weight_is_one_for_the_best_and_ten_times_less_a_point_below():
    torch.testing.assert_close(frame_weight(torch.tensor([4.5, 3.5]), 4.5), torch.tensor([1.0, 0.1]))


def test_unknown_reduction():
    scores = torch.ones(1)
    with pytest.raises(ConfigError, match="frame_reduction='median' is unknown: it is 'sum'"):
        quality_objective(scores, scores[None], scores, scores, frame_reduction="median")
