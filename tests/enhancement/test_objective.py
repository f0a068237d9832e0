"""The ideal masks and the objective of speech enhancement."""

import cmath
import math

import pytest
import torch

from speechtools.core.errors import ConfigError
from speechtools.enhancement.objective import enhancement_objective, ideal_ratio_mask, phase_sensitive_mask

KINDS = [
    (target, *variant) for target in ("irm", "psm") for variant in (("mask", 1.0), ("signal", 1.0), ("signal", 0.3))
]
all_kinds = pytest.mark.parametrize(("target", "approximation", "compression"), KINDS)
#: Added to magnitudes before compression, relative to the root mean square of the noisy utterance.
SMALL = 1e-6


@pytest.fixture
def spectra():
    """Speech and noisy spectra (3, 6, 5), complex128, and relative lengths; the padding is as loud as the rest."""
    generator = torch.Generator().manual_seed(0)
    speech, noise = torch.randn(2, 3, 6, 5, dtype=torch.complex128, generator=generator)
    return speech, speech + 0.7 * noise, torch.tensor([1.0, 0.5, 1 / 6])


def draw_masks(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(3, 6, 5, dtype=torch.float64, generator=generator)


def irm_reference(s, y):
    return math.sqrt(abs(s) ** 2 / (abs(s) ** 2 + abs(y - s) ** 2))


def psm_reference(s, y):
    angle = cmath.phase(s) - cmath.phase(y)
    return min(1.0, max(0.0, abs(s) / abs(y) * math.cos(angle)))


def reference(masks, speech, noisy, counts, target, approximation, compression):
    """Compute the objective in loops over bins, with Python numbers."""
    total = 0.0
    for item, count in enumerate(counts):
        error, weight = 0.0, 0.0
        small = SMALL * math.sqrt(sum(abs(y) ** 2 for y in noisy[item, :count].flatten().tolist()) / (count * 5))
        for frame in range(count):
            for column in range(masks.shape[2]):
                m, s, y = (values[item, frame, column].item() for values in (masks, speech, noisy))
                if approximation == "mask":
                    ideal = irm_reference(s, y) if target == "irm" else psm_reference(s, y)
                    error, weight = error + (m - ideal) ** 2, weight + 1
                    continue
                goal = abs(s) if target == "irm" else abs(s) * math.cos(cmath.phase(s) - cmath.phase(y))
                masked, power = m * abs(y), abs(y)
                if compression != 1:
                    masked, goal, power = ((max(x, 0.0) + small) ** compression for x in (masked, goal, power))
                error, weight = error + (masked - goal) ** 2, weight + power**2
        total += error / weight
    return total / len(counts)


@pytest.mark.parametrize(
    ("mask", "expected"), [(ideal_ratio_mask, irm_reference), (phase_sensitive_mask, psm_reference)]
)
def test_masks_equal_the_reference(spectra, mask, expected):
    speech, noisy, _ = spectra
    values = [expected(s, y) for s, y in zip(speech.flatten().tolist(), noisy.flatten().tolist(), strict=True)]
    torch.testing.assert_close(mask(speech, noisy).flatten(), torch.tensor(values, dtype=torch.float64))
    assert 0 in values or mask is ideal_ratio_mask, "the cut is tested"
    silence = torch.zeros_like(speech)
    torch.testing.assert_close(mask(speech, speech), torch.ones(3, 6, 5, dtype=torch.float64))
    assert not mask(silence, speech).any() and not mask(silence, silence).any()


def test_the_phase_sensitive_mask_is_the_best_mask_in_0_to_1(spectra):
    """It minimises the error of the complex spectrum in every bin."""
    speech, noisy, _ = spectra
    error = (phase_sensitive_mask(speech, noisy) * noisy - speech).abs()
    for other in torch.linspace(0, 1, 21):
        assert (error <= (other * noisy - speech).abs() + 1e-12).all()


@all_kinds
def test_objective_equals_the_reference(spectra, target, approximation, compression):
    masks, counts = draw_masks(), [6, 3, 1]
    expected = reference(masks, *spectra[:2], counts, target, approximation, compression)
    objective = enhancement_objective(masks, *spectra, target, approximation, compression)
    assert float(objective) == pytest.approx(expected, rel=1e-10)


@all_kinds
def test_gradient_equals_finite_differences(spectra, target, approximation, compression):
    masks = draw_masks().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda m: enhancement_objective(m, *spectra, target, approximation, compression), masks
    )


@all_kinds
def test_objective_is_invariant_to_padding_level_and_order(spectra, target, approximation, compression):
    speech, noisy, lens = spectra
    masks = draw_masks()
    objective = enhancement_objective(masks, speech, noisy, lens, target, approximation, compression)
    spoiled = [values.clone() for values in (masks, speech, noisy)]
    for values in spoiled:
        values[1, 3:], values[2, 1:] = 77.0, -3.0
    backwards = (masks.flip(0), speech.flip(0), noisy.flip(0), lens.flip(0))
    gains = torch.tensor([1e-3, 1.0, 1e3]).view(3, 1, 1)
    for arguments in ((*spoiled, lens), backwards, (masks, gains * speech, gains * noisy, lens)):
        again = enhancement_objective(*arguments, target, approximation, compression)
        assert float(again) == pytest.approx(float(objective), rel=1e-10)


@all_kinds
def test_silence_has_a_finite_gradient(target, approximation, compression):
    masks, silence = torch.zeros(1, 3, 5, requires_grad=True), torch.zeros(1, 3, 5, dtype=torch.complex64)
    for noisy in (silence, torch.randn(1, 3, 5, dtype=torch.complex64)):
        objective = enhancement_objective(masks, silence, noisy, torch.ones(1), target, approximation, compression)
        (gradient,) = torch.autograd.grad(objective, masks)
        assert torch.isfinite(objective) and torch.isfinite(gradient).all()


@pytest.mark.parametrize(("name", "value"), [("target", "ibm"), ("approximation", "magnitude"), ("compression", 1.5)])
def test_invalid_options_are_refused(spectra, name, value):
    with pytest.raises(ConfigError, match=f"{name}(=|: ){value!r}"):
        enhancement_objective(draw_masks(), *spectra, **{name: value})
