"""Voices in a stream: d-vectors and verdicts of sliding windows, as soon as their last sample is there."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from torch import Tensor

from speechtools.audio.streams import Blocks
from speechtools.core.checks import check_number
from speechtools.core.errors import AudioError
from speechtools.speaker.windows import Embedded

if TYPE_CHECKING:
    from speechtools.speaker.inference import SpeakerEncoder


class WindowVoice(NamedTuple):
    """The voice in a window of a stream.

    Attributes
    ----------
    start, end : float
        Seconds from the beginning of the stream.
    dvector : Tensor or None
        (embedding_size,); None if the window has too little speech.
    result : Verdict, Match or None
        Whether it is the enrolled voice, or which of them is the most similar; None without a d-vector, and for an
        encoder, which decides nothing.
    reason : str
        Why there is no d-vector.
    """

    start: float
    end: float
    dvector: Tensor | None
    result: Any = None
    reason: str = ""

    def __repr__(self) -> str:
        known = self.reason if self.dvector is None else self.result
        return f"WindowVoice(start={self.start:.2f}, end={self.end:.2f}, {known!r})"


class VoiceStream:
    """Embeds the last seconds of a stream, again and again.

    :meth:`SpeakerVerification.stream <speechtools.inference.SpeakerVerification.stream>` begins one with decisions.

    Each window is treated as a recording of its own, so a d-vector is exactly that of these samples, however the stream
    is cut into blocks. Memory and time for a window do not depend on what came before.

    Parameters
    ----------
    encoder : SpeakerEncoder
    decide : callable, optional
        Returns results for an :class:`~speechtools.speaker.windows.Embedded`, of which the first counts.
    sample_rate : float, optional
        Of the blocks, in Hz. Default: that of the model.
    window, hop : float
        Seconds of a window, and from one to the next. The first windows are shorter: they begin with the stream.

    Raises
    ------
    ConfigError
        A number is out of range.
    """

    #: Longest window (s).
    MAX_SECONDS = 60.0

    def __init__(
        self,
        encoder: "SpeakerEncoder",
        decide: Callable[[Embedded], Sequence[Any]] | None = None,
        *,
        sample_rate: float | None = None,
        window: float = 3.0,
        hop: float = 0.5,
    ):
        check_number("window", window, encoder.MIN_SPEECH_SECONDS, self.MAX_SECONDS)
        check_number("hop", hop, 0.01, window)
        self.encoder, self.decide, self.rate = encoder, decide, encoder.sample_rate
        self.blocks = Blocks(self.rate, sample_rate)
        self.window_samples, self.hop_samples = round(window * self.rate), round(hop * self.rate)
        self.memory, self.end = np.zeros(0, dtype=np.float32), 0

    def feed(self, block: np.ndarray | Tensor) -> list[WindowVoice]:
        """Return the windows that end in a further block.

        Parameters
        ----------
        block : np.ndarray or Tensor
            Any number of samples, (samples,) or (channels, samples), floats in [-1, 1] or signed integers.

        Raises
        ------
        AudioError
            The block has another shape or type, or contains NaN or infinite samples; or the stream is finished.
        """
        return self._heard(self.blocks.take(block))

    def finish(self) -> list[WindowVoice]:
        """End the stream, and return its last window, if speech came after the one before."""
        if self.blocks.is_finished:
            return []
        found = self._heard(self.blocks.finish())
        return found + ([self._window()] if self.end % self.hop_samples else [])

    def _heard(self, samples: np.ndarray) -> list[WindowVoice]:
        found = []
        while len(samples):
            needed = self.hop_samples - self.end % self.hop_samples
            part, samples = samples[:needed], samples[needed:]
            self.memory = np.concatenate([self.memory, part])[-self.window_samples :]
            self.end += len(part)
            if len(part) == needed:
                found.append(self._window())
        return found

    def _window(self) -> WindowVoice:
        start, end = (self.end - len(self.memory)) / self.rate, self.end / self.rate
        try:
            embedded = self.encoder.encode_file_windows(self.memory).embedded()
        except AudioError as error:  # such as a pause: the stream goes on
            return WindowVoice(start, end, None, None, str(error))
        result = None if self.decide is None else self.decide(embedded)[0]
        return WindowVoice(start, end, embedded.dvector, result)
