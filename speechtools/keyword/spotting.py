"""Find phrases in recordings and streams, by any form of a keyword detector. Without torch."""

import abc
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from speechtools.audio.io import decode
from speechtools.audio.recordings import open_source
from speechtools.audio.sources import Channel, Recording
from speechtools.audio.streams import Blocks, OffsetFilter
from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError
from speechtools.keyword.confusion_search import ConfusionSearch
from speechtools.keyword.confusions import Confusions
from speechtools.keyword.search import Hit, Phrase, PhraseSearch

#: Fewer letters are heard everywhere.
MIN_LETTERS = 3
#: Silence after the end of a stream (s).
_FLUSH_SECONDS = 0.3
#: Longest block that is computed at once (s).
_BLOCK_SECONDS = 10.0


class KeywordSpotter(abc.ABC):
    """Finds phrases; a base of :class:`~speechtools.inference.KeywordDetector` in torch and in ONNX form.

    Attributes
    ----------
    sample_rate : int
        In Hz.
    tokens : SentencePieceTokens
    threshold : float
        Least score of a hit.
    confusions : Confusions or None
        How tokens are misheard, if the detector knows it.
    step_seconds : float
        Seconds from one step of the log probabilities to the next.
    win_length, hop_length : int
        Of the features, in samples.
    block_frames : int
        The network takes a multiple of so many frames.
    """

    sample_rate: int
    tokens: Any
    threshold: float
    confusions: Confusions | None = None
    win_length: int
    hop_length: int
    block_frames: int = 1

    @property
    @abc.abstractmethod
    def step_seconds(self) -> float:
        """Seconds from one step of the log probabilities to the next."""

    @abc.abstractmethod
    def begin(self) -> Any:
        """The state at the beginning of a recording."""

    @abc.abstractmethod
    def listen(self, samples: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Log probabilities (steps, num_tokens) of the next samples (samples,), whole frames, and the next state."""

    def all_log_probs(
        self, path: Recording, *, sample_rate: float | None = None, channel: Channel = "mix"
    ) -> np.ndarray:
        """Log probabilities (steps, num_tokens) that :meth:`spot_file` searches, with 0.3 s of silence."""
        listener = Listener(self)
        source = open_source(path, self.sample_rate, sample_rate, channel)
        parts = [part for segment in decode(source, self.sample_rate) for part in listener.feed(segment)]
        parts += listener.silence(_FLUSH_SECONDS)
        return np.concatenate(parts) if parts else np.zeros((0, len(self.tokens)), dtype=np.float32)

    def transcribe(self, path: Recording, *, sample_rate: float | None = None, channel: Channel = "mix") -> str:
        """Return the most likely tokens of a recording as a text: what a detector hears, without a language model."""
        best = self.all_log_probs(path, sample_rate=sample_rate, channel=channel).argmax(axis=1)
        changes = best[np.concatenate([[True], best[1:] != best[:-1]])] if len(best) else best
        return str(self.tokens.decode([int(token) for token in changes if token]))

    def onnx_results(self, recordings: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Results that are compared between torch and ONNX: log probabilities, as probabilities."""
        return [np.exp(self.all_log_probs(samples)) for samples in recordings]

    def phrases(self, keywords: Sequence[str] | str, threshold: float | None = None) -> list[Phrase]:
        """Return the phrases of keywords, each of which may have a threshold of its own, as in ``"ok google:0.6"``.

        Raises
        ------
        ConfigError
            There is no keyword, one is empty, too short, occurs twice or has characters that the token model lacks, or
            a threshold is not between 0 and 1.
        """
        texts = [keywords] if isinstance(keywords, str) else list(keywords)
        if not texts:
            raise ConfigError('No keyword to search for. Pass at least one, such as "ok google".')
        if threshold is not None:
            check_number("threshold", threshold, 0, 1)
        found: dict[tuple[int, ...], Phrase] = {}
        for text in texts:
            phrase = self._phrase(text, self.threshold if threshold is None else threshold)
            if (tokens := tuple(phrase.tokens)) in found:
                raise ConfigError(f"The keywords {found[tokens].text!r} and {phrase.text!r} are the same. Remove one.")
            found[tokens] = phrase
        return list(found.values())

    def _phrase(self, text: str, threshold: float) -> Phrase:
        if not isinstance(text, str):
            raise ConfigError(f"The keyword {text!r} is not a text. Write it in quotation marks.")
        if own := re.fullmatch(r"(.*):\s*(\S*)\s*", text):
            text = own[1]
            try:
                threshold = float(own[2])
            except ValueError:
                raise ConfigError(f"The threshold {own[2]!r} of the keyword {text!r} is not a number.") from None
            if not 0 <= threshold <= 1:
                raise ConfigError(f"The threshold {threshold:g} of the keyword {text!r} is not between 0 and 1.")
        text = text.strip()
        letters = sum(character.isalnum() for character in text)
        if letters < MIN_LETTERS:
            raise ConfigError(
                f"The keyword {text!r} has fewer than {MIN_LETTERS} letters, and would be heard in any "
                "speech. Use a longer one, best of 6 letters or more."
            )
        return Phrase(text, self.tokens.encode(text), threshold)

    def search(self, phrases: Sequence[Phrase], debounce: float = 0.5) -> PhraseSearch:
        """Begin a search for phrases in log probabilities; hits wait ``debounce`` seconds for better ones."""
        if self.confusions is None:
            return PhraseSearch(phrases, self.step_seconds, debounce)
        return ConfusionSearch(phrases, self.step_seconds, self.confusions, debounce)

    def stream(
        self,
        keywords: Sequence[str] | str,
        sample_rate: float | None = None,
        threshold: float | None = None,
        debounce: float = 0.5,
    ) -> "KeywordStream":
        """Begin a stream, which takes blocks of samples.

        Parameters
        ----------
        keywords : sequence of str
            English phrases, each with a threshold of its own or without, as in ``"ok google:0.6"``.
        sample_rate : float, optional
            Of the blocks, in Hz. Default: that of the model.
        threshold : float, optional
            Least score of a hit, from 0, which gives every candidate, to 1. Default: that of the model.
        debounce : float
            Seconds that a hit waits for a better one.

        Raises
        ------
        ConfigError
            As in :meth:`phrases`, or the rate is out of range.
        """
        return KeywordStream(self, self.phrases(keywords, threshold), sample_rate, debounce)

    def spot(
        self,
        samples: Recording,
        keywords: Sequence[str] | str,
        *,
        sample_rate: float | None = None,
        threshold: float | None = None,
        debounce: float = 0.5,
        channel: Channel = "mix",
    ) -> list[Hit]:
        """Find phrases in samples; see :meth:`spot_file`, which takes them, too."""
        return self.spot_file(
            samples, keywords, sample_rate=sample_rate, threshold=threshold, debounce=debounce, channel=channel
        )

    def spot_file(
        self,
        path: Recording,
        keywords: Sequence[str] | str,
        *,
        sample_rate: float | None = None,
        threshold: float | None = None,
        debounce: float = 0.5,
        channel: Channel = "mix",
    ) -> list[Hit]:
        """Find phrases in a recording of any sample rate, number of channels, format and length, in bounded memory.

        Parameters
        ----------
        path : str, bytes, PathLike, BinaryIO, np.ndarray or Tensor
            A path, an open binary file, the bytes of a file, or samples: floats in [-1, 1] or signed integers,
            (samples,) or (channels, samples).
        keywords, threshold, debounce
            As in :meth:`stream`.
        sample_rate : float, optional
            Rate of samples in Hz, from which they are resampled. Default: that of the model. Files state their own.
        channel : int or "mix"
            A channel, counted from 0, or the mean of all.

        Returns
        -------
        list of Hit
            In the order of time.

        Raises
        ------
        ConfigError
            As in :meth:`phrases`.
        AudioError
            The recording is missing, not audio or truncated, or lacks the channel.
        """
        stream = self.stream(keywords, self.sample_rate, threshold, debounce)
        source, hits = open_source(path, self.sample_rate, sample_rate, channel), []
        for segment in decode(source, self.sample_rate):
            hits += stream.feed(segment)
        return hits + stream.finish()


class Listener:
    """From blocks of samples to log probabilities: what is kept between blocks."""

    def __init__(self, model: KeywordSpotter):
        self.model, self.without_offset = model, OffsetFilter()
        self.samples = np.zeros(0, dtype=np.float32)
        self.state: Any = model.begin()

    def feed(self, samples: np.ndarray) -> Iterator[np.ndarray]:
        """Yield the log probabilities (steps, num_tokens) of further samples (samples,)."""
        size = round(_BLOCK_SECONDS * self.model.sample_rate)
        for first in range(0, len(samples), size):
            yield self._steps(self.without_offset(samples[first : first + size]))

    def silence(self, seconds: float) -> Iterator[np.ndarray]:
        """Yield the log probabilities of silence after the last samples."""
        if self.without_offset.state is not None:
            yield self._steps(np.zeros(round(seconds * self.model.sample_rate), dtype=np.float32))

    def _steps(self, samples: np.ndarray) -> np.ndarray:
        model = self.model
        self.samples = np.concatenate([self.samples, samples])
        frames = (len(self.samples) - model.win_length) // model.hop_length + 1
        frames -= frames % model.block_frames
        if frames < 1:
            return np.zeros((0, len(model.tokens)), dtype=np.float32)
        used = self.samples[: model.win_length + (frames - 1) * model.hop_length]
        log_probs, self.state = model.listen(used, self.state)
        self.samples = self.samples[frames * model.hop_length :]
        return log_probs


class KeywordStream:
    """A stream in which phrases are searched for; :meth:`KeywordDetector.stream` begins one.

    The hits are those of the whole recording, however it is cut into blocks.

    Examples
    --------
    >>> stream = detector.stream(["ok google"], sample_rate=8000)  # doctest: +SKIP
    >>> stream.feed(block) + stream.finish()  # doctest: +SKIP
    []
    """

    def __init__(
        self, model: KeywordSpotter, phrases: Sequence[Phrase], sample_rate: float | None = None, debounce: float = 0.5
    ):
        self.blocks, self.listener = Blocks(model.sample_rate, sample_rate), Listener(model)
        self.search = model.search(phrases, debounce)

    def feed(self, block: Recording) -> list[Hit]:
        """Return the hits that are known after a further block of samples.

        Parameters
        ----------
        block : np.ndarray or Tensor
            Any number of samples, (samples,) or (channels, samples), floats in [-1, 1] or signed integers.

        Raises
        ------
        AudioError
            The block has another shape or type, or contains NaN or infinite samples; or the stream is finished.
        """
        return self._search(self.blocks.take(block))

    def finish(self) -> list[Hit]:
        """End the stream, and return the hits that were still waiting."""
        if self.blocks.is_finished:
            return []
        hits = self._search(self.blocks.finish())
        # A network may emit the last tokens a little after they were spoken.
        hits += [hit for part in self.listener.silence(_FLUSH_SECONDS) for hit in self.search.feed(part)]
        return hits + self.search.finish()

    def _search(self, samples: np.ndarray) -> list[Hit]:
        return [hit for part in self.listener.feed(samples) for hit in self.search.feed(part)]
