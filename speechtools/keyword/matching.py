"""Who spoke a keyword in a stream: the detector passes the samples of the keyword, and no others, to the verification.

This is the order of the GE2E paper (section 3): the keyword is detected first, then its speaker is verified.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from speechtools.audio.io import decode
from speechtools.audio.recordings import open_source
from speechtools.audio.sources import Channel, Recording
from speechtools.audio.streams import Blocks
from speechtools.core.errors import AudioError, ConfigError
from speechtools.keyword.inference import KeywordDetector
from speechtools.keyword.search import Hit
from speechtools.speaker.verdicts import Match
from speechtools.speaker.verification import SpeakerVerification

#: Kept before and after a keyword (s) for an encoder of any text: the search knows its times to about a step.
_BEFORE, _AFTER = 0.2, 0.1


def keyword_samples(verifier: SpeakerVerification, hit: Hit, samples: np.ndarray, first: int = 0) -> np.ndarray:
    """Cut the samples of a keyword: for a model of keywords, so many as its segment has.

    Parameters
    ----------
    verifier : SpeakerVerification
    hit : Hit
    samples : np.ndarray
        (samples,) at the rate of the verifier.
    first : int
        Where they begin in the recording that the hit is from.

    Returns
    -------
    np.ndarray
        (samples,)
    """
    rate, segment, end = verifier.sample_rate, verifier.segment, round((hit.end + _AFTER) * verifier.sample_rate)
    if segment is None:
        start = round((hit.start - _BEFORE) * rate)
    else:
        end = max(min(end, first + len(samples)), first + segment.num_samples)
        start = end - segment.num_samples
    return samples[max(0, start - first) : max(0, end - first)]


def spoken_keyword(
    detector: KeywordDetector,
    verifier: SpeakerVerification,
    path: Recording,
    keyword: str,
    *,
    threshold: float | None = None,
    channel: Channel = "mix",
) -> np.ndarray:
    """Find a keyword in a recording, and return its samples, for an enrollment.

    Parameters
    ----------
    detector : KeywordDetector
    verifier : SpeakerVerification
    path : str, bytes, PathLike, BinaryIO, np.ndarray or Tensor
        The recording, as in :meth:`KeywordDetector.spot_file`; samples are those of the model's rate.
    keyword : str
        An English phrase, with a threshold of its own or without, as in ``"ok google:0.6"``.
    threshold : float, optional
        Least score. Default: that of the detector.
    channel : int or "mix"
        A channel, counted from 0, or the mean of all.

    Returns
    -------
    np.ndarray
        (samples,) of the hit with the highest score.

    Raises
    ------
    ConfigError
        As in :meth:`KeywordDetector.phrases`.
    AudioError
        The recording cannot be read, the keyword was not heard in it, or its voice cannot be used.
    """
    source = open_source(path, verifier.sample_rate, None, channel)
    samples = np.concatenate([np.zeros(0, dtype=np.float32), *decode(source, verifier.sample_rate)])
    hits = detector.spot(samples, [keyword], sample_rate=verifier.sample_rate, threshold=threshold)
    if not hits:
        phrase = detector.phrases([keyword], threshold)[0]
        raise AudioError(
            f"{phrase.text!r} was not heard in {source.name} (no score of {phrase.threshold:.2f} or more). Record it "
            "again, or lower the threshold."
        )
    found = keyword_samples(verifier, max(hits, key=lambda hit: hit.score), samples)
    try:
        verifier.encode_file_windows(found)
    except AudioError as error:
        raise AudioError(f"The keyword in {source.name} cannot be used: {error}") from error
    return found


class VoiceHit(NamedTuple):
    """A keyword that was heard, and its speaker.

    Attributes
    ----------
    hit : Hit
    match : Match or None
        The most similar enrolled voice, which is not accepted if the speaker is unknown; None if the voice could not be
        compared.
    reason : str
        Why it could not be compared.
    """

    hit: Hit
    match: Match | None
    reason: str = ""

    @property
    def speaker(self) -> str:
        """Name of the speaker, or ``unknown``."""
        return self.match.name if self.match is not None and self.match.accepted else "unknown"


class VoiceMatch:
    """Find keywords in a stream, and say which enrolled voice spoke each.

    Parameters
    ----------
    detector : KeywordDetector
    verifier : SpeakerVerification
        With enrolled voices. A model for keywords, or one for any text.
    keywords, threshold, debounce
        As in :meth:`KeywordDetector.stream`.
    voice_threshold : float, optional
        Accept a voice from this score on. Default: the verifier's threshold.
    sample_rate : float, optional
        Of the blocks, in Hz. Default: that of the models.

    Raises
    ------
    ConfigError
        The sample rates of the two models differ, no voice is enrolled, or as in :meth:`KeywordDetector.phrases`.
    """

    #: Seconds of the past that are kept, at least: a hit is known ``debounce`` after its end.
    MEMORY_SECONDS = 12.0

    def __init__(
        self,
        detector: KeywordDetector,
        verifier: SpeakerVerification,
        keywords: Sequence[str] | str,
        *,
        threshold: float | None = None,
        voice_threshold: float | None = None,
        debounce: float = 0.5,
        sample_rate: float | None = None,
    ):
        if detector.sample_rate != verifier.sample_rate:
            raise ConfigError(
                f"The detector hears {detector.sample_rate} Hz and the verification {verifier.sample_rate} Hz. Use "
                "models of one rate."
            )
        if not verifier.voices:
            raise ConfigError("No voice is enrolled. Call enroll, or load_voices.")
        self.verifier, self.rate, self.voice_threshold = verifier, detector.sample_rate, voice_threshold
        self.stream = detector.stream(keywords, None, threshold, debounce)
        self.blocks = Blocks(self.rate, sample_rate)
        self.memory, self.first = np.zeros(0, dtype=np.float32), 0
        longest = float(self.stream.search.limits.max()) * detector.step_seconds
        self.memory_seconds = max(self.MEMORY_SECONDS, longest + debounce + 1.5)  # with a part and what is around

    def feed(self, block: np.ndarray | Tensor) -> list[VoiceHit]:
        """Return the keywords that are known after a further block, with their speakers.

        Parameters
        ----------
        block : np.ndarray or Tensor
            Any number of samples, (samples,) or (channels, samples), floats in [-1, 1] or
            signed integers.

        Raises
        ------
        AudioError
            As in :meth:`KeywordStream.feed`.
        """
        return self._heard(self.blocks.take(block))

    def _heard(self, samples: np.ndarray) -> list[VoiceHit]:
        found, size = [], self.rate
        for start in range(0, len(samples), size):  # in parts, so that the memory is enough
            part = samples[start : start + size]
            self.memory = np.concatenate([self.memory, part])
            found += [self._matched(hit) for hit in self.stream.feed(part)]
            excess = max(0, len(self.memory) - round(self.memory_seconds * self.rate))
            self.memory, self.first = self.memory[excess:], self.first + excess
        return found

    def finish(self) -> list[VoiceHit]:
        """End the stream, and return the keywords that were still waiting, with their speakers."""
        if self.blocks.is_finished:
            return []
        found = self._heard(self.blocks.finish())
        return found + [self._matched(hit) for hit in self.stream.finish()]

    def _matched(self, hit: Hit) -> VoiceHit:
        try:
            samples = keyword_samples(self.verifier, hit, self.memory, self.first)
            matches = self.verifier.identify(samples, threshold=self.voice_threshold)
        except AudioError as error:  # such as too little speech: the keyword was heard all the same
            return VoiceHit(hit, None, str(error))
        return VoiceHit(hit, matches[0])
