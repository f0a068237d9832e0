"""The search for phrases, against all paths by hand, and in blocks."""

import itertools
import math

import numpy as np
import pytest

from speechtools.keyword.search import Phrase, PhraseSearch
from speechtools.keyword.tokens import BLANK

STEP = 0.03


def random_log_probs(steps, tokens=5, seed=0, sharpness=0.3):
    rng = np.random.default_rng(seed)
    return np.log(rng.dirichlet(np.full(tokens, sharpness), steps) + 1e-6)


def best_by_hand(log_probs, tokens):
    """The best score of a phrase: all begins, ends, and paths of CTC that begin and end with a token."""
    relative, best = log_probs - log_probs.max(axis=1, keepdims=True), -math.inf
    for length in range(len(tokens), len(log_probs) + 1):
        for path in itertools.product(sorted({BLANK, *tokens}), repeat=length):
            collapsed = [token for token, _ in itertools.groupby(path) if token != BLANK]
            if collapsed == list(tokens) and path[0] != BLANK and path[-1] != BLANK:
                for first in range(len(log_probs) - length + 1):
                    best = max(best, relative[np.arange(first, first + length), path].sum())
    return math.exp(best / len(tokens))


@pytest.mark.parametrize("tokens", [[1, 2], [1, 1], [2, 1, 2]])
@pytest.mark.parametrize("seed", range(3))
def test_the_score_is_that_of_the_best_path(tokens, seed):
    log_probs = random_log_probs(6, seed=seed)
    search = PhraseSearch([Phrase("x", tokens, 0.0)], STEP)
    assert search.best_scores(log_probs)[0] == pytest.approx(best_by_hand(log_probs, tokens))


def test_blocks_give_the_hits_of_the_whole():
    phrases = [Phrase("a", [1, 2, 3], 0.2), Phrase("b", [3, 1], 0.4), Phrase("c", [4, 4, 2, 1], 0.0)]
    log_probs = random_log_probs(800, seed=1)

    def hits(sizes):
        search, found, first = PhraseSearch(phrases, STEP, debounce=0.3), [], 0
        for size in itertools.cycle(sizes):
            if first >= len(log_probs):
                return found + search.finish()
            found += search.feed(log_probs[first : first + size])
            first += size

    whole = hits([800])
    assert len(whole) > 10 and {hit.keyword for hit in whole} == {"a", "b", "c"}
    assert hits([1]) == whole and hits([0, 7, 50, 3]) == whole
    assert all(one.end <= other.start + 1e-6 for one, other in itertools.pairwise(whole))
    limits = {phrase.text: phrase.threshold for phrase in phrases}
    assert all(limits[hit.keyword] <= hit.score <= 1 for hit in whole)


def certain(path, tokens=4):
    log_probs = np.full((len(path), tokens), math.log(0.01))
    log_probs[np.arange(len(path)), path] = math.log(0.97)
    return log_probs


def test_times_and_the_better_of_two_that_overlap():
    phrases = [Phrase("long", [1, 2, 3], 0.5), Phrase("short", [2, 3], 0.5)]
    search = PhraseSearch(phrases, 0.1, debounce=0.2)
    hits = search.feed(certain([0, 0, 1, 1, 0, 2, 3, 0, 0, 0, 0]))
    assert [(hit.keyword, hit.start, hit.end, hit.score) for hit in hits] == [("long", 0.2, 0.7, 1.0)]
    assert search.finish() == []


def test_the_same_phrase_again_is_another_hit_and_a_slow_one_is_none():
    phrase = Phrase("x", [1, 2], 0.5)
    search = PhraseSearch([phrase], 0.1, debounce=0.2)
    hits = search.feed(certain([1, 2, 0, 0, 0, 0, 1, 0, 2])) + search.finish()
    assert [(hit.start, hit.end) for hit in hits] == [(0.0, 0.2), (0.6, 0.9)]
    slow = PhraseSearch([phrase], 0.1)
    assert slow.feed(certain([1] + [0] * 20 + [2])) + slow.finish() == []


def test_phrases_that_follow_each_other_quickly_are_two_hits():
    phrases = [Phrase("one", [1, 2], 0.5), Phrase("two", [3, 1], 0.5)]
    search = PhraseSearch(phrases, 0.1, debounce=0.5)
    hits = search.feed(certain([1, 2, 0, 3, 1, 0, 0, 0, 0, 0, 0, 0])) + search.finish()
    assert [(hit.keyword, hit.start, hit.end) for hit in hits] == [("one", 0.0, 0.2), ("two", 0.3, 0.5)]
    at_the_end = PhraseSearch(phrases, 0.1, debounce=0.5)
    assert [hit.keyword for hit in at_the_end.feed(certain([1, 2, 3, 1])) + at_the_end.finish()] == ["one", "two"]


def test_a_stream_that_ends_within_a_phrase_has_no_hit():
    search = PhraseSearch([Phrase("x", [1, 2, 3], 0.5)], 0.1)
    assert search.feed(certain([0, 1, 2])) + search.finish() == []
