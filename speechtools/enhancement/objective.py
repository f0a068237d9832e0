"""Ideal masks and the training objective of speech enhancement by masks.

After Erdogan, Hershey, Watanabe and Le Roux (ICASSP 2015) and Weninger et al. (LVA/ICA 2015), references 29 and 30 of
the Quality-Net paper. ``S`` is the spectrum of the clean speech, ``Y`` that of the noisy speech and ``N`` that of the
noise; all are complex, (batch, time, bins).
"""

from typing import Literal

import torch
from torch import Tensor

from speechtools.audio.frames import frame_counts, length_mask
from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError

TARGETS = ("irm", "psm")


def ideal_ratio_mask(speech: Tensor, noisy: Tensor) -> Tensor:
    """``sqrt(|S|² / (|S|² + |N|²))`` with ``N = Y - S``: in [0, 1], independent of the phases.

    >>> ideal_ratio_mask(torch.tensor([3 + 0j]), torch.tensor([3 + 4j])).tolist()
    [0.6000000238418579]
    """
    speech_power, noise_power = _power(speech), _power(noisy - speech)
    return (speech_power / (speech_power + noise_power).clamp(min=1e-20)).sqrt()


def phase_sensitive_mask(speech: Tensor, noisy: Tensor) -> Tensor:
    """``Re(S / Y)``, or ``|S| / |Y| cos(θ)`` with the angle θ between them, cut to [0, 1] (Erdogan et al., 2015).

    >>> phase_sensitive_mask(torch.tensor([1 + 0j, 1j]), torch.tensor([2 + 0j, 2 + 0j])).tolist()
    [0.5, 0.0]
    """
    return (_in_phase(speech, noisy) / noisy.abs().clamp(min=1e-20)).clamp(0.0, 1.0)


def enhancement_objective(
    masks: Tensor,
    speech: Tensor,
    noisy: Tensor,
    lens: Tensor,
    target: Literal["irm", "psm"] = "psm",
    approximation: Literal["mask", "signal"] = "signal",
    compression: float = 1.0,
) -> Tensor:
    """Squared error of the masks, or of the spectra that they produce.

    Parameters
    ----------
    masks : Tensor
        Predicted masks (batch, time, bins).
    speech, noisy : Tensor
        Complex spectra (batch, time, bins) of the clean and the noisy speech, with relative lengths ``lens`` (batch,).
    target : str
        ``"irm"``, the ideal ratio mask, or ``"psm"``, the phase-sensitive mask.
    approximation : str
        ``"mask"``: the error of the mask itself. ``"signal"``: the error of the masked spectrum, ``(M |Y| - |S|)²`` for
        ``irm`` (Weninger et al.) and ``(M |Y| - |S| cos θ)²`` for ``psm`` (Erdogan et al.), divided by the power of
        the noisy utterance, so that loud utterances weigh no more than others.
    compression : float
        With ``signal``, an exponent on all magnitudes. 1 is the objective of those papers; a lower value gives quiet
        speech more weight, as hearing does. Negative values of ``|S| cos θ`` then count as 0.

    Returns
    -------
    Tensor
        Mean over the batch, a scalar.

    Raises
    ------
    ConfigError
        The target or the approximation is unknown, or the compression is outside (0, 1].

    Examples
    --------
    >>> speech = torch.randn(1, 5, 257, dtype=torch.complex64)
    >>> enhancement_objective(torch.ones(1, 5, 257), speech, speech, torch.ones(1)).item() < 1e-9  # no noise, no error
    True
    """
    if target not in TARGETS or approximation not in ("mask", "signal"):
        raise ConfigError(
            f"mask_target={target!r} must be 'irm' or 'psm', and approximation={approximation!r} 'mask' or 'signal'."
        )
    check_number("compression", compression, 0, 1, above=True)
    valid = length_mask(frame_counts(masks, lens), masks.shape[1]).unsqueeze(2)
    # (batch, time, 1)
    if approximation == "mask":
        ideal = (ideal_ratio_mask if target == "irm" else phase_sensitive_mask)(speech, noisy)
        errors, weights = (masks - ideal).square(), torch.ones_like(masks)
    else:
        magnitudes, goal = noisy.abs(), speech.abs() if target == "irm" else _in_phase(speech, noisy)
        masked = masks * magnitudes
        # (batch, time, bins)
        if compression != 1:
            # A millionth of the level keeps the gradient finite at 0; silence has no level.
            size = (valid.sum(dim=(1, 2)) * masks.shape[2]).clamp(min=1)
            power = (magnitudes.square() * valid).sum(dim=(1, 2)) / size
            small = 1e-6 * power.sqrt().clamp(min=1e-10).view(-1, 1, 1)
            # (batch, 1, 1)
            masked, goal, magnitudes = ((x.clamp(min=0) + small) ** compression for x in (masked, goal, magnitudes))
        errors, weights = (masked - goal).square(), magnitudes.square()
    return ((errors * valid).sum(dim=(1, 2)) / (weights * valid).sum(dim=(1, 2)).clamp(min=1e-20)).mean()


def _power(spectrum: Tensor) -> Tensor:
    return spectrum.real.square() + spectrum.imag.square()


def _in_phase(speech: Tensor, noisy: Tensor) -> Tensor:
    """``|S| cos θ``: the component of the speech in phase with the noisy spectrum."""
    return (speech * noisy.conj()).real / noisy.abs().clamp(min=1e-20)
