"""Where the quality of a recording is bad, why, and how much each region costs.

The score of a recording is the mean of its N frame scores, so what a region R of its frames costs is exact: the sum
over the frames t in R of (best - q_t) / N. The costs of all regions add up to best - score. Digital silence, which the
mean leaves out, costs nothing. Where lower scores are better, a cost is q_t - best.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError
from speechtools.core.runs import runs
from speechtools.measures import Scale

if TYPE_CHECKING:
    from speechtools.quality.report import QualityReport

#: Loss and clipping come in bursts of few frames, and the other causes fade in speech that covers them: shorter gaps
#: between two stretches with the same cause are a part of them.
MAX_GAP_SECONDS = 1.0
#: The probability of a cause that lasts is averaged over this window.
CAUSE_SECONDS = 0.5
#: Causes of few frames, which an average would hide.
LOCAL_CAUSES = ("clipping", "loss")
#: Frame scores are averaged over this window before they are compared with a threshold.
SCORE_SECONDS = 0.25


@dataclass(frozen=True)
class Region:
    """A region of a recording: its start and end in seconds, and the mean of its frame scores."""

    start: float
    end: float
    score: float


@dataclass(frozen=True)
class CauseRegion(Region):
    """A region of a recording in which the same causes are present.

    Attributes
    ----------
    start, end : float
        In seconds.
    score : float
        Mean of its frame scores.
    cost : float
        How much worse it makes the score of the recording.
    causes : tuple
        Names of the causes that are present, the most probable first.
    probabilities : dict
        Smoothed probability of every cause, averaged over the region.
    """

    cost: float
    causes: tuple[str, ...] = ()
    probabilities: Mapping[str, float] = field(default_factory=dict)


def frame_edges(times: np.ndarray, hop: float, duration: float) -> np.ndarray:
    """Edges (time + 1,) in seconds of frames with their middles at ``times`` (time,).

    A frame covers the hop around its middle; the outermost frames reach to the ends of the recording.

    Examples
    --------
    >>> frame_edges(np.array([1.0, 2.0]), 1.0, 3.0).tolist()
    [0.0, 1.5, 3.0]
    """
    return np.concatenate([[0.0], times[1:] - hop / 2, [duration]])


def moving_average(values: np.ndarray, size: int, counts: np.ndarray | None = None) -> np.ndarray:
    """Average values (time,) over ``size`` frames around each, fewer at the ends, of those that ``counts`` (time,).

    Where none counts, a value stays.

    Examples
    --------
    >>> moving_average(np.array([3.0, 0.0, 3.0, 9.0]), 3, np.array([True, True, True, False])).tolist()
    [1.5, 2.0, 1.5, 3.0]
    """
    weights = np.ones(len(values)) if counts is None else counts.astype(np.float64)
    half = size // 2
    frames = np.arange(len(values))
    first, end = np.maximum(frames - half, 0), np.minimum(frames + half + 1, len(values))
    sums, totals = (np.concatenate([[0.0], np.cumsum(terms)]) for terms in (weights * values, weights))
    total = totals[end] - totals[first]
    return np.where(total > 0, (sums[end] - sums[first]) / np.maximum(total, 1.0), values)


def closing(values: np.ndarray, size: int) -> np.ndarray:
    """Fill what lies below both sides for at most ``size`` frames: a morphological closing of values (time,).

    Examples
    --------
    >>> closing(np.array([0.1, 0.9, 0.2, 0.3, 0.8, 0.2, 0.1]), 2).tolist()
    [0.1, 0.9, 0.8, 0.8, 0.8, 0.2, 0.1]
    """
    size = min(size, len(values))
    raised = _sliding_maximum(np.pad(values, size, constant_values=-np.inf), size + 1)
    # (time + size,), the maximum over [t - size, t]
    return -_sliding_maximum(-raised, size + 1)


def _sliding_maximum(values: np.ndarray, size: int) -> np.ndarray:
    """Maximum over each window of ``size`` values, by doubling the window."""
    width = 1
    while width < size:
        step = min(width, size - width)
        values = np.maximum(values[:-step], values[step:])
        width += step
    return values


def smooth_causes(causes: np.ndarray, names: Sequence[str], hop: float, counts: np.ndarray) -> np.ndarray:
    """Smooth probabilities (time, causes), so that one fault is one stretch.

    Causes that last are averaged over 0.5 s; the others are the median of three frames, which drops what is in one
    frame alone. For all causes, gaps of up to a second are filled. The frames of digital silence, which do not count,
    are gaps.
    """
    gap = round(MAX_GAP_SECONDS / hop)
    smoothed = np.zeros(causes.shape)
    for column, name in enumerate(names):
        values = np.where(counts, causes[:, column], 0.0)
        if name in LOCAL_CAUSES:  # a lost packet of 20 ms is in two frames or more
            padded = np.pad(values, 1, mode="edge")
            values = np.median([padded[:-2], values, padded[2:]], axis=0)
        else:
            values = moving_average(values, round(CAUSE_SECONDS / hop), counts)
        smoothed[:, column] = closing(np.where(counts, values, 0.0), gap)
    return smoothed


def smooth_scores(frame_scores: np.ndarray, hop: float, counts: np.ndarray) -> np.ndarray:
    """Average frame scores (time,) over 0.25 s."""
    return moving_average(frame_scores.astype(np.float64), round(SCORE_SECONDS / hop), counts)


def merge_short_runs(labels: np.ndarray, lengths: np.ndarray, min_length: float) -> np.ndarray:
    """Give each run of labels (time,) that is too short the label of a neighbour, until none is.

    Labels are sets of causes, as bits. The neighbour is the one with the more similar set, or the longer one.

    Parameters
    ----------
    labels : np.ndarray
        (time,), non-negative integers.
    lengths : np.ndarray
        Length of each frame, (time,).
    min_length : float
        Runs that are shorter are merged.

    Examples
    --------
    >>> merge_short_runs(np.array([0, 0, 3, 1, 1, 1]), np.ones(6), 2).tolist()
    [0, 0, 1, 1, 1, 1]
    """
    labels = labels.copy()
    bounds = np.concatenate([[0.0], np.cumsum(lengths)])
    while True:
        firsts, ends = runs(labels)
        seconds = bounds[ends] - bounds[firsts]
        # Of neighbouring short runs, the shortest are merged first, and of equal ones every other: all at once.
        order = np.concatenate([[np.inf], seconds + 1e-9 * (np.arange(len(seconds)) % 2), [np.inf]])
        is_first = (order[1:-1] < order[:-2]) & (order[1:-1] < order[2:])
        short = np.flatnonzero((seconds < min_length - 1e-9) & is_first)
        if not len(short) or len(firsts) == 1:
            return labels
        for run in short:
            neighbours = [near for near in (run - 1, run + 1) if 0 <= near < len(firsts)]
            label = labels[firsts[run]]
            near = min(neighbours, key=lambda near: (_distance(label, labels[firsts[near]]), -seconds[near]))
            labels[firsts[run] : ends[run]] = labels[firsts[near]]


def _distance(label: int, other: int) -> int:
    """Number of causes that are in one of two sets alone."""
    return int(label ^ other).bit_count()


def default_threshold(scale: Scale | None) -> float | None:
    """The score below which speech counts as degraded: 2.5 on scales like those of PESQ and of opinions, or None.

    Examples
    --------
    >>> default_threshold(Scale.of("mos")), default_threshold(Scale.of("stoi"))
    (2.5, None)
    """
    is_like_mos = scale is not None and scale.higher_is_better and -0.5 <= scale.minimum < 2.5 < scale.maximum <= 5
    return 2.5 if is_like_mos else None


def best_score(report: "QualityReport") -> float:
    """The best score of the scale of a report.

    Raises
    ------
    ConfigError
        It is not known.
    """
    scale = Scale.of(report.scale)
    if report.best is not None:
        return report.best
    if scale is None:
        raise ConfigError(f"The best score of the scale {report.scale} is not known. Pass best=.")
    return scale.best


def counted_frames(report: "QualityReport") -> np.ndarray:
    """Whether each frame counts in the mean, (time,): digital silence does not, unless there is nothing else."""
    if report.silent is None or report.silent.all():
        return np.ones(len(report.frame_scores), dtype=bool)
    return ~report.silent


def find_regions(
    report: "QualityReport",
    min_duration: float = 0.1,
    best: float | None = None,
    threshold: float = 0.5,
    below: float | None = None,
) -> list[CauseRegion]:
    """Partition a recording by the causes that are present, or without them, by whether it is degraded.

    The parameters, the result and the errors are those of :meth:`QualityReport.regions`, which leaves out cheap
    regions.
    """
    check_number("min_duration", min_duration, 0.0)
    check_number("threshold", threshold, 0.0, 1.0)
    scale = Scale.of(report.scale)
    best = best_score(report) if best is None else best
    check_number("best", best)
    counts = counted_frames(report)
    edges = frame_edges(report.times, report.hop, report.duration)
    names: tuple[str, ...] = ()
    probabilities = None
    if report.causes is None:
        below = default_threshold(scale) if below is None else below
        labels = np.zeros(len(counts), dtype=np.int64)
        if below is not None:
            labels = (is_worse(report, below) & counts).astype(np.int64)
    else:
        names = report.cause_names
        probabilities = smooth_causes(report.causes, names, report.hop, counts)
        labels = (probabilities > threshold) @ (1 << np.arange(len(names)))
    labels = merge_short_runs(labels, np.diff(edges), min_duration)
    # (time,)
    if report.causes is None and below is not None:  # by the mean of each run, which is reported as its score
        for first, end in zip(*runs(labels), strict=True):
            inside = counts[first:end]
            mean = report.frame_scores[first:end][inside].mean(dtype=np.float64) if inside.any() else report.score
            labels[first:end] = mean < below if report.higher_is_better else mean > below
    differences = best - report.frame_scores.astype(np.float64)
    losses = np.where(counts, differences if report.higher_is_better else -differences, 0.0) / counts.sum()
    regions = []
    for first, end in zip(*runs(labels), strict=True):
        # Only a region of silence has no frame that counts.
        rows = first + np.flatnonzero(counts[first:end]) if counts[first:end].any() else slice(first, end)
        means: dict[str, float] = {}
        if probabilities is not None:
            means = dict(zip(names, probabilities[rows].mean(axis=0).tolist(), strict=True))
        present = [name for bit, name in enumerate(names) if int(labels[first]) >> bit & 1]
        regions.append(
            CauseRegion(
                float(edges[first]),
                float(edges[end]),
                float(report.frame_scores[rows].mean(dtype=np.float64)),
                float(losses[first:end].sum()),
                tuple(sorted(present, key=lambda name: -means[name])),
                means,
            )
        )
    return regions


def is_worse(report: "QualityReport", below: float) -> np.ndarray:
    """Whether the frame scores, averaged over 0.25 s, are worse than a threshold, (time,)."""
    scores = smooth_scores(report.frame_scores, report.hop, counted_frames(report))
    return scores < below if report.higher_is_better else scores > below
