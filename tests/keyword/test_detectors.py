"""Networks of the kind ``detector``, beyond their contract."""

import pytest
import torch

import speechtools
from speechtools.core.errors import ConfigError
from speechtools.keyword.detectors import LSTMDetector, step_counts


def build(**options):
    torch.manual_seed(0)
    return speechtools.build("detector/lstm", **({"hidden_size": 8, "channels": 6, "num_tokens": 5} | options)).eval()


def test_a_step_sees_its_frames_and_earlier_ones_alone():
    net, feats = build(), torch.randn(1, 30, 40, requires_grad=True)
    net(feats)[0, 4].sum().backward()
    assert not feats.grad[0, 15:].any()
    feats.grad = None
    net(feats)[0, 4, 1].backward()
    assert (feats.grad[0, :15].abs().sum(dim=1) > 0).all()


def test_steps_of_padded_items():
    net = build()
    feats, lens = torch.randn(2, 31, 40), torch.tensor([1.0, 20 / 31])
    assert step_counts(net, feats, lens).tolist() == [10, 6] and net(feats).shape == (2, 10, 5)


def test_the_default_is_small():
    assert sum(value.numel() for value in speechtools.build("detector/lstm").parameters()) < 1_000_000


def test_impossible_sizes():
    for options, name in (({"stride": 0}, "stride"), ({"num_tokens": 1}, "num_tokens"), ({"dropout": 2}, "dropout")):
        with pytest.raises(ConfigError, match=name):
            build(**options)


def test_dropout_leaves_out_the_same_inputs_in_all_steps():
    net = LSTMDetector(dropout=0.5).train()
    dropped = net._dropped(torch.ones(3, 20, 40))
    assert ((dropped == 0).all(dim=1) | (dropped == 2).all(dim=1)).all()
    assert 0.3 < (dropped == 0).float().mean() < 0.7
    assert torch.equal(net.eval()._dropped(torch.ones(3, 20, 40)), torch.ones(3, 20, 40))
