"""Normalisation of scores by a cohort of other speakers: ``score-norm/as-norm``.

A cosine of 0.6 means little if the recording is as similar to many other voices, because of its channel, its noise or
the voice itself. Adaptive symmetric normalisation (AS-norm) compares each side of a trial with the speakers of a cohort
and counts how many standard deviations the score lies above the scores of those that are most similar.

    s' = 1/2 ((s - μ_m) / σ_m + (s - μ_t) / σ_t)

μ and σ are mean and standard deviation of the highest scores of the model m, and of the test t, against the cohort
(Matějka et al., "Analysis of score normalization in multilingual speaker recognition", Interspeech 2017, AS-norm1).
"""

import torch
from torch import Tensor, nn

from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError
from speechtools.core.registry import plugin
from speechtools.speaker.dvectors import cosine_scores, unit

#: Least standard deviation, so that a cohort without spread gives finite scores.
_MIN_STD = 1e-3


@plugin("score-norm/as-norm")
class ASNorm(nn.Module):
    """Adaptive symmetric normalisation: ``(scores, models, tests) -> scores``, in standard deviations.

    Parameters
    ----------
    size : int
        Speakers in the cohort.
    embedding_size : int
        Size of a d-vector.
    top : int
        Number of the cohort's scores that count on each side: the highest ones.

    Attributes
    ----------
    scale : str
        Name of the scale of the scores: ``as-norm``.
    cohort : Tensor
        (size, embedding_size), of length 1.

    Examples
    --------
    >>> norm = ASNorm(size=3, embedding_size=2, top=2)
    >>> norm.set_cohort(torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]]))
    >>> statistics = norm.statistics(torch.tensor([[2.0, 0.0]]))  # cosines of 1, 0 and -1
    >>> statistics.tolist()
    [[0.5, 0.5]]
    >>> norm(torch.tensor([0.75]), statistics, statistics).item()
    0.5
    """

    scale = "as-norm"

    def __init__(self, size: int = 300, embedding_size: int = 256, top: int = 100):
        super().__init__()
        check_number("size", size, 2, whole=True)
        check_number("embedding_size", embedding_size, 1, whole=True)
        check_number("top", top, 2, whole=True)
        self.top = min(top, size)
        self.register_buffer("cohort", torch.zeros(size, embedding_size))
        self.cohort: Tensor

    def set_cohort(self, dvectors: Tensor) -> None:
        """Set the d-vectors (size, embedding_size) of the cohort, one of each speaker.

        Raises
        ------
        ConfigError
            They have another shape, or one is zero or not finite.
        """
        if dvectors.shape != self.cohort.shape:
            shapes = f"{tuple(dvectors.shape)} instead of {tuple(self.cohort.shape)}"
            raise ConfigError(f"The d-vectors of the cohort have the shape {shapes}.")
        if not dvectors.isfinite().all() or not dvectors.any(dim=1).all():
            raise ConfigError("A d-vector of the cohort is zero or not finite. Leave this speaker out.")
        self.cohort.copy_(unit(dvectors))

    def statistics(self, dvectors: Tensor) -> Tensor:
        """Mean and standard deviation of the highest scores against the cohort: (batch, emb) -> (batch, 2)."""
        # In half precision, a standard deviation would be inexact.
        cohort = self.cohort.to(torch.promote_types(self.cohort.dtype, torch.float32))
        highest = cosine_scores(dvectors.to(cohort), cohort).topk(self.top, dim=1).values
        # (batch, top)
        return torch.stack([highest.mean(dim=1), highest.std(dim=1, correction=0).clamp(min=_MIN_STD)], dim=1)

    def forward(self, scores: Tensor, models: Tensor, tests: Tensor) -> Tensor:
        """Normalise scores (…,) by the statistics (…, 2) of both sides."""
        return ((scores - models[..., 0]) / models[..., 1] + (scores - tests[..., 0]) / tests[..., 1]) / 2
