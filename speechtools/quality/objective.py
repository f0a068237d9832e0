"""The training objective of Quality-Net (Fu et al., Interspeech 2018, equations 1 and 2)."""

from typing import Literal

from torch import Tensor

from speechtools.audio.frames import frame_counts, length_mask
from speechtools.core.errors import ConfigError


def frame_weight(target: Tensor, q_max: float) -> Tensor:
    """Equation 2: ``10 ** (target - q_max)``, 1 for a perfect utterance and ten times less for each point below.

    >>> import torch
    >>> frame_weight(torch.tensor([4.5, 3.5]), 4.5).tolist()
    [1.0, 0.10000000149011612]
    """
    return 10.0 ** (target - q_max)


def quality_objective(
    scores: Tensor,
    frame_scores: Tensor,
    target: Tensor,
    lens: Tensor,
    q_max: float = 4.5,
    alpha: float = 1.0,
    frame_reduction: Literal["sum", "mean"] = "sum",
) -> Tensor:
    """Equation 1: squared error of the utterance score, plus the conditional constraint on the frame scores.

    Parameters
    ----------
    scores, target : Tensor
        Predicted and true utterance scores (batch,).
    frame_scores : Tensor
        Predicted frame scores (batch, time), with relative lengths ``lens`` (batch,).
    q_max : float
        Best score of the scale: 4.5 for raw PESQ.
    alpha : float
        Factor on equation 2: 1 is the paper's objective, 0 its "without constraint" (section 3.2).
    frame_reduction : str
        ``"sum"`` over the frames, as equation 1 is printed; or ``"mean"``, as in the authors' released code, which
        gives the constraint the same weight for long and short utterances.

    Returns
    -------
    Tensor
        Mean over the batch, a scalar.

    Examples
    --------
    >>> import torch
    >>> true, frames = torch.tensor([4.5]), torch.full((1, 10), 4.0)
    >>> quality_objective(true, frames, true, torch.ones(1), alpha=0.0).item()
    0.0
    >>> quality_objective(true, frames, true, torch.ones(1)).item()  # ten frames, each half a point away
    2.5
    """
    if frame_reduction not in ("sum", "mean"):
        raise ConfigError(f"Unknown frame_reduction={frame_reduction!r}. Choose 'sum' (equation 1) or 'mean'.")
    loss = (scores - target) ** 2
    # (batch,)
    if alpha:
        counts = frame_counts(frame_scores, lens)
        errors = (frame_scores - target.unsqueeze(1)) ** 2 * length_mask(counts, frame_scores.shape[1])
        # (batch, time)
        frames = errors.sum(dim=1)
        if frame_reduction == "mean":
            frames = frames / counts
        loss = loss + alpha * frame_weight(target, q_max) * frames
    return loss.mean()
