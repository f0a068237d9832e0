"""Counts of confusions: against all alignments by hand, and against the probabilities that data were drawn by."""

import math

import numpy as np
import pytest

from speechtools.core.errors import ConfigError
from speechtools.keyword.confusions import Confusions, EventReader, align, count_confusions, heard_events
from speechtools.keyword.confusions import unpack_confusions as unpack

SIZE = 5


def rows(rng, *shape):
    """Random distributions of tokens (…, SIZE), in which the blank does not occur."""
    return np.concatenate([np.zeros((*shape, 1)), rng.dirichlet(np.ones(SIZE - 1), shape)], axis=-1)


def random_confusions(rng):
    left_out = rng.uniform(0.05, 0.4, SIZE)
    return Confusions(rows(rng, SIZE), left_out, rows(rng), np.array(0.2), rows(rng), rows(rng, SIZE))


def by_hand(events, tokens, c):
    """The probability of events, by trying all edits: (probability, expected edits of each kind)."""
    paths = []

    def edit(event, token, probability, heard, added, left_out):
        if event < len(events):
            one = c.addition * (events[event] @ c.added)
            edit(event + 1, token, probability * one, heard, [*added, event], left_out)
        if token == len(tokens):
            if event == len(events):
                paths.append((probability * (1 - c.addition), heard, added, left_out))
            return
        y = tokens[token]
        go_on = probability * (1 - c.addition)
        edit(event, token + 1, go_on * c.left_out[y], heard, added, [*left_out, token])
        if event < len(events):
            one = (1 - c.left_out[y]) * (events[event] @ c.heard[y])
            edit(event + 1, token + 1, go_on * one, [*heard, (event, token)], added, left_out)

    edit(0, 0, 1.0, [], [], [])
    return paths


@pytest.mark.parametrize(("num_events", "tokens"), [(3, [1, 2]), (2, [3, 3, 1]), (4, [2]), (1, [4, 1, 2])])
def test_an_alignment_is_the_sum_of_all(num_events, tokens):
    rng = np.random.default_rng(num_events)
    confusions, events = random_confusions(rng), rows(rng, num_events)
    paths = by_hand(events, tokens, confusions)
    whole = sum(path[0] for path in paths)
    heard, added, left_out = np.zeros((num_events, len(tokens))), np.zeros(num_events), np.zeros(len(tokens))
    for probability, pairs, additions, gaps in paths:
        for pair in pairs:
            heard[pair] += probability / whole
        added[additions] += probability / whole
        left_out[gaps] += probability / whole
    alignment = align(events, tokens, confusions)
    assert alignment.log_likelihood == pytest.approx(math.log(whole), abs=1e-10)
    for values, expected in ((alignment.heard, heard), (alignment.added, added), (alignment.left_out, left_out)):
        assert np.allclose(values, expected, rtol=0, atol=1e-12)


def draw(rng, c, tokens):
    """Events of certain tokens, by the model of edits."""
    events = []
    for token in [*tokens, None]:
        while rng.random() < c.addition:
            events.append(rng.choice(SIZE, p=c.added))
        if token is not None and rng.random() >= c.left_out[token]:
            events.append(rng.choice(SIZE, p=c.heard[token]))
    return np.eye(SIZE)[events] if events else np.zeros((0, SIZE))


def test_known_confusions_are_counted_and_each_round_raises_the_likelihood():
    rng = np.random.default_rng(0)
    heard = 0.8 * np.eye(SIZE) + 0.2 * np.roll(np.eye(SIZE), 1, axis=1)
    heard[SIZE - 1] = [0, 0, 0, 0.3, 0.7]
    left_out = np.array([0.0, 0.02, 0.3, 0.1, 0.1])
    speech = np.array([0, 0.25, 0.25, 0.25, 0.25])
    added = np.array([0, 0.7, 0.1, 0.1, 0.1])
    known = Confusions(heard, left_out, added, np.array(0.1), speech, np.tile(speech, (SIZE, 1)))
    texts = [rng.integers(1, SIZE, 12) for _ in range(1500)]
    utterances = [(draw(rng, known, text), text) for text in texts]
    counted, history = count_confusions(utterances, SIZE, rounds=25, smoothing=0.0)
    assert (np.diff(history) > -1e-8).all() and history[-1] > history[0]
    assert np.allclose(counted.heard[1:], heard[1:], atol=0.04)
    assert np.allclose(counted.left_out[1:], left_out[1:], atol=0.03)
    assert np.allclose(counted.added, added, atol=0.12) and counted.addition == pytest.approx(0.1, abs=0.02)
    assert np.allclose(counted.pairs.sum(axis=1), 1) and np.allclose(counted.heard.sum(axis=1), 1)


def test_uncertain_events_raise_the_likelihood_too():
    rng = np.random.default_rng(1)
    texts = [rng.integers(1, SIZE, 6) for _ in range(40)]
    utterances = [(0.7 * np.eye(SIZE)[text] + 0.3 * rows(rng, 6), text) for text in texts]
    _, history = count_confusions(utterances, SIZE, rounds=8, smoothing=0.0)
    assert (np.diff(history) > -1e-9).all()


def test_events_are_runs_of_a_token():
    path = [0, 1, 1, 0, 2, 3, 3]
    probabilities = np.full((len(path), SIZE), 0.04)
    probabilities[np.arange(len(path)), path] = 0.84
    probabilities[2] = [0.02, 0.92, 0.02, 0.02, 0.02]  # the peak of the first run
    reader = EventReader()
    events = [*map(reader.take, np.log(probabilities)), reader.finish()]
    events = [event for event in events if event is not None]
    assert [(event.first, event.last) for event in events] == [(1, 2), (4, 4), (5, 6)]
    assert events[0].probabilities[1] == pytest.approx(0.92 / 0.98)
    assert np.array_equal(heard_events(np.log(probabilities)), np.stack([event.probabilities for event in events]))
    assert heard_events(np.zeros((0, SIZE))).shape == (0, SIZE) and reader.finish() is None


def test_counts_are_packed_and_damaged_ones_are_refused():
    confusions = random_confusions(np.random.default_rng(2))
    packed = confusions.pack()
    for one, other in zip(unpack(packed, SIZE), confusions, strict=True):
        assert np.allclose(one, other, atol=1e-6)
    for text, size in ((packed, SIZE + 1), (packed[:-40], SIZE), ("x", SIZE)):
        with pytest.raises(ConfigError, match="confusions do not fit"):
            unpack(text, size)
    with pytest.raises(ConfigError, match="confusion_utterances"):
        count_confusions([(np.zeros((0, SIZE)), [1])], SIZE)
