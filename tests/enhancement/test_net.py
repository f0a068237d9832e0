"""Laws of the masks, of their objective and of the network that predicts them."""

import cmath
import math

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from speechtools.audio.features import num_samples
from speechtools.audio.recurrent import limit_recurrent_norm
from speechtools.core.errors import ConfigError
from speechtools.enhancement.net import (
    EnhancerBLSTM,
    enhancement_objective,
    ideal_ratio_mask,
    phase_sensitive_mask,
)
from speechtools.quality.net import QualityBLSTM

KINDS = [
    (target, approximation, compression)
    for target in ("irm", "psm")
    for approximation, compression in (("mask", 1.0), ("signal", 1.0), ("signal", 0.3))
]
#: Added to magnitudes that are to be compressed: this share of the root mean square of the noisy utterance's.
SMALL = 1e-6


@pytest.fixture
def spectra():
    """Speech and noisy spectra (3, 6, 5), complex128, with relative lengths; frames beyond them are loud as well."""
    generator = torch.Generator().manual_seed(0)
    speech, noise = torch.randn(2, 3, 6, 5, dtype=torch.complex128, generator=generator)
    return speech, speech + 0.7 * noise, torch.tensor([1.0, 0.5, 1 / 6])


def draw_masks(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(3, 6, 5, dtype=torch.float64, generator=generator)


# ------------------------------------------------------------------------------------------------------------- masks


def irm_by_the_book(s, y):
    return math.sqrt(abs(s) ** 2 / (abs(s) ** 2 + abs(y - s) ** 2))


def psm_by_the_book(s, y):
    angle = cmath.phase(s) - cmath.phase(y)
    return min(1.0, max(0.0, abs(s) / abs(y) * math.cos(angle)))


def by_the_book(masks, speech, noisy, counts, target, approximation, compression):
    """The objective in loops over bins, in Python's numbers."""
    total = 0.0
    for item, count in enumerate(counts):
        error, weight = 0.0, 0.0
        small = SMALL * math.sqrt(sum(abs(y) ** 2 for y in noisy[item, :count].flatten().tolist()) / (count * 5))
        for frame in range(count):
            for bin in range(masks.shape[2]):
                m, s, y = (each[item, frame, bin].item() for each in (masks, speech, noisy))
                if approximation == "mask":
                    ideal = irm_by_the_book(s, y) if target == "irm" else psm_by_the_book(s, y)
                    error, weight = error + (m - ideal) ** 2, weight + 1
                    continue
                wanted = abs(s) if target == "irm" else abs(s) * math.cos(cmath.phase(s) - cmath.phase(y))
                made, heard = m * abs(y), abs(y)
                if compression != 1:
                    made, wanted, heard = ((max(each, 0.0) + small) ** compression for each in (made, wanted, heard))
                error, weight = error + (made - wanted) ** 2, weight + heard**2
        total += error / weight
    return total / len(counts)


@pytest.mark.parametrize(
    "mask, book", [(ideal_ratio_mask, irm_by_the_book), (phase_sensitive_mask, psm_by_the_book)], ids=["irm", "psm"]
)
def test_the_masks_are_those_of_the_book(spectra, mask, book):
    speech, noisy, _ = spectra
    expected = [book(s, y) for s, y in zip(speech.flatten().tolist(), noisy.flatten().tolist(), strict=True)]
    torch.testing.assert_close(mask(speech, noisy).flatten(), torch.tensor(expected, dtype=torch.float64))
    assert 0 in expected or mask is ideal_ratio_mask, "the cut is tested"


@pytest.mark.parametrize("mask", [ideal_ratio_mask, phase_sensitive_mask])
def test_masks_of_speech_alone_noise_alone_and_silence(mask):
    speech = torch.randn(4, dtype=torch.complex64)
    torch.testing.assert_close(mask(speech, speech), torch.ones(4))
    assert (mask(torch.zeros_like(speech), speech) == 0).all()
    assert torch.isfinite(mask(torch.zeros_like(speech), torch.zeros_like(speech))).all()


def test_the_masks_know_nothing_of_the_level(spectra):
    speech, noisy, _ = spectra
    for mask in (ideal_ratio_mask, phase_sensitive_mask):
        torch.testing.assert_close(mask(0.01 * speech, 0.01 * noisy), mask(speech, noisy))


def test_no_mask_between_0_and_1_is_better_than_the_phase_sensitive_one(spectra):
    """Bin by bin, of the error of the complex spectrum; so it never does harm."""
    speech, noisy, _ = spectra
    error = (phase_sensitive_mask(speech, noisy) * noisy - speech).abs()
    for other in torch.linspace(0, 1, 21):
        assert (error <= (other * noisy - speech).abs() + 1e-12).all()


def test_the_ideal_ratio_mask_lowers_the_error_of_the_spectrum():
    generator = torch.Generator().manual_seed(2)
    speech, noise = torch.randn(2, 40, 257, dtype=torch.complex64, generator=generator)
    speech = speech * torch.rand(40, 257, generator=generator) ** 4  # sparse, as speech is
    noisy = speech + noise
    errors = [(mask * noisy - speech).abs().square().sum() for mask in (ideal_ratio_mask(speech, noisy), 1.0, 0.0)]
    assert errors[0] < 0.5 * errors[1] and errors[0] < errors[2]


# --------------------------------------------------------------------------------------------------------- objective


@pytest.mark.parametrize("target, approximation, compression", KINDS)
def test_the_objective_is_that_of_the_book(spectra, target, approximation, compression):
    masks, counts = draw_masks(), [6, 3, 1]
    expected = by_the_book(masks, *spectra[:2], counts, target, approximation, compression)
    given = enhancement_objective(masks, *spectra, target, approximation, compression)
    assert given.shape == ()
    assert float(given) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("target, approximation, compression", KINDS)
def test_the_gradient_of_the_objective_is_that_of_finite_differences(spectra, target, approximation, compression):
    masks = draw_masks().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda m: enhancement_objective(m, *spectra, target, approximation, compression), masks
    )
    (gradient,) = torch.autograd.grad(enhancement_objective(masks, *spectra, target, approximation), masks)
    assert (gradient[1, 3:] == 0).all() and (gradient[1, :3] != 0).all()


@pytest.mark.parametrize("target, mask", [("irm", ideal_ratio_mask), ("psm", phase_sensitive_mask)])
def test_the_error_of_ideal_masks_is_0(spectra, target, mask):
    masks = mask(*spectra[:2])
    masks[1, 3:] = 0.123  # padding
    assert float(enhancement_objective(masks, *spectra, target, "mask")) == 0
    assert float(enhancement_objective(draw_masks(), *spectra, target, "mask")) > 0.01


@pytest.mark.parametrize("compression", [1.0, 0.3])
def test_the_masked_spectrum_is_best_with_the_phase_sensitive_mask(spectra, compression):
    ideal = phase_sensitive_mask(*spectra[:2])
    least = enhancement_objective(ideal, *spectra, "psm", "signal", compression)
    for seed in range(5):
        other = (ideal + 0.1 * (draw_masks(seed) - 0.5)).clamp(0, 1)
        assert enhancement_objective(other, *spectra, "psm", "signal", compression) > least


@pytest.mark.parametrize("target, approximation, compression", KINDS)
def test_padding_and_level_and_order_change_nothing(spectra, target, approximation, compression):
    speech, noisy, lens = spectra
    masks = draw_masks()
    objective = enhancement_objective(masks, speech, noisy, lens, target, approximation, compression)
    spoiled = [each.clone() for each in (masks, speech, noisy)]
    for each in spoiled:
        each[1, 3:], each[2, 1:] = 77.0, -3.0
    backwards = (masks.flip(0), speech.flip(0), noisy.flip(0), lens.flip(0))
    levels = [(masks, factor * speech, factor * noisy, lens) for factor in (1e-3, 9, 1e3)]
    # A quiet and a loud utterance in one batch, too.
    gains = torch.tensor([1e-3, 1.0, 1e3]).view(3, 1, 1)
    for same in ((*spoiled, lens), backwards, *levels, (masks, gains * speech, gains * noisy, lens)):
        again = enhancement_objective(*same, target, approximation, compression)
        assert float(again) == pytest.approx(float(objective), rel=1e-10)


@pytest.mark.parametrize("target, approximation, compression", KINDS)
def test_silence_has_a_finite_gradient(target, approximation, compression):
    masks, nothing = torch.zeros(1, 3, 5, requires_grad=True), torch.zeros(1, 3, 5, dtype=torch.complex64)
    for noisy in (nothing, torch.randn(1, 3, 5, dtype=torch.complex64)):
        objective = enhancement_objective(masks, nothing, noisy, torch.ones(1), target, approximation, compression)
        (gradient,) = torch.autograd.grad(objective, masks)
        assert torch.isfinite(objective) and torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    "options, message",
    [
        ({"target": "ibm"}, "mask_target='ibm' with approximation='signal' is unknown: the target is 'irm' or 'psm'"),
        ({"approximation": "magnitude"}, "approximation='magnitude' is unknown.*'mask' or 'signal'"),
        ({"compression": 0}, "compression=0 must lie above 0"),
        ({"compression": 1.5}, "compression=1.5 must lie above 0 and not above 1"),
    ],
)
def test_objectives_that_cannot_be(spectra, options, message):
    with pytest.raises(ConfigError, match=message):
        enhancement_objective(draw_masks(), *spectra, **options)


# ----------------------------------------------------------------------------------------------------------- network


@pytest.fixture
def batch():
    torch.manual_seed(0)
    return torch.rand(4, 40, 257), torch.tensor([1.0, 0.9, 0.5, 0.025])


def packed_reference(net: EnhancerBLSTM, feats, counts, floor=0.01):
    """The same parameters in one packed bidirectional LSTM of as many layers."""
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


@pytest.mark.parametrize("num_layers", [1, 2, 3])
def test_equals_a_packed_bidirectional_lstm_with_its_gradients(batch, num_layers):
    feats, lens = batch
    net, counts = EnhancerBLSTM(hidden_size=8, num_layers=num_layers), num_samples(lens, 40)
    masks, expected = net(feats, lens), packed_reference(net, feats, counts)
    valid = torch.arange(40)[None, :, None] < counts[:, None, None]
    torch.testing.assert_close(masks, expected * valid, atol=1e-5, rtol=0)
    weights = torch.randn(4, 40, 257) * valid
    ours = torch.autograd.grad((masks * weights).sum(), list(net.parameters()))
    theirs = torch.autograd.grad((expected * weights).sum(), list(net.parameters()))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


def test_masks_lie_between_0_and_1_and_padding_has_none(batch):
    feats, lens = batch
    net = EnhancerBLSTM(hidden_size=8)
    with torch.no_grad():
        net.output.weight.mul_(100)  # far out on both sides of the sigmoid
        masks = net(feats, lens)
    assert masks.min() >= 0 and masks.max() <= 1 and masks.max() - masks.min() > 0.9
    for row, count in zip(masks, num_samples(lens, 40), strict=True):
        assert (row[count:] == 0).all()


def test_padding_changes_no_mask_whatever_it_holds(batch):
    feats, lens = batch
    net = EnhancerBLSTM(hidden_size=8)
    spoiled = feats.clone()
    for row, count in zip(spoiled, num_samples(lens, 40), strict=True):
        row[count:] = float("nan")
    torch.testing.assert_close(net(spoiled, lens), net(feats, lens), atol=1e-6, rtol=0)
    torch.testing.assert_close(net(feats, lens)[2:3, :20], net(feats[2:3, :20]), atol=1e-5, rtol=0)


def test_the_level_changes_nothing_and_silence_is_finite(batch):
    feats, lens = batch
    net = EnhancerBLSTM(hidden_size=8)
    for factor in (1e-3, 1e3):
        torch.testing.assert_close(net(factor * feats, lens), net(feats, lens), atol=1e-5, rtol=0)
    silence = torch.zeros(1, 10, 257, requires_grad=True)
    masks = net(silence)
    masks.sum().backward()
    assert torch.isfinite(masks).all() and torch.isfinite(silence.grad).all()


def test_the_colour_of_all_that_is_heard_changes_nothing(batch):
    """So far as it lies above the floor: a filter adds the same to every logarithm of a bin."""
    feats, lens = batch
    net = EnhancerBLSTM(hidden_size=8, floor=1e-7)
    coloured = feats * torch.logspace(-1, 1, 257)
    torch.testing.assert_close(net(coloured, lens), net(feats, lens), atol=1e-3, rtol=0)
    tilted = feats * torch.logspace(-1, 1, 40).unsqueeze(1)  # in time, it is no colour
    assert (net(tilted, lens) - net(feats, lens)).abs().max() > 0.01


def test_a_few_steps_come_nearer_to_the_ideal_mask():
    torch.manual_seed(0)
    net = EnhancerBLSTM(input_size=9, hidden_size=8, num_layers=1)
    speech, noise = torch.randn(2, 4, 30, 9, dtype=torch.complex64)
    speech = speech * (torch.arange(9) < 4) * 3  # speech is low, noise is everywhere
    noisy, lens = speech + noise, torch.tensor([1.0, 1.0, 0.7, 0.5])
    optimizer = torch.optim.Adam(net.parameters(), lr=0.03)
    reached = []
    for _ in range(40):
        loss = enhancement_objective(net(noisy.abs(), lens), speech, noisy, lens)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        reached.append(loss.item())
    assert reached[-1] < 0.5 * reached[0]


# ------------------------------------------------------------------------------------- the limit on recurrent weights


def norms(weight):
    return weight.norm(dim=1)


def test_the_limit_scales_rows_down_and_leaves_the_rest_alone():
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
        assert (norms(parameter) <= limit * (1 + 1e-5)).all()
        assert torch.equal(parameter[~above], before[name][~above])
        turned = torch.cosine_similarity(parameter[above], before[name][above])
        torch.testing.assert_close(turned, torch.ones_like(turned))
        torch.testing.assert_close(norms(parameter[above]), torch.full_like(turned, limit), atol=1e-5, rtol=1e-4)
        changed += int(above.sum())
    assert changed > 2
    again = {name: parameter.clone() for name, parameter in net.named_parameters()}
    limit_recurrent_norm(net, limit)
    for name, parameter in net.named_parameters():
        torch.testing.assert_close(parameter, again[name], msg="a second time it changes nothing")


def test_near_0_the_past_comes_through_the_cell_alone():
    """As in the authors' code: a forget gate that is shut then ends all memory."""
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
    assert all(parameter.requires_grad for parameter in net.parameters())
