"""The BLSTM that predicts masks."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from speechtools.audio.frames import num_samples
from speechtools.core.errors import ConfigError
from speechtools.enhancement.net import EnhancerBLSTM
from speechtools.enhancement.objective import enhancement_objective


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.rand(4, 40, 257), torch.tensor([1.0, 0.9, 0.5, 0.025])


def packed_reference(net: EnhancerBLSTM, feats, counts, floor=0.01):
    """Apply the same parameters in one packed bidirectional LSTM of as many layers."""
    layers, hidden_size = len(net.lstms_forward), net.lstms_forward[0].hidden_size
    lstm = nn.LSTM(257, hidden_size, layers, batch_first=True, bidirectional=True)
    weights = {}
    for directions, suffix in ((net.lstms_forward, ""), (net.lstms_backward, "_reverse")):
        for number, direction in enumerate(directions):
            for name, parameter in direction.named_parameters():
                weights[name.replace("l0", f"l{number}") + suffix] = parameter
    logs = torch.zeros_like(feats)
    for row, count in enumerate(counts):
        level = feats[row, :count].square().mean().sqrt()
        logs[row, :count] = torch.log(feats[row, :count] / level + floor)
        logs[row, :count] -= logs[row, :count].mean(dim=0)
    packed = pack_padded_sequence(logs, counts, batch_first=True, enforce_sorted=False)
    hidden, _ = pad_packed_sequence(torch.func.functional_call(lstm, weights, (packed,))[0], batch_first=True)
    return torch.sigmoid(net.output(hidden))


@pytest.mark.parametrize("num_layers", [1, 2])
def test_equals_a_packed_bidirectional_lstm_with_its_gradients(batch, num_layers):
    feats, lens = batch
    net, counts = EnhancerBLSTM(hidden_size=8, num_layers=num_layers), num_samples(lens, 40)
    masks, expected = net(feats, lens), packed_reference(net, feats, counts)
    valid = torch.arange(40)[None, :, None] < counts[:, None, None]
    torch.testing.assert_close(masks, expected * valid, atol=1e-5, rtol=0)
    weights = torch.randn(4, 40, 257) * valid
    gradients = torch.autograd.grad((masks * weights).sum(), list(net.parameters()))
    references = torch.autograd.grad((expected * weights).sum(), list(net.parameters()))
    for gradient, reference in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, reference, atol=1e-3, rtol=1e-3)


def test_masks_lie_in_0_to_1_and_are_0_for_padding(batch):
    feats, lens = batch
    net = EnhancerBLSTM(hidden_size=8)
    with torch.no_grad():
        net.output.weight.mul_(100)  # saturates the sigmoid on both sides
        masks = net(feats, lens)
    assert 0 <= masks.min() < 0.05
    assert 0.95 < masks.max() <= 1
    for row, count in zip(masks, num_samples(lens, 40), strict=True):
        assert (row[count:] == 0).all()


def test_padding_changes_no_mask(batch):
    feats, lens = batch
    net = EnhancerBLSTM(hidden_size=8)
    spoiled = feats.clone()
    for row, count in zip(spoiled, num_samples(lens, 40), strict=True):
        row[count:] = float("nan")
    torch.testing.assert_close(net(spoiled, lens), net(feats, lens), atol=1e-6, rtol=0)
    torch.testing.assert_close(net(feats, lens)[2:3, :20], net(feats[2:3, :20]), atol=1e-5, rtol=0)


def test_the_level_changes_no_mask_and_silence_is_finite(batch):
    feats, lens = batch
    net = EnhancerBLSTM(hidden_size=8)
    for factor in (1e-3, 1e3):
        torch.testing.assert_close(net(factor * feats, lens), net(feats, lens), atol=1e-5, rtol=0)
    silence = torch.zeros(1, 10, 257, requires_grad=True)
    masks = net(silence)
    masks.sum().backward()
    assert torch.isfinite(masks).all()
    assert torch.isfinite(silence.grad).all()


def test_a_filter_of_the_whole_recording_changes_no_mask(batch):
    """It adds a constant to the log-magnitudes of a bin, as long as they are above the floor."""
    feats, lens = batch
    net = EnhancerBLSTM(hidden_size=8, floor=1e-7)
    coloured = feats * torch.logspace(-1, 1, 257)
    torch.testing.assert_close(net(coloured, lens), net(feats, lens), atol=1e-3, rtol=0)
    tilted = feats * torch.logspace(-1, 1, 40).unsqueeze(1)  # in time, not a filter
    assert (net(tilted, lens) - net(feats, lens)).abs().max() > 0.01


def test_training_reduces_the_objective():
    torch.manual_seed(0)
    net = EnhancerBLSTM(input_size=9, hidden_size=8, num_layers=1)
    speech, noise = torch.randn(2, 4, 30, 9, dtype=torch.complex64)
    speech = speech * (torch.arange(9) < 4) * 3  # speech is low-pass, noise is not
    noisy, lens = speech + noise, torch.tensor([1.0, 1.0, 0.7, 0.5])
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    losses = []
    for _ in range(40):
        loss = enhancement_objective(net(noisy.abs(), lens), speech, noisy, lens)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_invalid_sizes_are_refused():
    with pytest.raises(ConfigError, match="floor=0"):
        EnhancerBLSTM(floor=0)
