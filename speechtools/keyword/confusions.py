"""How a detector mishears tokens: how often each is heard as each other, left out or added.

What a detector hears is a sequence of events, runs of steps in which one token is the most likely and the blank is not
certain. An event x is a distribution q(h) of tokens h. A model of edits says how the tokens y_1 … y_N of a text become
the events x_1 … x_M (Ristad and Yianilos: Learning string-edit distance, IEEE PAMI 1998). Before each token, and after
the last, events are added, each with the probability i, of the tokens a(h). A token y is left out with the probability
d(y); otherwise it is heard as h with the probability c(h | y)::

    P(x | y) = Σ_h q(h) c(h | y)        P(x | added) = Σ_h q(h) a(h)

The probability of the events is the sum over all alignments. :func:`count_confusions` raises it by expectation
maximisation.
"""

import base64
import io
import zipfile
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError
from speechtools.keyword.tokens import BLANK

#: Least probability of all tokens but the blank in the steps of an event.
LEAST = 0.2
#: Subtracted from each count of a pair of tokens, for the pairs that do not occur.
_DISCOUNT = 0.75


class Event(NamedTuple):
    """A token that was heard.

    Attributes
    ----------
    first, last : int
        Steps.
    probabilities : np.ndarray
        (num_tokens,): of the tokens without the blank, at the step where the blank is the least likely.
    """

    first: int
    last: int
    probabilities: np.ndarray


class EventReader:
    """Finds events step by step.

    Examples
    --------
    >>> reader = EventReader()
    >>> steps = np.log([[0.9, 0.05, 0.05], [0.2, 0.7, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    >>> [event.first for step in steps if (event := reader.take(step))], reader.finish().last
    ([1], 3)
    """

    def __init__(self) -> None:
        self.step, self.token, self.peak = 0, BLANK, 0.0
        self.event: Event | None = None

    def take(self, log_probs: np.ndarray) -> Event | None:
        """Return the event that has ended before a further step, log_probs (num_tokens,), or None."""
        probabilities = np.exp(np.asarray(log_probs, dtype=np.float64))
        probabilities[BLANK] = 0.0
        total, token, ended = float(probabilities.sum()), int(probabilities.argmax()), None
        if self.event is not None and (total <= LEAST or token != self.token):
            ended, self.event = self.event, None
        if total > LEAST:
            if self.event is None:
                self.event, self.peak = Event(self.step, self.step, probabilities / total), total
            elif total > self.peak:
                self.event, self.peak = Event(self.event.first, self.step, probabilities / total), total
            else:
                self.event = self.event._replace(last=self.step)
            self.token = token
        self.step += 1
        return ended

    def finish(self) -> Event | None:
        """Return the event that the end of the stream ends, or None."""
        ended, self.event = self.event, None
        return ended


def heard_events(log_probs: np.ndarray) -> np.ndarray:
    """Probabilities (events, num_tokens) of the events in log_probs (steps, num_tokens)."""
    reader = EventReader()
    events = [*map(reader.take, log_probs), reader.finish()]
    rows = [event.probabilities for event in events if event is not None]
    return np.stack(rows) if rows else np.zeros((0, log_probs.shape[1]))


class Confusions(NamedTuple):
    """Probabilities of what is heard.

    Attributes
    ----------
    heard : np.ndarray
        (num_tokens, num_tokens): c(h | y), by y and h.
    left_out : np.ndarray
        (num_tokens,): d(y).
    added : np.ndarray
        (num_tokens,): a(h).
    addition : np.ndarray
        (): i.
    speech : np.ndarray
        (num_tokens,): of an event in any speech.
    pairs : np.ndarray
        (num_tokens, num_tokens): of an event in any speech, by the token before and its own; the blank is the start.
    """

    heard: np.ndarray
    left_out: np.ndarray
    added: np.ndarray
    addition: np.ndarray
    speech: np.ndarray
    pairs: np.ndarray

    def pack(self) -> str:
        """The probabilities in base64, for the ``config.json`` of a detector."""
        content = io.BytesIO()
        np.savez_compressed(content, **{name: array.astype(np.float32) for name, array in self._asdict().items()})
        return base64.b64encode(content.getvalue()).decode()


def unpack_confusions(text: str, num_tokens: int) -> Confusions:
    """Return what :meth:`Confusions.pack` has packed.

    Raises
    ------
    ConfigError
        The text is damaged, or the counts are not those of so many tokens.
    """
    try:
        with np.load(io.BytesIO(base64.b64decode(text, validate=True)), allow_pickle=False) as arrays:
            confusions = Confusions(**{name: arrays[name].astype(np.float64) for name in arrays})
        square, row = (num_tokens, num_tokens), (num_tokens,)
        shapes = [array.shape for array in confusions]
        valid = all(np.isfinite(array).all() and (array >= 0).all() for array in confusions)
        if shapes != [square, row, row, (), row, square] or not valid:
            raise ValueError(f"shapes {shapes}")
    except (ValueError, TypeError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ConfigError(
            f"The counts of confusions do not fit {num_tokens} tokens, or are damaged ({error}). Export the detector "
            "again, or remove confusions."
        ) from error
    return confusions


class Alignment(NamedTuple):
    """Expected edits of an utterance.

    Attributes
    ----------
    log_likelihood : float
        Of the events.
    heard : np.ndarray
        (events, tokens): the probability that the event is the token.
    added : np.ndarray
        (events,): that the event is added.
    left_out : np.ndarray
        (tokens,): that the token is left out.
    """

    log_likelihood: float
    heard: np.ndarray
    added: np.ndarray
    left_out: np.ndarray


def align(events: np.ndarray, tokens: Sequence[int] | np.ndarray, confusions: Confusions) -> Alignment:
    """Sum over all alignments of events (events, num_tokens) with the tokens of a text, forwards and backwards."""
    spoken, go_on = np.asarray(tokens, dtype=int), 1 - confusions.addition
    out = go_on * confusions.left_out[spoken]
    # (tokens,)
    hear = go_on * (1 - confusions.left_out[spoken]) * (events @ confusions.heard[spoken].T)
    # (events, tokens)
    add = confusions.addition * (events @ confusions.added)
    # (events,)
    sums = np.concatenate([[0.0], np.cumsum(np.log(out))])
    skip = np.tril(np.exp(np.minimum(sums[:, None] - sums, 0.0)))
    # (tokens + 1, tokens + 1): from the second place to the first, all between left out
    num_events, num_tokens = hear.shape
    before, scales = np.zeros((num_events + 1, num_tokens + 1)), np.ones(num_events + 1)
    before[0] = skip[:, 0]
    for event in range(num_events):
        place = before[event] * add[event]
        place[1:] += before[event, :-1] * hear[event]
        place = skip @ place
        scales[event + 1] = place.sum()
        before[event + 1] = place / scales[event + 1]
    after, place = np.zeros_like(before), np.zeros(num_tokens + 1)
    place[-1] = go_on
    after[-1] = skip.T @ place
    for event in reversed(range(num_events)):
        place = add[event] * after[event + 1]
        place[:-1] += hear[event] * after[event + 1, 1:]
        after[event] = skip.T @ place / scales[event + 1]
    whole = before[-1, -1] * go_on
    weights = 1 / (scales[1:, None] * whole)
    return Alignment(
        float(np.log(whole) + np.log(scales).sum()),
        before[:-1, :-1] * hear * after[1:, 1:] * weights,
        (before[:-1] * add[:, None] * after[1:] * weights).sum(axis=1),
        (before[:, :-1] * out * after[:, 1:]).sum(axis=0) / whole,
    )


def count_confusions(
    utterances: Iterable[tuple[np.ndarray, Sequence[int]]], num_tokens: int, rounds: int = 5, smoothing: float = 1.0
) -> tuple[Confusions, list[float]]:
    """Count confusions by expectation maximisation.

    Parameters
    ----------
    utterances : iterable of tuple
        Events (events, num_tokens), as :func:`heard_events` returns them, and the tokens that were spoken. Those
        without an event or a token are left out.
    num_tokens : int
        The blank included.
    rounds : int
        Of expectation and maximisation.
    smoothing : float
        Weight of what is assumed before counting: each token is heard ``num_tokens / 2`` times as any event, and left
        out once in four times.

    Returns
    -------
    Confusions
    list of float
        Log-likelihoods of the events before each round.

    Raises
    ------
    ConfigError
        No utterance has an event and a token.
    """
    check_number("rounds", rounds, 1, whole=True)
    check_number("smoothing", smoothing, 0)
    kept = [(events, np.asarray(tokens, dtype=int)) for events, tokens in utterances if len(events) and len(tokens)]
    if not kept:
        raise ConfigError(
            "No utterance has an event and a token, so confusions cannot be counted. Train the detector longer, or set "
            "confusion_utterances: 0."
        )
    speech = sum(events.sum(axis=0) for events, _ in kept) + 1.0
    speech[BLANK] = 0.0
    speech /= speech.sum()
    confusions = Confusions(
        0.6 * np.eye(num_tokens) + 0.4 * speech,
        np.full(num_tokens, 0.1),
        speech,
        np.array(0.1),
        speech,
        _pairs([events.argmax(axis=1) for events, _ in kept], speech),
    )
    history = []
    for _ in range(rounds):
        log_likelihood, confusions = _round(kept, confusions, smoothing)
        history.append(log_likelihood)
    return confusions, history


def _round(
    utterances: Sequence[tuple[np.ndarray, np.ndarray]], confusions: Confusions, smoothing: float
) -> tuple[float, Confusions]:
    """The log-likelihood of confusions, and those that follow from the expected edits."""
    size = len(confusions.speech)
    heard = np.tile(smoothing * size / 2 * confusions.speech, (size, 1))
    left_out, spoken = np.full(size, smoothing), np.full(size, 4 * smoothing)
    added, additions, others, log_likelihood = smoothing * confusions.speech, smoothing, smoothing, 0.0
    for events, tokens in utterances:
        alignment = align(events, tokens, confusions)
        log_likelihood += alignment.log_likelihood
        # The share of each token in an event: q(h) c(h | y) / P(x | y), and likewise for those that are added.
        weights = alignment.heard / np.maximum(events @ confusions.heard[tokens].T, 1e-300)
        np.add.at(heard, tokens, (weights.T @ events) * confusions.heard[tokens])
        added = added + (alignment.added / np.maximum(events @ confusions.added, 1e-300)) @ events * confusions.added
        np.add.at(left_out, tokens, alignment.left_out)
        np.add.at(spoken, tokens, alignment.left_out + alignment.heard.sum(axis=0))
        additions += alignment.added.sum()
        others += len(tokens) + 1
    totals = heard.sum(axis=1, keepdims=True)
    return log_likelihood, confusions._replace(
        heard=np.where(totals > 0, heard / np.maximum(totals, 1e-300), confusions.heard),
        left_out=np.where(spoken > 0, left_out / np.maximum(spoken, 1e-300), confusions.left_out),
        added=added / added.sum() if added.sum() > 0 else confusions.added,
        addition=np.asarray(additions / (additions + others)),
    )


def _pairs(sequences: Iterable[np.ndarray], speech: np.ndarray) -> np.ndarray:
    """Probabilities of a token after another (num_tokens, num_tokens), by absolute discounting."""
    counts = np.zeros((len(speech), len(speech)))
    for sequence in sequences:
        np.add.at(counts, (np.concatenate([[BLANK], sequence[:-1]]), sequence), 1)
    totals = np.maximum(counts.sum(axis=1, keepdims=True), 1)
    rest = np.where(counts.any(axis=1, keepdims=True), _DISCOUNT * (counts > 0).sum(axis=1, keepdims=True) / totals, 1)
    return np.maximum(counts - _DISCOUNT, 0) / totals + rest * speech
