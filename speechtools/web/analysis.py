"""What the page and the endpoint compute, without any web framework."""

import csv
import io
import json
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from speechtools.audio.io import decode
from speechtools.audio.recordings import open_source
from speechtools.audio.sources import Recording
from speechtools.core.errors import AudioError
from speechtools.inference import (
    QualityNet,
    QualityReport,
    SpeakerDiarization,
    SpeakerVerification,
    SpeechEnhancer,
)
from speechtools.quality.regions import CauseRegion


class Limits(NamedTuple):
    """What a server accepts.

    Attributes
    ----------
    megabytes : float
        Of an upload.
    seconds : float
        Of a recording.
    users : int
        Recordings that are computed at the same time; the others wait.
    """

    megabytes: float = 50.0
    seconds: float = 600.0
    users: int = 2

    @property
    def num_bytes(self) -> int:
        """Of an upload."""
        return round(self.megabytes * 2**20)


class Models:
    """The models of a server, each loaded when it is first needed.

    Parameters
    ----------
    limits : Limits
    quality, speaker, enhancer : str, optional
        As ``source`` of :meth:`~speechtools.inference.PretrainedModel.from_hparams`.
    """

    def __init__(
        self, limits: Limits, quality: str | None = None, speaker: str | None = None, enhancer: str | None = None
    ):
        self.limits, self._sources = limits, {"quality": quality, "speaker": speaker, "enhancer": enhancer}
        self._turns, self._lock = threading.BoundedSemaphore(limits.users), threading.RLock()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until fewer than ``limits.users`` recordings are computed."""
        with self._turns:
            yield

    @cached_property
    def quality(self) -> QualityNet:
        """The model of quality."""
        return self._load(QualityNet, "quality")

    @cached_property
    def enhancer(self) -> SpeechEnhancer:
        """The enhancer."""
        return self._load(SpeechEnhancer, "enhancer")

    @cached_property
    def _verifier(self) -> SpeakerVerification:
        return self._load(SpeakerVerification, "speaker")

    @cached_property
    def diarization(self) -> SpeakerDiarization:
        """The diarization."""
        return self._load(SpeakerDiarization, "speaker")

    def _load(self, interface: Any, name: str) -> Any:
        with self._lock:
            return interface.from_hparams(self._sources[name])

    def verifier(self) -> SpeakerVerification:
        """The speaker verification, without voices: one for each user, with the same weights."""
        return self._verifier.without_voices()

    def read(self, recording: Recording, sample_rate: int) -> np.ndarray:
        """Decode a recording: (samples,).

        Raises
        ------
        AudioError
            It cannot be read, or is longer than the limit.
        """
        source, parts, count = open_source(recording, sample_rate), [], 0
        for part in decode(source, sample_rate):
            parts.append(part)
            count += len(part)
            if count > self.limits.seconds * sample_rate:
                raise AudioError(
                    f"{source.name} is longer than {self.limits.seconds:g} s, the limit of this server. Cut it, or "
                    "score it with the command line: speechtools score."
                )
        return np.concatenate(parts)


class Scored(NamedTuple):
    """A recording that was scored.

    Attributes
    ----------
    name : str
    samples : np.ndarray
        (samples,) at the rate of the model.
    report : QualityReport
    regions : list of CauseRegion
        In time order, those that cost something.
    """

    name: str
    samples: np.ndarray
    report: QualityReport
    regions: list[CauseRegion]


def score(models: Models, recording: Recording, name: str = "") -> Scored:
    """Score a recording.

    Raises
    ------
    AudioError
        It cannot be read, is too long, too short or silent.
    """
    name = name or (Path(recording).name if isinstance(recording, str | Path) else "the upload")
    with models.turn():
        samples = models.read(recording, models.quality.sample_rate)
        report = models.quality.assess_samples(samples)
    known = models.quality.measure is not None
    return Scored(name, samples, report, report.regions(min_cost=0.02) if known else [])


def as_dict(scored: Scored) -> dict[str, Any]:
    """What was found, for JSON."""
    report = scored.report
    found: dict[str, Any] = {
        "file": scored.name,
        "score": round(report.score, 4),
        "scale": report.scale,
        "seconds": round(report.duration, 3),
        "measures": {name: round(value, 4) for name, value in report.measures.items()},
        "regions": [
            {
                "start": round(region.start, 3),
                "end": round(region.end, 3),
                "score": round(region.score, 4),
                "cost": round(region.cost, 4),
                "causes": list(region.causes),
            }
            for region in scored.regions
        ],
        "times": [round(float(time), 4) for time in report.times],
        "frame_scores": [round(float(value), 4) for value in report.frame_scores],
    }
    if report.causes is not None:
        found["causes"] = {
            name: [round(float(value), 3) for value in report.causes[:, column]]
            for column, name in enumerate(report.cause_names)
        }
    return found


def region_table(scored: Scored) -> str:
    """The regions as CSV."""
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["file", "start", "end", "score", "cost", "causes"])
    for region in scored.regions:
        numbers = [f"{value:.3f}" for value in (region.start, region.end, region.score, region.cost)]
        writer.writerow([scored.name, *numbers, " ".join(region.causes)])
    return table.getvalue()


def region_label(region: CauseRegion) -> str:
    """A region in a few words.

    >>> region_label(CauseRegion(3.2, 4.1, 1.5, 0.31, ("clipping",)))
    '3.2 to 4.1 s: clipping, costs 0.31'
    """
    causes = ", ".join(region.causes) or "no known cause"
    return f"{region.start:.1f} to {region.end:.1f} s: {causes}, costs {region.cost:.2f}"


def summary(models: Models, scored: Scored) -> str:
    """The score in words."""
    report, measure = scored.report, models.quality.measure
    words = f"{report.score:.2f}"
    if measure is not None:
        low, high = sorted([measure.minimum, measure.maximum], reverse=not measure.higher_is_better)
        words += f" on the scale from {low:.1f} (bad) to {high:.1f}: {measure.description}"
    further = "".join(f"; {name} {value:.2f}" for name, value in report.measures.items())
    return f"{words}, {report.duration:.1f} s{further}"


def new_file(folder: Path, name: str, content: str | bytes | dict) -> str:
    """Write a file in a folder of its own, so that names may repeat; return its path."""
    path = Path(tempfile.mkdtemp(dir=folder)) / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(json.dumps(content) if isinstance(content, dict) else content, encoding="utf-8")
    return str(path)
