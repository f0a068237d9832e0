"""Cluster the d-vectors of a conversation by speaker, and smooth the labels over time.

If the number of speakers is given, the clusters are those of spectral clustering as in "Speaker Diarization with LSTM"
(Wang et al., ICASSP 2018), by the package ``spectralcluster`` of its authors; otherwise average linkage finds them. The
labels over time are the best path of a hidden Markov model whose states
are the speakers.
"""

import warnings
from dataclasses import dataclass

import numpy as np
from scipy.cluster import hierarchy

from speechtools.core.installation import optional_package

#: Pieces that are clustered, drawn evenly over a long recording: eigenvectors of larger matrices take minutes. The
#: complete linkage by which the package can reduce them first confuses the speakers of an hour.
MAX_PIECES = 400
#: Windows of a piece, at most, whose d-vectors are averaged before they are clustered.
PIECE_WINDOWS = 4
#: Least speech (s) of a speaker, if their number is estimated.
MIN_SPEAKER_SECONDS = 4.0
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


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors (…, emb) divided by their lengths.

    >>> unit(np.array([3.0, 4.0])).tolist()
    [0.6, 0.8]
    """
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-12)


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

    The mean d-vectors of pieces of consecutive windows are clustered: into a given number of speakers by spectral
    clustering, otherwise by average linkage, of which clusters with less than :data:`MIN_SPEAKER_SECONDS` are left out.

    Parameters
    ----------
    windows : Windows
        At least one.
    num_speakers : int, optional
        Number of speakers; fewer are returned if there are fewer pieces. Default: it is estimated.
    max_speakers : int
        So many are estimated at most.
    threshold : float
        Clusters of pieces are of one speaker if their cosines are on average as large.

    Raises
    ------
    SpeechtoolsError
        A number is given, and the package spectralcluster is not installed.
    """
    numbers = piece_numbers(windows.regions)
    sums = np.zeros((numbers[-1] + 1, windows.dvectors.shape[1]))
    np.add.at(sums, numbers, windows.dvectors)
    pieces = unit(sums)
    starts = windows.spans[np.unique(numbers, return_index=True)[1], 0]
    ends = windows.spans[len(numbers) - 1 - np.unique(numbers[::-1], return_index=True)[1], 1]
    seconds = ends - starts
    if len(pieces) > MAX_PIECES:
        longest = np.sort(np.argsort(-seconds, kind="stable")[: 2 * MAX_PIECES])
        kept = longest[np.linspace(0, len(longest) - 1, MAX_PIECES).round().astype(int)]
        pieces, seconds = pieces[kept], seconds[kept]
    if num_speakers is not None:
        return centroids(pieces, seconds, spectral_labels(pieces, num_speakers))
    labels = linked_labels(pieces, threshold)
    totals = np.bincount(labels, seconds)
    longest = np.argsort(-totals, kind="stable")[:max_speakers]
    longest = longest[: max(1, np.count_nonzero(totals[longest] >= MIN_SPEAKER_SECONDS))]
    return centroids(pieces, seconds, labels)[longest]


def linked_labels(dvectors: np.ndarray, min_cosine: float) -> np.ndarray:
    """Labels (n,), 0 and up, of d-vectors (n, emb) by average linkage.

    Clusters are merged as long as the cosines between them are on average ``min_cosine`` or more.

    >>> linked_labels(np.array([[1.0, 0.0], [0.6, 0.8]]), 0.5).tolist()
    [0, 0]
    """
    if len(dvectors) == 1:
        return np.zeros(1, dtype=np.int64)
    distances = 1.0 - np.clip(dvectors @ dvectors.T, -1.0, 1.0)
    tree = hierarchy.linkage(distances[np.triu_indices(len(dvectors), 1)], "average")
    return hierarchy.fcluster(tree, 1.0 - min_cosine, "distance").astype(np.int64) - 1


def centroids(dvectors: np.ndarray, weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weighted means of the d-vectors (n, emb) of each label 0, 1, …: (labels, emb), of length 1."""
    sums = np.zeros((labels.max() + 1, dvectors.shape[1]))
    np.add.at(sums, labels, dvectors * weights[:, None])
    return unit(sums)


def spectral_labels(dvectors: np.ndarray, num_clusters: int) -> np.ndarray:
    """Labels (n,), 0 and up, of the spectral clustering of d-vectors (n, emb).

    The affinities are refined as in section 3.3 of the paper, without the blur, which pieces do not need.

    Raises
    ------
    SpeechtoolsError
        The package spectralcluster is not installed.
    """
    package = optional_package("spectralcluster", "Diarization", "diarization")
    count = len(dvectors)
    if num_clusters == 1:
        return np.zeros(count, dtype=np.int64)
    if count <= num_clusters:
        return np.arange(count)
    names = package.RefinementName
    options = package.RefinementOptions(
        p_percentile=0.95,
        thresholding_soft_multiplier=0.01,
        thresholding_type=package.ThresholdType.RowMax,
        refinement_sequence=[
            names.CropDiagonal,
            names.RowWiseThreshold,
            names.Symmetrize,
            names.Diffuse,
            names.RowWiseNormalize,
        ],
    )
    clusterer = package.SpectralClusterer(
        min_clusters=num_clusters,
        max_clusters=num_clusters,
        refinement_options=options,
        custom_dist="cosine",
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        labels = clusterer.predict(np.ascontiguousarray(dvectors, dtype=np.float64))
    return np.unique(labels, return_inverse=True)[1]


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
    focus: float = 0.25
    change: float = 0.2
    change_in_pause: float = 0.08


def label_times(
    windows: Windows, regions: np.ndarray, means: np.ndarray, smoothing: Smoothing | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Label the speech of a recording with speakers, and adapt the speakers to it.

    Parameters
    ----------
    windows : Windows
    regions : np.ndarray
        (regions, 2): start and end of the regions of speech, in seconds.
    means : np.ndarray
        Centroids of the speakers, (speakers, emb).
    smoothing : Smoothing, optional

    Returns
    -------
    labels : np.ndarray
        (times,): the speaker in each step.
    edges : np.ndarray
        (times, 2): start and end of each step, in seconds.
    means : np.ndarray
        Centroids of the labelled windows, (speakers, emb). Those of a speaker without windows are as they were.
    """
    smoothing = smoothing or Smoothing()
    edges, numbers = _steps(regions, smoothing.step)
    middles = edges.mean(axis=1)
    starts_region = np.diff(numbers, prepend=-1) > 0
    costs = np.where(starts_region, smoothing.change_in_pause, smoothing.change)
    at = _nearest(middles, windows.spans.mean(axis=1))
    # (windows,): the time that a window labels
    labels = np.zeros(len(middles), dtype=np.int64)
    for _ in range(_ROUNDS):
        scores = _score_times(windows, numbers, middles, means, smoothing.focus)
        # (times, speakers)
        before, labels = labels, best_path(scores * (edges[:, 1] - edges[:, 0])[:, None], costs)
        own = labels[at]
        sums = np.zeros(means.shape)
        np.add.at(sums, own, windows.dvectors)
        means = np.where((np.bincount(own, minlength=len(means)) > 0)[:, None], unit(sums), means)
        if np.array_equal(before, labels):
            break
    return labels, edges, means


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
