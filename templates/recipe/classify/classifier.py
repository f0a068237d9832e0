"""The network, and the interface to a trained model: ``Classifier.from_hparams("results/…/pretrained")``."""

import torch
from torch import Tensor, nn

from speechtools import audio
from speechtools.audio.frames import frame_counts, length_mask
from speechtools.core.pretrained import PretrainedModel
from speechtools.core.registry import plugin


@plugin("classifier/gru")
class Net(nn.Module):
    """A GRU, the mean of its valid frames, and a linear layer.

    Shape
    -----
    feats (batch, time, input_size), lens (batch,) or None -> logits (batch, labels)
    """

    def __init__(self, labels: list[str], input_size: int = 40, hidden_size: int = 64):
        super().__init__()
        self.gru = nn.GRU(input_size, hidden_size, batch_first=True)
        self.output = nn.Linear(hidden_size, len(labels))

    def forward(self, feats: Tensor, lens: Tensor | None = None) -> Tensor:
        """Return logits (batch, labels) of feats (batch, time, input_size)."""
        counts = frame_counts(feats, lens)
        hidden, _ = self.gru(feats)
        # (batch, time, hidden_size)
        hidden = hidden * length_mask(counts, feats.shape[1]).unsqueeze(2)
        return self.output(hidden.sum(dim=1) / counts.unsqueeze(1))


class Classifier(PretrainedModel):
    """Predicts the label of a recording."""

    HPARAMS_NEEDED = ["sample_rate", "labels", "features"]
    MODULES_NEEDED = ["net"]
    COMPONENTS = {"features": "features", "net": "classifier"}  # kinds of the plugins

    @torch.no_grad()
    def classify_file(self, path) -> str:
        """Return the label of a recording."""
        wav = torch.from_numpy(audio.read(path, self.hparams.sample_rate)).to(self.device)
        feats = self.hparams.features.to(self.device)(wav.unsqueeze(0))
        # (1, time, size)
        return self.hparams.labels[int(self.mods.net(feats).argmax())]
