"""Clusters of d-vectors, and their labels over time."""

import sys

import numpy as np
import pytest

from speechtools.core.errors import SpeechtoolsError
from speechtools.speaker import clustering
from speechtools.speaker.clustering import Windows, best_path, cluster_windows, label_times, linked_labels, unit


def conversation(order, seconds=4.0, pause=0.5, size=32, noise=0.15, seed=0):
    """Windows and regions (s) of a conversation: a region for each speaker in ``order``; d-vectors around one each."""
    rng = np.random.default_rng(seed)
    voices = unit(rng.standard_normal((max(order) + 1, size)))
    spans, numbers, dvectors, regions = [], [], [], []
    for number, speaker in enumerate(order):
        begin = number * (seconds + pause)
        regions.append((begin, begin + seconds))
        for start in np.arange(0, seconds - 1.6 + 1e-9, 0.4):
            spans.append((begin + start, begin + start + 1.6))
            numbers.append(number)
            dvectors.append(unit(voices[speaker] + noise * rng.standard_normal(size)))
    return Windows(np.float32(dvectors), np.array(spans), np.array(numbers)), np.array(regions)


def speakers_at(windows, regions, num_speakers=None, max_speakers=8, threshold=0.5):
    means = cluster_windows(windows, num_speakers, max_speakers, threshold)
    labels, edges, _ = label_times(windows, regions, means)
    return [int(labels[np.abs(edges.mean(axis=1) - (start + end) / 2).argmin()]) for start, end in regions]


def same_partition(found, order):
    return len(set(zip(found, order, strict=True))) == len(set(found)) == len(set(order))


@pytest.mark.parametrize("order", [[0] * 5, [0, 1, 0, 1, 0], [0, 1, 2, 3, 0, 2, 1, 3], [*range(8), *range(8)]])
@pytest.mark.parametrize("is_given", [False, True])
def test_distinct_voices_are_told_apart(order, is_given):
    pytest.importorskip("spectralcluster")
    windows, regions = conversation(order)
    found = speakers_at(windows, regions, len(set(order)) if is_given else None)
    assert same_partition(found, order)


def test_short_clusters_are_not_speakers():
    windows, _ = conversation([0, 1, 0, 0])
    short, _ = conversation([2], seconds=2.5, seed=3)
    spans = np.concatenate([windows.spans, short.spans + 100])
    numbers = np.concatenate([windows.regions, short.regions + 4])
    joined = Windows(np.concatenate([windows.dvectors, short.dvectors]), spans, numbers)
    assert len(cluster_windows(joined, None, 8, 0.5)) == len(cluster_windows(windows, None, 8, 0.5)) == 2
    assert len(cluster_windows(short, None, 8, 0.5)) == 1  # there is one at least
    assert len(cluster_windows(windows, None, 8, -0.9)) == 1


def test_average_linkage_is_that_of_a_plain_loop():
    rng = np.random.default_rng(4)
    dvectors = unit(rng.standard_normal((3, 6))[np.arange(20) % 3] + 0.6 * rng.standard_normal((20, 6)))
    for min_cosine in (0.2, 0.4, 0.6, 0.8):
        clusters = [[number] for number in range(20)]
        while len(clusters) > 1:
            pairs = [(a, b) for a in range(len(clusters)) for b in range(a)]
            means = [np.mean(dvectors[clusters[a]] @ dvectors[clusters[b]].T) for a, b in pairs]
            if max(means) < min_cosine:
                break
            a, b = pairs[int(np.argmax(means))]
            clusters[b] += clusters.pop(a)
        labels = linked_labels(dvectors, min_cosine)
        assert sorted(map(sorted, clusters)) == sorted(np.flatnonzero(labels == k).tolist() for k in set(labels))


def test_the_number_of_speakers_is_bounded():
    pytest.importorskip("spectralcluster")
    windows, regions = conversation([*range(6), *range(6)])
    assert len(set(speakers_at(windows, regions, max_speakers=3))) == 3
    assert len(set(speakers_at(windows, regions, max_speakers=1))) == 1


def test_one_window_is_one_speaker():
    pytest.importorskip("spectralcluster")
    windows = Windows(np.ones((1, 4), np.float32) / 2, np.array([[0.0, 0.7]]), np.array([0]))
    assert speakers_at(windows, np.array([[0.0, 0.7]]), 3) == [0]


def test_many_pieces_are_clustered_in_bounded_time(monkeypatch):
    pytest.importorskip("spectralcluster")
    monkeypatch.setattr(clustering, "MAX_PIECES", 20)
    order = [0, 1, 2] * 12
    windows, regions = conversation(order)
    assert same_partition(speakers_at(windows, regions), order)


def test_a_short_jump_is_smoothed_and_a_change_is_placed_within_its_window():
    windows, regions = conversation([0, 0, 0])
    voices = unit(np.random.default_rng(1).standard_normal((2, 32)))
    dvectors = np.repeat(voices[:1], len(windows.dvectors), axis=0)
    dvectors[3] = unit(0.45 * voices[0] + 0.55 * voices[1])  # one doubtful window
    labels, _, _ = label_times(Windows(dvectors, windows.spans, windows.regions), regions, voices)
    assert set(labels) == {0}
    middles = windows.spans.mean(axis=1)
    dvectors = voices[(middles > 6.5).astype(int)]
    labels, edges, _ = label_times(Windows(dvectors, windows.spans, windows.regions), regions, voices)
    change = edges[np.flatnonzero(np.diff(labels))[0], 1]
    assert abs(change - 6.5) < 0.4 and len(np.flatnonzero(np.diff(labels))) == 1


def test_free_changes_give_the_best_label_of_each_time_and_dear_ones_a_single_label():
    scores = np.random.default_rng(0).standard_normal((50, 4))
    assert np.array_equal(best_path(scores, np.zeros(50)), scores.argmax(axis=1))
    assert set(best_path(scores, np.full(50, 1e6))) == {scores.sum(axis=0).argmax()}


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "spectralcluster", None)
    with pytest.raises(SpeechtoolsError, match=r"speechtools\[diarization\]"):
        clustering.spectral_labels(np.eye(4), 2)
