"""Partitions of d-vectors into a number of speakers, which are good starting points for a hidden Markov model.

The likelihood of a partition, if the d-vectors of each speaker have a von Mises-Fisher distribution of the same
concentration around a mean of its own, grows with the lengths of the sums of each part (Banerjee et al., "Clustering on
the Unit Hypersphere", JMLR 2005). Rounds of assignment find a local maximum alone, so there are many of them here.
"""

import warnings
from collections.abc import Iterable, Iterator

import numpy as np
from scipy.cluster import hierarchy

from speechtools.core.installation import optional_package
from speechtools.speaker.vectors import unit

#: Rounds of assigning vectors to the nearest mean, at most.
_ROUNDS = 30
#: Rounds of splitting and merging the best partitions, at most.
_EXCHANGES = 3
#: Vectors that are farthest from their means, and start a new part.
_SEEDS = 3
#: Affinity of a vector with itself: about that of two vectors of a speaker, so that it says nothing.
_OWN_AFFINITY = 0.7


def sums_of(vectors: np.ndarray, labels: np.ndarray, count: int | None = None) -> np.ndarray:
    """Sums (labels, emb) of the vectors (n, emb) of each label 0, 1, …; of ``count`` labels, or up to the largest.

    >>> sums_of(np.array([[1.0, 0.0], [2.0, 0.0], [0.0, 3.0]]), np.array([0, 0, 1])).tolist()
    [[3.0, 0.0], [0.0, 3.0]]
    """
    numbers = np.arange(labels.max() + 1 if count is None else count)
    return (numbers[:, None] == labels).astype(float) @ vectors


def centroids(dvectors: np.ndarray, weights: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Weighted means of the d-vectors (n, emb) of each label 0, 1, …: (labels, emb), of length 1."""
    return unit(sums_of(dvectors * weights[:, None], labels))


def likelihood(sums: np.ndarray) -> float:
    """What a partition with these sums (parts, emb) maximises: the sum of their lengths.

    It is the sum of the cosines of all vectors with the mean of their part, weighted by their lengths.
    """
    return float(np.linalg.norm(sums, axis=1).sum())


def merge_loss(sums: np.ndarray) -> np.ndarray:
    """By how much :func:`likelihood` falls if two parts are merged, (parts, parts); infinite on the diagonal.

    >>> merge_loss(np.array([[3.0, 0.0], [0.0, 4.0]])).tolist()
    [[inf, 2.0], [2.0, inf]]
    """
    lengths = np.linalg.norm(sums, axis=1)
    together = np.square(lengths[:, None]) + np.square(lengths) + 2 * sums @ sums.T
    loss = lengths[:, None] + lengths - np.sqrt(np.maximum(together, 0.0))
    np.fill_diagonal(loss, np.inf)
    return loss


def affinities(dvectors: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """How alike the similarities of two d-vectors with all of them are: (n, n), in [0, 1].

    The cosine of two rows of the matrix of squared cosines. Two d-vectors of a speaker may differ much themselves, and
    still have the others in common; on unseen speakers, it halves the error of telling pieces of speech apart. The
    refinements of "Speaker Diarization with LSTM" (Wang et al., ICASSP 2018, section 3.3) use the same effect.

    Parameters
    ----------
    dvectors : np.ndarray
        (n, emb), of length 1.
    weights : np.ndarray
        (n,), such as seconds.
    """
    cosines = np.maximum(dvectors @ dvectors.T, 0.0)
    np.fill_diagonal(cosines, _OWN_AFFINITY)
    rows = unit(np.square(cosines) * np.sqrt(weights))
    return rows @ rows.T


def linkage(similarities: np.ndarray) -> np.ndarray:
    """The tree of average linkage, as scipy's, of similarities (n, n) up to 1."""
    distances = 1.0 - np.clip(similarities, -1.0, 1.0)
    return hierarchy.linkage(distances[np.triu_indices(len(distances), 1)], "average")


def cut(tree: np.ndarray, count: int) -> np.ndarray:
    """Labels (n,), 0 and up, of at most ``count`` clusters of a tree."""
    return hierarchy.fcluster(tree, count, "maxclust").astype(np.int64) - 1


def largest_clusters(tree: np.ndarray, weights: np.ndarray, count: int, least: float) -> np.ndarray:
    """Labels (n,) of ``count`` clusters that weigh at least ``least``; -1 for the rest, such as outliers.

    The tree is cut as near to its root as there are so many; if there never are, they are the heaviest.
    """
    for clusters in range(count, len(weights) + 1):
        labels = cut(tree, clusters)
        totals = np.bincount(labels, weights)
        if np.count_nonzero(totals >= least) >= count or clusters == len(weights):
            break
    numbers = np.full(len(totals), -1)
    numbers[np.argsort(-totals, kind="stable")[:count]] = np.arange(min(count, len(totals)))
    return numbers[labels]


def assign(vectors: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Assign vectors (n, emb) to the nearest mean until nothing changes: labels (n,), 0 and up, and sums of parts.

    Parts that lose all their vectors vanish.
    """
    for _ in range(_ROUNDS):
        labels = np.unique(labels, return_inverse=True)[1]
        before, labels = labels, (vectors @ unit(sums_of(vectors, labels)).T).argmax(axis=1)
        if np.array_equal(before, labels):
            break
    labels = np.unique(labels, return_inverse=True)[1]
    return labels, sums_of(vectors, labels)


class Partitions:
    """The most likely partitions of vectors that are known, by their number of parts.

    Parameters
    ----------
    vectors : np.ndarray
        (n, emb): sums of d-vectors.
    most : int
        Parts, at most.
    """

    def __init__(self, vectors: np.ndarray, most: int):
        self.vectors, self.most = vectors, most
        self.labels: dict[int, np.ndarray] = {}
        self.sums: dict[int, np.ndarray] = {}

    def offer(self, labels: np.ndarray) -> bool:
        """Improve a partition (n,) by :func:`assign`, and keep it if it is the best of its number of parts."""
        return self._keep(*assign(self.vectors, labels))

    def offer_merged(self, labels: np.ndarray) -> None:
        """Offer a partition, and those that follow by merging the two parts which lose the least, down to one."""
        labels, sums = assign(self.vectors, labels)
        self._keep(labels, sums)
        while len(sums) > 1:
            labels, sums = assign(self.vectors, _merged(labels, sums))
            self._keep(labels, sums)

    def _keep(self, labels: np.ndarray, sums: np.ndarray) -> bool:
        count = len(sums)
        if count in self.sums and likelihood(sums) <= likelihood(self.sums[count]) + 1e-9:
            return False
        self.labels[count], self.sums[count] = labels, sums
        return True

    def exchange(self) -> None:
        """Split and merge parts of the best partitions, as long as one of them improves."""
        for _ in range(_EXCHANGES):
            improved = False
            for count in range(1, self.most):
                for labels in self._splits(count) if count in self.labels else ():
                    improved |= self.offer(labels)
            for count in sorted(self.labels, reverse=True)[:-1]:
                improved |= self.offer(_merged(self.labels[count], self.sums[count]))
            if not improved:
                break

    def _splits(self, count: int) -> Iterator[np.ndarray]:
        """Partitions with another part, around a vector that is far from its mean."""
        means, labels = unit(self.sums[count]), self.labels[count]
        fits = (unit(self.vectors) * means[labels]).sum(axis=1)
        for seed in np.argsort(fits, kind="stable")[:_SEEDS].tolist():
            more = np.concatenate([means, unit(self.vectors[seed])[None]])
            yield (self.vectors @ more.T).argmax(axis=1)


def _merged(labels: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """The partition with the two parts merged that lose the least."""
    kept, lost = divmod(int(merge_loss(sums).argmin()), len(sums))
    return np.unique(np.where(labels == lost, kept, labels), return_inverse=True)[1]


def find_partitions(vectors: np.ndarray, trees: Iterable[np.ndarray], most: int) -> Partitions:
    """The most likely partitions of vectors (n, emb) into one part up to ``most``, from cuts of the trees.

    Numbers that assignment does not lead to are missing.
    """
    partitions = Partitions(vectors, most)
    for tree in trees:
        for count in (most, 2 * most):
            partitions.offer_merged(cut(tree, count))
    partitions.exchange()
    return partitions


def spectral_labels(dvectors: np.ndarray, num_clusters: int) -> np.ndarray:
    """Labels (n,), 0 and up, of the spectral clustering of d-vectors (n, emb).

    The affinities are refined as in section 3.3 of "Speaker Diarization with LSTM" (Wang et al., ICASSP 2018), by the
    package ``spectralcluster`` of its authors, without the blur, which pieces do not need.

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
