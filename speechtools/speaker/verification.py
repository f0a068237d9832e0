"""Enroll voices, and verify or identify the voice of a recording, with a trained d-vector encoder."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from speechtools.audio.recordings import as_list
from speechtools.audio.sources import Channel, Recording
from speechtools.core.checks import check_number
from speechtools.core.errors import AudioError, ConfigError, SpeechtoolsError, printable
from speechtools.speaker import dvectors
from speechtools.speaker.inference import SpeakerEncoder
from speechtools.speaker.voices import Voice, Voices, check_name, now, read_voices, unknown_voice, write_voices


class Verdict(NamedTuple):
    """The result of a verification.

    Attributes
    ----------
    score : float
        Cosine of the two d-vectors, in [-1, 1].
    accepted : bool
        Whether the score reaches the threshold.

    Examples
    --------
    >>> Verdict(0.8125, True)
    Verdict(score=0.812, accepted=True)
    """

    score: float
    accepted: bool

    def __repr__(self) -> str:
        return f"Verdict(score={self.score:.3f}, accepted={self.accepted})"


class Match(NamedTuple):
    """A voice that :meth:`SpeakerVerification.identify` found.

    Attributes
    ----------
    name : str
        Name of the enrolled voice.
    score : float
        Cosine of its voiceprint and the d-vector of the recording, in [-1, 1].
    accepted : bool
        Whether the score reaches the threshold.
    """

    name: str
    score: float
    accepted: bool

    def __repr__(self) -> str:
        return f"Match(name={self.name!r}, score={self.score:.3f}, accepted={self.accepted})"


class SpeakerVerification(SpeakerEncoder):
    """Speaker verification.

    A voice is enrolled from one or more recordings; its voiceprint is the mean of their d-vectors (equation 1). A
    recording is accepted if its cosine with the voiceprint reaches ``threshold``. The default threshold is that of the
    equal error rate on the validation speakers. A converted model has none (None), and needs one in every decision.

    Examples
    --------
    >>> verifier = SpeakerVerification.from_hparams()  # the bundled model
    >>> verifier.voices, 0 < verifier.threshold < 1
    ({}, True)
    """

    HPARAMS_NEEDED = [*SpeakerEncoder.HPARAMS_NEEDED, "threshold"]

    REFUSES_NOISE = True
    #: Least speech in all recordings of an enrollment together.
    MIN_ENROLMENT_SECONDS = 1.0

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.threshold: float | None = self.hparams.threshold
        if self.threshold is not None:
            check_number("threshold", self.threshold, -1, 1)
            self.threshold = float(self.threshold)
        self.voices: dict[str, Tensor] = {}
        # The voiceprint of each voice with its details, which are outdated when `voices` has another tensor.
        self._details: dict[str, tuple[Tensor, Voice]] = {}

    def enroll(
        self,
        name: str,
        paths: Iterable[Recording] | Recording,
        errors: list[AudioError] | None = None,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
    ) -> Tensor:
        """Enroll a voice from one or more recordings, replacing an earlier voice of that name.

        Parameters
        ----------
        name : str
            Any name that is not blank, of at most 255 characters.
        paths : iterable
            The recordings, better three or more; each as in :meth:`encode_file`.
        errors : list, optional
            Receives the reasons why recordings cannot be used; the voice is enrolled from the others. Default: such a
            recording is an error.
        sample_rate, channel
            As in :meth:`encode_file`.

        Returns
        -------
        Tensor
            The voiceprint (embedding_size,).

        Raises
        ------
        AudioError
            A recording cannot be read, or the recordings contain too little speech; nothing is enrolled.
        ConfigError
            The name is not valid, or there are no recordings.
        """
        check_name(name)
        paths = list(as_list(paths))
        if not paths:
            raise ConfigError(
                f"No recordings to enroll {printable(name)!r} from. Pass at least one, better three or more."
            )
        voiceprints, speech_seconds = [], 0.0
        for path in paths:
            try:
                windows, seconds = self._embed_recording(path, sample_rate, channel)
            except AudioError as error:
                if errors is None:
                    raise
                errors.append(error)
                continue
            voiceprints.append(dvectors.utterance_dvector(windows.dvectors))
            speech_seconds += seconds
        if not voiceprints:
            raise AudioError(f"None of the {len(paths)} recordings of {printable(name)!r} can be used.")
        if self.segment is None and speech_seconds < self.MIN_ENROLMENT_SECONDS:
            raise AudioError(
                f"The {len(voiceprints)} recordings of {printable(name)!r} contain {speech_seconds:.2f} s of speech "
                f"together, but at least {self.MIN_ENROLMENT_SECONDS} s are needed. Add recordings."
            )
        self._store(name, torch.stack(voiceprints).mean(dim=0).cpu(), len(voiceprints), speech_seconds, now())
        return self.voices[name]

    def _store(self, name: str, voiceprint: Tensor, recordings: int, seconds: float, date: str) -> None:
        self.voices[name] = voiceprint
        self._details[name] = voiceprint, Voice(voiceprint.detach().numpy(), recordings, seconds, date)

    def verify(
        self,
        name: str,
        path: Recording,
        threshold: float | None = None,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
    ) -> Verdict:
        """Decide whether a recording, as in :meth:`encode_file`, is of the enrolled voice ``name``.

        Raises
        ------
        ConfigError
            No voice of that name is enrolled, or the model has no threshold and none is passed.
        AudioError
            The recording cannot be read or contains too little speech.
        """
        threshold, voiceprint = self.resolve_threshold(threshold), self.voice(name)
        dvector = self.encode_file(path, sample_rate=sample_rate, channel=channel)
        return self._verdict(voiceprint, dvector, threshold)

    def verify_files(
        self,
        path_a: Recording,
        path_b: Recording,
        threshold: float | None = None,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
    ) -> Verdict:
        """Decide whether two recordings, as in :meth:`encode_file`, are of the same voice."""
        threshold = self.resolve_threshold(threshold)
        first, second = (self.encode_file(path, sample_rate=sample_rate, channel=channel) for path in (path_a, path_b))
        return self._verdict(first, second, threshold)

    def identify(
        self,
        path: Recording,
        top: int = 1,
        threshold: float | None = None,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
    ) -> list[Match]:
        """Find the enrolled voices that are most similar to that of a recording.

        Parameters
        ----------
        path : str, bytes, PathLike, BinaryIO, np.ndarray or Tensor
            The recording, as in :meth:`encode_file`.
        top : int
            So many voices are returned at most.
        threshold : float, optional
            Accept from this score on. Default: the model's threshold.
        sample_rate, channel
            As in :meth:`encode_file`.

        Returns
        -------
        list of Match
            By falling score, at least one. The recording is of none of the enrolled voices if the first is not
            accepted.

        Raises
        ------
        ConfigError
            No voice is enrolled, or ``top`` is less than 1.
        AudioError
            The recording cannot be read or contains too little speech.
        """
        self._check_search(top, threshold)
        return self._rank(self.encode_file(path, sample_rate=sample_rate, channel=channel), top, threshold)

    def identify_files(
        self,
        paths: Iterable[Recording] | Recording,
        top: int = 1,
        threshold: float | None = None,
        batch_size: int = 32,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
    ) -> Iterator[tuple[Any, list[Match] | AudioError]]:
        """Identify the voices of many recordings, as :meth:`identify` does for one.

        Yields
        ------
        path : Path or object
            In the order of ``paths``: a path, or the file or samples that were passed.
        matches : list of Match, or AudioError
            The voices by falling score, or the reason why this recording has none.
        """
        self._check_search(top, threshold)
        for path, result in self.encode_files(paths, batch_size, sample_rate=sample_rate, channel=channel):
            yield path, result if isinstance(result, AudioError) else self._rank(result, top, threshold)

    def voice(self, name: str) -> Tensor:
        """Return the voiceprint (embedding_size,) of an enrolled voice."""
        if name not in self.voices:
            raise ConfigError(unknown_voice(name, self.voices))
        return self.voices[name]

    def details(self, name: str) -> Voice:
        """Return an enrolled voice as files of voices store it: voiceprint, recordings, seconds of speech, date."""
        voiceprint = self.voice(name)
        tensor, details = self._details.get(name, (None, None))
        return details if details and tensor is voiceprint else Voice(voiceprint.detach().cpu().float().numpy())

    def save_voices(self, path: str | Path) -> None:
        """Write the enrolled voices to an .npz file, with the fingerprint of the model and a checksum.

        An earlier file of voices is replaced. :func:`speechtools.speaker.voices.edit_voices` changes a file that other
        processes change, too.

        Raises
        ------
        ConfigError
            The path is a file of another kind.
        """
        write_voices(path, Voices(self.model_id, {name: self.details(name) for name in self.voices}))

    def load_voices(self, path: str | Path) -> None:
        """Add the voices of a file written by :meth:`save_voices`.

        Raises
        ------
        ConfigError
            The file is missing or damaged, or its voices were enrolled with another model.
        """
        content = read_voices(path, self.model_id, self.embedding_size)
        for name, voice in content.voices.items():
            self._store(name, torch.from_numpy(voice.voiceprint), voice.recordings, voice.seconds, voice.date)

    def _check_search(self, top: int, threshold: float | None) -> None:
        if not self.voices:
            raise ConfigError("No voice is enrolled. Enroll voices, or load a file of voices.")
        if top < 1:
            raise ConfigError(f"Invalid top={top}: it must be at least 1.")
        self.resolve_threshold(threshold)

    def _rank(self, dvector: Tensor, top: int, threshold: float | None) -> list[Match]:
        names = sorted(self.voices)
        scores = dvectors.cosine_scores(torch.stack([self.voices[name] for name in names]), dvector.unsqueeze(0))[:, 0]
        # (voices,)
        best = sorted(zip(names, scores.tolist(), strict=True), key=lambda pair: -pair[1])[:top]
        return [Match(name, *self._decide(score, threshold)) for name, score in best]

    def resolve_threshold(self, threshold: float | None = None) -> float:
        """Return the threshold of a decision: the one that is passed, or that of the model.

        Raises
        ------
        ConfigError
            It is not finite, or there is none.
        """
        threshold = self.threshold if threshold is None else threshold
        if threshold is None:
            raise ConfigError(
                "This model has no threshold: it was converted, and has to be fitted to recordings like yours. Pass "
                "--threshold (threshold=… in Python). On a list of trials, `speechtools trials --model` prints the "
                "one of the EER; `speechtools convert --threshold` stores it in the model."
            )
        if not math.isfinite(threshold):
            raise ConfigError(f"Invalid threshold={threshold}: it must be a finite number.")
        return threshold

    def _verdict(self, model: Tensor, test: Tensor, threshold: float | None) -> Verdict:
        score = dvectors.cosine_scores(model.unsqueeze(0), test.unsqueeze(0)).item()
        return self._decide(score, threshold)

    def _decide(self, score: float, threshold: float | None) -> Verdict:
        if not math.isfinite(score):
            raise SpeechtoolsError("The score is not finite: the model's weights are damaged. Export the model again.")
        return Verdict(score, score >= self.resolve_threshold(threshold))
