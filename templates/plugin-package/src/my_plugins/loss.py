"""speaker-loss/angular-prototypical (Chung et al., "In defence of metric learning for speaker recognition", 2020)."""

import torch
from torch import Tensor, nn

from speechtools import plugin
from speechtools.speaker.losses import speaker_index


@plugin("speaker-loss/angular-prototypical")
class AngularPrototypical(nn.Module):
    """Cross entropy of one utterance per speaker against the centroids of the other utterances of all speakers.

    The cosines are multiplied by a learnt factor. The paper adds a learnt offset, which a softmax cancels.

    Parameters
    ----------
    init_scale : float
        Initial factor (paper: 10).

    Shape
    -----
    dvectors (speakers, utterances, emb), speakers None or (speakers,) -> scalar; or
    dvectors (batch, emb), speakers (batch,) -> scalar
    """

    def __init__(self, init_scale: float = 10.0):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(init_scale))

    def forward(self, dvectors: Tensor, speakers: Tensor | None = None) -> Tensor:
        """Return the loss of unit d-vectors: a scalar."""
        dvectors, index, num_speakers = speaker_index(dvectors, speakers, "speaker-loss/angular-prototypical")
        # (batch, emb), (batch,)
        places = torch.arange(len(index), device=index.device)
        first = places.new_full((num_speakers,), len(index)).scatter_reduce(0, index, places, "amin")
        # (speakers,), the first utterance of each
        others = dvectors.index_fill(0, first, 0.0)
        sums = dvectors.new_zeros(num_speakers, dvectors.shape[1]).index_add(0, index, others)
        cosines = dvectors[first] @ nn.functional.normalize(sums, dim=1).T
        # (speakers, speakers)
        return nn.functional.cross_entropy(self.scale * cosines, torch.arange(num_speakers, device=index.device))
