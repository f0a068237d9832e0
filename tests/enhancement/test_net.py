"""The BLSTM that predicts masks."""

import pytest
import torch

from speechtools.audio.frames import length_mask, num_samples
from speechtools.core.errors import ConfigError
from speechtools.enhancement.net import EnhancerBLSTM
from tests.audio.packed import packed_blstm


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.rand(4, 40, 257), torch.tensor([1.0, 0.9, 0.5, 0.025])


def reference(net: EnhancerBLSTM, feats, counts, floor=0.01):
    """Apply the same parameters in one packed bidirectional LSTM of as many layers."""
    logs = torch.zeros_like(feats)
    for row, count in enumerate(counts):
        level = feats[row, :count].square().mean().sqrt()
        logs[row, :count] = torch.log(feats[row, :count] / level + floor)
        logs[row, :count] -= logs[row, :count].mean(dim=0)
    return torch.sigmoid(net.output(packed_blstm(net.lstms_forward, net.lstms_backward, logs, counts)))


@pytest.mark.parametrize("num_layers", [1, 2])
def test_equals_a_packed_bidirectional_lstm_with_its_gradients(batch, num_layers):
    feats, lens = batch
    net, counts = EnhancerBLSTM(hidden_size=8, num_layers=num_layers), num_samples(lens, 40)
    masks, expected = net(feats, lens), reference(net, feats, counts)
    valid = length_mask(counts, 40).unsqueeze(2)
    torch.testing.assert_close(masks, expected * valid, atol=1e-5, rtol=0)
    weights = torch.randn(4, 40, 257) * valid
    gradients = torch.autograd.grad((masks * weights).sum(), list(net.parameters()))
    references = torch.autograd.grad((expected * weights).sum(), list(net.parameters()))
    torch.testing.assert_close(gradients, references, atol=1e-3, rtol=1e-3)


def test_a_filter_of_the_whole_recording_changes_no_mask(batch):
    """It adds a constant to the log-magnitudes of a bin, as long as they are above the floor."""
    feats, lens = batch
    net = EnhancerBLSTM(hidden_size=8, floor=1e-7)
    coloured = feats * torch.logspace(-1, 1, 257)
    torch.testing.assert_close(net(coloured, lens), net(feats, lens), atol=1e-3, rtol=0)
    tilted = feats * torch.logspace(-1, 1, 40).unsqueeze(1)  # in time, not a filter
    assert (net(tilted, lens) - net(feats, lens)).abs().max() > 0.01


def test_invalid_sizes_are_refused():
    with pytest.raises(ConfigError, match="floor: 0"):
        EnhancerBLSTM(floor=0)
