"""The quality of a stream: scores, causes and regions as soon as they are known, in bounded memory."""

import dataclasses
import math
from collections import deque
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from speechtools.audio.streams import Blocks, OffsetFilter
from speechtools.core.errors import ConfigError
from speechtools.quality.regions import CauseRegion
from speechtools.quality.silence import MIN_SILENCE_SECONDS, SILENT_MAGNITUDE

if TYPE_CHECKING:
    from speechtools.quality.inference import QualityNet, QualityReport

#: A region is known when it ended so long ago (s): causes are smoothed, and shorter gaps filled.
SETTLING_SECONDS = 2.0
#: Longest region of a stream (s); after it, another one begins.
MAX_REGION_SECONDS = 60.0
#: Regions are looked for so often (s).
_CHECK_SECONDS = 0.5


class QualityUpdate(NamedTuple):
    """What became known with a block of a stream.

    Attributes
    ----------
    score : float
        The mean of all frame scores so far; NaN before the first.
    frame_scores : np.ndarray
        Scores of further frames, (time,); in digital silence, which does not count, NaN.
    times : np.ndarray
        Middles of these frames, in seconds from the beginning of the stream, (time,).
    causes : np.ndarray
        Probability of each cause in these frames, (time, causes); 0 in digital silence.
    regions : list of CauseRegion
        Regions that have ended, in time order. Their ``cost`` is how much worse they make ``score``.
    """

    score: float
    frame_scores: np.ndarray
    times: np.ndarray
    causes: np.ndarray
    regions: list[CauseRegion]


class QualityStream:
    """Scores a stream with a network that looks ahead by a few frames; :meth:`QualityNet.stream` begins one.

    The frame scores are those of the whole recording, however it is cut into blocks. Half a second of digital silence
    is left out, as in recordings.

    Parameters
    ----------
    model : QualityNet
        One whose network and features score streams, such as the bundled ``quality-net-live``.
    sample_rate : float, optional
        Of the blocks, in Hz. Default: that of the model.

    Raises
    ------
    ConfigError
        The model needs whole recordings.
    """

    def __init__(self, model: "QualityNet", sample_rate: float | None = None):
        self.model, self.features, self.network = model, model.features, model.mods.quality
        if not (hasattr(self.features, "stream") and hasattr(self.network, "stream")):
            raise ConfigError(
                "This model hears recordings as a whole. Stream with the bundled quality-net-live, or with one that "
                "recipes/TIMIT/quality/hparams/live.yaml has trained."
            )
        self.blocks, self.without_offset = Blocks(model.sample_rate, sample_rate), OffsetFilter()
        self.samples = np.zeros(0, dtype=np.float32)
        self.level, self.state = self.features.start(), self.network.start()
        self.min_silent = round(MIN_SILENCE_SECONDS / model.hop)
        self.gate: list[Tensor] = []  # silent frames (size,) that may become a silence
        self.in_silence = False
        self.fate: deque[bool] = deque()  # of the frames without a result, in order: whether they are scored
        self.results: deque[tuple[float, np.ndarray]] = deque()  # of the frames that the network has scored
        self.num_samples = self.num_frames = 0
        self.total, self.num_scored = 0.0, 0
        self.regions = _RegionSearch(self)

    @property
    def score(self) -> float:
        """The mean of all frame scores so far; NaN before the first."""
        return self.total / self.num_scored if self.num_scored else math.nan

    @property
    def latency(self) -> float:
        """Seconds from the beginning of a frame until its score is known."""
        return self.network.frames_ahead * self.model.hop + self.features.n_fft / self.model.sample_rate

    def feed(self, block: np.ndarray | Tensor) -> QualityUpdate:
        """Take a further block.

        Parameters
        ----------
        block : np.ndarray or Tensor
            Any number of samples, (samples,) or (channels, samples), floats in [-1, 1] or signed integers.

        Raises
        ------
        AudioError
            The block has another shape or type, or contains NaN or infinite samples; or the stream is finished.
        """
        self._hear(self.blocks.take(block))
        return self._update(is_last=False)

    def finish(self) -> QualityUpdate:
        """End the stream, and return what was still waiting."""
        if not self.blocks.is_finished:
            self._hear(self.blocks.finish(), is_last=True)
            if self.gate:
                self._score(self.gate)
            self._collect(self.network.finish(self.state))
        return self._update(is_last=True)

    @torch.inference_mode()
    def _hear(self, samples: np.ndarray, is_last: bool = False) -> None:
        """Compute the frames that are complete with further samples (samples,)."""
        self.num_samples += len(samples)
        self.samples = np.concatenate([self.samples, self.without_offset(samples)])
        win_length, hop = self.features.win_length, self.features.hop_length
        frames = (len(self.samples) - win_length) // hop + 1
        if is_last and self.num_samples:  # the last frame is filled with zeros
            missing = self.features.num_frames(self.num_samples) - self.num_frames
            if missing > max(frames, 0):
                frames = missing
                self.samples = np.pad(self.samples, (0, win_length + (frames - 1) * hop - len(self.samples)))
        if frames < 1:
            return
        self.num_frames += frames
        wav = torch.from_numpy(self.samples[: win_length + (frames - 1) * hop]).unsqueeze(0).to(self.model.device)
        self.samples = self.samples[frames * hop :]
        feats, self.level = self.features.stream(wav, self.level)
        # (1, frames, size)
        self._pass(feats[0])

    def _pass(self, feats: Tensor) -> None:
        """Pass frames (frames, size) to the network, without those of digital silence."""
        silent = (self.features.mean_magnitudes(feats.unsqueeze(0))[0] < SILENT_MAGNITUDE).tolist()
        passed: list[Tensor] = []
        for frame, is_silent in zip(feats, silent, strict=True):
            if not is_silent:
                passed += [*self.gate, frame]
                self.gate, self.in_silence = [], False
            elif self.in_silence:
                self._leave_out(passed, 1)
            else:
                self.gate.append(frame)
                if len(self.gate) >= self.min_silent:
                    self._leave_out(passed, len(self.gate))
                    self.gate, self.in_silence = [], True
        self._score(passed)

    def _leave_out(self, passed: list[Tensor], count: int) -> None:
        self._score(passed)
        passed.clear()
        self.fate.extend([False] * count)

    def _score(self, frames: list[Tensor]) -> None:
        if frames:
            self.fate.extend([True] * len(frames))
            feats = torch.stack(frames).unsqueeze(0).to(self.model.dtype)
            found, self.state = self.network.stream(feats, self.state)
            self._collect(found)

    def _collect(self, found: tuple[Tensor, Tensor]) -> None:
        scores, causes = (values[0].float().cpu() for values in found)
        self.results.extend(zip(scores.tolist(), causes.sigmoid().numpy(), strict=True))

    def _update(self, is_last: bool) -> QualityUpdate:
        scores, causes = [], []
        while self.fate and (self.results or not self.fate[0]):
            if self.fate.popleft():
                score, probabilities = self.results.popleft()
                self.total, self.num_scored = self.total + score, self.num_scored + 1
            else:
                score, probabilities = math.nan, np.zeros(len(self.model.cause_names), dtype=np.float32)
            scores.append(score)
            causes.append(probabilities)
        first = self.regions.num_frames
        middle = self.features.win_length / 2 / self.model.sample_rate
        times = middle + self.model.hop * np.arange(first, first + len(scores))
        frame_scores = np.array(scores, dtype=np.float32)
        causes_array = np.array(causes, dtype=np.float32).reshape(len(scores), len(self.model.cause_names))
        self.regions.add(frame_scores, causes_array)
        return QualityUpdate(self.score, frame_scores, times, causes_array, self.regions.found(is_last))


class _RegionSearch:
    """Regions of the frames of a stream, of which those are kept that belong to an open region, and a little before."""

    def __init__(self, stream: QualityStream):
        self.stream, self.hop = stream, stream.model.hop
        self.num_frames = self.checked = 0
        self.first, self.open = 0, 0  # the first frame that is kept, and the first of the open region
        self.scores = np.zeros(0, dtype=np.float32)
        self.causes = np.zeros((0, len(stream.model.cause_names)), dtype=np.float32)

    def add(self, scores: np.ndarray, causes: np.ndarray) -> None:
        self.scores, self.causes = np.concatenate([self.scores, scores]), np.concatenate([self.causes, causes])
        self.num_frames += len(scores)

    def found(self, is_last: bool) -> list[CauseRegion]:
        """The regions that have ended since the last call; none on a scale of which the best score is not known."""
        is_due = is_last or self.num_frames - self.checked >= _CHECK_SECONDS / self.hop
        if not len(self.scores) or not is_due or self.stream.model.measure is None:
            return []
        self.checked = self.num_frames
        settled = self.num_frames if is_last else self.num_frames - round(SETTLING_SECONDS / self.hop)
        regions = []
        for region in self._report().regions(min_cost=None):
            end = self.first + round(region.end / self.hop)
            if end <= self.open:
                continue
            if end > settled:
                if settled - self.open < MAX_REGION_SECONDS / self.hop:
                    break
                end = settled
            regions.append(self._closed(region, end))
            self.open = end
        keep = max(self.first, self.open - round(SETTLING_SECONDS / self.hop))
        self.scores, self.causes = self.scores[keep - self.first :], self.causes[keep - self.first :]
        self.first = keep
        return regions

    def _closed(self, region: CauseRegion, end: int) -> CauseRegion:
        """A region from the open frame to the frame ``end``, with the times, score and cost of the stream."""
        scores = self.scores[self.open - self.first : end - self.first]
        scores = scores[~np.isnan(scores)].astype(np.float64)
        measure: Any = self.stream.model.measure
        losses = measure.best - scores if measure.higher_is_better else scores - measure.best
        return dataclasses.replace(
            region,
            start=self.open * self.hop,
            end=end * self.hop,
            score=float(scores.mean()) if len(scores) else self.stream.score,
            cost=float(losses.sum()) / max(self.stream.num_scored, 1),
        )

    def _report(self) -> "QualityReport":
        """A report on the frames that are kept, as if a recording began with them."""
        from speechtools.quality.inference import QualityReport

        model, silent = self.stream.model, np.isnan(self.scores)
        times = self.hop * (np.arange(len(self.scores)) + 0.5)
        return QualityReport(
            self.stream.score,
            np.where(silent, self.stream.score, self.scores),
            times,
            self.hop * len(times),
            self.hop,
            model.scale,
            silent if silent.any() else None,
            model.measure.higher_is_better,  # type: ignore[union-attr]
            self.causes if model.cause_names else None,
            model.cause_names,
            model.measure.best,  # type: ignore[union-attr]
        )
