"""Building blocks of the recurrent networks."""

import torch

from speechtools.audio.recurrent import limit_recurrent_norm, reversal, set_forget_gate_bias, take_frames
from speechtools.quality.net import QualityBLSTM


def test_forget_gate_bias_is_the_sum_of_both_biases():
    lstm = torch.nn.LSTM(3, 7)
    set_forget_gate_bias(lstm, -3.0)
    total = lstm.bias_ih_l0 + lstm.bias_hh_l0
    assert (total[7:14] == -3.0).all()
    assert not torch.isclose(total[:7], torch.tensor(-3.0)).any()


def test_reversing_twice_restores_the_sequence():
    order = reversal(torch.tensor([4, 1, 3]), 4)
    sequence = torch.randn(3, 4, 2)
    assert torch.equal(take_frames(take_frames(sequence, order), order), sequence)
    assert torch.equal(take_frames(sequence, order)[2], sequence[2, [2, 1, 0, 3]])


def norms(weight):
    return weight.norm(dim=1)


def test_limit_recurrent_norm_scales_large_rows_only():
    torch.manual_seed(0)
    net = QualityBLSTM(input_size=6, hidden_size=4, linear_size=3)
    with torch.no_grad():
        net.lstm_forward.weight_hh_l0[::2] *= 0.05
    before = {name: parameter.clone() for name, parameter in net.named_parameters()}
    limit = 0.5 * norms(net.lstm_forward.weight_hh_l0).max().item()
    limit_recurrent_norm(net, limit)
    changed = 0
    for name, parameter in net.named_parameters():
        if "weight_hh" not in name:
            assert torch.equal(parameter, before[name]), name
            continue
        above = norms(before[name]) > limit
        assert torch.equal(parameter[~above], before[name][~above])
        cosines = torch.cosine_similarity(parameter[above], before[name][above])
        torch.testing.assert_close(cosines, torch.ones_like(cosines))
        torch.testing.assert_close(norms(parameter[above]), torch.full_like(cosines, limit), atol=1e-5, rtol=1e-4)
        changed += int(above.sum())
    assert changed > 2


def test_a_limit_near_0_and_a_closed_forget_gate_remove_all_memory():
    torch.manual_seed(0)
    net = QualityBLSTM(input_size=6, hidden_size=4, linear_size=3, forget_gate_bias=-30.0)
    feats = torch.rand(1, 9, 6)
    changed = feats.clone()
    changed[0, 4] += 1

    def reach():
        with torch.no_grad():
            difference = (net(feats)[1] - net(changed)[1]).abs()[0]
        return float(difference[[3, 5]].max() / difference[4])

    assert reach() > 1e-3
    limit_recurrent_norm(net, 1e-5)
    assert reach() < 1e-4
