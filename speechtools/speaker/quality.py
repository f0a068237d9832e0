"""The quality of the speech in recordings, as a part of a speaker encoder."""

from collections.abc import Callable
from typing import Any, ClassVar

from speechtools.speaker.calibration import Calibration
from speechtools.speaker.weighing import QualityModel, QualityWeights


class QualityOfSpeech:
    """What an encoder does with the quality of speech. A base of :class:`~speechtools.inference.SpeakerEncoder`."""

    device: str
    calibration: Calibration | None
    #: Loads the model of quality for calibrations that use it. :mod:`speechtools.inference` sets it.
    QUALITY_MODEL: ClassVar[Callable[..., QualityModel] | None] = None

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._weighing: QualityWeights | None = None
        self._quality_model: QualityModel | None = None
        self._quality_is_chosen = False

    def weigh_by_quality(
        self, model: QualityModel | None, limit: float | None = None, spread: float | None = None
    ) -> None:
        """Weigh the windows of every recording by the quality of the speech in them, from now on.

        The quality q of a window is the mean score of its frames of speech. A window has the weight exp(q / spread),
        and 0 if q is below ``limit``, unless all windows of the recording are.

        Parameters
        ----------
        model : QualityModel, optional
            What scores the frames: :class:`~speechtools.inference.QualityNet`, or another object with its
            ``assess_file``. It scores each recording once. None: windows count the same again.
        limit : float, optional
            Speech of worse scores is not usable. Default: 1, on the scale ``raw_nb`` (raw PESQ).
        spread : float, optional
            Difference of scores that divides a weight by e. Default: 2, on the scale ``raw_nb`` (raw PESQ).

        Raises
        ------
        ConfigError
            The object scores no recordings, or a number is out of range.

        Examples
        --------
        >>> from speechtools.inference import QualityNet, SpeakerEncoder
        >>> encoder = SpeakerEncoder.from_hparams()
        >>> encoder.weigh_by_quality(QualityNet.from_hparams())
        """
        self._weighing = None if model is None else QualityWeights(model, limit, spread)

    def assess_quality(self, model: QualityModel | None) -> None:
        """Score the speech of every recording from now on, for a calibration that uses quality; None: no longer.

        :class:`SpeakerVerification` does this by itself, with the bundled Quality-Net, where its calibration uses
        quality. Call it to choose another model, or with None to decide faster: unknown quality counts as the mean. The
        score is the mean over the frames of the speech alone, without pauses, as in the stores that calibrations
        are fitted to. The d-vectors stay as they are.

        Raises
        ------
        ConfigError
            The object scores no recordings.

        Examples
        --------
        >>> from speechtools.inference import QualityNet, SpeakerEncoder
        >>> encoder = SpeakerEncoder.from_hparams()
        >>> encoder.assess_quality(QualityNet.from_hparams())
        """
        self._quality_model = None if model is None else QualityWeights(model).model
        self._quality_is_chosen = True

    def assess_for_calibration(self) -> None:
        """Score quality from now on if the calibration uses it, unless :meth:`assess_quality` was called."""
        if self._quality_is_chosen:
            return
        load, used = self.QUALITY_MODEL, self.calibration is not None and self.calibration.uses_quality
        if not used or load is None:
            self._quality_model = None
        elif self._quality_model is None:
            self._quality_model = load(run_opts={"device": str(self.device)})
