"""The classifier that GE2E is compared with (GE2E paper, table 3, first column), kind ``speaker-loss``."""

import torch
from torch import Tensor, nn

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.registry import plugin
from speechtools.speaker.losses import check_labels, check_reduction


@plugin("speaker-loss/softmax")
class Softmax(nn.Module):
    """A linear layer that predicts the training speaker, and cross entropy.

    Parameters
    ----------
    embedding_size, num_speakers : int
        Size of the d-vectors and number of training speakers. They come from the data: leave them 0 and call
        :meth:`set_speakers` before creating the optimizer.
    reduction : str
        ``"sum"`` over the utterances or ``"mean"``.
    scale : float
        Factor on the d-vectors. They have length 1, so with the small initial weights of a layer all speakers would
        stay about equally likely for a long time.

    Shape
    -----
    dvectors (batch, emb), speakers (batch,) -> scalar; or
    dvectors (speakers, utterances, emb), speakers (speakers,) -> scalar

    Raises
    ------
    ConfigError
        A size is too small, or ``forward`` is called before ``set_speakers``.
    SpeechtoolsError
        In ``forward``: labels are missing or outside 0 to ``num_speakers`` - 1, shapes do not match, or d-vectors are
        not finite.

    Examples
    --------
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
        """Create the layer for a number of training speakers."""
        if num_speakers < 2 or embedding_size < 1:
            raise ConfigError(
                f"num_speakers={num_speakers} and embedding_size={embedding_size} must be at least 2 and at least 1."
            )
        self.linear = nn.Linear(embedding_size, num_speakers)

    def forward(self, dvectors: Tensor, speakers: Tensor | None = None) -> Tensor:
        """Return the cross entropy of the training speakers: a scalar."""
        if self.linear is None:
            raise ConfigError(
                "speaker-loss/softmax has no speakers yet: call set_speakers before the optimizer is made. With "
                "several sources (keyword/GE2E), choose ge2e-softmax, ge2e-contrast or te2e."
            )
        if speakers is None:
            raise SpeechtoolsError("speaker-loss/softmax needs labels: the number of the training speaker of each row.")
        check_labels(speakers)
        size, count = self.linear.in_features, self.linear.out_features
        regular = dvectors.dim() in (2, 3) and speakers.shape == dvectors.shape[:1]
        if not regular or dvectors.numel() == 0 or dvectors.shape[-1] != size:
            raise SpeechtoolsError(
                f"d-vectors of shape {tuple(dvectors.shape)} with speakers of shape {tuple(speakers.shape)} do not "
                f"match: pass (batch, {size}) with (batch,), or (speakers, utterances, {size}) with (speakers,)."
            )
        lowest, highest = int(speakers.min()), int(speakers.max())
        if lowest < 0 or highest >= count:
            raise SpeechtoolsError(
                f"Speakers {lowest} to {highest} in a batch, but the classifier has speakers 0 to {count - 1}. Number "
                "the training speakers from 0, and pass their number to set_speakers."
            )
        if not torch.isfinite(dvectors).all():
            raise SpeechtoolsError("The d-vectors are NaN or infinite. Lower the learning rate, or clip the gradient.")
        speakers = speakers.to(dvectors.device, torch.long)
        if dvectors.dim() == 3:
            dvectors, speakers = dvectors.flatten(0, 1), speakers.repeat_interleave(dvectors.shape[1])
        with torch.autocast(dvectors.device.type, enabled=False):
            logits = self.linear(self.scale * dvectors.to(self.linear.weight.dtype))
            # (batch, num_speakers)
            return nn.functional.cross_entropy(logits, speakers, reduction=self.reduction)
