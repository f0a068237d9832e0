"""A speaker encoder in ONNX form, which embeds and compares recordings without torch."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from speechtools.audio.io import chunks, offset
from speechtools.audio.recordings import map_recordings, open_source, read_short, stack, without_offset
from speechtools.audio.sources import AudioSource, Channel, Recording
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.onnx_file import OnnxModel, decode_array
from speechtools.speaker.calibration import Calibration, Side, conditions_of, probability
from speechtools.speaker.speech import check_seconds, check_voice
from speechtools.speaker.vectors import unit
from speechtools.speaker.verdicts import Verdict
from speechtools.speaker.weighing import QualityModel, QualityWeights, speech_quality

#: Least standard deviation of the scores of a cohort, as in ``score-norm/as-norm``.
_MIN_STD = 1e-3


class _Embedded(NamedTuple):
    """A recording, or a chunk of one."""

    windows: np.ndarray  # (windows, emb)
    seconds: float  # of speech
    quality: float | None  # of the speech


class OnnxSpeakerEncoder(OnnxModel):
    """d-vectors of recordings, computed by ONNX Runtime.

    ``SpeakerEncoder.from_onnx("s.onnx")`` loads it. d-vectors are arrays, and those of
    :class:`~speechtools.inference.SpeakerEncoder`.
    """

    INTERFACES = ("SpeakerEncoder", "SpeakerVerification", "SpeakerDiarization")
    #: Longer recordings are embedded in chunks of this length, in bounded memory.
    CHUNK_SECONDS = 300.0
    #: Whether recordings of noise are errors. Of any sound, an encoder makes a d-vector.
    REFUSES_NOISE = False
    #: Least speech for a reliable d-vector.
    MIN_SPEECH_SECONDS = 0.25

    def _prepare(self) -> None:
        self.embedding_size = int(self.values["embedding_size"])
        self._hop = int(self.values["vad_hop_length"])
        self._quality_model: QualityModel | None = None

    def encode_samples(
        self, samples: Recording, sample_rate: float | None = None, channel: Channel = "mix"
    ) -> np.ndarray:
        """Embed samples, as :meth:`encode_file` does: (samples,) or (channels, samples), floats or signed integers."""
        return self.encode_file(samples, sample_rate=sample_rate, channel=channel)

    def encode_file(self, path: Recording, *, sample_rate: float | None = None, channel: Channel = "mix") -> np.ndarray:
        """Embed a recording of any sample rate, number of channels, format and length: (embedding_size,).

        Parameters
        ----------
        path, sample_rate, channel
            As in :meth:`speechtools.inference.SpeakerEncoder.encode_file`.

        Raises
        ------
        AudioError
            The recording is missing, not audio, truncated, lacks the channel, or contains too little speech; the
            message names it.
        """
        return self._embed_file(path, sample_rate, channel).windows.mean(axis=0)

    def encode_files(
        self,
        paths: Iterable[Recording] | Recording,
        batch_size: int = 32,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
    ) -> Iterator[tuple[Any, np.ndarray | AudioError]]:
        """Embed many recordings in batches, while the next ones are read. They are those of :meth:`encode_file`.

        Yields
        ------
        path : Path or object
            In the order of ``paths``: a path, or the file or samples that were passed.
        result : np.ndarray or AudioError
            The d-vector (embedding_size,), or the reason why this recording has none.
        """

        def embed(waveforms: list[np.ndarray]) -> list[np.ndarray]:
            # A recording that fails is embedded again alone, so that its message names it.
            return [part.windows.mean(axis=0) for part in self._embed(waveforms, ["The recording"] * len(waveforms))]

        results = map_recordings(
            paths,
            self.sample_rate,
            embed,
            lambda source: self.encode_file(source),
            self.CHUNK_SECONDS,
            batch_size,
            samples_rate=sample_rate,
            channel=channel,
        )
        for path, result in results:
            if isinstance(result, AudioError) and str(result).startswith("The recording "):
                result = AudioError(str(result).replace("The recording", _name(path), 1))
            yield path, result

    def assess_quality(self, model: QualityModel | None) -> None:
        """Score the speech of recordings from now on, for a calibration that uses quality; None: no longer.

        Parameters
        ----------
        model : QualityModel, optional
            Such as ``QualityNet.from_onnx("q.onnx")``. Unknown quality counts as the mean.
        """
        self._quality_model = None if model is None else QualityWeights(model).model

    def onnx_results(self, recordings: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Results that are compared between torch and ONNX: d-vectors of a batch, and of the first one alone."""
        waveforms, names = [without_offset(samples) for samples in recordings], ["A recording"] * len(recordings)
        batches = (self._embed(waveforms, names), self._embed(waveforms[:1], names[:1]))
        return [part.windows.mean(axis=0) for batch in batches for part in batch]

    def _embed_file(self, path: Recording, sample_rate: float | None, channel: Channel) -> _Embedded:
        source = open_source(path, self.sample_rate, sample_rate, channel)
        samples = read_short(source, self.sample_rate, self.CHUNK_SECONDS)
        if samples is not None:
            return self._embed([samples], [source.name])[0]
        return self._embed_long(source)

    def _embed_long(self, source: AudioSource) -> _Embedded:
        """Embed a recording in chunks. One of them without speech is left out, but not all."""
        mean = np.float32(offset(source, self.sample_rate))
        parts: list[_Embedded] = []
        error: AudioError | None = None
        for chunk in chunks(source, self.sample_rate, round(self.CHUNK_SECONDS * self.sample_rate)):
            try:
                parts += self._embed([chunk.samples - mean], [source.name])
            except AudioError as reason:
                error = reason
        if error and not parts:
            raise error
        seconds = sum(part.seconds for part in parts)
        scored = [(part.quality, part.seconds) for part in parts if part.quality is not None]
        total = sum(share for _, share in scored)
        quality = sum(value * share for value, share in scored) / total if scored else None
        return _Embedded(np.concatenate([part.windows for part in parts]), seconds, quality)

    def _embed(self, waveforms: Sequence[np.ndarray], names: Sequence[str]) -> list[_Embedded]:
        """Embed waveforms (samples,) without offset in one batch."""
        wavs, counts = stack(waveforms)
        results = self._run({"wavs": wavs, "lengths": counts.astype(np.int64)})
        embedded = []
        for row, (samples, name) in enumerate(zip(waveforms, names, strict=True)):
            speech = results["speech"][row, : -(-len(samples) // self._hop)]
            kept = np.repeat(speech, self._hop)[: len(samples)]
            seconds = np.count_nonzero(kept) / self.sample_rate
            check_seconds(name, len(samples) / self.sample_rate, seconds, self.MIN_SPEECH_SECONDS)
            if self.REFUSES_NOISE:
                check_voice(name, samples, speech, self._hop, self.sample_rate)
            quality = None
            if self._quality_model is not None:
                quality = speech_quality(self._quality_model, samples[kept], self.sample_rate)
            windows = results["windows"][row, : results["numbers"][row]]
            embedded.append(_Embedded(unit(windows), seconds, quality))
        return embedded


class OnnxSpeakerVerification(OnnxSpeakerEncoder):
    """Verification of two recordings, computed by ONNX Runtime.

    ``SpeakerVerification.from_onnx("s.onnx")`` loads it. The calibration of the bundled model uses the quality of
    speech; unlike :class:`~speechtools.inference.SpeakerVerification`, which scores it by itself, this class does so
    after :meth:`assess_quality`.
    """

    REFUSES_NOISE = True

    def _prepare(self) -> None:
        super()._prepare()
        #: The threshold of decisions without a calibration.
        self.threshold: float | None = self.values["threshold"]
        plain = self.values["calibration"]
        self.calibration = None if plain is None else Calibration.from_plain(plain)
        cohort = self.values["cohort"]
        self._cohort = None if cohort is None else decode_array(cohort).astype(np.float64)
        self._top = self.values["cohort_top"]

    def verify_files(
        self,
        path_a: Recording,
        path_b: Recording,
        threshold: float | None = None,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
        prior: float = 0.5,
    ) -> Verdict:
        """Decide whether two recordings, as in :meth:`encode_file`, are of the same voice.

        Parameters
        ----------
        path_a, path_b
            The recordings.
        threshold : float, optional
            Accept from this score on. Default: that of the model, which a calibration computes for each pair.
        prior : float
            Probability of the same voice before the recordings were heard.

        Raises
        ------
        ConfigError
            The model has no threshold and none is passed, or ``prior`` is not between 0 and 1.
        AudioError
            As in :meth:`encode_file`; or no voice was found.
        """
        probability(0.0, prior)
        limit = self.threshold if threshold is None else threshold
        if limit is None and self.calibration is None:
            raise ConfigError("This model has no threshold. Pass threshold=…, or calibrate the model and export it.")
        first, second = (self._embed_file(path, sample_rate, channel) for path in (path_a, path_b))
        sides = [unit(part.windows.mean(axis=0).astype(np.float64)) for part in (first, second)]
        score = float(sides[0] @ sides[1])
        if self.calibration is None:
            return Verdict(score, limit is not None and score >= limit, threshold=limit)
        known = [[Side(1, part.seconds, part.quality)] for part in (first, second)]
        conditions = conditions_of(*known)
        scale, shift = self._normalization(sides)
        llr = float(self.calibration.llr(np.array([scale * score + shift]), conditions)[0])
        if threshold is None:
            limit = float((np.atleast_1d(self.calibration.threshold(conditions, prior))[0] - shift) / scale)
        accepted = limit is not None and score >= limit
        return Verdict(score, accepted, threshold=limit, llr=llr, probability=probability(llr, prior))

    def _normalization(self, sides: Sequence[np.ndarray]) -> tuple[float, float]:
        """Slope and offset of AS-norm (``score-norm/as-norm``) as a function of the score of two unit d-vectors."""
        if self._cohort is None:
            return 1.0, 0.0
        scale = shift = 0.0
        for side in sides:
            highest = np.sort(self._cohort @ side)[-self._top :]
            deviation = max(highest.std(), _MIN_STD)
            scale, shift = scale + 0.5 / deviation, shift - 0.5 * highest.mean() / deviation
        return scale, shift


def _name(path: Any) -> str:
    return str(path) if isinstance(path, str) or hasattr(path, "__fspath__") else "The recording"
