"""The classifier that GE2E is compared with (GE2E paper, table 3, first column), kind ``loss``."""

import torch
from torch import Tensor, nn

from speechtools.errors import ConfigError, SpeechtoolsError
from speechtools.ge2e import check_reduction
from speechtools.registry import plugin


@plugin("loss/softmax")
class Softmax(nn.Module):
    """A linear layer that predicts which of all training speakers it is, and cross entropy.

    Arguments
    ---------
    embedding_size, num_speakers : int
        Size of the d-vectors and number of training speakers. They come from the data: leave them 0 and call
        :meth:`set_speakers`.
    scale : float
        Factor on the d-vectors, which have length 1: without it no speaker could get a probability near 1.
    reduction : str
        ``"sum"`` over the utterances or ``"mean"``.

    Shape
    -----
    dvectors (batch, emb), speakers (batch,) -> scalar; or
    dvectors (speakers, utterances, emb), speakers (speakers,) -> scalar

    Example
    -------
    >>> Softmax(8, 5)(torch.randn(3, 8), torch.tensor([0, 4, 4])).shape
    torch.Size([])
    """

    def __init__(self, embedding_size: int = 0, num_speakers: int = 0, scale: float = 10.0, reduction: str = "sum"):
        super().__init__()
        self.linear = None
        self.scale, self.reduction = scale, check_reduction(reduction)
        if embedding_size and num_speakers:
            self.set_speakers(num_speakers, embedding_size)

    def set_speakers(self, num_speakers: int, embedding_size: int) -> None:
        """Make the layer for so many training speakers."""
        if num_speakers < 2:
            raise ConfigError(f"A classifier needs at least 2 training speakers to tell apart; got {num_speakers}.")
        self.linear = nn.Linear(embedding_size, num_speakers)

    def forward(self, dvectors: Tensor, speakers: Tensor | None = None) -> Tensor:
        if self.linear is None:
            raise ConfigError("loss/softmax does not know the training speakers yet: call set_speakers first.")
        if dvectors.dim() == 3 and speakers is not None and len(speakers) == len(dvectors):
            speakers = speakers.repeat_interleave(dvectors.shape[1])
            dvectors = dvectors.flatten(0, 1)
        if speakers is None or dvectors.dim() != 2 or speakers.shape != (len(dvectors),):
            given = None if speakers is None else tuple(speakers.shape)
            raise SpeechtoolsError(
                f"d-vectors of shape {tuple(dvectors.shape)} with speakers of shape {given}: loss/softmax needs the "
                "speaker of each, (batch,)."
            )
        if int(speakers.min()) < 0 or int(speakers.max()) >= self.linear.out_features:
            raise SpeechtoolsError(
                f"Speakers {int(speakers.min())} to {int(speakers.max())} in a batch, but the classifier was made for "
                f"0 to {self.linear.out_features - 1}. Number the training speakers from 0."
            )
        with torch.autocast(dvectors.device.type, enabled=False):
            logits = self.linear(self.scale * dvectors.to(self.linear.weight.dtype))
            # (batch, num_speakers)
            return nn.functional.cross_entropy(logits, speakers, reduction=self.reduction)
