"""Digital silence, which says nothing about quality: it is left out when a recording is scored."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from speechtools.audio.fourier import is_exporting
from speechtools.audio.frames import frame_counts, length_mask, moved_to_front

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
    if not max_click or (not is_exporting() and not silent.any()):
        return silent
    # Sound at an end is not between two silences.
    sound = nn.functional.pad(~silent, (max_click, max_click), value=True)
    return ~_runs(sound, max_click + 1)[:, max_click:-max_click]


def _runs(frames: Tensor, length: int) -> Tensor:
    """Keep the true frames in runs of at least ``length``: booleans (batch, time)."""
    if not is_exporting() and (length > frames.shape[1] or not frames.any()):
        return torch.zeros_like(frames)
    others = nn.functional.pad(1 - frames.unsqueeze(1).float(), (0, length - 1), value=1.0)
    begins = 1 - nn.functional.max_pool1d(others, length, 1)
    # (batch, 1, time), 1 where a run begins
    return nn.functional.max_pool1d(nn.functional.pad(begins, (length - 1, 0)), length, 1).squeeze(1) > 0


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
    if not is_exporting() and not silent.any():
        scores, frame_scores, *others = network(feats, lens)
        return scores, frame_scores, silent, *others
    kept = valid & ~silent
    kept = kept | valid & ~kept.any(dim=1, keepdim=True)  # nothing but silence is scored as it is
    counts = kept.sum(dim=1)
    places, order = moved_to_front(kept)
    # (batch, time)
    longest = feats.shape[1] if is_exporting() else int(counts.max())
    cut = _take(feats, order[:, :longest])
    # (batch, longest, bins)
    scores, *results = network(cut, counts.to(lens.dtype) / longest)
    spread: list[Tensor] = []
    for values in results:  # (batch, longest), (batch, longest, size), or (batch, size) of the recording
        if values.dim() == 2 and spread:
            spread.append(values)
            continue
        inside = kept if values.dim() == 2 else kept.unsqueeze(2)
        spread.append(torch.where(inside, _take(values, places.clamp(max=longest - 1)), 0.0))
    frame_scores, *others = spread
    return scores, torch.where(valid & ~kept, scores.unsqueeze(1), frame_scores), silent, *others


def _take(values: Tensor, places: Tensor) -> Tensor:
    """Values (batch, time) or (batch, time, size) at places (batch, frames) of each item."""
    if values.dim() == 2:
        return values.gather(1, places)
    return values.gather(1, places.unsqueeze(2).expand(-1, -1, values.shape[2]))
