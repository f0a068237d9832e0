"""score-norm/my-net: a normalisation of scores.

THE CONTRACT
"""

import torch
from torch import Tensor, nn

from speechtools import plugin
from speechtools.speaker.dvectors import cosine_scores, unit


@plugin("score-norm/my-net")
class MyNetNorm(nn.Module):
    """Z-norm: how many standard deviations a score lies above those of the model against the cohort.

    Parameters
    ----------
    size : int
        Speakers in the cohort.
    embedding_size : int
        Size of a d-vector.
    """

    scale = "my-net"

    def __init__(self, size: int = 300, embedding_size: int = 256):
        super().__init__()
        self.register_buffer("cohort", torch.zeros(size, embedding_size))

    def set_cohort(self, dvectors: Tensor) -> None:
        """Set the d-vectors (size, embedding_size) of the cohort."""
        self.cohort.copy_(unit(dvectors))

    def statistics(self, dvectors: Tensor) -> Tensor:
        """Mean and standard deviation of the scores against the cohort: (batch, emb) -> (batch, 2)."""
        scores = cosine_scores(dvectors.to(self.cohort), self.cohort)
        # (batch, size)
        return torch.stack([scores.mean(dim=1), scores.std(dim=1).clamp(min=1e-3)], dim=1)

    def forward(self, scores: Tensor, models: Tensor, tests: Tensor) -> Tensor:
        """Normalise scores (…,) by the statistics (…, 2) of the models."""
        return (scores - models[..., 0]) / models[..., 1]
