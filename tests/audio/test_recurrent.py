"""Building blocks of the recurrent networks."""

import torch

from speechtools.audio.recurrent import limit_recurrent_norm
from speechtools.quality.net import QualityBLSTM


def test_limit_recurrent_norm_scales_large_rows_only():
    torch.manual_seed(0)
    net = QualityBLSTM(input_size=6, hidden_size=4, linear_size=3)
    net.lstm_forward.weight_hh_l0.data[::2] *= 0.05
    before = {name: parameter.clone() for name, parameter in net.named_parameters()}
    limit = 0.5 * net.lstm_forward.weight_hh_l0.norm(dim=1).max().item()
    limit_recurrent_norm(net, limit)
    for name, parameter in net.named_parameters():
        expected = before[name]
        if "weight_hh" in name:
            norms = expected.norm(dim=1, keepdim=True)
            assert 2 < (norms > limit).sum() <= len(norms)
            expected = expected * (limit / norms).clamp(max=1.0)
        torch.testing.assert_close(parameter.data, expected.data, atol=1e-5, rtol=1e-4)
