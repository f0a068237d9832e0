"""Embed recordings with a trained d-vector encoder.

A recording becomes a d-vector as in the GE2E paper (section 3.2): voice activity detection, features, sliding windows,
encoder, L2 normalisation, mean.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechtools.audio.frames import frame_counts
from speechtools.audio.io import chunks, offset
from speechtools.audio.recordings import map_recordings, open_source, read_short, without_offset
from speechtools.audio.sources import AudioSource, Channel, Recording
from speechtools.audio.vad import speech_samples
from speechtools.audio.waveforms import check_lens, check_waveforms, remove_offset
from speechtools.core.checks import check_number
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.files import fingerprint
from speechtools.core.pretrained import BUNDLED_MODELS, PretrainedModel
from speechtools.speaker import dvectors
from speechtools.speaker.encoders import LSTMP, folded
from speechtools.speaker.onnx import OnnxSpeakerEncoder
from speechtools.speaker.quality import QualityOfSpeech
from speechtools.speaker.scoring import Scoring
from speechtools.speaker.speech import check_seconds, check_voice
from speechtools.speaker.vectors import unit
from speechtools.speaker.weighing import speech_quality
from speechtools.speaker.windows import Embedded, Speech, WindowDVectors, weighed

#: The bundled model; its README describes its training and its limits.
BUNDLED_SPEAKER_ENCODER = BUNDLED_MODELS / "speaker"
#: Longest window in frames.
MAX_WINDOW_FRAMES = 100_000
_ONE_EXPORT = "Both must come from one export."


class SpeakerEncoder(QualityOfSpeech, Scoring, PretrainedModel):
    """d-vectors of recordings.

    A text-independent model embeds all speech of a recording, in sliding windows. A keyword model, which has a
    ``segment`` instead of a ``vad``, embeds the segment that contains the keyword (section 3).

    On a CPU, the projection of a small projection LSTM is folded into the next weights: the same function, two to three
    times as fast.

    Examples
    --------
    >>> encoder = SpeakerEncoder.from_hparams()  # the bundled model
    >>> encoder.embedding_size
    256
    """

    HPARAMS_NEEDED = ["features", "sample_rate"]
    MODULES_NEEDED = ["encoder"]
    COMPONENTS = {
        "features": "features",
        "vad": "vad",
        "segment": "segment",
        "encoder": "encoder",
        "normalization": "score-norm",
    }
    BUNDLED = BUNDLED_SPEAKER_ENCODER
    #: Largest difference from 1 of the cosine of a d-vector with the one by 8-bit weights.
    INT8_LIMIT = 0.01
    FITTED = ("threshold", "normalization", "calibration", "probe", "same_speaker")

    #: Longer recordings are embedded in chunks of this length, in bounded memory.
    CHUNK_SECONDS = 300.0
    #: Whether recordings of noise are errors. Of any sound, an encoder makes a d-vector.
    REFUSES_NOISE = False
    #: Least speech for a reliable d-vector.
    MIN_SPEECH_SECONDS = 0.25
    #: Largest difference that devices and versions make to an element of a d-vector.
    PROBE_TOLERANCE = 5e-3
    #: Folding the projection gains nothing above this hidden size.
    MAX_FOLDED_SIZE = 256

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.features, self.sample_rate = self.hparams.features, self.hparams.sample_rate
        self.vad: Any = getattr(self.hparams, "vad", None)
        self.segment: Any = getattr(self.hparams, "segment", None)
        if self.segment is not None:
            self.window_frames = self.window_hop_frames = int(self.features.num_frames(self.segment.num_samples))
        else:
            needed = ("vad", "window_frames", "window_hop_frames")
            missing = [key for key in needed if not hasattr(self.hparams, key)]
            if missing:
                raise ConfigError(f"The model has neither a segment nor {', '.join(missing)}. Export it again.")
            self.window_frames, self.window_hop_frames = self.hparams.window_frames, self.hparams.window_hop_frames
            check_number("window_frames", self.window_frames, 1, MAX_WINDOW_FRAMES, whole=True)
            check_number("window_hop_frames", self.window_hop_frames, 1, self.window_frames, whole=True)
        #: Rule of :func:`dvectors.covered_frames`; None: a last window ends with the utterance.
        self.min_coverage: float | None = getattr(self.hparams, "min_coverage", None)
        if self.min_coverage is not None:
            check_number("min_coverage", self.min_coverage, 0, 1, above=True)
        for module in (self.features, self.vad, self.segment):
            if isinstance(module, torch.nn.Module):
                module.to(self.device)
        self.encoder = self._fastest(self.mods.encoder)
        self._load_scoring(self.embedding_size)
        try:
            probe = dvectors.probe(self.features, self.encoder, self.sample_rate, self.device)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(f"The encoder does not take these features ({reason}). {_ONE_EXPORT}") from error
        expected = getattr(self.hparams, "probe", None)  # older exports have none
        is_same = not expected or len(expected) == len(probe)
        is_same = is_same and np.allclose(probe, expected or probe, rtol=0, atol=self.PROBE_TOLERANCE)
        if not is_same:
            raise ConfigError(f"The weights or the features of the encoder are those of another model. {_ONE_EXPORT}")

    def _fastest(self, encoder: torch.nn.Module) -> torch.nn.Module:
        """The encoder; on a CPU, a small projection LSTM is folded."""
        on_cpu = torch.device(self.device).type == "cpu"
        if on_cpu and isinstance(encoder, LSTMP) and encoder.lstm.hidden_size <= self.MAX_FOLDED_SIZE:
            return folded(encoder)
        return encoder

    @classmethod
    def from_onnx(cls, path: str | Path, threads: int | None = None) -> OnnxSpeakerEncoder:
        """Do as :meth:`PretrainedModel.from_onnx`: load a model in ONNX form, to embed without torch."""
        return OnnxSpeakerEncoder(path, threads)

    def onnx_graph(self) -> Any:
        """Return what :meth:`to_onnx` writes."""
        from speechtools.speaker.onnx_graph import encoder_graph

        return encoder_graph(self)

    def onnx_results(self, recordings: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Results that are compared between torch and ONNX: d-vectors of a batch, and of the first one alone."""
        speech = [self._speech(torch.from_numpy(without_offset(samples)), "A recording") for samples in recordings]
        return [part.dvector.numpy() for batch in (speech, speech[:1]) for part in self._embed(batch)]

    def onnx_change(self, expected: list[np.ndarray], results: list[np.ndarray]) -> tuple[float, str]:
        """How far d-vectors (:meth:`onnx_results`) have moved, and the same in words."""
        cosines = [float((unit(a) * unit(b)).sum()) for a, b in zip(expected, results, strict=True)]
        return 1 - min(cosines), f"d-vectors have a cosine of at least {min(cosines):.4f} with those of float32"

    def response(self, wavs: Tensor) -> Tensor:
        """The d-vector (1, emb) of waveforms (1, samples) as a whole."""
        return self.mods.encoder(self.features(wavs))

    def drop_fitted(self) -> list[str]:
        """Drop threshold, calibration and cohort, and take the weights of the encoder as they are now."""
        names = {"threshold": "threshold", "calibration": "calibration", "normalization": "cohort"}
        dropped = [name for key, name in names.items() if getattr(self.hparams, key, None) is not None]
        self.set_normalization(None)
        self.hparams.threshold = None
        self.encoder = self._fastest(self.mods.encoder)
        self.hparams.probe = dvectors.probe(self.features, self.encoder, self.sample_rate, self.device)
        return dropped

    @property
    def embedding_size(self) -> int:
        """Size of a d-vector."""
        return self.mods.encoder.embedding_size

    @property
    def model_id(self) -> str:
        """A fingerprint of the encoder's weights and of the features."""
        sums = {key: float(value.double().abs().sum()) for key, value in self.mods.encoder.state_dict().items()}
        # Features of the same size do not show in the weights, yet change the d-vectors.
        options = {
            key: value for key, value in vars(self.features).items() if isinstance(value, bool | int | float | str)
        }
        options.pop("training", None)
        if isinstance(self.features, torch.nn.Module):
            buffers = self.features.named_buffers()
            sums |= {f"features.{key}": float(value.double().abs().sum()) for key, value in buffers}
        weights = {key: f"{value:.6e}" for key, value in sums.items()}
        return fingerprint(weights | {"features": type(self.features).__name__, "options": options})

    @torch.no_grad()
    def encode_batch(self, wavs: Tensor, wav_lens: Tensor | None = None) -> Tensor:
        """Embed waveforms.

        Parameters
        ----------
        wavs : Tensor
            (batch, samples) or (samples,) at the model's ``sample_rate``, padded on the right.
        wav_lens : Tensor, optional
            Relative lengths (batch,) in (0, 1]. Default: no padding.

        Returns
        -------
        Tensor
            (batch, embedding_size)

        Raises
        ------
        AudioError
            The waveforms have another shape or type, contain NaN or infinite samples, or too little speech; or
            a length is not in (0, 1].
        """
        wavs = check_waveforms(wavs)
        lens = check_lens(wav_lens, wavs)
        wavs, counts = remove_offset(wavs, lens), frame_counts(wavs, lens).tolist()
        speech = [
            self._speech(wav[:count], f"Waveform {number} of the batch")
            for number, (wav, count) in enumerate(zip(wavs, counts, strict=True))
        ]
        return torch.stack([part.dvector for part in self._embed(speech)]).to(self.device)

    @torch.no_grad()
    def encode_speech(self, wavs: Sequence[Tensor]) -> Tensor:
        """Embed waveforms (samples,) that contain speech alone: (batch, embedding_size).

        Nothing is looked for, left out or weighed in them, as in the stores that a training draws from.
        """
        speech = []
        for wav in wavs:
            wav = self._to_signal(remove_offset(check_waveforms(wav))[0])
            if hasattr(self.features, "levelled"):
                wav = self.features.levelled(wav.unsqueeze(0))[0]
            speech.append(Speech(self._frames(wav).to(self.dtype), len(wav) / self.sample_rate))
        return torch.stack([part.dvector for part in self._embed(speech)])

    def encode_windows(
        self, wav: Recording, sample_rate: float | None = None, channel: Channel = "mix"
    ) -> WindowDVectors:
        """Do as :meth:`encode_file_windows`, with the former name of its first parameter."""
        return self.encode_file_windows(wav, sample_rate=sample_rate, channel=channel)

    def encode_file_windows(
        self, path: Recording, *, sample_rate: float | None = None, channel: Channel = "mix"
    ) -> WindowDVectors:
        """Embed the sliding windows of a recording, as :meth:`encode_file` does."""
        source = open_source(path, self.sample_rate, sample_rate, channel)
        samples = read_short(source, self.sample_rate, self.CHUNK_SECONDS)
        if samples is not None:
            wav = torch.from_numpy(samples)
            return self._embed_windows([wav], source.name, wav)
        if self.segment is not None:
            raise AudioError(
                f"{source.name} lasts more than {self.CHUNK_SECONDS:g} s, in which this model looks for a keyword of "
                f"{self.segment.num_samples / self.sample_rate} s. Cut the recording."
            )
        mean = np.float32(offset(source, self.sample_rate))
        parts = chunks(source, self.sample_rate, round(self.CHUNK_SECONDS * self.sample_rate))
        wavs = (torch.from_numpy(part.samples - mean) for part in parts)
        return self._embed_windows(wavs, source.name, source)

    def encode_file(self, path: Recording, *, sample_rate: float | None = None, channel: Channel = "mix") -> Tensor:
        """Embed a recording of any sample rate, number of channels, format and length: (embedding_size,).

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
            The recording is missing, not audio, truncated, lacks the channel, or contains too little speech; the
            message names it.
        """
        return self.encode_file_windows(path, sample_rate=sample_rate, channel=channel).mean().cpu()

    def encode_files(
        self,
        paths: Iterable[Recording] | Recording,
        batch_size: int = 32,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
    ) -> Iterator[tuple[Any, Tensor | AudioError]]:
        """Embed many recordings in batches, while the next ones are read. They are those of :meth:`encode_file`.

        Yields
        ------
        path : Path or object
            In the order of ``paths``: a path, or the file or samples that were passed.
        result : Tensor or AudioError
            The d-vector (embedding_size,), or the reason why this recording has none.
        """
        for path, result in self.embed_files(paths, batch_size, sample_rate=sample_rate, channel=channel):
            yield path, result if isinstance(result, AudioError) else result.dvector

    def embed_files(
        self,
        paths: Iterable[Recording] | Recording,
        batch_size: int = 32,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
    ) -> Iterator[tuple[Any, Embedded | AudioError]]:
        """Do as :meth:`encode_files`, and yield also the seconds of speech, and what is known of their quality."""

        def prepare(samples: np.ndarray, source: AudioSource) -> Speech:
            return self._speech(torch.from_numpy(samples), source.name)

        def embed_long(source: AudioSource) -> Embedded:
            return self.encode_file_windows(source).embedded()

        return map_recordings(
            paths,
            self.sample_rate,
            self._embed,
            embed_long,
            self.CHUNK_SECONDS,
            batch_size,
            prepare,
            samples_rate=sample_rate,
            channel=channel,
        )

    @torch.no_grad()
    def _embed(self, speech: list[Speech]) -> list[Embedded]:
        """Embed the speech of several recordings."""
        windows = self._window_dvectors([part.feats for part in speech])
        pairs = zip(windows, speech, strict=True)
        return [
            Embedded(weighed(group, part.margins).cpu(), part.usable, part.seconds, part.quality)
            for group, part in pairs
        ]

    def _window_dvectors(self, feats: list[Tensor]) -> list[Tensor]:
        windows = dvectors.window_dvectors(self.encoder, feats, self.window_frames, self.window_hop_frames)
        return [self._to_signal(group) for group in windows]

    @torch.no_grad()
    def _embed_windows(self, wavs: Iterable[Tensor], name: str, recording: Recording) -> WindowDVectors:
        """Embed the windows of a recording's consecutive chunks; windows are weighed by its quality as a whole."""
        windows: list[Tensor] = []
        times: list[np.ndarray] = []
        frame_times: list[np.ndarray] = []
        seconds: list[float] = []
        qualities: list[float | None] = []
        offset = 0
        error: AudioError | None = None
        for wav in wavs:
            try:
                feats, positions = self._speech_feats(wav, name)
            except AudioError as reason:  # other chunks of a long recording may contain speech
                error = reason
            else:
                windows += self._window_dvectors([feats])
                starts = np.array(dvectors.window_starts(len(feats), self.window_frames, self.window_hop_frames))
                times.append((self._window_samples(positions, starts, len(feats)) + offset) / self.sample_rate)
                frame_times.append(self._frame_times(positions + offset, len(feats)))
                seconds.append(len(positions) / self.sample_rate)
                if self._quality_model is not None:
                    qualities.append(speech_quality(self._quality_model, wav[positions], self.sample_rate))
            offset += len(wav)
        if error and not windows:
            raise error
        margins = usable = None
        if self._weighing is not None:
            report = self._weighing.model.assess_file(recording, sample_rate=self.sample_rate)
            hops = self.window_frames, self.window_hop_frames
            margins, usable = self._weighing.of_windows(report, frame_times, seconds, *hops)
        known = [(quality, share) for quality, share in zip(qualities, seconds, strict=False) if quality is not None]
        quality = sum(value * share for value, share in known) / sum(share for _, share in known) if known else None
        return WindowDVectors(torch.cat(windows), np.concatenate(times), margins, usable, sum(seconds), quality)

    def _frame_times(self, positions: np.ndarray, num_frames: int) -> np.ndarray:
        """Middles (frames,) of frames in seconds; ``positions`` are those of the samples of speech."""
        middles = np.arange(num_frames) * self.features.hop_length + self.features.win_length // 2
        return (positions[np.minimum(middles, len(positions) - 1)] + 0.5) / self.sample_rate

    def _window_samples(self, positions: np.ndarray, starts: np.ndarray, num_frames: int) -> np.ndarray:
        """First sample of windows and the one after their last, (windows, 2); ``positions`` are those of the speech."""
        hop, length = self.features.hop_length, self.features.win_length
        last = np.minimum(starts + self.window_frames, num_frames) - 1
        ends = np.minimum(last * hop + length, len(positions)) - 1
        return np.stack([positions[starts * hop], positions[ends] + 1], axis=1)

    @torch.no_grad()
    def _speech(self, wav: Tensor, name: str) -> Speech:
        """The speech of a waveform (samples,), with the margins of its windows and its quality if they are needed."""
        feats, positions = self._speech_feats(wav, name)
        seconds = len(positions) / self.sample_rate
        margins = usable = quality = None
        if self._weighing is not None:
            report = self._weighing.model.assess_file(wav, sample_rate=self.sample_rate)
            times, hops = self._frame_times(positions, len(feats)), (self.window_frames, self.window_hop_frames)
            margins, usable = self._weighing.of_windows(report, [times], [seconds], *hops)
        if self._quality_model is not None:
            quality = speech_quality(self._quality_model, wav[positions], self.sample_rate)
        return Speech(feats, seconds, margins, usable, quality)

    @torch.no_grad()
    def _speech_feats(self, wav: Tensor, name: str) -> tuple[Tensor, np.ndarray]:
        """Features (frames, size) of the speech in a waveform, and the positions of its samples."""
        wav = self._to_signal(wav)
        if hasattr(self.features, "levelled"):
            wav = self.features.levelled(wav.unsqueeze(0))[0]
        positions = torch.arange(len(wav), device=wav.device)
        if self.segment is not None:
            try:
                start = self.segment(wav.cpu())
            except AudioError as error:
                raise AudioError(f"{name} contains no keyword: {error}") from error
            positions = positions[start : start + self.segment.num_samples]
        else:
            speech = self.vad(wav.unsqueeze(0))[0]
            # (time,)
            positions = speech_samples(positions, speech, self.vad.hop_length)
            seconds = len(positions) / self.sample_rate
            check_seconds(name, len(wav) / self.sample_rate, seconds, self.MIN_SPEECH_SECONDS)
            if self.REFUSES_NOISE:
                arrays = wav.cpu().numpy(), speech.cpu().numpy()
                check_voice(name, *arrays, self.vad.hop_length, self.sample_rate)
        return self._frames(wav[positions]).to(self.dtype), positions.cpu().numpy()

    def _frames(self, speech: Tensor) -> Tensor:
        """Features (frames, size) of speech (samples,) that has its level already."""
        count = None
        if self.min_coverage is not None:
            whole = len(speech) // self.features.hop_length
            count = dvectors.covered_frames(whole, self.window_frames, self.window_hop_frames, self.min_coverage)
            speech = torch.nn.functional.pad(speech, (0, max(self.features.num_samples(count) - len(speech), 0)))
        options = {"level": False} if hasattr(self.features, "levelled") else {}
        return self.features(speech.unsqueeze(0), **options)[0, :count]
