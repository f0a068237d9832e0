"""d-vectors of whole utterances: sliding windows, the encoder, L2 norm, mean (GE2E paper, section 3.2 and figure 4).

Features are computed once per utterance, and the windows of many utterances are encoded in one batch.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from speechtools.speaker.starts import covered_frames as covered_frames
from speechtools.speaker.starts import window_starts as window_starts

#: Windows encoded at a time: enough to keep a GPU busy, and about 60 MB with 40 features per frame.
BATCH_WINDOWS = 512


@torch.no_grad()
def window_dvectors(
    encoder: Callable[..., Tensor],
    feats: Sequence[Tensor],
    window_frames: int = 160,
    hop_frames: int = 80,
    batch_windows: int = BATCH_WINDOWS,
) -> list[Tensor]:
    """Unit d-vectors of the sliding windows of several utterances.

    Parameters
    ----------
    encoder : callable
        ``encoder(feats, lens)`` -> d-vectors, such as every plugin of the kind ``encoder``.
    feats : sequence of Tensor
        Features of each utterance, (frames, size), on the encoder's device.
    window_frames, hop_frames : int
        Length and step of the windows: 160 and 80 in the paper, (lb + ub) / 2 with 50 % overlap.
    batch_windows : int
        Windows per batch, which bounds the memory and does not change the result.

    Returns
    -------
    list of Tensor
        (windows, embedding_size) for each utterance.

    Examples
    --------
    >>> encoder = lambda feats, lens: feats.mean(dim=1)  # any (batch, time, size) -> (batch, emb)
    >>> [len(windows) for windows in window_dvectors(encoder, [torch.rand(320, 40), torch.rand(90, 40)])]
    [3, 1]
    """
    places = [
        (number, start)
        for number, frames in enumerate(feats)
        for start in window_starts(len(frames), window_frames, hop_frames)
    ]
    # Windows of similar length together: only short utterances have shorter ones.
    order = sorted(range(len(places)), key=lambda i: -len(feats[places[i][0]]))
    dvectors = [torch.empty(0)] * len(places)
    for first in range(0, len(order), batch_windows):
        indices = order[first : first + batch_windows]
        windows = [feats[number][start : start + window_frames] for number, start in (places[i] for i in indices)]
        longest = len(windows[0])
        batch = torch.nn.utils.rnn.pad_sequence(windows, batch_first=True)
        # (windows, longest, size)
        lens = torch.tensor([len(window) / longest for window in windows], device=batch.device)
        for index, dvector in zip(indices, unit(encoder(batch, lens)), strict=True):
            dvectors[index] = dvector
    counts = [len(window_starts(len(frames), window_frames, hop_frames)) for frames in feats]
    return list(torch.stack(dvectors).split(counts)) if dvectors else []


def unit(vectors: Tensor) -> Tensor:
    """L2 normalisation of the last dimension (equation 4).

    >>> unit(torch.tensor([3.0, 4.0]))
    tensor([0.6000, 0.8000])
    """
    return torch.nn.functional.normalize(vectors, dim=-1)


def utterance_dvector(windows: Tensor, weights: Tensor | None = None) -> Tensor:
    """The d-vector of an utterance: the mean of the unit d-vectors of its windows, (windows, emb) -> (emb,).

    As in the paper, the mean is not normalised again, which does not matter for cosines.

    Parameters
    ----------
    windows : Tensor
        (windows, emb)
    weights : Tensor, optional
        (windows,), not negative, and not all 0. Equal weights change nothing.

    Examples
    --------
    >>> utterance_dvector(torch.tensor([[2.0, 0.0], [0.0, 5.0]]))
    tensor([0.5000, 0.5000])
    >>> utterance_dvector(torch.tensor([[2.0, 0.0], [0.0, 5.0]]), torch.tensor([3.0, 1.0]))
    tensor([0.7500, 0.2500])
    """
    return weighted_mean(unit(windows), weights)


def weighted_mean(vectors: Tensor, weights: Tensor | None = None) -> Tensor:
    """The mean of vectors (number, emb) with weights (number,): (emb,). Equal weights give exactly the plain mean."""
    if weights is not None:
        shares = (weights / weights.max()).to(vectors)
        vectors = vectors * (shares / shares.mean()).unsqueeze(1)
    return vectors.mean(dim=0)


@torch.no_grad()
def probe(
    features: Callable[..., Tensor],
    encoder: Callable[..., Tensor],
    sample_rate: int,
    device: str | torch.device = "cpu",
) -> list[float]:
    """The first values (at most 16) of the d-vector of a fixed second of sound.

    Exported with a model, they show whether features and encoder are those that were trained together. Other features
    of the same size would give meaningless d-vectors.

    >>> from speechtools import build
    >>> len(probe(build("features/log-mel"), build("encoder/lstm", hidden_size=8, embedding_size=4).eval(), 16000))
    4
    """
    time = torch.arange(sample_rate, dtype=torch.float64) / sample_rate
    pitch = 2 * math.pi * (100 + 40 * time) * time
    sound = sum(torch.sin(k * pitch) / k for k in range(1, 20)) * (0.3 + torch.sin(2 * math.pi * 3 * time) ** 2)
    feats = features((0.1 * sound).float().unsqueeze(0).to(device))
    return [float(number) for number in encoder(feats)[0, :16].cpu()]


def cosine_scores(models: Tensor, tests: Tensor) -> Tensor:
    """Cosine of every voiceprint with every test d-vector: (models, emb), (tests, emb) -> (models, tests).

    >>> cosine_scores(torch.tensor([[1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 1.0]])).tolist()
    [[1.0, 0.0]]
    """
    return unit(models) @ unit(tests).T
    # (models, tests)
