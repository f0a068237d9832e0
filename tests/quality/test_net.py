"""The BLSTM of Quality-Net."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from speechtools.audio.frames import num_samples
from speechtools.quality.net import QualityBLSTM

LENS = torch.tensor([1.0, 0.9, 0.5, 0.3, 0.025])
COUNTS = num_samples(LENS, 40)


@pytest.fixture
def feats():
    torch.manual_seed(0)
    return torch.rand(5, 40, 257)


def packed_reference(net: QualityBLSTM, feats):
    """Apply the same parameters in one packed bidirectional LSTM."""
    lstm = nn.LSTM(257, net.lstm_forward.hidden_size, batch_first=True, bidirectional=True)
    weights = {}
    for direction, suffix in ((net.lstm_forward, ""), (net.lstm_backward, "_reverse")):
        weights |= {name + suffix: parameter for name, parameter in direction.named_parameters()}
    packed = pack_padded_sequence(feats, COUNTS, batch_first=True, enforce_sorted=False)
    hidden, _ = pad_packed_sequence(torch.func.functional_call(lstm, weights, (packed,))[0], batch_first=True)
    frames = net.output(nn.functional.elu(net.linear(hidden))).squeeze(2)
    return torch.stack([row[:count].mean() for row, count in zip(frames, COUNTS, strict=True)]), frames


def test_equals_a_packed_bidirectional_lstm_with_its_gradients(feats):
    net = QualityBLSTM(hidden_size=16, linear_size=8)
    scores, frame_scores = net(feats, LENS)
    expected, expected_frames = packed_reference(net, feats)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)
    for row, reference, count in zip(frame_scores, expected_frames, COUNTS, strict=True):
        torch.testing.assert_close(row[:count], reference[:count], atol=1e-5, rtol=0)
        assert (row[count:] == 0).all()
    weights = torch.randn(5)
    gradients = torch.autograd.grad((scores * weights).sum(), list(net.parameters()))
    references = torch.autograd.grad((expected * weights).sum(), list(net.parameters()))
    for gradient, reference in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-5, rtol=1e-4)


def test_padding_changes_no_score(feats):
    net = QualityBLSTM(hidden_size=16)
    spoiled = feats.clone()
    for row, count in zip(spoiled, COUNTS, strict=True):
        row[count:] = 1e3
    for clean, noisy in zip(net(feats, LENS), net(spoiled, LENS), strict=True):
        torch.testing.assert_close(clean, noisy, atol=1e-5, rtol=0)
    torch.testing.assert_close(net(feats[2:3, :20])[0], net(feats, LENS)[0][2:3], atol=1e-5, rtol=0)


def test_the_first_frame_depends_on_the_last():
    net = QualityBLSTM(hidden_size=4, forget_gate_bias=2.0)
    feats = torch.rand(1, 10, 257)
    changed = feats.clone()
    changed[0, -1] += 1
    assert not torch.equal(net(feats)[1][0, 0], net(changed)[1][0, 0])


def test_a_small_forget_gate_bias_forgets_distant_frames():
    """Section 2.2: with -3 a change reaches less far than with 1."""
    reach = {}
    for bias in (-3.0, 1.0):
        torch.manual_seed(0)
        net = QualityBLSTM(forget_gate_bias=bias)
        feats = torch.rand(1, 60, 257)
        changed = feats.clone()
        changed[0, 30:] += 1
        reach[bias] = (net(feats)[1] - net(changed)[1])[0, 15].abs().item()
    assert reach[-3.0] < 0.01 * reach[1.0]
