"""Speech quality without a reference, by a trained Quality-Net: on tensors, files and folders.

>>> net = QualityNet.from_hparams()
>>> scores, frame_scores = net.assess_batch(torch.randn(2, 32000))
>>> scores.shape, frame_scores.shape
(torch.Size([2]), torch.Size([2, 124]))
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechtools import audio
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.pretrained import BUNDLED_MODELS, PretrainedModel

#: The model that comes with the package: its folder's README tells how it was trained.
BUNDLED_QUALITY_NET = BUNDLED_MODELS / "quality-net"


@dataclass(frozen=True)
class Region:
    """A stretch of a recording: its start and end (s) and the mean of its frame scores."""

    start: float
    end: float
    score: float


@dataclass(frozen=True)
class QualityReport:
    """What Quality-Net says of one recording.

    Attributes
    ----------
    score : float
        The predicted quality, on the scale ``scale`` (``raw_nb``, ``nb`` or ``wb`` PESQ): the mean of ``frame_scores``.
    frame_scores : np.ndarray
        Quality frame by frame, (time,).
    times : np.ndarray
        Middle of each frame in seconds, (time,).
    duration : float
        Length of the recording in seconds.
    hop : float
        Seconds from one frame to the next.
    """

    score: float
    frame_scores: np.ndarray
    times: np.ndarray
    duration: float
    hop: float
    scale: str

    def degraded_regions(self, below: float, min_duration: float = 0.0) -> list[Region]:
        """Stretches whose frame scores all lie below a threshold, in order.

        Parameters
        ----------
        below : float
            The threshold, on the model's scale.
        min_duration : float
            Stretches shorter than this many seconds are left out.

        Example
        -------
        >>> report = QualityReport(2.5, np.array([4.0, 1.0, 2.0, 3.0]), np.arange(4) + 0.5, 4.0, 1.0, "raw_nb")
        >>> report.degraded_regions(below=2.5)
        [Region(start=1.0, end=3.0, score=1.5)]
        """
        low = np.concatenate([[False], self.frame_scores < below, [False]])
        edges = np.flatnonzero(low[1:] != low[:-1]).reshape(-1, 2)
        # (regions, 2): first frame, and the one after the last
        regions = []
        for first, last in edges:
            # A frame stands for the hop around its middle; the outermost ones reach to the ends of the recording.
            start = 0.0 if first == 0 else float(self.times[first]) - self.hop / 2
            end = self.duration if last == len(self.times) else float(self.times[last - 1]) + self.hop / 2
            if end - start >= min_duration:
                regions.append(Region(start, end, float(self.frame_scores[first:last].mean())))
        return regions


class QualityNet(PretrainedModel):
    """Speech quality without a reference, by a trained Quality-Net.

    Example
    -------
    >>> net = QualityNet.from_hparams()  # the model that comes with the package
    >>> net.scale
    'raw_nb'
    """

    HPARAMS_NEEDED = ["features", "sample_rate", "scale"]
    MODULES_NEEDED = ["quality"]
    BUNDLED = BUNDLED_QUALITY_NET

    #: Recordings longer than this are scored in overlapping chunks, in bounded memory.
    CHUNK_SECONDS = 60.0
    #: How far a chunk reaches into its neighbours on either side: what the network hears but is not asked about.
    CONTEXT_SECONDS = 5.0

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.features = self.hparams.features.to(self.device)
        self.sample_rate, self.scale = self.hparams.sample_rate, self.hparams.scale

    def assess_batch(
        self, wavs: Tensor, wav_lens: Tensor | None = None, levels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Score waveforms held in memory. Gradients flow to ``wavs``, so the score can serve as a perceptual loss.

        Parameters
        ----------
        wavs : Tensor
            (batch, samples) at the model's ``sample_rate``, padded on the right; a single (samples,) is taken too.
        wav_lens : Tensor
            Relative lengths (batch,) in (0, 1]; None means all are whole.
        levels : Tensor
            (batch,): normalise by these levels (peaks, by default) instead of each waveform's own.

        Returns
        -------
        scores : Tensor
            (batch,)
        frame_scores : Tensor
            (batch, time), 0 beyond an item's length.

        Raises
        ------
        AudioError
            The waveforms have another number of dimensions, are empty, or hold NaN or infinite samples.
        """
        wavs = wavs.unsqueeze(0) if wavs.dim() == 1 else wavs
        if wavs.dim() != 2 or wavs.shape[1] == 0 or not wavs.is_floating_point():
            raise AudioError(
                f"Waveforms of shape {tuple(wavs.shape)} and type {wavs.dtype} cannot be scored: give floating point "
                "(batch, samples) or (samples,), mono, at least one sample."
            )
        if not torch.isfinite(wavs).all():
            raise AudioError("The waveforms hold NaN or infinite samples. Mend what made them.")
        wavs = wavs.to(self.device, torch.float32)
        lens = torch.ones(len(wavs), device=self.device) if wav_lens is None else wav_lens.to(self.device)
        feats = self.features(wavs, lens, levels)
        return self.mods.quality(feats, self.features.frame_lens(lens, wavs.shape[1]))

    @torch.inference_mode()
    def assess_samples(self, samples: np.ndarray) -> QualityReport:
        """Score one recording held in memory: mono, (samples,), at the model's ``sample_rate``.

        Raises
        ------
        AudioError
            It has another number of dimensions, is empty or silent, or holds NaN or infinite samples.
        """
        samples = np.asarray(samples, dtype=np.float32)
        if samples.ndim != 1 or not np.isfinite(samples).all():
            raise AudioError(
                f"Samples of shape {samples.shape} cannot be scored: give finite mono samples, (samples,). Average the "
                "channels, and mend what made NaN or infinite ones."
            )
        audio.check_signal(samples, "The recording")
        return self._assess_short([samples])[0]

    @torch.inference_mode()
    def assess_file(self, path: str | Path) -> QualityReport:
        """Score an audio file of any rate, number of channels, length and format that libsndfile reads.

        Raises
        ------
        AudioError
            The file is missing, no audio, cut short, empty or silent; the message names it and the reason.
        """
        if audio.duration(path) > self.CHUNK_SECONDS:
            return self._assess_long(path)
        return self._assess_short([self._read(path)])[0]

    def assess_files(
        self, paths: Iterable[str | Path], batch_size: int = 32
    ) -> Iterator[tuple[Path, QualityReport | AudioError]]:
        """Score many files in batches; the next ones are read meanwhile.

        Yields
        ------
        path : Path
            In the order given.
        result : QualityReport or AudioError
            The report, or the reason why this file has none. One bad file does not end the others.
        """
        if batch_size < 1:
            raise ConfigError(
                f"batch_size={batch_size}: at least one recording must be scored at a time. Give 1 or more."
            )
        remaining = map(Path, paths)
        # Two groups are in memory at a time, each of recordings of at most CHUNK_SECONDS.
        with ThreadPoolExecutor(2) as pool:
            ahead = self._read_ahead(pool, remaining, 2 * batch_size)
            while ahead:
                group, ahead = ahead, self._read_ahead(pool, remaining, 2 * batch_size)
                yield from self._assess_group(group, batch_size)

    def _read_ahead(self, pool: ThreadPoolExecutor, paths: Iterator[Path], count: int) -> list[tuple[Path, Future]]:
        return [(path, pool.submit(self._read_if_short, path)) for path in islice(paths, count)]

    @torch.inference_mode()
    def _assess_group(
        self, group: list[tuple[Path, Future]], batch_size: int
    ) -> list[tuple[Path, QualityReport | AudioError]]:
        results: dict[int, QualityReport | AudioError] = {}
        short = []
        for number, (path, future) in enumerate(group):
            try:
                samples = future.result()
                if samples is None:
                    results[number] = self._assess_long(path)
                else:
                    short.append((number, samples))
            except AudioError as error:
                results[number] = error
        short.sort(key=lambda item: len(item[1]))
        for first in range(0, len(short), batch_size):
            batch = short[first : first + batch_size]
            reports = self._assess_short([samples for _, samples in batch])
            results.update((number, report) for (number, _), report in zip(batch, reports, strict=True))
        return [(path, results[number]) for number, (path, _) in enumerate(group)]

    def _read(self, path: str | Path) -> np.ndarray:
        samples = audio.read(path, self.sample_rate)
        audio.check_signal(samples, path)
        return samples

    def _read_if_short(self, path: Path) -> np.ndarray | None:
        return None if audio.duration(path) > self.CHUNK_SECONDS else self._read(path)

    def _assess_short(self, waveforms: list[np.ndarray]) -> list[QualityReport]:
        counts = [len(samples) for samples in waveforms]
        wavs = torch.zeros(len(counts), max(counts))
        for row, samples in zip(wavs, waveforms, strict=True):
            row[: len(samples)] = torch.from_numpy(samples)
        lens = torch.tensor(counts, dtype=torch.float64) / max(counts)
        scores, batch_scores = self.assess_batch(wavs, lens)
        frame_scores = batch_scores.cpu().numpy()
        return [
            self._report(float(score), row[: self.features.num_frames(count)].copy(), count)
            for score, row, count in zip(scores, frame_scores, counts, strict=True)
        ]

    def _assess_long(self, path: str | Path) -> QualityReport:
        """Score a long file chunk by chunk; it is read twice, since its level is known only at its end."""
        level, samples = self._level(path)
        if level == 0:
            audio.check_signal(np.zeros(samples), path)
        scores = [self._chunk_scores(chunk, skip, count, level) for chunk, skip, count in self._chunks(path, samples)]
        frame_scores = np.concatenate(scores)
        return self._report(float(frame_scores.mean(dtype=np.float64)), frame_scores, samples)

    def _level(self, path: str | Path) -> tuple[float, int]:
        """What the features divide a whole file by, and its samples."""
        size = self.features.n_fft
        peak, samples, energies, rest = 0.0, 0, [], np.zeros(0, dtype=np.float32)
        for block in audio.blocks(path, self.sample_rate):
            peak, samples = max(peak, float(np.abs(block).max())), samples + len(block)
            rest = np.concatenate([rest, block])
            whole = len(rest) // size * size
            energies.append(np.square(rest[:whole].reshape(-1, size)).sum(axis=1))
            rest = rest[whole:]
        if self.features.level != "loud":
            return peak, samples
        blocks = np.concatenate([*energies, [np.square(rest).sum()]], dtype=np.float32)
        # (blocks,)
        return float(self.features.loud_level(torch.from_numpy(blocks)[None], torch.tensor([samples]))), samples

    def _chunks(self, path: str | Path, samples: int) -> Iterator[tuple[np.ndarray, int, int]]:
        """Pieces of a file with their context, how many frames of context come first, and how many frames count."""
        hop, n_fft = self.features.hop_length, self.features.n_fft
        core = max(1, round(self.CHUNK_SECONDS * self.sample_rate / hop))
        context = round(self.CONTEXT_SECONDS * self.sample_rate / hop)
        total = self.features.num_frames(samples)
        blocks = audio.blocks(path, self.sample_rate)
        held, held_from = np.zeros(0, dtype=np.float32), 0
        for first in range(0, total, core):
            last = min(first + core, total)
            begin = max(first - context, 0) * hop
            end = min((last + context - 1) * hop + n_fft, samples)
            while held_from + len(held) < end:
                held = np.concatenate([held, next(blocks)])
            held, held_from = held[begin - held_from :], begin
            yield held[: end - begin], first - begin // hop, last - first

    def _chunk_scores(self, chunk: np.ndarray, skip: int, count: int, level: float) -> np.ndarray:
        _, frame_scores = self.assess_batch(torch.from_numpy(chunk), levels=torch.tensor([level], device=self.device))
        return frame_scores[0, skip : skip + count].cpu().numpy()

    def _report(self, score: float, frame_scores: np.ndarray, samples: int) -> QualityReport:
        hop, n_fft = self.features.hop_length, self.features.n_fft
        times = (np.arange(len(frame_scores)) * hop + n_fft / 2) / self.sample_rate
        duration = samples / self.sample_rate
        # The last frame may reach beyond the recording's end.
        return QualityReport(
            score, frame_scores, np.minimum(times, duration), duration, hop / self.sample_rate, self.scale
        )
