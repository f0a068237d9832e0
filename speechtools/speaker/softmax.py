"""The classifier that GE2E is compared with (GE2E paper, table 3, first column), kind ``loss``."""

import torch
from torch import Tensor, nn

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.registry import plugin
from speechtools.speaker.ge2e import check_labels, check_reduction


@plugin("speaker-loss/softmax")
class Softmax(nn.Module):
    """A linear layer that predicts which of all training speakers it is, and cross entropy.

    Parameters
    ----------
    embedding_size, num_speakers : int
        Size of the d-vectors and number of training speakers. They come from the data: leave them 0 and call
        :meth:`set_speakers` before the optimizer is made.
    reduction : str
        ``"sum"`` over the utterances or ``"mean"``.
    scale : float
        Factor on the d-vectors. They have length 1, so with the small weights that a layer starts with all speakers
        would long be about equally likely.

    Shape
    -----
    dvectors (batch, emb), speakers (batch,) -> scalar; or
    dvectors (speakers, utterances, emb), speakers (speakers,) -> scalar

    Raises
    ------
    ConfigError
        Sizes that cannot be; ``forward`` before ``set_speakers``.
    SpeechtoolsError
        In ``forward``: no labels, labels of other speakers than 0 to ``num_speakers`` - 1, shapes that do not go
        together, NaN or infinite d-vectors.

    Example
    -------
    >>> Softmax(8, 5)(torch.randn(3, 8), torch.tensor([0, 4, 4])).shape
    torch.Size([])
    """

    def __init__(self, embedding_size: int = 0, num_speakers: int = 0, reduction: str = "sum", scale: float = 10.0):
        super().__init__()
        self.linear: nn.Linear | None = None
        self.reduction, self.scale = check_reduction(reduction), scale
        if embedding_size or num_speakers:
            self.set_speakers(num_speakers, embedding_size)

    def set_speakers(self, num_speakers: int, embedding_size: int) -> None:
        """Make the layer for so many training speakers."""
        if num_speakers < 2 or embedding_size < 1:
            raise ConfigError(
                f"A classifier needs at least 2 training speakers to tell apart, and d-vectors of at least 1 number; "
                f"got num_speakers={num_speakers} and embedding_size={embedding_size}. Give both, from the data."
            )
        self.linear = nn.Linear(embedding_size, num_speakers)

    def forward(self, dvectors: Tensor, speakers: Tensor | None = None) -> Tensor:
        if self.linear is None:
            raise ConfigError(
                "speaker-loss/softmax does not know the training speakers yet: call set_speakers(num_speakers, "
                "embedding_size) before the optimizer is made. A recipe of several sources (keyword/GE2E) cannot, "
                "since each has speakers of its own: choose ge2e-softmax, ge2e-contrast or te2e there."
            )
        dvectors, speakers = self._flat(dvectors, speakers, self.linear)
        if not torch.isfinite(dvectors).all():
            raise SpeechtoolsError(
                "The d-vectors hold NaN or infinite values: the training has diverged, or a recording is damaged. "
                "Lower the learning rate, or clip the gradient."
            )
        with torch.autocast(dvectors.device.type, enabled=False):
            logits = self.linear(self.scale * dvectors.to(self.linear.weight.dtype))
            # (batch, num_speakers)
            return nn.functional.cross_entropy(logits, speakers, reduction=self.reduction)

    @staticmethod
    def _flat(dvectors: Tensor, speakers: Tensor | None, linear: nn.Linear) -> tuple[Tensor, Tensor]:
        # The batch as (batch, emb) and (batch,), checked.
        if speakers is None:
            raise SpeechtoolsError(
                "speaker-loss/softmax needs labels: the number of the training speaker of each utterance, (batch,), or "
                "of each row of (speakers, utterances, emb)."
            )
        check_labels(speakers)
        size, most = linear.in_features, linear.out_features - 1
        regular = dvectors.dim() in (2, 3) and speakers.shape == dvectors.shape[:1]
        if not regular or dvectors.numel() == 0 or dvectors.shape[-1] != size:
            raise SpeechtoolsError(
                f"d-vectors of shape {tuple(dvectors.shape)} with speakers of shape {tuple(speakers.shape)} are no "
                f"batch: give (batch, {size}) with the speaker of each, (batch,), or (speakers, utterances, {size}) "
                "with (speakers,)."
            )
        lowest, highest = int(speakers.min()), int(speakers.max())
        if lowest < 0 or highest > most:
            raise SpeechtoolsError(
                f"Speakers {lowest} to {highest} in a batch, but the classifier was made for 0 to {most}. Number the "
                "training speakers from 0, and give set_speakers their number."
            )
        speakers = speakers.to(dvectors.device, torch.long)
        if dvectors.dim() == 3:
            return dvectors.flatten(0, 1), speakers.repeat_interleave(dvectors.shape[1])
        return dvectors, speakers
