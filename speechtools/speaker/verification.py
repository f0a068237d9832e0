"""Enroll voices, and verify or identify the voice of a recording, with a trained d-vector encoder."""

import functools
import math
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechtools.audio.recordings import as_list
from speechtools.audio.sources import Channel, Recording
from speechtools.core.checks import check_number
from speechtools.core.errors import AudioError, ConfigError, SpeechtoolsError, printable
from speechtools.speaker import dvectors
from speechtools.speaker.calibration import Calibration, Side, conditions_of, probability
from speechtools.speaker.enrolled import EnrolledVoices
from speechtools.speaker.inference import SpeakerEncoder
from speechtools.speaker.onnx import OnnxSpeakerVerification
from speechtools.speaker.streams import VoiceStream
from speechtools.speaker.verdicts import Match, Verdict
from speechtools.speaker.voices import Voice, check_name, now
from speechtools.speaker.weighing import Usable, recording_weights
from speechtools.speaker.windows import Embedded, WindowDVectors


class SpeakerVerification(EnrolledVoices, SpeakerEncoder):
    """Speaker verification.

    A voice is enrolled from one or more recordings; its voiceprint is the mean of their d-vectors (equation 1). A
    recording is accepted if its score, the cosine with the voiceprint, reaches the threshold.

    A calibrated model also has a log-likelihood ratio and a probability for each score. They depend on how similar both
    sides are to a cohort of other speakers, on the number of recordings that a voice was enrolled from, on the seconds
    of speech and, in the bundled model, on its quality by Quality-Net. So does the threshold: it is the score at which
    the probability is one half. Without a calibration it is ``threshold``, that of the equal error rate on the
    validation speakers. A threshold that you pass or set counts in any case. A converted model has none (None) and
    needs one, unless you calibrate it.

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
    #: Enrolling from a smaller share of usable speech gives a warning.
    MIN_USABLE_SHARE = 0.5

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        threshold = self.hparams.threshold
        if threshold is not None:
            check_number("threshold", threshold, -1, 1)
            threshold = float(threshold)
        self._threshold: float | None = threshold
        #: Whether it was set, and so counts for every decision, instead of a calibration.
        self._threshold_is_set = False
        #: How much of the speech was usable in the recordings of the voices enrolled with :meth:`weigh_by_quality`.
        self.usable: dict[str, Usable] = {}

    def without_voices(self) -> "SpeakerVerification":
        """Return a copy with the same weights and settings, which has no voices and keeps its own."""
        other = super().without_voices()
        other.usable = {}
        return other

    @classmethod
    def from_onnx(cls, path: str | Path, threads: int | None = None) -> OnnxSpeakerVerification:
        """Do as :meth:`PretrainedModel.from_onnx`: load a model in ONNX form, to verify without torch."""
        return OnnxSpeakerVerification(path, threads)

    @property
    def threshold(self) -> float | None:
        """The threshold of decisions without a calibration. One that you set counts for every decision."""
        return self._threshold

    @threshold.setter
    def threshold(self, value: float | None) -> None:
        self._threshold, self._threshold_is_set = value, value is not None

    def set_calibration(self, calibration: Calibration | None, threshold: float | None = None) -> None:
        """Calibrate scores; None: they have no log-likelihood ratios. :meth:`save` writes it.

        Parameters
        ----------
        calibration : Calibration or None
        threshold : float, optional
            What ``threshold`` is from now on, for decisions without a calibration. Default: as it was.

        Raises
        ------
        ConfigError
            The calibration is for scores on another scale.
        """
        super().set_calibration(calibration)
        if threshold is not None:
            self.hparams.threshold = self._threshold = threshold
            self._threshold_is_set = False

    def drop_fitted(self) -> list[str]:
        """Drop threshold, calibration and cohort, and take the weights of the encoder as they are now."""
        dropped = super().drop_fitted()
        self.threshold = None
        return dropped

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

        With :meth:`weigh_by_quality`, recordings are weighed like windows: by the means of the weights that their
        windows have among those of all recordings. If less than half of the speech is usable, a warning says so.

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
            A recording cannot be read, or the recordings contain too little speech, or none that is usable; nothing is
            enrolled.
        ConfigError
            The name is not valid, or there are no recordings.
        """
        check_name(name)
        paths = list(as_list(paths))
        if not paths:
            raise ConfigError(
                f"No recordings to enroll {printable(name)!r} from. Pass at least one, better three or more."
            )
        self.assess_for_calibration()
        embedded: list[WindowDVectors] = []
        for path in paths:
            try:
                embedded.append(self.encode_file_windows(path, sample_rate=sample_rate, channel=channel))
            except AudioError as error:
                if errors is None:
                    raise
                errors.append(error)
        if not embedded:
            raise AudioError(f"None of the {len(paths)} recordings of {printable(name)!r} can be used.")
        speech_seconds = sum(windows.seconds for windows in embedded)
        if self.segment is None and speech_seconds < self.MIN_ENROLMENT_SECONDS:
            raise AudioError(
                f"The {len(embedded)} recordings of {printable(name)!r} contain {speech_seconds:.2f} s of speech "
                f"together, but at least {self.MIN_ENROLMENT_SECONDS} s are needed. Add recordings."
            )
        weights = self._weigh_recordings(name, embedded)
        voiceprint = dvectors.weighted_mean(torch.stack([windows.mean() for windows in embedded]), weights)
        qualities = [windows.quality for windows in embedded if windows.quality is not None]
        quality = float(np.mean(qualities)) if qualities else None
        self.restore_voice(name, Voice(voiceprint.cpu().numpy(), len(embedded), speech_seconds, now(), quality))
        return self.voices[name]

    def _weigh_recordings(self, name: str, embedded: list[WindowDVectors]) -> Tensor | None:
        """Weights (recordings,) of the recordings of a voice, and a warning if little is usable; None: all the same."""
        margins = [windows.margins for windows in embedded if windows.margins is not None]
        parts = [windows.usable for windows in embedded if windows.usable is not None]
        self.usable.pop(name, None)
        if not margins:
            return None
        usable = Usable.total(parts)
        remedy = "Record again with less noise and closer to the microphone"
        recordings = "the recording" if len(parts) == 1 else f"the {len(parts)} recordings"
        if not usable.usable_seconds:
            raise AudioError(
                f"The speech in {recordings} of {printable(name)!r} is too bad to enroll: {usable}. {remedy}, or "
                "enroll without weighing by quality."
            )
        if usable.share < self.MIN_USABLE_SHARE:
            warnings.warn(f"{usable} in {recordings} of {printable(name)!r}. {remedy}.", stacklevel=3)
        self.usable[name] = usable
        return torch.from_numpy(recording_weights(margins))

    def verify(
        self,
        name: str,
        path: Recording,
        threshold: float | None = None,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
        prior: float = 0.5,
    ) -> Verdict:
        """Decide whether a recording, as in :meth:`encode_file`, is of the enrolled voice ``name``.

        Parameters
        ----------
        name : str
        path : str, bytes, PathLike, BinaryIO, np.ndarray or Tensor
            The recording, as in :meth:`encode_file`.
        threshold : float, optional
            Accept from this score on. Default: the model's threshold.
        sample_rate, channel
            As in :meth:`encode_file`.
        prior : float
            Probability of the same voice before the recording was heard. It changes the probability, and so the
            threshold, of a calibrated model.

        Raises
        ------
        ConfigError
            No voice of that name is enrolled, or the model has no threshold and none is passed.
        AudioError
            The recording cannot be read or contains too little speech.
        """
        self._check_decision(threshold, prior)
        voice = self.voice(name).unsqueeze(0), [self._side(name)]
        test = self.encode_file_windows(path, sample_rate=sample_rate, channel=channel).embedded()
        return self._verdicts(*voice, test, threshold, prior)[0]

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
        """Decide whether two recordings, as in :meth:`encode_file`, are of the same voice; see :meth:`verify`."""
        self._check_decision(threshold, prior)
        options: dict[str, Any] = {"sample_rate": sample_rate, "channel": channel}
        first, second = (self.encode_file_windows(path, **options).embedded() for path in (path_a, path_b))
        (verdict,) = self._verdicts(first.dvector.unsqueeze(0), [first.side], second, threshold, prior)
        both = [side.usable for side in (first, second) if side.usable is not None]
        verdict.usable = min(both, key=lambda part: part.share, default=None)
        return verdict

    def identify(
        self,
        path: Recording,
        top: int = 1,
        threshold: float | None = None,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
        prior: float = 0.5,
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
        prior : float
            As in :meth:`verify`, for each voice.

        Returns
        -------
        list of Match
            By falling probability, or score if the model is not calibrated; at least one. The recording is of none of
            the enrolled voices if the first is not accepted.

        Raises
        ------
        ConfigError
            No voice is enrolled, or ``top`` is less than 1.
        AudioError
            The recording cannot be read or contains too little speech.
        """
        self._check_search(top, threshold, prior)
        windows = self.encode_file_windows(path, sample_rate=sample_rate, channel=channel)
        return self._rank(windows.embedded(), top, threshold, prior)

    def identify_files(
        self,
        paths: Iterable[Recording] | Recording,
        top: int = 1,
        threshold: float | None = None,
        batch_size: int = 32,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
        prior: float = 0.5,
    ) -> Iterator[tuple[Any, list[Match] | AudioError]]:
        """Identify the voices of many recordings, as :meth:`identify` does for one.

        Yields
        ------
        path : Path or object
            In the order of ``paths``: a path, or the file or samples that were passed.
        matches : list of Match, or AudioError
            The voices, the likeliest first, or the reason why this recording has none.
        """
        self._check_search(top, threshold, prior)
        for path, result in self.embed_files(paths, batch_size, sample_rate=sample_rate, channel=channel):
            yield path, result if isinstance(result, AudioError) else self._rank(result, top, threshold, prior)

    def stream(
        self,
        name: str | None = None,
        threshold: float | None = None,
        *,
        sample_rate: float | None = None,
        window: float = 3.0,
        hop: float = 0.5,
        prior: float = 0.5,
    ) -> VoiceStream:
        """Begin a stream that takes blocks of samples, and gives a decision for its last seconds, again and again.

        Parameters
        ----------
        name : str, optional
            Results are those of :meth:`verify` with this voice. Default: the first of :meth:`identify`.
        threshold, prior
            As in :meth:`verify`.
        sample_rate : float, optional
            Of the blocks, in Hz. Default: that of the model.
        window, hop : float
            Seconds of a window, and from one to the next. Shorter windows know sooner, and less.

        Raises
        ------
        ConfigError
            No voice, or none of that name, is enrolled, there is no threshold, or a number is out of range.

        Examples
        --------
        >>> stream = verifier.stream("anna", sample_rate=8000)  # doctest: +SKIP
        >>> [window.result.accepted for window in stream.feed(block) if window.result]  # doctest: +SKIP
        [True]
        """
        decide: Callable[[Embedded], Sequence[Verdict | Match]]
        if name is None:
            self._check_search(1, threshold, prior)
            decide = functools.partial(self._rank, top=1, threshold=threshold, prior=prior)
        else:
            self._check_decision(threshold, prior)
            voice = self.voice(name).unsqueeze(0), [self._side(name)]
            decide = functools.partial(self._verdicts, *voice, threshold=threshold, prior=prior)
        return VoiceStream(self, decide, sample_rate=sample_rate, window=window, hop=hop)

    def _check_search(self, top: int, threshold: float | None, prior: float) -> None:
        if not self.voices:
            raise ConfigError("No voice is enrolled. Enroll voices, or load a file of voices.")
        if top < 1:
            raise ConfigError(f"Invalid top={top}: it must be at least 1.")
        self._check_decision(threshold, prior)

    def _check_decision(self, threshold: float | None, prior: float) -> None:
        """Raise an error before a recording is embedded, if there can be no decision; otherwise prepare for one."""
        probability(0.0, prior)
        if not self._is_calibrated(threshold):
            self.resolve_threshold(threshold)
        self.assess_for_calibration()

    def _is_calibrated(self, threshold: float | None) -> bool:
        """Whether the calibration has the threshold of a decision for which this one was passed."""
        return threshold is None and self.calibration is not None and not self._threshold_is_set

    def _rank(self, embedded: Embedded, top: int, threshold: float | None, prior: float) -> list[Match]:
        names = sorted(self.voices)
        models = torch.stack([self.voices[name] for name in names])
        verdicts = self._verdicts(models, list(map(self._side, names)), embedded, threshold, prior)
        # A calibrated threshold depends on the voice, so the score alone does not say which is the likeliest.
        best = sorted(
            zip(names, verdicts, strict=True), key=lambda pair: -(pair[1].score if pair[1].llr is None else pair[1].llr)
        )
        return [Match(name, *verdict, **vars(verdict)) for name, verdict in best[:top]]

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
                "--threshold (threshold=… in Python), or fit one to a list of trials with `speechtools calibrate`; "
                "`speechtools trials --model` prints the one of the EER."
            )
        if not math.isfinite(threshold):
            raise ConfigError(f"Invalid threshold={threshold}: it must be a finite number.")
        return threshold

    def _verdicts(
        self, models: Tensor, sides: Sequence[Side], test: Embedded, threshold: float | None, prior: float
    ) -> list[Verdict]:
        """Compare voiceprints (models, emb), of which ``sides`` are known, with a recording."""
        scores = dvectors.cosine_scores(models, test.dvector.unsqueeze(0))[:, 0].double().numpy()
        # (models,)
        if not np.isfinite(scores).all():
            raise SpeechtoolsError("The score is not finite: the model's weights are damaged. Export the model again.")
        if self.calibration is None:
            limit = self.resolve_threshold(threshold)
            return [Verdict(score, score >= limit, threshold=limit, usable=test.usable) for score in scores.tolist()]
        conditions = conditions_of(sides, [test.side] * len(sides))
        llrs, limits = self.rate(scores, models, test.dvector, conditions, prior)
        if not self._is_calibrated(threshold):
            limits = np.full(len(scores), self.resolve_threshold(threshold))
        return [
            Verdict(
                score,
                score >= limit,
                threshold=limit,
                llr=llr,
                probability=probability(llr, prior),
                usable=test.usable,
            )
            for score, limit, llr in zip(scores.tolist(), limits.tolist(), llrs.tolist(), strict=True)
        ]
