"""Cluster the d-vectors of a conversation by speaker, and smooth the labels over time.

The labels over time are the best path of a hidden Markov model whose states are the speakers. It starts from several
partitions of the d-vectors (:mod:`~speechtools.speaker.partitions`), and the most likely path counts. The number of
speakers is the most likely one whose speakers all differ.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from speechtools.speaker.partitions import (
    affinities,
    centroids,
    find_partitions,
    largest_clusters,
    likelihood,
    linkage,
    spectral_labels,
    sums_of,
)
from speechtools.speaker.vectors import unit

#: Pieces that are clustered, drawn evenly over a long recording, so that time and memory stay bounded.
MAX_PIECES = 400
#: Windows of a piece, at most, whose d-vectors are added before they are clustered.
PIECE_WINDOWS = 4
#: Least speech (s) of a speaker, if their number is estimated.
MIN_SPEAKER_SECONDS = 4.0
#: Least speech (s) of a cluster that is taken for a speaker at first.
_MIN_CLUSTER_SECONDS = 2.5
#: So much speech (s) says as much about a voice as one independent sample: about two utterances.
INDEPENDENT_SECONDS = 6.0
#: Cosine from which two speakers are the same, as it would be with very much speech of both.
SAME_SPEAKER = 0.88
#: What speakers cost, in cosines of windows, times the square root of their number, their squared deviation and
#: a power of the number of speakers.
SPEAKER_COST, SPEAKER_COST_POWER = 1.2, 0.75
#: Parts of the partitions that are searched, at least.
_MIN_PARTS = 10
#: Resolution (s) of the labels by which partitions are compared.
_COARSE_STEP = 0.4
#: Rounds of labelling the times and adapting the speakers to them.
_ROUNDS = 3
#: Windows on each side of a time that count for it.
_NEIGHBOURS = 5


@dataclass(frozen=True)
class Windows:
    """The d-vectors of sliding windows over the speech of a recording.

    Attributes
    ----------
    dvectors : np.ndarray
        (windows, emb) in float32, of length 1.
    spans : np.ndarray
        (windows, 2): start and end of each window, in seconds.
    regions : np.ndarray
        (windows,): index of the region of speech that contains the window, in ascending order.
    """

    dvectors: np.ndarray
    spans: np.ndarray
    regions: np.ndarray


def piece_numbers(regions: np.ndarray, size: int = PIECE_WINDOWS) -> np.ndarray:
    """Divide the windows of each region into pieces of consecutive windows, about equally, of at most ``size``.

    >>> piece_numbers(np.array([0, 0, 0, 1, 2, 2]), 2).tolist()
    [0, 0, 1, 2, 3, 3]
    """
    _, first, counts = np.unique(regions, return_index=True, return_counts=True)
    places = np.arange(len(regions)) - np.repeat(first, counts)
    pieces = -(-counts // size)
    return places * np.repeat(pieces, counts) // np.repeat(counts, counts) + np.repeat(
        np.cumsum(pieces) - pieces, counts
    )


def cluster_windows(windows: Windows, num_speakers: int | None, max_speakers: int, threshold: float) -> np.ndarray:
    """Centroids of the speakers' d-vectors, (speakers, emb), of length 1.

    Partitions of pieces of consecutive windows start hidden Markov models, of which the most likely counts.

    Parameters
    ----------
    windows : Windows
        At least one.
    num_speakers : int, optional
        Number of speakers; fewer are returned if there are fewer pieces. Default: it is estimated
        (:func:`most_likely`).
    max_speakers : int
        So many are estimated at most.
    threshold : float
        Two speakers are the same from this cosine on, as it would be with very much speech of both; of more speakers,
        two are from 1 on.

    Raises
    ------
    SpeechtoolsError
        A number is given, and the package spectralcluster is not installed.
    """
    speech = _seconds(windows)
    windows, numbers = _fewer_pieces(windows)
    sums = np.add.reduceat(windows.dvectors.astype(float), np.unique(numbers, return_index=True)[1])
    regions, seconds = (
        _apart(_extents(windows.spans, windows.regions)),
        np.ptp(_extents(windows.spans, numbers), axis=1),
    )
    most = min(max_speakers if num_speakers is None else num_speakers, len(sums))
    if most == 1:
        return unit(sums.sum(axis=0, keepdims=True))
    pieces = unit(sums)
    trees = [linkage(affinities(pieces, seconds)), linkage(pieces @ pieces.T)]
    partitions = find_partitions(sums, trees, min(max(most, _MIN_PARTS), len(sums)))
    coarse = Smoothing(_COARSE_STEP, focus=0.25, change=0.2, change_in_pause=0.08)

    def best(count: int) -> Labelling:
        starts = [largest_clusters(tree, seconds, count, _MIN_CLUSTER_SECONDS) for tree in trees]
        if count in partitions.labels:
            starts.append(partitions.labels[count])
        if num_speakers is not None:
            starts.append(spectral_labels(pieces, count))
        fits = [label_times(windows, regions, _means(pieces, seconds, labels), coarse) for labels in starts]
        return max(fits, key=lambda fit: fit.score)

    if num_speakers is not None:
        return best(most).means
    labellings = [best(count) for count in range(2, most + 1)]
    thinning = speech / _seconds(windows)
    chosen = most_likely([Speakers.of(windows, labelling, thinning) for labelling in labellings], threshold)
    return labellings[chosen].means if chosen is not None else unit(sums.sum(axis=0, keepdims=True))


def _means(pieces: np.ndarray, seconds: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Centroids (labels, emb) of pieces (pieces, emb); those with the label -1 do not count."""
    inside = labels >= 0
    return centroids(pieces[inside], seconds[inside], labels[inside])


@dataclass(frozen=True)
class Speakers:
    """What a labelling says about its speakers.

    Attributes
    ----------
    sums : np.ndarray
        (speakers, emb): sums of the d-vectors of their windows.
    seconds : np.ndarray
        (speakers,): how long they speak in these windows.
    count : int
        Windows of all speakers.
    thinning : float
        By how much longer they speak in the recording, of which these windows are a part.
    """

    sums: np.ndarray
    seconds: np.ndarray
    count: int
    thinning: float = 1.0

    @classmethod
    def of(cls, windows: Windows, labelling: "Labelling", thinning: float = 1.0) -> "Speakers":
        """The speakers of windows that are labelled."""
        own = labelling.labels[_nearest(labelling.edges.mean(axis=1), windows.spans.mean(axis=1))]
        seconds = np.bincount(labelling.labels, np.ptp(labelling.edges, axis=1), minlength=len(labelling.means))
        return cls(sums_of(windows.dvectors, own, len(seconds)), seconds, len(own), thinning)

    @property
    def length(self) -> float:
        """Mean cosine of a window's d-vector and the mean of its speaker, which is the mean length of these means."""
        return likelihood(self.sums) / self.count

    def lasting_cosines(self) -> np.ndarray:
        """Cosines (speakers, speakers) of their means, as they would be with very much speech of each.

        A window's d-vector is that of its voice, of length r, and a deviation that varies with what is said. If n
        seconds of speech contain n/t independent deviations, the mean has the squared length r² + (1 - r²) t/n instead
        of r², by which the cosines are corrected; t is :data:`INDEPENDENT_SECONDS`.
        """
        lengths = np.sqrt(1 + INDEPENDENT_SECONDS * (1 / self.length**2 - 1) / np.maximum(self.seconds, 1e-3))
        means = unit(self.sums) * lengths[:, None]
        return means @ means.T

    def are_distinct(self, threshold: float) -> bool:
        """Whether all have enough speech, and no two of them sound the same.

        Two speakers sound the same from the cosine ``threshold`` on, which protects recordings of one speaker. Of more,
        the most similar ones are more similar, so their limit is a cosine of 1 at least.
        """
        if self.thinning * self.seconds.min() < MIN_SPEAKER_SECONDS:
            return False
        cosines = self.lasting_cosines()
        most_similar = cosines[np.triu_indices(len(cosines), 1)].max()
        return bool(most_similar < (threshold if len(cosines) == 2 else max(threshold, 1.0)))


def most_likely(candidates: list[Speakers], threshold: float) -> int | None:
    """Index of the most likely number of speakers among candidates of two or more, in order; None: one speaker.

    Only candidates whose speakers are distinct count. Speakers cost :data:`SPEAKER_COST`: the likelihood that one more
    gains by chance grows with the squared deviations of the d-vectors, and more slowly than their number. It falls with
    the number of speakers, since the next one divides fewer windows.
    """
    if not candidates:
        return None
    length = max(speakers.length for speakers in candidates)
    cost = SPEAKER_COST * (1 - length**2) * np.sqrt(candidates[0].count)
    gains = [
        likelihood(speakers.sums) - cost * len(speakers.sums) ** SPEAKER_COST_POWER
        if speakers.are_distinct(threshold)
        else -np.inf
        for speakers in candidates
    ]
    alone = likelihood(candidates[0].sums.sum(axis=0, keepdims=True)) - cost
    return int(np.argmax(gains)) if max(gains) > alone else None


def _fewer_pieces(windows: Windows) -> tuple[Windows, np.ndarray]:
    """At most :data:`MAX_PIECES` pieces of windows, drawn evenly from the longer ones, and each window's piece."""
    numbers = piece_numbers(windows.regions)
    if numbers[-1] < MAX_PIECES:
        return windows, numbers
    seconds = np.ptp(_extents(windows.spans, numbers), axis=1)
    least = np.sort(seconds)[-2 * MAX_PIECES :][0] - 1e-6  # most pieces are equally long
    longest = np.flatnonzero(seconds >= least)
    kept = longest[np.linspace(0, len(longest) - 1, MAX_PIECES).round().astype(int)]
    rows = np.isin(numbers, kept)
    numbers = np.unique(numbers[rows], return_inverse=True)[1]
    return Windows(windows.dvectors[rows], windows.spans[rows], numbers), numbers


def _seconds(windows: Windows) -> float:
    """Length (s) of the speech that windows cover."""
    return float(np.ptp(_apart(_extents(windows.spans, windows.regions)), axis=1).sum())


def _extents(spans: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """First start and last end (s) of the spans (n, 2) with each number 0, 1, … (n,), in ascending order."""
    first = np.unique(numbers, return_index=True)[1]
    return np.stack([spans[first, 0], np.maximum.reduceat(spans[:, 1], first)], axis=1)


def _apart(extents: np.ndarray) -> np.ndarray:
    """Extents (n, 2) in ascending order, of which two that overlap, such as pieces of one region, meet in the middle.

    >>> _apart(np.array([[0.0, 2.0], [1.0, 3.0], [5.0, 6.0]])).tolist()
    [[0.0, 1.5], [1.5, 3.0], [5.0, 6.0]]
    """
    starts, ends = extents[1:, 0], extents[:-1, 1]
    middles = (starts + ends) / 2
    overlap = ends > starts
    apart = extents.copy()
    apart[1:, 0], apart[:-1, 1] = np.where(overlap, middles, starts), np.where(overlap, middles, ends)
    return apart


# ----------------------------------------------------------------------------------------------------- labels over time


@dataclass(frozen=True)
class Smoothing:
    """How the labels of windows become turns.

    Attributes
    ----------
    step : float
        Resolution of the changes of speaker, in seconds.
    focus : float
        A window counts for the times around its middle, with a Gaussian of so many windows as standard deviation.
    change, change_in_pause : float
        What a change of speaker costs, within a region of speech and at the pause between two: as much as so many
        seconds at a cosine that is 1 higher.
    """

    step: float = 0.1
    focus: float = 0.2
    change: float = 0.06
    change_in_pause: float = 0.06


class Labelling(NamedTuple):
    """The speakers of a recording over time, and how likely they are."""

    #: The speaker in each step, (times,).
    labels: np.ndarray
    #: Start and end of each step in seconds, (times, 2).
    edges: np.ndarray
    #: Centroids of the labelled windows, (speakers, emb). Those of a speaker without windows are as they were.
    means: np.ndarray
    #: Of the best path: the sum of cosines, times seconds, less the costs of changes.
    score: float


def label_times(
    windows: Windows, regions: np.ndarray, means: np.ndarray, smoothing: Smoothing | None = None
) -> Labelling:
    """Label the speech of a recording with speakers, and adapt the speakers to it.

    Parameters
    ----------
    windows : Windows
    regions : np.ndarray
        (regions, 2): start and end of the regions of speech, in seconds.
    means : np.ndarray
        Centroids of the speakers, (speakers, emb).
    smoothing : Smoothing, optional
    """
    smoothing = smoothing or Smoothing()
    edges, numbers = _steps(regions, smoothing.step)
    middles, widths = edges.mean(axis=1), np.ptp(edges, axis=1)
    starts_region = np.diff(numbers, prepend=-1) > 0
    costs = np.where(starts_region, smoothing.change_in_pause, smoothing.change)
    at = _nearest(middles, windows.spans.mean(axis=1))
    # (windows,): the time that a window labels
    labels, score = np.zeros(len(middles), dtype=np.int64), 0.0
    for _ in range(_ROUNDS):
        scores = _score_times(windows, numbers, middles, means, smoothing.focus) * widths[:, None]
        # (times, speakers)
        before, labels = labels, best_path(scores, costs)
        score = float(scores[np.arange(len(labels)), labels].sum() - costs[1:][np.diff(labels) != 0].sum())
        own = labels[at]
        sums = sums_of(windows.dvectors, own, len(means))
        means = np.where((np.bincount(own, minlength=len(means)) > 0)[:, None], unit(sums), means)
        if np.array_equal(before, labels):
            break
    return Labelling(labels, edges, means, score)


def best_path(scores: np.ndarray, costs: np.ndarray) -> np.ndarray:
    """The labels (times,) with the largest sum of ``scores`` (times, labels) less the ``costs`` (times,) of changes.

    >>> scores = np.array([[1.0, 0.0], [0.4, 0.6], [1.0, 0.0], [0.0, 5.0]])
    >>> best_path(scores, np.ones(4)).tolist(), best_path(scores, np.zeros(4)).tolist()
    ([0, 0, 0, 1], [0, 1, 0, 1])
    """
    times, count = scores.shape
    origins = np.empty((times, count), dtype=np.int32)
    stay = np.arange(count)
    totals = scores[0].copy()
    for time in range(1, times):
        best = int(totals.argmax())
        changed = totals[best] - costs[time]
        origins[time] = np.where(totals >= changed, stay, best)
        totals = np.maximum(totals, changed) + scores[time]
    labels = np.empty(times, dtype=np.int64)
    labels[-1] = totals.argmax()
    for time in range(times - 1, 0, -1):
        labels[time - 1] = origins[time, labels[time]]
    return labels


def _steps(regions: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """Divide regions into steps: their edges (times, 2) in seconds, and the number of the region of each (times,)."""
    counts = np.maximum(np.round((regions[:, 1] - regions[:, 0]) / step).astype(int), 1)
    numbers = np.repeat(np.arange(len(regions)), counts)
    places = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
    widths = ((regions[:, 1] - regions[:, 0]) / counts)[numbers]
    starts = regions[numbers, 0] + places * widths
    return np.stack([starts, starts + widths], axis=1), numbers


def _nearest(sorted_values: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Index of the nearest of ``sorted_values`` to each of ``values``."""
    if len(sorted_values) == 1:
        return np.zeros(len(values), dtype=np.int64)
    right = np.searchsorted(sorted_values, values).clip(1, len(sorted_values) - 1)
    return right - (values - sorted_values[right - 1] < sorted_values[right] - values)


def _score_times(
    windows: Windows, numbers: np.ndarray, middles: np.ndarray, means: np.ndarray, focus: float
) -> np.ndarray:
    """Mean cosines (times, speakers) of the windows around each time, all of the same region."""
    cosines = windows.dvectors @ means.T
    # (windows, speakers)
    centres = windows.spans.mean(axis=1)
    width = focus * max(float((windows.spans[:, 1] - windows.spans[:, 0]).max()), 1e-6)
    first_window = np.searchsorted(windows.regions, numbers, side="left")
    last_window = np.searchsorted(windows.regions, numbers, side="right") - 1
    near = np.searchsorted(centres, middles)
    totals, weights = np.zeros((len(middles), len(means))), np.zeros(len(middles))
    for shift in range(-_NEIGHBOURS, _NEIGHBOURS):
        index = near + shift
        inside = (index >= first_window) & (index <= last_window)
        index = index.clip(0, len(centres) - 1)
        weight = np.where(inside, np.exp(-0.5 * ((middles - centres[index]) / width) ** 2) + 1e-6, 0.0)
        totals += weight[:, None] * cosines[index]
        weights += weight
    return totals / weights[:, None]
