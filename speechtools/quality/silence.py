"""Digital silence, which says nothing about quality: it is left out when a recording is scored."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from speechtools.audio.frames import frame_counts, length_mask

#: Mean magnitude of a frame at -80 dB re the level of the recording. Clean pauses of studio recordings are louder.
SILENT_MAGNITUDE = 1.3e-3
#: Sound between two silences that is shorter is a click, not speech.
MAX_CLICK_SECONDS = 0.1
#: Shorter gaps, such as lost packets, are heard as interruptions and stay.
MIN_SILENCE_SECONDS = 0.5


def silent_frames(magnitudes: Tensor, min_frames: int, valid: Tensor | None = None) -> Tensor:
    """Frames of mean magnitudes (batch, time) in runs of at least ``min_frames`` silent ones: (batch, time).

    A click between two runs belongs to them. Frames that are not ``valid`` (batch, time) are ignored.

    Examples
    --------
    >>> silent_frames(torch.tensor([[1.0, 0.0, 1.0, 0.0, 0.0]]), 2).tolist()
    [[False, False, False, True, True]]
    """
    magnitudes = magnitudes.detach()
    if valid is not None:
        magnitudes = magnitudes.masked_fill(~valid, math.inf)
    silent = _runs(magnitudes < SILENT_MAGNITUDE, min_frames)
    max_click = int(min_frames * MAX_CLICK_SECONDS / MIN_SILENCE_SECONDS)
    if not max_click or not silent.any():
        return silent
    # Sound at an end is not between two silences.
    sound = nn.functional.pad(~silent, (max_click, max_click), value=True)
    return ~_runs(sound, max_click + 1)[:, max_click:-max_click]


def _runs(frames: Tensor, length: int) -> Tensor:
    """Keep the true frames in runs of at least ``length``: booleans (batch, time)."""
    if length > frames.shape[1] or not frames.any():
        return torch.zeros_like(frames)
    runs = nn.functional.max_pool1d(1 - frames.unsqueeze(1).float(), length, 1)
    # (batch, 1, time - length + 1), 0 where a run begins
    padded = nn.functional.pad(1 - runs, (length - 1, length - 1))
    return nn.functional.max_pool1d(padded, length, 1).squeeze(1) > 0


def score_without_silence(
    network: Callable[[Tensor, Tensor], tuple[Tensor, ...]],
    feats: Tensor,
    lens: Tensor,
    magnitudes: Tensor,
    min_frames: int,
) -> tuple[Tensor, ...]:
    """Score feats (batch, time, size) of relative lengths (batch,), with the silent frames cut out.

    Frames are silent by their mean ``magnitudes`` (batch, time).

    Returns
    -------
    scores : Tensor
        (batch,)
    frame_scores : Tensor
        (batch, time): that of the recording in silence, 0 beyond its end.
    silent : Tensor
        Booleans (batch, time).
    others : Tensor
        What else the network returns: of each frame (batch, time, size), 0 in silence; or of the recording (batch,
        size).
    """
    counts = frame_counts(feats, lens)
    valid = length_mask(counts, feats.shape[1])
    silent = silent_frames(magnitudes, min_frames, valid) & valid
    if not silent.any():
        scores, frame_scores, *others = network(feats, lens)
        return scores, frame_scores, silent, *others
    kept = valid & ~silent
    kept = torch.where(kept.any(dim=1, keepdim=True), kept, valid)  # nothing but silence is scored as it is
    order = (~kept).long().argsort(dim=1, stable=True)
    counts = kept.sum(dim=1)
    longest = int(counts.max())
    cut = feats.gather(1, order[:, :longest].unsqueeze(2).expand(-1, -1, feats.shape[2]))
    # (batch, longest, bins)
    scores, cut_scores, *cut_others = network(cut, counts.to(lens.dtype) / longest)
    frame_scores = feats.new_zeros(valid.shape).scatter(1, order[:, :longest], cut_scores)
    # (batch, time)
    others = []
    for values in cut_others:  # (batch, longest, size), or (batch, size)
        if values.dim() == 2:
            others.append(values)
            continue
        places = order[:, :longest].unsqueeze(2).expand(-1, -1, values.shape[2])
        others.append(feats.new_zeros(*valid.shape, values.shape[2]).scatter(1, places, values))
    return scores, torch.where(valid & ~kept, scores.unsqueeze(1), frame_scores), silent, *others
