"""The level of a recording, and recordings brought to one level."""

import torch
from torch import Tensor

from speechtools.audio.frames import clear_padding, frame_counts

#: What a level can be that of.
LEVELS = ("rms", "peak")


def to_level(
    wavs: Tensor, lens: Tensor | None, level_db: float, level_of: str = "rms", only_up: bool = False
) -> Tensor:
    """Scale waveforms (batch, samples) so that each has this level. A silent waveform stays as it is.

    Parameters
    ----------
    wavs : Tensor
        (batch, samples), padded on the right. Padding becomes 0.
    lens : Tensor, optional
        Relative lengths (batch,). Default: no padding.
    level_db : float
        In dB, where 0 is an RMS or a peak of 1.
    level_of : str
        ``"rms"`` or ``"peak"``.
    only_up : bool
        Leave waveforms that are louder as they are.

    Examples
    --------
    >>> to_level(torch.tensor([[0.1, -0.2], [1.0, 0.0]]), None, 0.0, "peak", only_up=True)
    tensor([[ 0.5000, -1.0000],
            [ 1.0000,  0.0000]])
    """
    wavs = clear_padding(wavs, lens)
    if level_of == "peak":
        levels = wavs.abs().amax(dim=1)
    else:
        levels = (wavs.square().sum(dim=1) / frame_counts(wavs, lens)).sqrt()
    # (batch,)
    target = 10.0 ** (level_db / 20)
    gains = target / torch.where(levels > 0, levels, target)
    return wavs * (gains.clamp(min=1.0) if only_up else gains).unsqueeze(1)
