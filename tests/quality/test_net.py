"""The BLSTM of Quality-Net."""

import torch
from torch import nn

from speechtools.audio.frames import length_mask, num_samples
from speechtools.quality.net import QualityBLSTM
from tests.audio.packed import packed_blstm

LENS = torch.tensor([1.0, 0.9, 0.5, 0.3, 0.025])
COUNTS = num_samples(LENS, 40)


def reference(net: QualityBLSTM, feats):
    """Apply the same parameters in one packed bidirectional LSTM."""
    hidden = packed_blstm([net.lstm_forward], [net.lstm_backward], feats, COUNTS)
    frames = net.output(nn.functional.elu(net.linear(hidden))).squeeze(2)
    return torch.stack([row[:count].mean() for row, count in zip(frames, COUNTS, strict=True)]), frames


def test_equals_a_packed_bidirectional_lstm_with_its_gradients():
    torch.manual_seed(0)
    feats = torch.rand(5, 40, 257)
    net = QualityBLSTM(hidden_size=16, linear_size=8)
    scores, frame_scores = net(feats, LENS)
    expected, expected_frames = reference(net, feats)
    torch.testing.assert_close(scores, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(frame_scores, expected_frames * length_mask(COUNTS, 40), atol=1e-5, rtol=0)
    weights = torch.randn(5)
    gradients = torch.autograd.grad((scores * weights).sum(), list(net.parameters()))
    references = torch.autograd.grad((expected * weights).sum(), list(net.parameters()))
    torch.testing.assert_close(gradients, references, atol=1e-5, rtol=1e-4)


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
