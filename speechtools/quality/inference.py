"""Predict speech quality without a reference, with a trained Quality-Net.

>>> net = QualityNet.from_hparams()
>>> scores, frame_scores = net.assess_batch(torch.randn(2, 32000))
>>> scores.shape, frame_scores.shape
(torch.Size([2]), torch.Size([2, 124]))
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechtools.audio.frames import frame_counts
from speechtools.audio.io import Chunk, check_signal, chunks, duration
from speechtools.audio.recordings import check_lens, check_waveforms, map_recordings, pad
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.pretrained import BUNDLED_MODELS, PretrainedModel

#: The bundled model; its README describes its training.
BUNDLED_QUALITY_NET = BUNDLED_MODELS / "quality-net"


@dataclass(frozen=True)
class Region:
    """A region of a recording: its start and end in seconds, and the mean of its frame scores."""

    start: float
    end: float
    score: float


@dataclass(frozen=True, repr=False)
class QualityReport:
    """The predicted quality of one recording.

    Attributes
    ----------
    score : float
        Predicted quality of the recording: the mean of ``frame_scores``.
    frame_scores : np.ndarray
        Predicted quality of each frame, (time,).
    times : np.ndarray
        Middle of each frame in seconds, (time,).
    duration : float
        Length of the recording in seconds.
    hop : float
        Seconds from one frame to the next.
    scale : str
        Scale of the scores: ``raw_nb``, ``nb`` or ``wb`` PESQ.

    Examples
    --------
    >>> QualityReport(2.5, np.array([4.0, 1.0]), np.arange(2) + 0.5, 2.0, 1.0, "raw_nb")
    QualityReport(score=2.50, duration=2.0 s, scale='raw_nb')
    """

    score: float
    frame_scores: np.ndarray
    times: np.ndarray
    duration: float
    hop: float
    scale: str

    def __repr__(self) -> str:
        return f"QualityReport(score={self.score:.2f}, duration={self.duration:.1f} s, scale={self.scale!r})"

    def degraded_regions(self, below: float, min_duration: float = 0.0) -> list[Region]:
        """Find the regions whose frame scores are all below a threshold.

        Parameters
        ----------
        below : float
            Threshold on the model's scale.
        min_duration : float
            Shortest region in seconds.

        Examples
        --------
        >>> report = QualityReport(2.5, np.array([4.0, 1.0, 2.0, 3.0]), np.arange(4) + 0.5, 4.0, 1.0, "raw_nb")
        >>> report.degraded_regions(below=2.5)
        [Region(start=1.0, end=3.0, score=1.5)]
        """
        is_low = np.concatenate([[False], self.frame_scores < below, [False]])
        regions = []
        for first, end in np.flatnonzero(is_low[1:] != is_low[:-1]).reshape(-1, 2):
            # A frame covers the hop around its middle; the outermost frames reach to the ends of the recording.
            start = 0.0 if first == 0 else float(self.times[first]) - self.hop / 2
            stop = self.duration if end == len(self.times) else float(self.times[end - 1]) + self.hop / 2
            if stop - start >= min_duration:
                regions.append(Region(start, stop, float(self.frame_scores[first:end].mean())))
        return regions


class QualityNet(PretrainedModel):
    """Speech quality without a reference.

    Examples
    --------
    >>> net = QualityNet.from_hparams()  # the bundled model
    >>> net.scale
    'raw_nb'
    """

    HPARAMS_NEEDED = ["features", "sample_rate", "scale"]
    MODULES_NEEDED = ["quality"]
    COMPONENTS = {"features": "features", "quality": "quality"}
    BUNDLED = BUNDLED_QUALITY_NET

    #: Longer recordings are scored in chunks of this length, in bounded memory.
    CHUNK_SECONDS = 60.0
    #: Context of a chunk on both sides, which the network sees but does not score.
    CONTEXT_SECONDS = 5.0

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.features = self.hparams.features.to(self.device)
        self.sample_rate, self.scale = self.hparams.sample_rate, self.hparams.scale
        self.hop = self.features.hop_length / self.sample_rate
        if not isinstance(self.scale, str):
            raise ConfigError(f"Invalid scale {self.scale!r}: it must be a name, such as 'raw_nb'.")
        try:
            with torch.no_grad():
                self.assess_batch(torch.zeros(1, self.sample_rate))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"The network does not take these features ({reason}). Both must come from one export."
            ) from error

    def assess_batch(
        self, wavs: Tensor, wav_lens: Tensor | None = None, levels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Score waveforms. Gradients flow to ``wavs``, so the score can serve as a perceptual loss.

        Parameters
        ----------
        wavs : Tensor
            (batch, samples) or (samples,) at the model's ``sample_rate``, padded on the right.
        wav_lens : Tensor, optional
            Relative lengths (batch,) in (0, 1]. Default: no padding.
        levels : Tensor, optional
            Levels (batch,) to normalise by. Default: the level of each waveform.

        Returns
        -------
        scores : Tensor
            (batch,)
        frame_scores : Tensor
            (batch, time), 0 beyond the end of a waveform.

        Raises
        ------
        AudioError
            The waveforms have another shape or type, are empty, or contain NaN or infinite samples; or a length is not
            in (0, 1].
        """
        wavs = self._to_signal(check_waveforms(wavs))
        lens = check_lens(wav_lens, wavs)
        feats = self.features(wavs, lens, levels).to(self.dtype)
        scores, frame_scores = self.mods.quality(feats, self.features.frame_lens(lens, wavs.shape[1]))
        return scores.to(wavs.dtype), frame_scores.to(wavs.dtype)

    def assess_samples(self, samples: np.ndarray) -> QualityReport:
        """Score mono samples (samples,) at the model's ``sample_rate``.

        Raises
        ------
        AudioError
            The samples have another shape, are empty or silent, or contain NaN or infinite values.
        """
        samples = np.asarray(samples, dtype=np.float32)
        if samples.ndim != 1:
            raise AudioError(f"Expected mono samples (samples,), got shape {samples.shape}. Average the channels.")
        check_signal(samples, "The recording")
        return self._assess_chunks([Chunk(samples, 0, 0, True)])

    def assess_file(self, path: str | Path) -> QualityReport:
        """Score an audio file of any sample rate, number of channels, format and length.

        Raises
        ------
        AudioError
            The file is missing, not audio, truncated, empty or silent; the message names it.
        """
        hop, n_fft = self.features.hop_length, self.features.n_fft
        size = max(1, round(self.CHUNK_SECONDS * self.sample_rate / hop)) * hop
        context = round(self.CONTEXT_SECONDS * self.sample_rate / hop) * hop
        level = self._level_of_long(path)
        parts = chunks(path, self.sample_rate, size, before=context, after=context + n_fft - hop)
        return self._assess_chunks(parts, size // hop, level)

    def assess_files(
        self, paths: Iterable[str | Path], batch_size: int = 32
    ) -> Iterator[tuple[Path, QualityReport | AudioError]]:
        """Score many audio files in batches, while the next ones are read.

        Yields
        ------
        path : Path
            In the order of ``paths``.
        result : QualityReport or AudioError
            The report, or the reason why this file has none.
        """

        def assess(waveforms: list[np.ndarray]) -> list[QualityReport]:
            return self._assess(*pad(waveforms))

        return map_recordings(paths, self.sample_rate, assess, self.assess_file, self.CHUNK_SECONDS, batch_size)

    def _level_of_long(self, path: str | Path) -> Tensor | None:
        """Level (1,) of a file that takes several chunks, known only at its end; None for a shorter file."""
        if duration(path) <= self.CHUNK_SECONDS:
            return None
        peak, samples, energies = 0.0, 0, []
        for chunk in chunks(path, self.sample_rate, 1024 * self.features.n_fft):
            peak, samples = max(peak, float(np.abs(chunk.samples).max())), samples + len(chunk.samples)
            starts = np.arange(0, len(chunk.samples), self.features.n_fft)
            energies.append(np.add.reduceat(np.square(chunk.samples), starts))
        level = torch.tensor([peak])
        if self.features.level == "loud":
            level = self.features.loud_level(torch.from_numpy(np.concatenate(energies))[None], torch.tensor([samples]))
        return level.to(self.device)

    @torch.inference_mode()
    def _assess(self, wavs: Tensor, lens: Tensor) -> list[QualityReport]:
        scores, frame_scores = self.assess_batch(wavs, lens)
        reports = []
        counts = frame_counts(wavs, lens).tolist()
        for score, row, samples in zip(scores.tolist(), frame_scores.cpu().numpy(), counts, strict=True):
            times = self.features.frame_times(samples) / self.sample_rate
            seconds = samples / self.sample_rate
            reports.append(QualityReport(score, row[: len(times)].copy(), times, seconds, self.hop, self.scale))
        return reports

    @torch.inference_mode()
    def _assess_chunks(self, parts: Iterable[Chunk], num_frames: int = 0, level: Tensor | None = None) -> QualityReport:
        """Score a recording in chunks of ``num_frames`` frames and their context; the last one may have more."""
        scores, samples = [], 0
        for chunk in parts:
            _, frame_scores = self.assess_batch(torch.from_numpy(chunk.samples), levels=level)
            first = (chunk.first - chunk.start) // self.features.hop_length
            scores.append(frame_scores[0, first : None if chunk.is_last else first + num_frames].cpu().numpy())
            samples = chunk.start + len(chunk.samples)
        joined = np.concatenate(scores)
        times = self.features.frame_times(samples) / self.sample_rate
        score, seconds = float(joined.mean(dtype=np.float64)), samples / self.sample_rate
        return QualityReport(score, joined, times, seconds, self.hop, self.scale)
