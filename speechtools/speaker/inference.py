"""Speaker verification by a trained d-vector encoder: embed recordings, enrol voices, verify them.

The way from a recording to its d-vector is the GE2E paper's (section 3.2): voice activity detection, features once,
sliding windows, the encoder, L2 norm, mean.
"""

import math
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from speechtools import audio
from speechtools.audio.vad import speech_samples
from speechtools.core.errors import AudioError, ConfigError, SpeechtoolsError
from speechtools.core.files import fingerprint, write_aside
from speechtools.core.pretrained import BUNDLED_MODELS, PretrainedModel
from speechtools.speaker import dvectors
from speechtools.speaker.encoders import LSTMP, folded

#: The model that comes with the package: its folder's README tells how it was trained, and what it is not good for.
BUNDLED_SPEAKER_ENCODER = BUNDLED_MODELS / "speaker"


@dataclass(frozen=True)
class WindowDVectors:
    """The d-vectors of a recording's sliding windows.

    Attributes
    ----------
    dvectors : Tensor
        (windows, embedding_size), each of length 1.
    times : np.ndarray
        (windows, 2): start and end of each window in the recording, in seconds. Pauses were left out before, so a
        window may span more time than it holds speech.
    """

    dvectors: Tensor
    times: np.ndarray


class Verdict(NamedTuple):
    """``score``: cosine of the two d-vectors, in [-1, 1]; ``accepted``: whether it reaches the threshold."""

    score: float
    accepted: bool


class SpeakerEncoder(PretrainedModel):
    """d-vectors by an encoder trained with recipes/TI-SV/GE2E or recipes/keyword/GE2E.

    Of a model for free text all speech counts, in sliding windows; of one for keywords the segment that holds the
    keyword (section 3), as its yaml has a ``vad`` or a ``segment``.

    Small projection LSTMs on a CPU run with their projection folded into the other weights: the same function, two to
    three times as fast.

    Example
    -------
    >>> encoder = SpeakerEncoder.from_hparams()  # the model that comes with the package
    >>> encoder.embedding_size
    128
    """

    HPARAMS_NEEDED = ["features", "sample_rate"]
    MODULES_NEEDED = ["encoder"]
    BUNDLED = BUNDLED_SPEAKER_ENCODER

    #: Longer recordings are embedded piece by piece, in bounded memory.
    CHUNK_SECONDS = 300.0
    #: A recording with less speech than this has no d-vector that could be trusted.
    MIN_SPEECH_SECONDS = 0.25
    #: What devices and versions may make of one number of a d-vector.
    PROBE_TOLERANCE = 5e-3
    #: Above this many hidden nodes folding the projection gains nothing.
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
                raise ConfigError(
                    f"The model's hyperparams.yaml has neither a segment nor {', '.join(missing)}, so what is to be "
                    "heard of a recording is not told. Export the model again with its recipe."
                )
            self.window_frames, self.window_hop_frames = self.hparams.window_frames, self.hparams.window_hop_frames
        for part in (self.features, self.vad, self.segment):
            if isinstance(part, torch.nn.Module):
                part.to(self.device)
        self.encoder = self.mods.encoder
        if torch.device(self.device).type == "cpu" and isinstance(self.encoder, LSTMP):
            if self.encoder.lstm.hidden_size <= self.MAX_FOLDED_SIZE:
                self.encoder = folded(self.encoder)
        try:
            found = dvectors.probe(self.features, self.encoder, self.sample_rate, self.device)
        except RuntimeError as error:
            raise ConfigError(
                f"The encoder does not take the features beside it ({str(error).splitlines()[0]}): it was trained "
                "with other ones. The weights and the yaml must come from one export."
            ) from error
        expected = getattr(self.hparams, "probe", None)  # older exports have none
        if expected and not np.allclose(found, expected, rtol=0, atol=self.PROBE_TOLERANCE):
            raise ConfigError(
                "The encoder does not give the d-vector that it gave when it was exported: its weights are those of "
                "another model, or the features beside it are not those that it was trained with. The weights and the "
                "yaml must come from one export."
            )

    @property
    def embedding_size(self) -> int:
        """Size of a d-vector."""
        return self.mods.encoder.embedding_size

    def encode_batch(self, wavs: Tensor, wav_lens: Tensor | None = None) -> Tensor:
        """d-vectors of waveforms held in memory.

        Parameters
        ----------
        wavs : Tensor
            (batch, samples) at the model's ``sample_rate``, padded on the right; a single (samples,) is taken too.
        wav_lens : Tensor
            Relative lengths (batch,) in (0, 1]; None means all are whole.

        Returns
        -------
        Tensor
            (batch, embedding_size)

        Raises
        ------
        AudioError
            A waveform has another shape, NaN or infinite samples, or too little speech.
        """
        wavs = wavs.unsqueeze(0) if wavs.dim() == 1 else wavs
        if wavs.dim() != 2 or wavs.shape[1] == 0 or not wavs.is_floating_point():
            raise AudioError(
                f"Waveforms of shape {tuple(wavs.shape)} and type {wavs.dtype} cannot be embedded: give floating point "
                "(batch, samples) or (samples,), mono, at least one sample."
            )
        counts = [wavs.shape[1]] * len(wavs)
        if wav_lens is not None:
            counts = (wav_lens * wavs.shape[1]).round().long().clamp(1, wavs.shape[1]).tolist()
        waveforms = [wav[:count] for wav, count in zip(wavs, counts, strict=True)]
        names = [f"Waveform {number} of the batch" for number in range(len(wavs))]
        return self._embed(waveforms, names)

    @torch.inference_mode()
    def encode_windows(self, wav: Tensor | np.ndarray) -> WindowDVectors:
        """d-vectors of a waveform's sliding windows, with their times; (samples,) at the model's ``sample_rate``."""
        wav = torch.as_tensor(np.asarray(wav) if isinstance(wav, np.ndarray) else wav)
        if wav.dim() != 1 or not len(wav) or not wav.is_floating_point():
            raise AudioError(
                f"encode_windows takes one waveform (samples,), mono, floating point, at least one sample; got shape "
                f"{tuple(wav.shape)} and type {wav.dtype}."
            )
        return self._windows_of([wav], "The waveform")[0]

    @torch.inference_mode()
    def encode_file_windows(self, path: str | Path) -> WindowDVectors:
        """As :meth:`encode_windows`, of an audio file of any rate, channels, format and length."""
        self._is_long(path)
        return self._windows_of(self._pieces(path), str(path))[0]

    def encode_file(self, path: str | Path) -> Tensor:
        """The d-vector (embedding_size,) of an audio file of any rate, channels, format and length.

        Raises
        ------
        AudioError
            The file is missing, no audio, cut short, or holds too little speech; the message names it.
        """
        if self._is_long(path):
            return dvectors.utterance_dvector(self.encode_file_windows(path).dvectors).cpu()
        return self._embed([torch.from_numpy(self._read(path))], [str(path)])[0].cpu()

    def encode_files(
        self, paths: Iterable[str | Path], batch_size: int = 32
    ) -> Iterator[tuple[Path, Tensor | AudioError]]:
        """Embed many files: the path and its d-vector (embedding_size,), or the reason why it has none; in order."""
        batch: list[tuple[Path, Tensor | AudioError]] = []
        for path in map(Path, paths):
            try:
                found: Tensor | AudioError
                if self._is_long(path):
                    found = self.encode_file(path)
                else:
                    found = self._feats(torch.from_numpy(self._read(path)), str(path))[0]
            except AudioError as error:
                found = error
            batch.append((path, found))
            if len(batch) == batch_size:
                yield from self._finished(batch)
                batch = []
        yield from self._finished(batch)

    @torch.inference_mode()
    def _finished(self, batch: list[tuple[Path, Any]]) -> list[tuple[Path, Tensor | AudioError]]:
        # Features are two-dimensional, the d-vectors of long files and errors are not.
        waiting = [n for n, (_, found) in enumerate(batch) if isinstance(found, Tensor) and found.dim() == 2]
        for n, windows in zip(waiting, self._windows([batch[n][1] for n in waiting]), strict=True):
            batch[n] = batch[n][0], dvectors.utterance_dvector(windows).cpu()
        return batch

    @torch.inference_mode()
    def _embed(self, waveforms: list[Tensor], names: list[str]) -> Tensor:
        feats = [self._feats(wav, name)[0] for wav, name in zip(waveforms, names, strict=True)]
        return torch.stack([dvectors.utterance_dvector(windows) for windows in self._windows(feats)])

    def _windows(self, feats: list[Tensor]) -> list[Tensor]:
        return dvectors.window_dvectors(self.encoder, feats, self.window_frames, self.window_hop_frames)

    @torch.inference_mode()
    def _windows_of(self, pieces: Iterable[Tensor], name: str) -> tuple[WindowDVectors, float]:
        """The windows of a recording that comes in pieces, and the seconds of speech in it."""
        found: list[Tensor] = []
        times: list[np.ndarray] = []
        offset, spoken = 0, 0.0
        refused = AudioError(f"{name} holds no sample.")
        for wav in pieces:
            try:
                feats, heard = self._feats(wav, name)
            except AudioError as error:  # a minute without speech in a long recording is no fault
                refused = error
            else:
                found += self._windows([feats])
                starts = dvectors.window_starts(len(feats), self.window_frames, self.window_hop_frames)
                times += [self._span(heard, start, len(feats)) + offset / self.sample_rate for start in starts]
                spoken += len(heard) / self.sample_rate
            offset += len(wav)
        if not found:
            raise refused
        return WindowDVectors(torch.cat(found), np.stack(times)), spoken

    def _span(self, heard: np.ndarray, start: int, num_frames: int) -> np.ndarray:
        """Start and end (s) in the recording of a window; ``heard`` are the positions of the samples that were kept."""
        last = min(start + self.window_frames, num_frames) - 1
        first_sample = start * self.features.hop_length
        last_sample = min(last * self.features.hop_length + self.features.win_length, len(heard)) - 1
        return np.array([heard[first_sample], heard[last_sample] + 1]) / self.sample_rate

    @torch.inference_mode()
    def _feats(self, wav: Tensor, name: str) -> tuple[Tensor, np.ndarray]:
        """Features (frames, size) of the speech in a waveform, and the positions of its samples in it."""
        wav = wav.to(self.device, torch.float32)
        if not torch.isfinite(wav).all():
            raise AudioError(f"{name} holds NaN or infinite samples. Mend what made them.")
        if self.segment is not None:
            return self._keyword_feats(wav, name)
        speech = self.vad(wav.unsqueeze(0))[0]
        # (time,)
        heard = speech_samples(torch.arange(len(wav), device=wav.device), speech, self.vad.hop_length)
        seconds = len(heard) / self.sample_rate
        if seconds < self.MIN_SPEECH_SECONDS:
            raise AudioError(
                f"{name} ({len(wav) / self.sample_rate:.2f} s) holds {seconds:.2f} s of speech, and at least "
                f"{self.MIN_SPEECH_SECONDS} s are needed to tell a voice. Give a longer recording, or a louder one."
            )
        return self.features(wav[heard].unsqueeze(0))[0], heard.cpu().numpy()

    def _keyword_feats(self, wav: Tensor, name: str) -> tuple[Tensor, np.ndarray]:
        try:
            start = self.segment(wav.cpu())
        except AudioError as error:
            raise AudioError(f"{name} holds no keyword: {error}") from error
        held = wav[start : start + self.segment.num_samples]
        return self.features(held.unsqueeze(0))[0], np.arange(start, start + len(held))

    def _is_long(self, path: str | Path) -> bool:
        """Whether a file is taken in pieces, which a model of keywords cannot do: it looks for one segment in all."""
        seconds = audio.duration(path)
        if seconds > self.CHUNK_SECONDS and self.segment is not None:
            raise AudioError(
                f"{path} has {seconds:.0f} s, and this model looks for a keyword of "
                f"{self.segment.num_samples / self.sample_rate} s in recordings of at most {self.CHUNK_SECONDS} s. "
                "Give the part that holds the keyword."
            )
        return seconds > self.CHUNK_SECONDS

    def _read(self, path: str | Path) -> np.ndarray:
        samples = audio.read(path, self.sample_rate)
        audio.check_signal(samples, path)
        return samples

    def _pieces(self, path: str | Path) -> Iterator[Tensor]:
        for block in audio.blocks(path, self.sample_rate, self.CHUNK_SECONDS):
            yield torch.from_numpy(block)


class SpeakerVerification(SpeakerEncoder):
    """Is this the voice it claims to be?

    A voice is enrolled from several recordings: its voiceprint is the mean of their d-vectors (equation 1). A recording
    is accepted where its cosine with the voiceprint reaches ``threshold``: by default the one at which, on the
    validation speakers of the training, as many impostors were accepted as true speakers refused.

    Example
    -------
    >>> verifier = SpeakerVerification.from_hparams()  # the model that comes with the package
    >>> verifier.voices, 0 < verifier.threshold < 1
    ({}, True)
    """

    HPARAMS_NEEDED = [*SpeakerEncoder.HPARAMS_NEEDED, "threshold"]

    #: Speech that all recordings of an enrolment must hold together.
    MIN_ENROLMENT_SECONDS = 1.0

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.threshold = float(self.hparams.threshold)
        self.voices: dict[str, Tensor] = {}

    def enroll(self, name: str, paths: Iterable[str | Path]) -> Tensor:
        """Enrol a voice from one or more recordings; an earlier voice of that name is replaced.

        Returns
        -------
        Tensor
            The voiceprint (embedding_size,).

        Raises
        ------
        AudioError
            A recording cannot be read or holds too little speech, or all of them together do; nothing is enrolled.
        """
        paths = [paths] if isinstance(paths, (str, Path)) else list(paths)
        if not paths:
            raise ConfigError(f"No recordings to enrol {name!r} from. Give at least one, better three or more.")
        spoken, prints = 0.0, []
        for path in paths:
            pieces = self._pieces(path) if self._is_long(path) else [torch.from_numpy(self._read(path))]
            windows, seconds = self._windows_of(pieces, str(path))
            spoken += seconds
            prints.append(dvectors.utterance_dvector(windows.dvectors))
        if self.segment is None and spoken < self.MIN_ENROLMENT_SECONDS:
            raise AudioError(
                f"The {len(paths)} recordings to enrol {name!r} from hold {spoken:.2f} s of speech together, and at "
                f"least {self.MIN_ENROLMENT_SECONDS} s are needed. Add recordings."
            )
        self.voices[name] = torch.stack(prints).mean(dim=0).cpu()
        return self.voices[name]

    def verify(self, name: str, path: str | Path, threshold: float | None = None) -> Verdict:
        """Whether a recording is the enrolled voice ``name``.

        Raises
        ------
        ConfigError
            No such voice is enrolled.
        AudioError
            The recording cannot be read or holds too little speech.
        """
        return self._verdict(self.voice(name), self.encode_file(path), threshold)

    def verify_files(self, path_a: str | Path, path_b: str | Path, threshold: float | None = None) -> Verdict:
        """Whether two recordings are of one voice."""
        return self._verdict(self.encode_file(path_a), self.encode_file(path_b), threshold)

    def voice(self, name: str) -> Tensor:
        """The voiceprint (embedding_size,) of an enrolled voice."""
        if name not in self.voices:
            raise ConfigError(
                f"No voice {name!r} is enrolled; there are: {', '.join(sorted(self.voices)) or 'none'}. Enrol it first."
            )
        return self.voices[name]

    def save_voices(self, path: str | Path) -> None:
        """Write the enrolled voices to a file (.npz), with the fingerprint of the model they belong to."""
        names = sorted(self.voices)
        prints = np.stack([self.voices[name].numpy() for name in names]) if names else np.zeros((0, 0))
        with write_aside(path) as aside, open(aside, "wb") as stream:
            np.savez(stream, names=np.array(names, dtype=str), voiceprints=prints, model=self.model_id)

    def load_voices(self, path: str | Path) -> None:
        """Read voices written by :meth:`save_voices`, beside those that are enrolled already.

        Raises
        ------
        ConfigError
            The file is missing or torn, or its voiceprints were made by another model.
        """
        try:
            with np.load(path, allow_pickle=False) as held:
                names, prints, model = held["names"].tolist(), held["voiceprints"], str(held["model"])
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise ConfigError(
                f"{path} cannot be read as a file of enrolled voices ({type(error).__name__}). "
                "Make it with `speechtools enroll`."
            ) from error
        if model != self.model_id:
            raise ConfigError(
                f"The voices in {path} were enrolled with another model ({model}, this one is {self.model_id}), and "
                "d-vectors of two models cannot be compared. Use that model, or enrol the voices again."
            )
        self.voices.update(zip(names, map(torch.from_numpy, prints), strict=True))

    @property
    def model_id(self) -> str:
        """A fingerprint of the encoder's weights and of what comes before it."""
        sums = {key: float(value.double().abs().sum()) for key, value in self.mods.encoder.state_dict().items()}
        # Front ends of one size would not show in the weights, and their d-vectors cannot be compared either.
        held = {key: value for key, value in vars(self.features).items() if isinstance(value, (bool, int, float, str))}
        held.pop("training", None)
        if isinstance(self.features, torch.nn.Module):
            buffers = self.features.named_buffers()
            sums |= {f"features.{key}": float(value.double().abs().sum()) for key, value in buffers}
        weights = {key: f"{value:.6e}" for key, value in sums.items()}
        return fingerprint(weights | {"features": type(self.features).__name__, "options": held})

    def _verdict(self, model: Tensor, test: Tensor, threshold: float | None) -> Verdict:
        threshold = self.threshold if threshold is None else threshold
        score = dvectors.cosine_scores(model.unsqueeze(0), test.unsqueeze(0)).item()
        if not math.isfinite(score):
            raise SpeechtoolsError(
                "The score is not a number: the model's weights or the recordings' d-vectors are damaged. "
                "Export the model again."
            )
        return Verdict(score, score >= threshold)
