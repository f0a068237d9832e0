"""Score recordings in batches and long ones in chunks, by any form of a Quality-Net. Without torch."""

import abc
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from speechtools.audio.io import Chunk, chunks
from speechtools.audio.meter import LevelMeter
from speechtools.audio.recordings import map_recordings, open_source, read_short, stack, without_offset
from speechtools.audio.sources import AudioSource, Channel, Recording
from speechtools.core.errors import AudioError
from speechtools.measures import Scale
from speechtools.quality.report import QualityReport


class RecordingScorer(abc.ABC):
    """Scores recordings; a base of :class:`~speechtools.inference.QualityNet` in torch and in ONNX form.

    Attributes
    ----------
    features : FrameGrid
        With ``level``, the name of the level that waveforms are divided by, and ``n_fft``.
    sample_rate : int
        In Hz.
    scale : str
    hop : float
        Seconds from one frame to the next.
    cause_names, measure_names : tuple
        What the network can name as a cause of bad quality, and its further scores.
    measure : Scale or None
        Range and direction of the scores.
    """

    #: Longer recordings are scored in chunks of this length, in bounded memory.
    CHUNK_SECONDS = 60.0
    #: Context of a chunk on both sides, which the network sees but does not score.
    CONTEXT_SECONDS = 5.0

    features: Any
    sample_rate: int
    scale: str
    hop: float
    cause_names: tuple[str, ...]
    measure_names: tuple[str, ...]
    measure: Scale | None

    @abc.abstractmethod
    def score_arrays(self, wavs: np.ndarray, counts: np.ndarray, levels: np.ndarray | None = None) -> list[np.ndarray]:
        """Score waveforms (batch, samples) without offset, of ``counts`` (batch,) samples each.

        Parameters
        ----------
        levels : np.ndarray, optional
            Levels (batch,) to normalise by. Default: the level of each waveform.

        Returns
        -------
        list of np.ndarray
            Scores (batch,), frame scores (batch, time) and silent frames (batch, time); where the network gives them,
            also the probabilities of the causes (batch, time, causes) and the further scores (batch, measures).
        """

    def onnx_results(self, recordings: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Results that are compared between torch and ONNX: of recordings in one batch, and of the first one alone."""
        waveforms = [without_offset(samples) for samples in recordings]
        return [
            np.asarray(result, dtype=np.float32)
            for batch in (waveforms, waveforms[:1])
            for result in self.score_arrays(*stack(batch))
        ]

    def assess_samples(
        self, samples: Recording, sample_rate: float | None = None, channel: Channel = "mix"
    ) -> QualityReport:
        """Score samples, as :meth:`assess_file` does: (samples,) or (channels, samples), floats or signed integers.

        Raises
        ------
        AudioError
            The samples have another shape or type, are too short or silent, or contain NaN or infinite values.
        """
        return self.assess_file(samples, sample_rate=sample_rate, channel=channel)

    def assess_file(
        self, path: Recording, *, sample_rate: float | None = None, channel: Channel = "mix"
    ) -> QualityReport:
        """Score a recording of any sample rate, number of channels, format and length.

        Its mean (a DC offset) is subtracted first.

        Parameters
        ----------
        path : str, bytes, PathLike, BinaryIO, np.ndarray or Tensor
            A path, an open binary file, the bytes of a file, or samples: floats in [-1, 1] or signed integers,
            (samples,) or (channels, samples).
        sample_rate : float, optional
            Rate of samples in Hz, from which they are resampled. Default: that of the model. Files state their own.
        channel : int or "mix"
            A channel, counted from 0, or the mean of all.

        Raises
        ------
        AudioError
            The recording is missing, not audio, truncated, shorter than a window, silent, or lacks the channel; the
            message names it.
        """
        source = open_source(path, self.sample_rate, sample_rate, channel)
        samples = read_short(source, self.sample_rate, self.CHUNK_SECONDS, self.features.win_length)
        return self._assess_long(source) if samples is None else self._assess([samples])[0]

    def assess_files(
        self,
        paths: Iterable[Recording] | Recording,
        batch_size: int = 32,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
    ) -> Iterator[tuple[Any, QualityReport | AudioError]]:
        """Score many recordings in batches, while the next ones are read. They are those of :meth:`assess_file`.

        Yields
        ------
        path : Path or object
            In the order of ``paths``: a path, or the file or samples that were passed.
        result : QualityReport or AudioError
            The report, or the reason why this recording has none.
        """
        return map_recordings(
            paths,
            self.sample_rate,
            self._assess,
            self._assess_long,
            self.CHUNK_SECONDS,
            batch_size,
            min_samples=self.features.win_length,
            samples_rate=sample_rate,
            channel=channel,
        )

    def _assess_long(self, source: AudioSource) -> QualityReport:
        """Score a recording in chunks, in bounded memory."""
        hop, n_fft = self.features.hop_length, self.features.n_fft
        size = max(1, round(self.CHUNK_SECONDS * self.sample_rate / hop)) * hop
        context = round(self.CONTEXT_SECONDS * self.sample_rate / hop) * hop
        mean, level = self._offset_and_level(source)
        parts = chunks(source, self.sample_rate, size, before=context, after=context + n_fft - hop)
        return self._assess_chunks(parts, size // hop, mean, level)

    def _offset_and_level(self, source: AudioSource) -> tuple[float, float]:
        """DC offset of a recording, and its level without it. Both are known at its end only."""
        meter = LevelMeter(self.features.n_fft)
        for chunk in chunks(source, self.sample_rate, 1024 * self.features.n_fft):
            meter.add(chunk.samples)
        return meter.offset, meter.level(self.features.level)

    def _assess(self, waveforms: list[np.ndarray]) -> list[QualityReport]:
        wavs, counts = stack(waveforms)
        rows = zip(counts.tolist(), *self.score_arrays(wavs, counts), strict=True)
        return [self._report(samples, float(score), *frames) for samples, score, *frames in rows]

    def _report(
        self,
        samples: int,
        score: float,
        frame_scores: np.ndarray,
        silent: np.ndarray,
        causes: np.ndarray | None = None,
        measures: np.ndarray | None = None,
    ) -> QualityReport:
        """Report on a recording; the frames may be padded, and ``measures`` are (measures,)."""
        times = self.features.frame_times(samples) / self.sample_rate
        frame_scores, silent = frame_scores[: len(times)].copy(), silent[: len(times)].copy()
        return QualityReport(
            score,
            frame_scores,
            times,
            samples / self.sample_rate,
            self.hop,
            self.scale,
            silent if silent.any() else None,
            self.measure is None or self.measure.higher_is_better,
            None if causes is None else causes[: len(times)].copy(),
            self.cause_names,
            best=None if self.measure is None else self.measure.best,
            measures={} if measures is None else dict(zip(self.measure_names, measures.tolist(), strict=True)),
        )

    def _assess_chunks(self, parts: Iterable[Chunk], num_frames: int, mean: float, level: float) -> QualityReport:
        """Score a recording in chunks of ``num_frames`` frames and their context; the last one may have more."""
        scores, silences, details, samples = [], [], [], 0
        for chunk in parts:
            wav = (chunk.samples - np.float32(mean))[None]
            results = self.score_arrays(wav, np.array([wav.shape[1]]), np.array([level], dtype=np.float32))
            _, frame_scores, silent, *others = results
            first = (chunk.first - chunk.start) // self.features.hop_length
            end = None if chunk.is_last else first + num_frames
            scores.append(frame_scores[0, first:end])
            silences.append(silent[0, first:end])
            if others:
                details.append((others[0][0, first:end], others[1][0]))
            samples = chunk.start + len(chunk.samples)
        joined, silence = np.concatenate(scores), np.concatenate(silences)
        kept = ~silence if not silence.all() else np.ones_like(silence)
        score = float(joined[kept].mean(dtype=np.float64))
        joined[silence] = score
        if not details:
            return self._report(samples, score, joined, silence)
        causes, measures = zip(*details, strict=True)
        counts = [part.sum() for part in np.split(kept, np.cumsum([len(part) for part in silences])[:-1])]
        means = np.average(measures, axis=0, weights=counts)  # over the frames that count
        return self._report(samples, score, joined, silence, np.concatenate(causes), means)
