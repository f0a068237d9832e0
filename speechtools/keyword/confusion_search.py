"""Search for phrases by a detector whose confusions were counted: the sum of two scores.

The first is the logarithm of the score of :mod:`speechtools.keyword.search`. The second compares the best alignment of
the last events with the tokens y_1 … y_N of a phrase, by the model of :mod:`speechtools.keyword.confusions`, with the
events of any speech::

    llr = (1 / N) · max (Σ log P(edit) - Σ log P0(x_j | x_j-1))
    log P0(x_j | x_j-1) = ½ log Σ_h q_j(h) u(h) + ½ log Σ_h q_j(h) u(h | the most likely token of x_j-1)

over all alignments that begin with any event and end with the last one, where u are the frequencies of events in any
speech. The score of a phrase is ``1 / (1 + exp(-(log score + llr)))``.
"""

import math
from collections.abc import Iterator, Sequence

import numpy as np

from speechtools.keyword.confusions import Confusions, Event, EventReader
from speechtools.keyword.search import Hit, Phrase, PhraseSearch
from speechtools.keyword.tokens import BLANK

#: A phrase lasts at most so many seconds, and so many more for each of its tokens.
_SECONDS, _SECONDS_PER_TOKEN = 0.4, 0.13
_TINY = 1e-30


class ConfusionSearch(PhraseSearch):
    """Finds phrases in a stream of log probabilities, and knows how their tokens are misheard.

    Parameters
    ----------
    phrases : sequence of Phrase
    step_seconds : float
        Seconds of a step.
    confusions : Confusions
    debounce : float
        Seconds that a candidate waits for a better one that overlaps.
    """

    def __init__(self, phrases: Sequence[Phrase], step_seconds: float, confusions: Confusions, debounce: float = 0.5):
        super().__init__(phrases, step_seconds, debounce)
        self.confusions, self.reader = confusions, EventReader()
        length = int(self.counts.max())
        self.tokens = np.zeros((len(phrases), length), int)
        for row, phrase in zip(self.tokens, phrases, strict=True):
            row[: len(phrase.tokens)] = phrase.tokens
        places = np.arange(length + 1)
        present = places[:-1] < self.counts[:, None]
        # (phrases, length)
        go_on, left_out = 1 - confusions.addition, confusions.left_out[self.tokens]
        self.log_present = np.log(go_on * (1 - left_out) + _TINY)
        left = np.where(present, np.log(go_on * left_out + _TINY), -np.inf)
        self.without = np.concatenate([np.zeros((len(phrases), 1)), np.cumsum(left, axis=1)], axis=1)
        # (phrases, length + 1): log probability that all tokens up to a place are left out
        self.inside = (places > 0) & (places < self.counts[:, None])
        self.most = np.ceil((_SECONDS + _SECONDS_PER_TOKEN * self.counts[:, None]) / step_seconds)
        # (phrases, 1): steps
        self.ratios = np.full((len(phrases), length + 1), -np.inf)
        self.begins = np.zeros((len(phrases), length + 1), int)
        self.before = BLANK  # the token of the last event
        self.recent: list[np.ndarray] = []  # log scores (phrases,) of the path search, the last one first

    def feed(self, log_probs: np.ndarray) -> list[Hit]:
        """Return the hits that are known after further steps: log_probs (steps, num_tokens)."""
        hits = []
        for event in self._events(log_probs):
            hits += self._known()
            if event is not None:
                self._consider(*self._hear(event), event.last)
        return hits

    def finish(self) -> list[Hit]:
        """Return the hits that wait for the end of the stream, if there are any."""
        if (event := self.reader.finish()) is not None:
            self._consider(*self._hear(event), event.last)
        return super().finish()

    def best_scores(self, log_probs: np.ndarray) -> np.ndarray:
        """Return the best score (phrases,) of each phrase in the next steps, whatever overlaps.

        An event counts when a step after it has ended it.
        """
        best = np.zeros(len(self.phrases))
        for event in self._events(log_probs):
            if event is not None:
                best = np.maximum(best, self._hear(event)[0])
        return best

    def _events(self, log_probs: np.ndarray) -> Iterator[Event | None]:
        """Go on step by step, and yield the event that each step has ended, or None."""
        most = int(self.most.max()) + 1
        for step, local in zip(log_probs, self._relative(log_probs), strict=True):
            self._advance(local)
            self.recent = [self.scores[self.ends] / self.counts, *self.recent[:most]]
            yield self.reader.take(step)

    def _hear(self, event: Event) -> tuple[np.ndarray, np.ndarray]:
        """Scores (phrases,) of candidates that end with an event, and their first steps (phrases,)."""
        ratios, firsts = self._align(event)
        paths = np.maximum.accumulate(np.stack(self.recent))
        # (steps, phrases): the best since so many steps ago
        ago = np.clip(self.step - 1 - firsts, 0, len(paths) - 1)
        sums = ratios + paths[ago, np.arange(len(ratios))]
        return np.exp(-np.logaddexp(0.0, -sums)), firsts

    def _align(self, event: Event) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihood ratios (phrases,) for each token, and first steps (phrases,), of alignments that end here."""
        confusions, heard = self.confusions, event.probabilities
        any_speech = heard @ confusions.speech, heard @ confusions.pairs[self.before]
        null = sum(math.log(float(probability) + _TINY) for probability in any_speech) / 2
        self.before = int(heard.argmax())
        # An alignment begins with this event, or with tokens that are left out before it.
        begins_here = self.without > self.ratios
        ready = np.where(begins_here, self.without, self.ratios)
        firsts = np.where(begins_here, event.first, self.begins)
        ready[:, 0], firsts[:, 0] = 0.0, event.first
        add = math.log(float(confusions.addition) * (heard @ confusions.added) + _TINY) - null
        best, begins = np.where(self.inside, self.ratios + add, -np.inf), self.begins
        hear = np.log(confusions.heard @ heard + _TINY)[self.tokens] + self.log_present - null
        hear = np.concatenate([np.full((len(hear), 1), -np.inf), ready[:, :-1] + hear], axis=1)
        is_heard = hear > best
        best = np.where(is_heard, hear, best)
        begins = np.where(is_heard, np.roll(firsts, 1, axis=1), begins)
        best = np.where(event.last - begins >= self.most, -np.inf, best)
        # Tokens after this event are left out: the best of all places before, in one pass.
        with np.errstate(invalid="ignore"):
            relative = np.where(np.isfinite(self.without), best - self.without, -np.inf)
        running = np.maximum.accumulate(relative, axis=1)
        place = np.maximum.accumulate(np.where(relative == running, np.arange(best.shape[1]), 0), axis=1)
        self.ratios, self.begins = running + self.without, np.take_along_axis(begins, place, axis=1)
        ends = np.arange(len(self.counts)), self.counts
        return self.ratios[ends] / self.counts, self.begins[ends]
