"""speaker-loss/my-net: a speaker loss.

THE CONTRACT
"""

import torch
from torch import Tensor, nn

from speechtools import plugin
from speechtools.speaker.losses import check_reduction, speaker_index


@plugin("speaker-loss/my-net")
class MyNetLoss(nn.Module):
    """Softmax cross entropy of the cosines with all centroids, times a learnt factor.

    Unlike in GE2E, a d-vector is part of the centroid of its own speaker.

    Parameters
    ----------
    init_scale : float
        Initial factor.
    reduction : str
        ``"sum"`` over the utterances or ``"mean"``.

    Shape
    -----
    dvectors (speakers, utterances, emb), speakers None or (speakers,) -> scalar; or
    dvectors (batch, emb), speakers (batch,) -> scalar
    """

    def __init__(self, init_scale: float = 10.0, reduction: str = "sum"):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(init_scale))
        self.reduction = check_reduction(reduction)

    def forward(self, dvectors: Tensor, speakers: Tensor | None = None) -> Tensor:
        """Return the loss of unit d-vectors: a scalar."""
        dvectors, index, num_speakers = speaker_index(dvectors, speakers, "speaker-loss/my-net")
        # (batch, emb), (batch,)
        sums = dvectors.new_zeros(num_speakers, dvectors.shape[1]).index_add(0, index, dvectors)
        cosines = dvectors @ nn.functional.normalize(sums, dim=1).T
        # (batch, speakers)
        return nn.functional.cross_entropy(self.scale * cosines, index, reduction=self.reduction)
