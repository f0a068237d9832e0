"""A classifier of all training speakers beside GE2E.

GE2E compares an utterance with the centroids of its batch. Here, it is compared with one proxy for each speaker of all
sources, which is learned in place of a centroid: more speakers than a batch could hold.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from speechtools.core.errors import ConfigError
from speechtools.speaker.augmentation import VoiceSpeed
from speechtools.speaker.batches import Store
from speechtools.speaker.multireader import Source

#: Initial proxies: so many utterances of a speaker, of so many seconds, and so many speakers at a time.
_UTTERANCES, _SECONDS, _BATCH = 3, 1.9, 64


class ProxyLoss(nn.Module):
    """The cross entropy of the training speakers, by scaled cosines with a margin.

    For the cosines c_j of a d-vector with the proxies, and its speaker y::

        L = -log(exp(s (c_y - m)) / (exp(s (c_y - m)) + sum_{j != y} exp(s c_j)))

    (Wang et al., "CosFace: large margin cosine loss for deep face recognition", CVPR 2018, equation 4). A speaker at
    another speed is another voice, with a proxy of its own.

    Parameters
    ----------
    embedding_size : int
    num_speakers : sequence of int
        Of each source, in the order of the reader.
    num_voices : int
        Voices of a speaker: its speeds.
    scale, margin : float
        s, positive, and m, in [0, 1).

    Shape
    -----
    dvectors (speakers * utterances, emb), number of the source, speakers (speakers,), voices (speakers,) -> scalar

    Raises
    ------
    ConfigError
        A number is out of range.

    Examples
    --------
    >>> loss = ProxyLoss(8, [3, 2], num_voices=2)
    >>> loss.labels(1, torch.tensor([0, 1]), torch.tensor([1, 0])).tolist()  # in the second source
    [7, 8]
    >>> loss(torch.randn(4, 8), 1, torch.tensor([0, 1]), torch.tensor([1, 0])).shape  # 2 utterances of each
    torch.Size([])
    """

    def __init__(
        self,
        embedding_size: int,
        num_speakers: Sequence[int],
        num_voices: int = 1,
        scale: float = 30.0,
        margin: float = 0.2,
    ):
        super().__init__()
        if not (scale > 0 and 0 <= margin < 1):
            raise ConfigError(f"proxy_scale={scale} must be positive, and proxy_margin={margin} in [0, 1).")
        self.firsts = np.cumsum([0, *num_speakers]).tolist()
        self.num_voices, self.scale, self.margin = num_voices, scale, margin
        self.proxies = nn.Parameter(normalize(torch.randn(self.firsts[-1] * num_voices, embedding_size)))

    def labels(self, source: int, speakers: Tensor, voices: Tensor | None = None) -> Tensor:
        """The numbers (speakers,) of the proxies of speakers of a source, with their numbers of the voices."""
        own = (self.firsts[source] + speakers) * self.num_voices
        return own if voices is None else own + voices.to(own)

    def forward(self, dvectors: Tensor, source: int, speakers: Tensor, voices: Tensor | None = None) -> Tensor:
        """Return the mean loss of d-vectors, speaker after speaker, of the source with this number."""
        labels = self.labels(source, speakers, voices).repeat_interleave(len(dvectors) // len(speakers))
        # (speakers * utterances,)
        with torch.autocast(dvectors.device.type, enabled=False):
            cosines = normalize(dvectors.float()) @ normalize(self.proxies).T
            # (speakers * utterances, proxies)
            own = nn.functional.one_hot(labels, cosines.shape[1])
            return cross_entropy(self.scale * (cosines - self.margin * own), labels)

    @torch.no_grad()
    def start_at_centroids(
        self, encoder: nn.Module, features: nn.Module, sources: Sequence[Source], speed: VoiceSpeed | None, rate: int
    ) -> None:
        """Set each proxy to the centroid of some d-vectors of its voice, by the encoder that the training starts from.

        Parameters
        ----------
        encoder, features : nn.Module
        sources : sequence of Source
            In the order of the reader.
        speed : VoiceSpeed or None
            Makes the voices.
        rate : int
            Sample rate in Hz.
        """
        was_training = encoder.training
        encoder.eval()
        device = self.proxies.device
        for number, source in enumerate(sources):
            for first in range(0, len(source.store.speakers), _BATCH):
                speakers = range(first, min(first + _BATCH, len(source.store.speakers)))
                cuts = [_cuts(source.store, speaker, round(_SECONDS * rate)) for speaker in speakers]
                wavs = torch.from_numpy(np.concatenate(cuts)).to(device)
                # (utterances, samples)
                for voice in range(self.num_voices):
                    changed = wavs if speed is None else speed.change(wavs, voice)
                    parts = encoder(features(changed)).float().split([len(cut) for cut in cuts])
                    means = torch.stack([normalize(part).mean(dim=0) for part in parts])
                    # (speakers, emb)
                    labels = self.labels(number, torch.tensor(speakers), torch.full((len(speakers),), voice))
                    self.proxies[labels.to(device)] = normalize(means)
        encoder.train(was_training)


def _cuts(store: Store, speaker: int, samples: int) -> np.ndarray:
    """The middle of the first utterances of a speaker, (utterances, samples) as floats; short ones are repeated."""
    first, last = store.first[speaker : speaker + 2].tolist()
    utterances = range(first, min(last, first + _UTTERANCES))
    starts = [max(int(store.num_samples[utterance]) - samples, 0) // 2 for utterance in utterances]
    cuts = [store.read(utterance, start, samples) for utterance, start in zip(utterances, starts, strict=True)]
    return np.stack(cuts).astype(np.float32) / 2**15
