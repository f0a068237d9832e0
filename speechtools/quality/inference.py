"""Predict speech quality without a reference, with a trained Quality-Net.

>>> net = QualityNet.from_hparams()
>>> scores, frame_scores = net.assess_batch(torch.randn(2, 32000))
>>> scores.shape, frame_scores.shape
(torch.Size([2]), torch.Size([2, 124]))
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechtools.audio.frames import frame_counts
from speechtools.audio.io import Chunk, OffsetMean, chunks
from speechtools.audio.recordings import map_recordings, open_source, read_short
from speechtools.audio.sources import AudioSource, Channel, Recording
from speechtools.audio.waveforms import check_lens, check_waveforms, pad, remove_offset
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.pretrained import BUNDLED_MODELS, PretrainedModel
from speechtools.measures import Scale
from speechtools.quality.outputs import all_outputs, gives_details
from speechtools.quality.regions import CauseRegion, find_regions, frame_edges
from speechtools.quality.regions import Region as Region
from speechtools.quality.silence import MIN_SILENCE_SECONDS, score_without_silence

#: The bundled model; its README describes its training.
BUNDLED_QUALITY_NET = BUNDLED_MODELS / "quality-net"


@dataclass(frozen=True, repr=False)
class QualityReport:
    """The predicted quality of one recording.

    Attributes
    ----------
    score : float
        Predicted quality of the recording: the mean of ``frame_scores``.
    frame_scores : np.ndarray
        Predicted quality of each frame, (time,); in digital silence, which does not count, that of the recording.
    times : np.ndarray
        Middle of each frame in seconds, (time,).
    duration : float
        Length of the recording in seconds.
    hop : float
        Seconds from one frame to the next.
    scale : str
        Scale of the scores: ``raw_nb``, ``nb`` or ``wb`` PESQ, or another measure.
    silent : np.ndarray, optional
        Whether a frame is in digital silence of 0.5 s or more, (time,).
    higher_is_better : bool
        Direction of the scale.
    causes : np.ndarray, optional
        Probability of each cause in each frame, (time, causes); None for models that do not predict causes.
    cause_names : tuple
        Names of the causes, such as ``noise``.
    best : float, optional
        Best score of the scale; None if the model does not know it.
    measures : dict
        Further scores of the recording by the name of the measure, such as ``{"mos": 3.4}``; empty for models without.

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
    silent: np.ndarray | None = None
    higher_is_better: bool = True
    causes: np.ndarray | None = None
    cause_names: tuple[str, ...] = ()
    best: float | None = None
    measures: dict[str, float] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"QualityReport(score={self.score:.2f}, duration={self.duration:.1f} s, scale={self.scale!r})"

    def degraded_regions(self, below: float, min_duration: float = 0.0) -> list[Region]:
        """Find the regions whose frame scores are all below a threshold. Digital silence is not among them.

        Where lower scores are better, those above the threshold.

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
        low = self.frame_scores < below if self.higher_is_better else self.frame_scores > below
        is_low = np.concatenate([[False], low if self.silent is None else low & ~self.silent, [False]])
        edges = frame_edges(self.times, self.hop, self.duration)
        regions = []
        for first, end in np.flatnonzero(is_low[1:] != is_low[:-1]).reshape(-1, 2):
            start, stop = float(edges[first]), float(edges[end])
            if stop - start >= min_duration:
                regions.append(Region(start, stop, float(self.frame_scores[first:end].mean())))
        return regions

    def regions(
        self,
        min_cost: float | None = 0.05,
        min_duration: float = 0.1,
        best: float | None = None,
        threshold: float = 0.5,
        below: float | None = None,
    ) -> list[CauseRegion]:
        """Divide the recording into regions with the same causes, in time order, and tell what each one costs.

        The score is a mean over frames, so the costs of all regions (``min_cost=None``) add up to ``best - score``.
        The frames without any cause are regions, too. Without a model of causes, the regions are those that are
        degraded, and those that are not.

        Parameters
        ----------
        min_cost : float, optional
            Regions that cost less are left out. None: all are returned, also those that are better than ``best``.
        min_duration : float
            A shorter stretch in seconds becomes a part of its neighbour.
        best : float, optional
            Score from which costs are counted. Default: the best of the scale.
        threshold : float
            Probability above which a cause is present. It is averaged first, and short gaps are filled.
        below : float, optional
            Without a model of causes, scores that are worse count as degraded, averaged over 0.25 s. Default: 2.5 on
            scales like those of PESQ and mean opinion scores; otherwise the recording is one region.

        Raises
        ------
        ConfigError
            The best score of the scale is not known, or a parameter is out of range.

        Examples
        --------
        >>> scores, loss = np.repeat([4.5, 2.5], 50), np.repeat([0.0, 0.9], 50)[:, None]
        >>> times = 0.02 * np.arange(100) + 0.01
        >>> report = QualityReport(3.5, scores, times, 2.0, 0.02, "raw_nb", causes=loss, cause_names=("loss",))
        >>> for region in report.regions():
        ...     print(f"{region.start:.1f} to {region.end:.1f} s: {region.causes[0]} costs {region.cost:.2f}")
        1.0 to 2.0 s: loss costs 1.00
        """
        regions = find_regions(self, min_duration, best, threshold, below)
        return [region for region in regions if min_cost is None or region.cost >= min_cost]


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
        #: What the network can name as a cause of bad quality.
        self.cause_names = tuple(self.mods.quality.causes) if gives_details(self.mods.quality) else ()
        #: The further scores that the network gives.
        self.measure_names = tuple(getattr(self.mods.quality, "measures", ())) if self.cause_names else ()
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
        #: Range and direction of the scores; None for a scale of which neither a plugin nor the model knows them.
        self.measure = Scale.of(self.scale, self.facts.get("measure"))

    def response(self, wavs: Tensor) -> Tensor:
        """The frame scores (1, time) of waveforms (1, samples)."""
        return self.assess_batch(wavs)[1]

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
        scores, frame_scores, *_ = self._score(remove_offset(wavs, lens), lens, levels)
        return scores, frame_scores

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
        return self._assess_long(source) if samples is None else self._assess(*pad([samples]))[0]

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

        def assess(waveforms: list[np.ndarray]) -> list[QualityReport]:
            return self._assess(*pad(waveforms))

        return map_recordings(
            paths,
            self.sample_rate,
            assess,
            self._assess_long,
            self.CHUNK_SECONDS,
            batch_size,
            min_samples=self.features.win_length,
            samples_rate=sample_rate,
            channel=channel,
        )

    def _score(self, wavs: Tensor, lens: Tensor, levels: Tensor | None, details: bool = False) -> tuple[Tensor, ...]:
        """Score waveforms without offset: scores (batch,), frame scores (batch, time), silent frames (batch, time).

        With ``details``, the probabilities of the causes (batch, time, causes) and the further scores (batch, measures)
        are added if the network gives them.
        """
        feats = self.features(wavs, lens, levels).to(self.dtype)
        lens = self.features.frame_lens(lens, wavs.shape[1])
        min_frames = round(MIN_SILENCE_SECONDS / self.hop)
        if hasattr(self.features, "mean_magnitudes"):
            magnitudes = self.features.mean_magnitudes(feats.detach())
        else:  # silence cannot be told
            magnitudes = torch.full(feats.shape[:2], torch.inf, device=feats.device)
        network = self._explained if details and self.cause_names else self.mods.quality
        scores, frame_scores, silent, *others = score_without_silence(network, feats, lens, magnitudes, min_frames)
        others = [values.to(wavs.dtype) for values in others]
        return scores.to(wavs.dtype), frame_scores.to(wavs.dtype), silent, *others

    def _explained(self, feats: Tensor, lens: Tensor) -> tuple[Tensor, ...]:
        scores, frame_scores, causes, measures = all_outputs(self.mods.quality, feats, lens)
        assert causes is not None  # as gives_details() says
        further = [measures[name] for name in self.measure_names]
        return (
            scores,
            frame_scores,
            causes.sigmoid(),
            torch.stack(further, 1) if further else scores.new_zeros(len(scores), 0),
        )

    def _assess_long(self, source: AudioSource) -> QualityReport:
        """Score a recording in chunks, in bounded memory."""
        hop, n_fft = self.features.hop_length, self.features.n_fft
        size = max(1, round(self.CHUNK_SECONDS * self.sample_rate / hop)) * hop
        context = round(self.CONTEXT_SECONDS * self.sample_rate / hop) * hop
        mean, level = self._offset_and_level(source)
        parts = chunks(source, self.sample_rate, size, before=context, after=context + n_fft - hop)
        return self._assess_chunks(parts, size // hop, mean, level)

    def _offset_and_level(self, source: AudioSource) -> tuple[float, Tensor]:
        """DC offset of a recording, and its level (1,) without it. Both are known at its end only."""
        low, high, count = np.inf, -np.inf, 0
        offset = OffsetMean()
        sums, energies, limits = [], [], []  # of blocks of n_fft samples
        for chunk in chunks(source, self.sample_rate, 1024 * self.features.n_fft):
            samples = chunk.samples.astype(np.float64)
            low, high, count = min(low, samples.min()), max(high, samples.max()), count + len(samples)
            offset.add(chunk.samples)
            starts = np.arange(0, len(samples), self.features.n_fft)
            sums.append(np.add.reduceat(samples, starts))
            energies.append(np.add.reduceat(np.square(samples), starts))
            limits.append([np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)])
        sum_of_block, energy = np.concatenate(sums), np.concatenate(energies)
        mean = offset.value
        level = torch.tensor([max(high - mean, mean - low)], dtype=torch.float32)
        if self.features.level == "robust-peak":
            peaks = np.abs(np.concatenate(limits, axis=1) - mean).max(axis=0).astype(np.float32)
            level = self.features.robust_peak(torch.from_numpy(peaks)[None], torch.tensor([count]))
        if self.features.level == "loud":
            lengths = np.full(len(energy), self.features.n_fft)
            lengths[-1] = count - self.features.n_fft * (len(energy) - 1)
            without_mean = np.maximum(energy - 2 * mean * sum_of_block + lengths * mean**2, 0)
            blocks = torch.from_numpy(without_mean.astype(np.float32))[None]
            level = self.features.loud_level(blocks, torch.tensor([count]))
        return mean, level.to(self.device)

    @torch.inference_mode()
    def _assess(self, wavs: Tensor, lens: Tensor) -> list[QualityReport]:
        wavs, lens = self._to_signal(wavs), lens.to(self.device)
        results = self._score(wavs, lens, None, details=True)
        rows = zip(frame_counts(wavs, lens).tolist(), *(result.cpu().numpy() for result in results), strict=True)
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

    @torch.inference_mode()
    def _assess_chunks(self, parts: Iterable[Chunk], num_frames: int, mean: float, level: Tensor) -> QualityReport:
        """Score a recording in chunks of ``num_frames`` frames and their context; the last one may have more."""
        scores, silences, details, samples = [], [], [], 0
        for chunk in parts:
            wav = self._to_signal(torch.from_numpy(chunk.samples - np.float32(mean))[None])
            _, frame_scores, silent, *others = self._score(wav, check_lens(None, wav), level, details=True)
            first = (chunk.first - chunk.start) // self.features.hop_length
            end = None if chunk.is_last else first + num_frames
            scores.append(frame_scores[0, first:end].cpu().numpy())
            silences.append(silent[0, first:end].cpu().numpy())
            if others:
                details.append((others[0][0, first:end].cpu().numpy(), others[1][0].cpu().numpy()))
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
