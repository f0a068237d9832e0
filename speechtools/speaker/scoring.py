"""Normalisation and calibration of the scores of a model: log-likelihood ratios, and thresholds for each trial."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from speechtools.core.errors import ConfigError
from speechtools.speaker.calibration import COSINE, Calibration, Conditions


class Scoring:
    """Normalisation and calibration of an encoder's scores. A base of :class:`~speechtools.inference.SpeakerEncoder`.

    Scores are cosines in any case. What the cohort says about both sides of a trial, and what is known of their
    lengths, makes the log-likelihood ratio of a score, and so the threshold, another one for each trial.

    Attributes
    ----------
    normalization : nn.Module or None
        A plugin of the kind ``score-norm`` with the cohort of the model.
    calibration : Calibration or None
        From scores, normalised if there is a cohort, to log-likelihood ratios.
    """

    hparams: Any
    mods: Any
    device: str
    normalization: Any
    calibration: Calibration | None

    def _load_scoring(self, embedding_size: int) -> None:
        """Take normalisation and calibration from the model, and check that they fit it."""
        self.normalization = getattr(self.hparams, "normalization", None)
        if self.normalization is not None:
            self.normalization.to(self.device)
            try:
                self.normalization.statistics(torch.zeros(1, embedding_size))
            except RuntimeError as error:
                raise ConfigError(
                    f"The cohort does not fit d-vectors of size {embedding_size}. Both must come from one export."
                ) from error
        plain = getattr(self.hparams, "calibration", None)
        self.calibration = None if plain is None else self._checked(Calibration.from_plain(plain))

    @property
    def calibrated_scale(self) -> str:
        """Scale of the scores that are calibrated: ``cosine``, or that of the normalisation, such as ``as-norm``."""
        return COSINE if self.normalization is None else self.normalization.scale

    def _checked(self, calibration: Calibration) -> Calibration:
        if calibration.scale != self.calibrated_scale:
            raise ConfigError(
                f"The calibration is for scores on the scale {calibration.scale!r}, but those of the model are on the "
                f"scale {self.calibrated_scale!r}. Calibrate the model again."
            )
        return calibration

    def set_normalization(self, normalization: nn.Module | None) -> None:
        """Normalise scores by a plugin of the kind ``score-norm`` with a cohort; None: cosines are calibrated.

        An earlier calibration is dropped. :meth:`save` writes both.
        """
        if "normalization" in self.mods:
            del self.mods["normalization"]
        self.normalization = normalization
        self._store_value("normalization", normalization)
        if normalization is not None:
            self.mods["normalization"] = normalization.to(self.device)
        self.set_calibration(None)

    def set_calibration(self, calibration: Calibration | None) -> None:
        """Calibrate scores; None: they have no log-likelihood ratios. :meth:`save` writes it.

        Raises
        ------
        ConfigError
            The calibration is for scores on another scale.
        """
        self.calibration = None if calibration is None else self._checked(calibration)
        self._store_value("calibration", None if calibration is None else calibration.to_plain())

    def _store_value(self, name: str, value: Any) -> None:
        """Set a value that is saved with the model, or remove it."""
        vars(self.hparams).pop(name, None)
        if value is not None:
            setattr(self.hparams, name, value)

    def rate(
        self, scores: np.ndarray, models: Tensor, test: Tensor, conditions: Conditions, prior: float = 0.5
    ) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihood ratios of scores, and the scores at which the probability is one half.

        Parameters
        ----------
        scores : np.ndarray
            (models,): cosines.
        models : Tensor
            (models, emb): voiceprints.
        test : Tensor
            (emb,): the d-vector that they were compared with.
        conditions : Conditions
            Of these trials.
        prior : float
            Probability of the same voice before the score is known.

        Returns
        -------
        llrs, thresholds : np.ndarray
            (models,)

        Raises
        ------
        ConfigError
            The model is not calibrated.
        """
        if self.calibration is None:
            raise ConfigError("The model is not calibrated. `speechtools calibrate` fits it to a list of trials.")
        offsets, slopes = np.zeros(len(scores)), np.ones(len(scores))
        if self.normalization is not None:  # a linear function of the score
            sides = self.normalization.statistics(models), self.normalization.statistics(test.unsqueeze(0))
            sides = sides[0], sides[1].expand_as(sides[0])
            ends = [self.normalization(torch.full_like(sides[0][:, 0], end), *sides).double() for end in (0, 1)]
            offsets, slopes = ends[0].cpu().numpy(), (ends[1] - ends[0]).cpu().numpy()
        llrs = self.calibration.llr(offsets + slopes * scores, conditions)
        return llrs, (self.calibration.threshold(conditions, prior) - offsets) / slopes
