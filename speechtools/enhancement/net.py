"""Speech enhancement by masks (kind ``enhancer``): the BLSTM that the Quality-Net paper (section 3.1) enhances with.

A mask says for every frame and frequency how much of the noisy spectrum is speech. Its ideal values and the training by
signal approximation are those of Erdogan, Hershey, Watanabe and Le Roux (ICASSP 2015) and Weninger et al. (LVA/ICA
2015), the paper's references 29 and 30. ``S`` is the spectrum of the clean speech, ``Y`` that of the noisy, ``N`` of
the noise; all are complex, (batch, time, bins).
"""

from typing import Literal

import torch
from torch import Tensor, nn

from speechtools.audio.features import length_mask, num_samples
from speechtools.audio.recurrent import both_ways
from speechtools.core.errors import ConfigError
from speechtools.core.registry import plugin

TARGETS = ("irm", "psm")


@plugin("enhancer/blstm")
class EnhancerBLSTM(nn.Module):
    """BLSTM layers and a sigmoid: a mask for every frame, from the magnitudes of the noisy spectrum.

    The network sees the logarithm of the magnitudes, less its mean over the utterance in every bin: what stands out of
    the average there. So neither the level of a recording nor the colour of a steady noise changes much of what it
    sees, and it works with noises that it was not trained with.

    Parameters
    ----------
    input_size : int
        Frequency bins: 257 of a 512-point spectrum.
    hidden_size : int
        LSTM nodes a direction.
    num_layers : int
        BLSTM layers.
    floor : float
        Added to the magnitudes before the logarithm, as a share of their root mean square in the utterance: 0.01 is
        40 dB below it.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) -> masks (batch, time, input_size) in [0, 1]

    Example
    -------
    >>> EnhancerBLSTM(hidden_size=8)(torch.rand(2, 62, 257), torch.tensor([1.0, 0.5])).shape
    torch.Size([2, 62, 257])
    """

    def __init__(self, input_size: int = 257, hidden_size: int = 128, num_layers: int = 2, floor: float = 0.01):
        super().__init__()
        if min(input_size, hidden_size, num_layers) < 1 or not floor > 0:
            raise ConfigError(
                f"enhancer/blstm cannot be built with input_size={input_size}, hidden_size={hidden_size}, "
                f"num_layers={num_layers}, floor={floor}: sizes are at least 1, and the floor is above 0, since "
                "silence has no logarithm."
            )
        self.floor = floor
        sizes = [input_size] + [2 * hidden_size] * (num_layers - 1)
        self.lstms_forward = nn.ModuleList(nn.LSTM(size, hidden_size, batch_first=True) for size in sizes)
        self.lstms_backward = nn.ModuleList(nn.LSTM(size, hidden_size, batch_first=True) for size in sizes)
        self.output = nn.Linear(2 * hidden_size, input_size)

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        batch, time, bins = feats.shape
        if lens is None:
            counts = torch.full((batch,), time, device=feats.device)
        else:
            counts = num_samples(lens, time)
        valid = length_mask(counts, time).unsqueeze(2)
        # (batch, time, 1)
        feats = feats.masked_fill(~valid, 0.0)
        power = feats.square().sum(dim=(1, 2), keepdim=True) / (counts.view(-1, 1, 1) * bins)
        # (batch, 1, 1); a silent utterance has none, and stays 0
        level = torch.where(power > 0, power, torch.ones_like(power)).sqrt()
        logs = torch.log(feats / level + self.floor) * valid
        hidden = logs - logs.sum(dim=1, keepdim=True) / counts.view(-1, 1, 1)
        # (batch, time, input_size)
        for forward, backward in zip(self.lstms_forward, self.lstms_backward, strict=True):
            hidden = both_ways(forward, backward, hidden, counts)
            # (batch, time, 2 * hidden_size)
        return torch.sigmoid(self.output(hidden)) * valid


def ideal_ratio_mask(speech: Tensor, noisy: Tensor) -> Tensor:
    """``sqrt(|S|² / (|S|² + |N|²))``, with ``N = Y - S``: in [0, 1], whatever the phases.

    >>> ideal_ratio_mask(torch.tensor([3 + 0j]), torch.tensor([3 + 4j])).tolist()
    [0.6000000238418579]
    """
    speech_power, noise_power = _power(speech), _power(noisy - speech)
    return (speech_power / (speech_power + noise_power).clamp(min=1e-20)).sqrt()


def phase_sensitive_mask(speech: Tensor, noisy: Tensor) -> Tensor:
    """``Re(S / Y)``, which is ``|S| / |Y| cos(θ)`` with θ the angle between them, cut to [0, 1] (Erdogan et al., 2015).

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
    """Squared error of masks, or of the spectra that they make.

    Parameters
    ----------
    masks : Tensor
        Predicted, (batch, time, bins).
    speech, noisy : Tensor
        Complex spectra (batch, time, bins) of the clean and the noisy speech, with relative lengths ``lens`` (batch,).
    target : str
        ``"irm"``, the ideal ratio mask, or ``"psm"``, the phase-sensitive one.
    approximation : str
        ``"mask"``: the error of the mask itself. ``"signal"``: that of the masked spectrum, ``(M |Y| - |S|)²`` for
        ``irm`` (Weninger et al.) and ``(M |Y| - |S| cos θ)²`` for ``psm`` (Erdogan et al.), over the power of the
        noisy utterance, so that loud utterances count no more than others.
    compression : float
        With ``signal``, an exponent on all magnitudes: 1 as in those papers; below it the quiet parts of speech count
        for more, as they do in hearing. What the phase makes negative of ``|S| cos θ`` is then taken as 0.

    Returns
    -------
    Tensor
        The mean over the batch, a scalar.

    Raises
    ------
    ConfigError
        The target or the approximation is unknown, or the compression cannot be.

    Example
    -------
    >>> speech = torch.randn(1, 5, 257, dtype=torch.complex64)
    >>> enhancement_objective(torch.ones(1, 5, 257), speech, speech, torch.ones(1)).item() < 1e-9  # no noise, no error
    True
    """
    if target not in TARGETS or approximation not in ("mask", "signal"):
        raise ConfigError(
            f"mask_target={target!r} with approximation={approximation!r} is unknown: the target is 'irm' or 'psm', "
            "the approximation 'mask' or 'signal'."
        )
    if not 0 < compression <= 1:
        raise ConfigError(f"compression={compression} must lie above 0 and not above 1, which leaves magnitudes alone.")
    valid = length_mask(num_samples(lens, masks.shape[1]), masks.shape[1]).unsqueeze(2)
    # (batch, time, 1)
    if approximation == "mask":
        ideal = (ideal_ratio_mask if target == "irm" else phase_sensitive_mask)(speech, noisy)
        errors, weights = (masks - ideal).square(), torch.ones_like(masks)
    else:
        heard, wanted = noisy.abs(), speech.abs() if target == "irm" else _in_phase(speech, noisy)
        made = masks * heard
        # (batch, time, bins)
        if compression != 1:
            # A millionth of the level keeps the gradient finite where there is nothing; silence has no level.
            power = (heard.square() * valid).sum(dim=(1, 2)) / (valid.sum(dim=(1, 2)) * heard.shape[2]).clamp(min=1)
            small = 1e-6 * power.sqrt().clamp(min=1e-10).view(-1, 1, 1)
            # (batch, 1, 1)
            made, wanted, heard = ((each.clamp(min=0) + small) ** compression for each in (made, wanted, heard))
        errors, weights = (made - wanted).square(), heard.square()
    return ((errors * valid).sum(dim=(1, 2)) / (weights * valid).sum(dim=(1, 2)).clamp(min=1e-20)).mean()


def _power(spectrum: Tensor) -> Tensor:
    return spectrum.real.square() + spectrum.imag.square()


def _in_phase(speech: Tensor, noisy: Tensor) -> Tensor:
    """``|S| cos θ``: the part of the speech that has the phase of the noisy spectrum."""
    return (speech * noisy.conj()).real / noisy.abs().clamp(min=1e-20)
