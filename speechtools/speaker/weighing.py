"""Windows of d-vectors weighed by the quality of the speech under them.

A model of quality, such as Quality-Net, scores the frames of a recording. The quality q of a window is the mean over
its frames of speech; pauses do not count. A window has the weight exp(q / spread), and 0 if q is below ``limit``,
unless all windows are. Only the differences of q matter, so windows of equal quality have equal weights.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from speechtools.audio.sources import Channel, Recording
from speechtools.core.checks import check_number
from speechtools.core.errors import AudioError, ConfigError
from speechtools.speaker.starts import window_starts

#: Defaults on the scale of the bundled Quality-Net, chosen by benchmarks/weighing.py.
SCALE, LIMIT, SPREAD = "raw_nb", 1.0, 2.0


class QualityModel(Protocol):
    """What scores the frames of a recording, such as :class:`~speechtools.inference.QualityNet`."""

    def assess_file(self, path: Recording, *, sample_rate: float | None = None, channel: Channel = "mix") -> Any:
        """Return a report with ``frame_scores`` and ``times`` (time,), ``scale`` and ``higher_is_better``."""


@dataclass(frozen=True)
class Usable:
    """How much of the speech in a recording is good enough.

    Attributes
    ----------
    usable_seconds : float
        Speech in windows whose quality reaches the limit.
    speech_seconds : float
        All speech.

    Examples
    --------
    >>> print(Usable(2.13, 9.8))
    2.1 of 9.8 s usable
    """

    usable_seconds: float
    speech_seconds: float

    def __str__(self) -> str:
        return f"{self.usable_seconds:.1f} of {self.speech_seconds:.1f} s usable"

    @property
    def share(self) -> float:
        """The usable share of the speech, in [0, 1]."""
        return self.usable_seconds / self.speech_seconds if self.speech_seconds else 0.0

    @classmethod
    def total(cls, parts: Iterable["Usable"]) -> "Usable":
        """Add up what is usable in several recordings.

        >>> print(Usable.total([Usable(2.0, 4.0), Usable(0.0, 3.0)]))
        2.0 of 7.0 s usable
        """
        parts = list(parts)
        return cls(sum(part.usable_seconds for part in parts), sum(part.speech_seconds for part in parts))


@dataclass(frozen=True)
class QualityWeights:
    """The weights of windows by the scores of a model of quality.

    Attributes
    ----------
    model : QualityModel
        Scores each recording once.
    limit : float, optional
        Speech of worse scores is not usable. Default: 1, on the scale ``raw_nb``.
    spread : float, optional
        Difference of scores that divides a weight by e. Default: 2, on the scale ``raw_nb``.

    Raises
    ------
    ConfigError
        The object scores no recordings, or a number is out of range.

    Examples
    --------
    >>> import speechtools
    >>> from speechtools.inference import QualityNet
    >>> net = QualityNet.from_hparams()
    >>> QualityWeights(net).margins(net.assess_file(speechtools.SAMPLE), np.array([0.5, 1.0])).shape
    (2,)
    """

    model: QualityModel
    limit: float | None = None
    spread: float | None = None

    def __post_init__(self) -> None:
        if not callable(getattr(self.model, "assess_file", None)):
            kind = type(self.model).__name__
            raise ConfigError(f"A {kind} does not score recordings. Pass a model such as QualityNet.from_hparams().")
        if self.limit is not None:
            check_number("limit", self.limit)
        if self.spread is not None:
            check_number("spread", self.spread, 0, above=True)

    def of_windows(
        self,
        report: Any,
        times: Sequence[np.ndarray],
        seconds: Sequence[float],
        window_frames: int,
        hop_frames: int,
    ) -> tuple[np.ndarray, Usable]:
        """The margins (windows,) of the sliding windows over a recording's speech, and how much of it is usable.

        The margin of a window is the mean of those of its frames; it is usable if its margin is not negative.

        Parameters
        ----------
        report : QualityReport
            What the model returned for the recording.
        times : sequence of np.ndarray
            Times (frames,) of the frames of speech in each chunk of the recording, in seconds.
        seconds : sequence of float
            Speech in each chunk.
        window_frames, hop_frames : int
            As in :func:`~speechtools.speaker.dvectors.window_starts`.

        Raises
        ------
        ConfigError
            The scale is not ``raw_nb``, and ``limit`` or ``spread`` is not set.
        """
        parts, usable_seconds = [], 0.0
        for of_chunk, duration in zip(times, seconds, strict=True):
            starts = window_starts(len(of_chunk), window_frames, hop_frames)
            margins = window_margins(self.margins(report, of_chunk), starts, window_frames)
            usable_seconds += duration * usable_share(margins, starts, window_frames, len(of_chunk))
            parts.append(margins)
        return np.concatenate(parts), Usable(usable_seconds, sum(seconds))

    def margins(self, report: Any, times: np.ndarray) -> np.ndarray:
        """By how many spreads the quality exceeds the limit at some times of a recording.

        Parameters
        ----------
        report : QualityReport
            What the model returned for the recording.
        times : np.ndarray
            (frames,), in seconds.

        Returns
        -------
        np.ndarray
            (frames,): of the frame of the report that is nearest.

        Raises
        ------
        ConfigError
            The scale is not ``raw_nb``, and ``limit`` or ``spread`` is not set.
        """
        limit, spread = self._parameters(report.scale)
        edges = (report.times[1:] + report.times[:-1]) / 2
        scores = np.asarray(report.frame_scores, dtype=np.float64)[np.searchsorted(edges, times)]
        return (scores - limit if report.higher_is_better else limit - scores) / spread

    def _parameters(self, scale: str) -> tuple[float, float]:
        if self.limit is not None and self.spread is not None:
            return self.limit, self.spread
        if scale != SCALE:
            raise ConfigError(
                f"Which speech is usable on the scale {scale} is not known. Use a model of the scale {SCALE}, or pass "
                "limit=… and spread=… in Python."
            )
        return LIMIT if self.limit is None else self.limit, SPREAD if self.spread is None else self.spread


def speech_quality(model: QualityModel, speech: Recording, sample_rate: int) -> float | None:
    """The quality of speech (samples,) without pauses: the mean score of its frames; None if it cannot be scored.

    It is lower than that of the recording: cuts and missing pauses count, too.
    """
    try:
        return float(np.mean(model.assess_file(speech, sample_rate=sample_rate).frame_scores))
    except AudioError:  # silent, or too short for the model
        return None


def window_margins(margins: np.ndarray, starts: Sequence[int], window_frames: int) -> np.ndarray:
    """The means of the margins (frames,) over windows: (windows,).

    >>> window_margins(np.array([0.0, 1.0, 2.0, 3.0, 4.0]), [0, 2, 3], 2).tolist()
    [0.5, 2.5, 3.5]
    """
    sums = np.concatenate([[0.0], np.cumsum(margins)])
    firsts = np.asarray(starts)
    ends = np.minimum(firsts + window_frames, len(margins))
    return (sums[ends] - sums[firsts]) / (ends - firsts)


def usable_share(margins: np.ndarray, starts: Sequence[int], window_frames: int, num_frames: int) -> float:
    """The share of the frames that are in a window whose margin (windows,) is not negative.

    >>> usable_share(np.array([0.5, -1.0, -1.0]), [0, 1, 2], 2, 4)
    0.5
    """
    is_usable = np.zeros(num_frames, dtype=bool)
    for margin, start in zip(margins, starts, strict=True):
        is_usable[start : start + window_frames] |= margin >= 0
    return float(is_usable.mean())


def weights_of(margins: np.ndarray) -> np.ndarray:
    """The weights (windows,) of windows with margins (windows,): 1 for the best.

    >>> weights_of(np.array([1.0, 1.0, 0.0, -1.0])).round(2).tolist()
    [1.0, 1.0, 0.37, 0.0]
    >>> weights_of(np.array([-2.0, -1.0])).round(2).tolist()  # none reaches the limit
    [0.37, 1.0]
    """
    weights = np.exp(margins - margins.max())
    return np.where(margins < 0, 0.0, weights) if (margins >= 0).any() else weights


def recording_weights(margins: Sequence[np.ndarray]) -> np.ndarray:
    """The weights (recordings,) of recordings: the means of the weights of their windows, among all windows.

    >>> recording_weights([np.array([2.0, 2.0]), np.array([2.0, -1.0]), np.array([-3.0])]).tolist()
    [1.0, 0.5, 0.0]
    """
    weights = weights_of(np.concatenate(margins))
    return np.array([part.mean() for part in np.split(weights, np.cumsum([len(part) for part in margins])[:-1])])
