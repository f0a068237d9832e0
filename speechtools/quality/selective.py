"""Enhance only where a recording is bad: Quality-Net finds the stretches, and the enhancer replaces them."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from speechtools.audio.recordings import open_source
from speechtools.audio.sources import AudioSource, Channel, Recording
from speechtools.core.errors import ConfigError
from speechtools.core.runs import true_runs
from speechtools.core.spelling import did_you_mean
from speechtools.enhancement.inference import SpeechEnhancer
from speechtools.quality.inference import QualityNet, QualityReport
from speechtools.quality.regions import counted_frames, frame_edges, is_worse, smooth_causes

#: Stretches are extended by this on both sides, where they are cross-faded.
PADDING_SECONDS = 0.05
#: Shorter gaps between stretches are enhanced, too.
MIN_GAP_SECONDS = 0.3
#: Probability above which a cause is present.
_THRESHOLD = 0.5
_FORM = (
    "Write below=2.5, a cause such as noise, a cause with its probability such as 'noise>0.7', or several with commas"
)


@dataclass(frozen=True)
class Where:
    """Which stretches of a recording are bad: those that meet any of the conditions.

    Attributes
    ----------
    below : float, optional
        Frame scores, averaged over 0.25 s, that are worse.
    causes : dict
        Probabilities, smoothed as in :meth:`QualityReport.regions`, that are higher than a threshold, by cause.
    """

    below: float | None = None
    causes: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> "Where":
        """Read conditions such as ``below=2.5`` or ``noise>0.7,loss``.

        Raises
        ------
        ConfigError
            The text has another form.

        Examples
        --------
        >>> Where.parse("below=2.5"), Where.parse("noise>0.7, loss")
        (Where(below=2.5, causes={}), Where(below=None, causes={'noise': 0.7, 'loss': 0.5}))
        """
        below, causes = None, {}
        for condition in text.split(","):
            sign = next((sign for sign in ("=", ">") if sign in condition), "")
            name, _, value = condition.partition(sign) if sign else (condition, "", "")
            name = name.strip()
            try:
                number = float(value) if sign else _THRESHOLD
            except ValueError:
                raise ConfigError(
                    f"Invalid condition {condition.strip()!r}: {value!r} is not a number. {_FORM}."
                ) from None
            if name == "below" and sign == "=" and np.isfinite(number):
                below = number
            elif name and name != "below" and sign != "=" and 0 <= number < 1:
                causes[name] = number
            else:
                raise ConfigError(f"{condition.strip()!r} is not a condition. {_FORM}. Probabilities are below 1.")
        return cls(below, causes)

    def __str__(self) -> str:
        """The conditions as :meth:`parse` reads them.

        >>> str(Where.parse("noise>0.7,  loss, below=2.5"))
        'below=2.5,loss>0.5,noise>0.7'
        """
        below = [] if self.below is None else [f"below={self.below:g}"]
        return ",".join(below + [f"{cause}>{threshold:g}" for cause, threshold in sorted(self.causes.items())])

    def check(self, net: QualityNet) -> None:
        """Raise an error if a model does not know the causes, or has no such scores.

        Raises
        ------
        ConfigError
            A threshold is outside the scale, or the model does not predict a cause.
        """
        scale = net.measure
        if self.below is not None and scale is not None and not scale.minimum <= self.below <= scale.maximum:
            limits = f"{scale.minimum:g} to {scale.maximum:g}"
            raise ConfigError(
                f"below={self.below:g} is outside the scale {net.scale}, {limits}. Choose a score inside."
            )
        if not self.causes:
            return
        # What a model predicts shows in a report.
        noise = np.random.default_rng(0).uniform(-0.5, 0.5, net.sample_rate).astype(np.float32)
        known = net.assess_samples(noise).cause_names
        for cause in self.causes:
            if not known:
                raise ConfigError(f"The quality model does not predict causes such as {cause!r}. Use below=SCORE.")
            if cause not in known:
                raise ConfigError(
                    f"Unknown cause {cause!r}.{did_you_mean(cause, known)} The model knows {', '.join(known)}."
                )

    def stretches(self, report: QualityReport) -> list[tuple[float, float]]:
        """The stretches of a recording, start and end in seconds: padded by 50 ms, without short gaps between them.

        Examples
        --------
        >>> scores = np.repeat([4.0, 1.0, 4.0], 100)
        >>> report = QualityReport(3.0, scores, 0.01 * np.arange(300) + 0.005, 3.0, 0.01, "raw_nb")
        >>> [(round(start, 2), round(end, 2)) for start, end in Where(below=2.5).stretches(report)]
        [(0.95, 2.05)]
        """
        counts = counted_frames(report)
        is_bad = np.zeros(len(counts), dtype=bool)
        if self.below is not None:
            is_bad |= is_worse(report, self.below) & counts
        if self.causes and report.causes is not None:
            probabilities = smooth_causes(report.causes, report.cause_names, report.hop, counts)
            for cause, threshold in self.causes.items():
                is_bad |= probabilities[:, report.cause_names.index(cause)] > threshold
        edges = frame_edges(report.times, report.hop, report.duration)
        stretches: list[tuple[float, float]] = []
        for first, end in true_runs(is_bad):
            start = max(float(edges[first]) - PADDING_SECONDS, 0.0)
            stop = min(float(edges[end]) + PADDING_SECONDS, report.duration)
            if stretches and start - stretches[-1][1] < MIN_GAP_SECONDS:
                start = stretches.pop()[0]
            stretches.append((start, stop))
        return stretches


@dataclass(frozen=True)
class Enhanced:
    """A recording of which some stretches were enhanced.

    Attributes
    ----------
    stretches : list
        Start and end of each stretch in seconds.
    duration : float
        Length of the recording in seconds.
    samples : np.ndarray, optional
        (samples,) at the rate of the enhancer; None if they were written to a file.
    """

    stretches: list[tuple[float, float]]
    duration: float
    samples: np.ndarray | None = None

    @property
    def seconds(self) -> float:
        """Length of the stretches together."""
        return sum(end - start for start, end in self.stretches)


class SelectiveEnhancer:
    """Enhance the bad stretches of recordings alone.

    Parameters
    ----------
    where : str or Where
        Such as ``below=2.5``, on the scale of the quality model, or ``noise>0.7``.
    enhancer, net
        Models. Default: the bundled ones.

    Raises
    ------
    ConfigError
        The condition has another form, a threshold is outside the scale, or the model does not predict a cause.
    """

    def __init__(self, where: str | Where, enhancer: SpeechEnhancer | None = None, net: QualityNet | None = None):
        self.where = where if isinstance(where, Where) else Where.parse(where)
        self.enhancer = SpeechEnhancer.from_hparams() if enhancer is None else enhancer
        self.net = QualityNet.from_hparams() if net is None else net
        self.where.check(self.net)

    def enhance_file(self, path: Recording, *, sample_rate: float | None = None, channel: Channel = "mix") -> Enhanced:
        """Enhance a recording; the parameters and errors are those of :meth:`SpeechEnhancer.enhance_file`.

        Outside the stretches, the samples are those of the recording at the rate of the enhancer, bit by bit.
        """
        source = open_source(path, self.enhancer.sample_rate, sample_rate, channel)
        report = self.net.assess_file(source)
        stretches = self.where.stretches(report)
        samples = self.enhancer.enhance_stretches(source, to_end(stretches, report.duration))
        return Enhanced(stretches, report.duration, samples)

    def write(self, path: Recording, output: str | Path, *, channel: Channel = "mix", comment: str = "") -> Enhanced:
        """Enhance a recording of any length into a file (.wav, .flac) with a comment, in bounded memory.

        Raises
        ------
        AudioError, CorpusError
            As in :meth:`SpeechEnhancer.write_stretches`.
        """
        source: AudioSource = open_source(path, self.enhancer.sample_rate, None, channel)
        report = self.net.assess_file(source)
        stretches = self.where.stretches(report)
        self.enhancer.write_stretches(source, output, to_end(stretches, report.duration), comment=comment)
        return Enhanced(stretches, report.duration)


def to_end(stretches: list[tuple[float, float]], duration: float) -> list[tuple[float, float]]:
    """Let the last stretch end at infinity if it reaches the end of a recording, where nothing is faded.

    Examples
    --------
    >>> to_end([(0.5, 1.0), (1.5, 2.0)], 2.0)
    [(0.5, 1.0), (1.5, inf)]
    """
    return [(start, math.inf if end >= duration else end) for start, end in stretches]
