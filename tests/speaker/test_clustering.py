"""Clusters of d-vectors, and their labels over time."""

import itertools
import sys

import numpy as np
import pytest

from speechtools.core.errors import SpeechtoolsError
from speechtools.speaker import clustering, partitions
from speechtools.speaker.clustering import (
    INDEPENDENT_SECONDS,
    SAME_SPEAKER,
    Speakers,
    Windows,
    best_path,
    cluster_windows,
    label_times,
    most_likely,
)
from speechtools.speaker.partitions import affinities, find_partitions, largest_clusters, likelihood, linkage
from speechtools.speaker.vectors import unit


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


def speakers_at(windows, regions, num_speakers=None, max_speakers=8, threshold=SAME_SPEAKER):
    means = cluster_windows(windows, num_speakers, max_speakers, threshold)
    labels, edges, *_ = label_times(windows, regions, means)
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
    assert len(cluster_windows(joined, None, 8, 0.9)) == len(cluster_windows(windows, None, 8, 0.9)) == 2
    assert len(cluster_windows(short, None, 8, 0.9)) == 1  # there is one at least
    assert len(cluster_windows(windows, None, 8, -0.9)) == 1


def test_who_speaks_little_is_told_from_who_speaks_much():
    order = [0, 0, 1, 0, 0, 0, 2, 0, 0, 1, 0, 2, 0, 0]
    windows, regions = conversation(order, noise=0.1)
    assert same_partition(speakers_at(windows, regions), order)


def test_merging_costs_the_difference_of_likelihoods():
    sums = np.random.default_rng(2).standard_normal((4, 6))
    loss = partitions.merge_loss(sums)
    for i, j in itertools.combinations(range(4), 2):
        merged = np.concatenate([np.delete(sums, (i, j), axis=0), sums[[i]] + sums[[j]]])
        assert loss[i, j] == loss[j, i] == pytest.approx(likelihood(sums) - likelihood(merged))


@pytest.mark.parametrize("seed", range(5))
def test_the_partitions_are_the_most_likely_of_all(seed):
    rng = np.random.default_rng(seed)
    vectors = unit(rng.standard_normal((3, 4))[np.arange(8) % 3] + 0.3 * rng.standard_normal((8, 4)))
    trees = [linkage(affinities(vectors, np.ones(8))), linkage(vectors @ vectors.T)]
    found = find_partitions(vectors, trees, 4)
    for count in (1, 2, 3):
        every = (np.array(labels) for labels in itertools.product(range(count), repeat=8))
        best = max(likelihood(partitions.sums_of(vectors, labels, count)) for labels in every)
        assert likelihood(found.sums[count]) == pytest.approx(best)
        assert len(set(found.labels[count].tolist())) == count


def test_the_affinity_is_high_for_those_who_have_the_others_in_common():
    voices = unit(np.random.default_rng(0).standard_normal((2, 64)))
    noise = np.random.default_rng(1).standard_normal((40, 64))
    speakers = np.arange(40) % 2
    dvectors = unit(voices[speakers] + 0.15 * noise)
    same = (speakers[:, None] == speakers) & ~np.eye(40, dtype=bool)
    other = speakers[:, None] != speakers
    cosines, found = dvectors @ dvectors.T, affinities(dvectors, np.ones(40))
    assert found[same].min() - found[other].max() > cosines[same].min() - cosines[other].max()
    assert np.allclose(np.diag(found), 1) and found.min() >= 0


def test_an_outlier_is_in_none_of_the_largest_clusters():
    dvectors = np.array([[1.0, 0, 0], [1, 0.1, 0], [0, 1, 0], [0.1, 1, 0], [0, 0, 1]])
    labels = largest_clusters(linkage(unit(dvectors) @ unit(dvectors).T), np.ones(5), 2, 1.5)
    assert labels[0] == labels[1] != labels[2] == labels[3] and labels[4] == -1


@pytest.mark.parametrize("stretches", [(3, 3), (1, 20), (8, 8)])
def test_lasting_cosines_do_not_depend_on_the_seconds(stretches):
    rng = np.random.default_rng(0)
    size, windows, true = 400, 10, 0.6
    voices = np.zeros((2, size))
    voices[:, 0], voices[1, :2] = 1.0, (true, np.sqrt(1 - true**2))
    found = []
    for _ in range(40):
        # A deviation for each stretch, and one for each window that the length of the sums has to show.
        sums = []
        for voice, number in zip(voices, stretches, strict=True):
            deviations = unit(rng.standard_normal((number, size)))
            sums.append(windows * (0.9 * number * voice + np.sqrt(1 - 0.9**2) * deviations.sum(axis=0)))
        seconds = INDEPENDENT_SECONDS * np.array(stretches)
        found.append(Speakers(np.array(sums), seconds, windows * sum(stretches)).lasting_cosines()[0, 1])
    assert np.mean(found) == pytest.approx(true, abs=0.05)


def test_speakers_who_are_alike_or_speak_little_are_not_counted():
    far, near = np.eye(2), unit(np.array([[1.0, 0.1], [1.0, -0.1]]))

    def speakers(means, seconds):
        return Speakers(0.9 * 50 * means, np.array(seconds), 50 * len(means))

    assert most_likely([speakers(far, [20.0, 20.0])], 0.9) == 0
    assert most_likely([speakers(far, [20.0, 3.0])], 0.9) is None
    assert most_likely([speakers(near, [20.0, 20.0])], 0.9) is None
    assert most_likely([speakers(near, [20.0, 20.0]), speakers(np.eye(3), [9.0, 9.0, 9.0])], 0.9) == 1
    assert most_likely([], 0.9) is None
    # Of three, two may be more alike than two who are alone.
    three = unit(np.array([[1.0, 0.3, 0.0], [1.0, -0.3, 0.0], [0.0, 0.0, 1.0]]))
    assert three[0] @ three[1] > 0.8
    assert most_likely([speakers(far, [20.0, 20.0]), speakers(three, [200.0] * 3)], 0.8) == 1


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


def test_who_speaks_long_enough_in_a_long_recording_is_counted(monkeypatch):
    monkeypatch.setattr(clustering, "MAX_PIECES", 20)
    order = [2 if number in (5, 25, 45) else number % 2 for number in range(60)]  # 12 s, of which few are sampled
    windows, _ = conversation(order, noise=0.1)
    assert len(cluster_windows(windows, None, 8, SAME_SPEAKER)) == 3


def test_a_long_recording_is_sampled_to_its_end(monkeypatch):
    monkeypatch.setattr(clustering, "MAX_PIECES", 20)
    order = [0, 1] * 30 + [0, 2] * 10
    windows, regions = conversation(order, noise=0.1)
    assert same_partition(speakers_at(windows, regions), order)


def test_a_short_jump_is_smoothed_and_a_change_is_placed_within_its_window():
    windows, regions = conversation([0, 0, 0])
    voices = unit(np.random.default_rng(1).standard_normal((2, 32)))
    dvectors = np.repeat(voices[:1], len(windows.dvectors), axis=0)
    dvectors[3] = unit(0.45 * voices[0] + 0.55 * voices[1])  # one doubtful window
    labels, *_ = label_times(Windows(dvectors, windows.spans, windows.regions), regions, voices)
    assert set(labels) == {0}
    middles = windows.spans.mean(axis=1)
    dvectors = voices[(middles > 6.5).astype(int)]
    labels, edges, *_ = label_times(Windows(dvectors, windows.spans, windows.regions), regions, voices)
    change = edges[np.flatnonzero(np.diff(labels))[0], 1]
    assert abs(change - 6.5) < 0.4 and len(np.flatnonzero(np.diff(labels))) == 1


def test_free_changes_give_the_best_label_of_each_time_and_dear_ones_a_single_label():
    scores = np.random.default_rng(0).standard_normal((50, 4))
    assert np.array_equal(best_path(scores, np.zeros(50)), scores.argmax(axis=1))
    assert set(best_path(scores, np.full(50, 1e6))) == {scores.sum(axis=0).argmax()}


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "spectralcluster", None)
    with pytest.raises(SpeechtoolsError, match=r"speechtools\[diarization\]"):
        partitions.spectral_labels(np.eye(4), 2)
