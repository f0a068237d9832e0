"""Search for phrases in the log probabilities of tokens, step by step, as tokens pass through the states of a phrase.

A phrase of the tokens y_1 … y_N has the states y_1, blank, y_2, blank, …, y_N, as CTC has them (Graves et al.:
Connectionist temporal classification, ICML 2006, section 4.1). A path may begin at any step. The path through the
states is compared with the most likely path without a phrase, token by token::

    score = exp((1 / N) · Σ_t (log p_t(state of t) - max_v log p_t(v)))

over the steps from the first token to the last: 1 if the phrase is what was most likely anyway, less the more tokens
have to be misheard.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from speechtools.core.checks import check_number
from speechtools.keyword.tokens import BLANK


class Phrase(NamedTuple):
    """What is searched for.

    Attributes
    ----------
    text : str
    tokens : sequence of int
        Without blanks.
    threshold : float
        Least score of a hit, from 0 to 1.
    """

    text: str
    tokens: Sequence[int]
    threshold: float


class Hit(NamedTuple):
    """A phrase that was heard.

    Attributes
    ----------
    keyword : str
    score : float
        From 0 to 1; see :mod:`speechtools.keyword.search`.
    start, end : float
        Seconds from the beginning of the recording or stream.
    """

    keyword: str
    score: float
    start: float
    end: float


class _Candidate(NamedTuple):
    phrase: int
    score: float
    first: int  # step
    last: int


class PhraseSearch:
    """Finds phrases in a stream of log probabilities; any blocks give the same hits.

    Of overlapping candidates, the one with the highest score above its threshold is a hit. It is known when no better
    one has ended within ``debounce`` seconds.

    Parameters
    ----------
    phrases : sequence of Phrase
    step_seconds : float
        Seconds of a step.
    debounce : float
        Seconds.
    seconds_per_token : float
        A path through a phrase is abandoned after so many seconds for each of its tokens, and a second more.

    Examples
    --------
    >>> log_probs = np.log([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8], [0.9, 0.05, 0.05]])
    >>> search = PhraseSearch([Phrase("ab", [1, 2], 0.5)], step_seconds=0.1)
    >>> search.feed(log_probs) + search.finish()
    [Hit(keyword='ab', score=1.0, start=0.1, end=0.3)]
    """

    def __init__(
        self, phrases: Sequence[Phrase], step_seconds: float, debounce: float = 0.5, seconds_per_token: float = 0.15
    ):
        check_number("debounce", debounce, 0)
        self.phrases, self.step_seconds = list(phrases), step_seconds
        self.debounce_steps = round(debounce / step_seconds)
        symbols: list[int] = []
        first, skips, limits, self.ends = [], [], [], []
        for phrase in self.phrases:
            begin = len(symbols)
            first.append(begin)
            for number, token in enumerate(phrase.tokens):
                if number:
                    symbols.append(BLANK)
                    skips.append(False)
                symbols.append(token)
                # Between two equal tokens there must be a blank.
                skips.append(number > 0 and token != phrase.tokens[number - 1])
            limit = math.ceil((1.0 + seconds_per_token * len(phrase.tokens)) / step_seconds)
            limits += [limit] * (len(symbols) - begin)
            self.ends.append(len(symbols) - 1)
        self.symbols, self.first, self.skips = np.array(symbols), np.array(first), np.array(skips)
        self.limits, self.counts = np.array(limits), np.array([len(phrase.tokens) for phrase in self.phrases])
        self.thresholds = np.array([phrase.threshold for phrase in self.phrases])
        self.scores = np.full(len(symbols), -np.inf)
        # (states,)
        self.starts = np.zeros(len(symbols), int)
        self.step, self.free_from = 0, 0
        self.pending: _Candidate | None = None  # the best of those that overlap
        self.later: _Candidate | None = None  # the best that begins after it

    def feed(self, log_probs: np.ndarray) -> list[Hit]:
        """Return the hits that are known after further steps: log_probs (steps, num_tokens)."""
        hits = []
        for local in self._relative(log_probs):
            self._advance(local)
            hits += self._known()
            self._consider(np.exp(self.scores[self.ends] / self.counts), self.starts[self.ends], self.step - 1)
        return hits

    def finish(self) -> list[Hit]:
        """Return the hits that wait for the end of the stream, if there are any."""
        return self._flush() + self._flush()

    def best_scores(self, log_probs: np.ndarray) -> np.ndarray:
        """Return the best score (phrases,) of each phrase in the next steps, whatever overlaps."""
        best = np.zeros(len(self.phrases))
        for local in self._relative(log_probs):
            self._advance(local)
            best = np.maximum(best, np.exp(self.scores[self.ends] / self.counts))
        return best

    def _relative(self, log_probs: np.ndarray) -> np.ndarray:
        """Log probabilities of the states (steps, states), relative to the best token of each step."""
        relative = np.asarray(log_probs, dtype=np.float64)
        return (relative - relative.max(axis=1, keepdims=True))[:, self.symbols]

    def _advance(self, local: np.ndarray) -> None:
        """Go one step on: local (states,) are the log probabilities of the states relative to the best token."""
        best, starts = self.scores, self.starts
        for back, allowed in ((1, None), (2, self.skips)):
            before, before_starts = np.full_like(best, -np.inf), np.zeros_like(starts)
            before[back:], before_starts[back:] = self.scores[:-back], self.starts[:-back]
            if allowed is None:
                before[self.first] = -np.inf
            else:
                before[~allowed] = -np.inf
            better = before > best
            best, starts = np.where(better, before, best), np.where(better, before_starts, starts)
        # A path begins at any step, and a later beginning is not better than an equal earlier one.
        begins = best[self.first] < 0
        best[self.first], starts[self.first] = 0.0, np.where(begins, self.step, starts[self.first])
        best = best + local
        best[self.step - starts >= self.limits] = -np.inf
        self.scores, self.starts = best, starts
        self.step += 1

    def _known(self) -> list[Hit]:
        """The hits for which no better one can follow any more."""
        hits: list[Hit] = []
        while self.pending is not None and self.step - 1 - self.pending.last > self.debounce_steps:
            hits += self._flush()
        return hits

    def _consider(self, scores: np.ndarray, firsts: np.ndarray, last: int) -> None:
        """Take candidates with scores (phrases,) from the steps firsts (phrases,) to the step last."""
        possible = (scores >= self.thresholds) & (scores > 0) & (firsts >= self.free_from)
        if possible.any():
            after = firsts > self.pending.last if self.pending is not None else np.zeros(len(firsts), bool)
            before, self.pending = self.pending, self._better(self.pending, scores, firsts, last, possible & ~after)
            if self.pending is not before and self.later is not None and self.pending is not None:
                self.later = self.later if self.later.first > self.pending.last else None
            if self.pending is not None:  # of this step, too
                after &= firsts > self.pending.last
            self.later = self._better(self.later, scores, firsts, last, possible & after)

    def _better(
        self, known: _Candidate | None, scores: np.ndarray, firsts: np.ndarray, last: int, possible: np.ndarray
    ) -> _Candidate | None:
        """The known candidate, or a possible one that ends at the step last and has a higher score."""
        if not possible.any():
            return known
        number = int(np.argmax(np.where(possible, scores, -1.0)))
        if known is not None and scores[number] <= known.score:
            return known
        return _Candidate(number, float(scores[number]), int(firsts[number]), last)

    def _flush(self) -> list[Hit]:
        if self.pending is None:
            return []
        number, score, first, last = self.pending
        self.pending, self.later, self.free_from = self.later, None, last + 1
        start, end = first * self.step_seconds, (last + 1) * self.step_seconds
        return [Hit(self.phrases[number].text, score, round(start, 3), round(end, 3))]
