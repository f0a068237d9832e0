"""`quality/conv-lstm`: scores do not depend on what comes after the lookahead, and training can start from a BLSTM."""

import pytest
import torch

from speechtools.core.errors import ConfigError
from speechtools.core.registry import build
from speechtools.quality.conv_lstm import ConvLSTM
from speechtools.quality.stages import check_start
from speechtools.training import take_weights

SMALL = {"input_size": 20, "channels": 6, "hidden_size": 5, "linear_size": 4}


@pytest.mark.parametrize("lookahead", [0, 2, 5])
def test_a_score_sees_so_many_frames(lookahead):
    torch.manual_seed(0)
    net, feats = ConvLSTM(**SMALL, lookahead=lookahead).eval(), torch.rand(1, 60, 20, requires_grad=True)
    _, scores = net(feats)
    scores[0, 20].backward()  # the first frame of a pair
    seen = feats.grad[0].abs().sum(dim=1).nonzero()[:, 0]
    assert seen.min() == 0 and seen.max() == 20 + 2 * lookahead + 6


@pytest.mark.parametrize(("frames", "size"), [(1, 1), (2, 1), (7, 3), (40, 40), (61, 8)])
def test_blocks_give_the_scores_of_the_whole(frames, size):
    torch.manual_seed(0)
    net, feats = ConvLSTM(**SMALL, lookahead=3).eval(), torch.randn(1, frames, 20)
    state, scores, causes = net.start(), [], []
    for first in range(0, frames, size):
        found, state = net.stream(feats[:, first : first + size], state)
        scores.append(found[0])
        causes.append(found[1])
    last = net.finish(state)
    whole = net(feats, details=True)
    assert torch.cat([*scores, last[0]], dim=1).allclose(whole.frame_scores, atol=1e-5)
    assert torch.cat([*causes, last[1]], dim=1).allclose(whole.causes, atol=1e-5)


def test_weights_of_a_bidirectional_network():
    torch.manual_seed(0)
    both, net, feats = build("quality/conv-blstm", **SMALL).eval(), ConvLSTM(**SMALL, lookahead=0).eval(), None
    with torch.no_grad():  # the backward LSTM counts for nothing
        both.linear.weight[:, 5:10] = 0.0
    take_weights(net, both, "start_from", optional="measure_outputs.")
    feats = torch.rand(2, 30, 20)
    assert net(feats)[1].allclose(both(feats)[1], atol=1e-5)
    with pytest.raises(ConfigError, match="does not fit"):
        take_weights(ConvLSTM(**SMALL | {"channels": 7}), both, "start_from")


class _Start:
    def __init__(self, features, quality):
        self.features, self.mods = features, type("Mods", (), {"quality": quality})

    def check_rate(self, rate):
        pass


def test_a_model_for_streams_starts_from_one_that_is_not():
    mel, running = build("features/mel", n_mels=20), build("features/running-mel", n_mels=20)
    both, live = build("quality/conv-blstm", **SMALL), build("quality/conv-lstm", **SMALL)
    check_start(_Start(mel, both), 16000, running, live)
    with pytest.raises(ConfigError, match="has quality/conv-lstm, and this run has quality/conv-blstm"):
        check_start(_Start(mel, live), 16000, mel, both)
    with pytest.raises(ConfigError, match="level=loud. Add --level=loud"):
        check_start(_Start(mel, both), 16000, build("features/mel", n_mels=20, level="peak"), both)
