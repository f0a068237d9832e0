"""The search that knows confusions, against all alignments by hand, and in blocks."""

import itertools
import math

import numpy as np
import pytest

from speechtools.keyword.confusion_search import ConfusionSearch
from speechtools.keyword.confusions import Confusions, count_confusions, heard_events
from speechtools.keyword.search import Phrase
from tests.keyword.test_confusions import SIZE, random_confusions
from tests.keyword.test_search import certain, random_log_probs

STEP = 0.04


def best_by_hand(events, tokens, c):
    """The best log-likelihood ratio of alignments that begin with an event that is heard, for each token."""
    best, num_tokens = -math.inf, len(tokens)
    nulls = []
    for number, event in enumerate(events):
        before = events[number - 1].argmax() if number else 0
        nulls.append((math.log(event @ c.speech) + math.log(event @ c.pairs[before])) / 2)

    def edit(event, token, ratio, last):
        nonlocal best
        if token == num_tokens and last == "heard":
            best = max(best, ratio)
        if token < num_tokens:
            y = tokens[token]
            if event < len(events):
                one = (1 - c.addition) * (1 - c.left_out[y]) * (events[event] @ c.heard[y])
                edit(event + 1, token + 1, ratio + math.log(one) - nulls[event], "heard")
            edit(event, token + 1, ratio + math.log((1 - c.addition) * c.left_out[y]), last)
        if 0 < token < num_tokens and event < len(events) and last == "heard":
            one = c.addition * (events[event] @ c.added)
            edit(event + 1, token, ratio + math.log(one) - nulls[event], "heard")

    for first in range(len(events)):
        edit(first, 0, 0.0, None)
    return best / num_tokens


@pytest.mark.parametrize("tokens", [[1, 2], [3, 3], [2, 1, 4], [1]])
@pytest.mark.parametrize("seed", range(3))
def test_the_score_is_that_of_the_best_alignment(tokens, seed):
    confusions = random_confusions(np.random.default_rng(seed))
    log_probs = random_log_probs(6, seed=seed)
    log_probs[-1] = math.log(1e-3)
    log_probs[-1, 0] = math.log(1 - 4e-3)
    search = ConfusionSearch([Phrase("x", tokens, 0.0)], 0.001, confusions)
    ratios = [search._align(event)[0][0] for event in search._events(log_probs) if event is not None]
    expected = best_by_hand(heard_events(log_probs), tokens, confusions)
    assert max(ratios) == pytest.approx(expected, abs=1e-9)


def confusions_of_tones():
    """Token 3 is often heard as 4, and token 2 is often left out."""
    heard = 0.9 * np.eye(SIZE) + 0.02
    heard[3, 3], heard[3, 4] = 0.5, 0.5
    heard[:, 0] = 0
    heard /= heard.sum(axis=1, keepdims=True)
    speech = np.array([0, 0.25, 0.25, 0.25, 0.25])
    left_out = np.array([0.05, 0.05, 0.4, 0.05, 0.05])
    return Confusions(heard, left_out, speech, np.array(0.05), speech, np.tile(speech, (SIZE, 1)))


def test_blocks_give_the_hits_of_the_whole():
    confusions = random_confusions(np.random.default_rng(3))
    phrases = [Phrase("a", [1, 2, 3], 0.2), Phrase("b", [3, 1], 0.4), Phrase("c", [4, 4, 2, 1], 0.0)]
    log_probs = random_log_probs(700, seed=1)

    def hits(sizes):
        search, found, first = ConfusionSearch(phrases, STEP, confusions, debounce=0.3), [], 0
        for size in sizes:
            found += search.feed(log_probs[first : first + size])
            first += size
        return found + search.finish()

    whole = hits([700])
    assert len(whole) > 10 and {hit.keyword for hit in whole} == {"a", "b", "c"}
    rng = np.random.default_rng(0)
    for sizes in ([1] * 700, rng.multinomial(700, np.ones(60) / 60), [0, 699, 1]):
        found = hits(sizes)
        assert [hit[::2] for hit in found] == [hit[::2] for hit in whole]
        assert [hit.score for hit in found] == pytest.approx([hit.score for hit in whole], abs=1e-5)
    assert all(one.end <= other.start + 1e-6 for one, other in itertools.pairwise(whole))
    limits = {phrase.text: phrase.threshold for phrase in phrases}
    assert all(limits[hit.keyword] <= hit.score <= 1 for hit in whole)


def test_times_and_a_phrase_that_is_misheard():
    phrase = Phrase("x", [1, 2, 3], 0.1)
    for path, start, end in (
        ([0, 0, 1, 1, 0, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0], 0.08, 0.28),
        ([0, 0, 1, 1, 0, 2, 4, 4, 0, 0, 0, 0, 0, 0, 0], 0.08, 0.32),
        ([0, 0, 1, 0, 0, 3], 0.08, 0.24),
    ):
        search = ConfusionSearch([phrase], STEP, confusions_of_tones(), debounce=0.2)
        hits = search.feed(certain(path, SIZE)) + search.finish()
        assert [(hit.keyword, hit.start, hit.end) for hit in hits] == [("x", start, end)]
    scores = [
        ConfusionSearch([phrase], STEP, confusions_of_tones()).best_scores(certain([0, *path, 0], SIZE))[0]
        for path in ([1, 2, 3], [1, 2, 4], [1, 2, 1], [4, 4, 4])
    ]
    assert scores[0] > 0.6 and scores[0] > 2 * scores[1] > 3 * scores[2] > 6 * scores[3]


def test_a_slow_phrase_is_none_and_threshold_0_gives_every_candidate():
    phrase = Phrase("x", [1, 3], 0.5)
    slow = ConfusionSearch([phrase], STEP, confusions_of_tones())
    assert slow.feed(certain([1] + [0] * 40 + [3, 0], SIZE)) + slow.finish() == []
    every = ConfusionSearch([phrase._replace(threshold=0.0)], STEP, confusions_of_tones(), debounce=0.0)
    assert every.feed(certain([2, 0, 0, 0, 4, 0], SIZE)) + every.finish()


def test_counted_confusions_help():
    """Of what is heard as counted, the search with counts finds more."""
    rng = np.random.default_rng(0)
    texts = [rng.integers(1, SIZE, 8) for _ in range(300)]
    swapped = [np.where((text == 3) & (rng.random(8) < 0.5), 4, text) for text in texts]
    confusions, _ = count_confusions(zip(np.eye(SIZE)[np.stack(swapped)], texts, strict=True), SIZE)
    assert confusions.heard[3, 4] == pytest.approx(0.5, abs=0.08) and confusions.heard[1, 4] < 0.03
