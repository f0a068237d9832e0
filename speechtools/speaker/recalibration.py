"""Calibration of a model to one's own recordings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from speechtools.core import metrics
from speechtools.core.errors import CorpusError, SpeechtoolsError
from speechtools.speaker.calibration import (
    MIN_SPEAKERS,
    MIN_TRIALS,
    Calibration,
    Conditions,
    fit,
    held_out,
    speaker_groups,
)
from speechtools.speaker.pairs import Pair, RatedPairs
from speechtools.speaker.scoring import Scoring
from speechtools.speaker.verification import SpeakerVerification

_FOLDS = 5
_HEADING = "\n## Calibration\n"


@dataclass(frozen=True)
class Recalibration:
    """A calibration that was fitted to trials, and what it reaches.

    Attributes
    ----------
    calibration : Calibration
        Fitted to all trials.
    threshold : float
        The score at the equal error rate.
    targets : np.ndarray
        (trials,) booleans, of the trials that have scores.
    scores : np.ndarray
        (trials,): cosines.
    llrs : np.ndarray
        (trials,): log-likelihood ratios of calibrations that were fitted without the speakers of the trial.
    former_llrs : np.ndarray or None
        (trials,): those of the model before.
    speakers : int
        Groups of recordings that target trials join.
    """

    calibration: Calibration
    threshold: float
    targets: np.ndarray
    scores: np.ndarray
    llrs: np.ndarray
    former_llrs: np.ndarray | None
    speakers: int

    def metrics(self) -> dict[str, float]:
        """Of trials held out: ``eer``, ``cllr``, ``min_cllr``, ``misses``, ``false_alarms``; and ``former_cllr``."""
        targets, nontargets = self.llrs[self.targets], self.llrs[~self.targets]
        values = {
            "eer": metrics.eer(targets, nontargets)[0],
            "cllr": metrics.cllr(targets, nontargets),
            "min_cllr": metrics.min_cllr(targets, nontargets),
            "misses": float((targets < 0).mean()),
            "false_alarms": float((nontargets >= 0).mean()),
        }
        if self.former_llrs is not None:
            values["former_cllr"] = metrics.cllr(self.former_llrs[self.targets], self.former_llrs[~self.targets])
        return values

    def apply(self, model: SpeakerVerification) -> None:
        """Give the model this calibration and threshold, and note them in its facts and its card."""
        model.set_calibration(self.calibration, self.threshold)
        values, counts = self.metrics(), (int(self.targets.sum()), int((~self.targets).sum()))
        model.facts["calibration"] = values | {"target_trials": counts[0], "nontarget_trials": counts[1]}
        if "threshold" in model.facts:
            model.facts["threshold"] = self.threshold
        text = (
            f"Fitted by `speechtools calibrate` to {counts[0]} target and {counts[1]} non-target trials of "
            f"{self.speakers} speakers. Without the speakers of the trial: EER {100 * values['eer']:.2f} %, Cllr "
            f"{values['cllr']:.3f} ({values['min_cllr']:.3f} at best).\n"
        )
        model.card = f"{(model.card or '').partition(_HEADING)[0].rstrip()}\n{_HEADING}\n{text}"


def recalibrate(encoder: Scoring, pairs: Sequence[Pair], rated: RatedPairs, seed: int = 0) -> Recalibration:
    """Fit a calibration to trials of one's own recordings.

    That of the model is kept but for its gain and its offset, two numbers that few trials suffice for. A model without
    a calibration gets one that depends on the score and on the seconds of speech on both sides.

    Parameters
    ----------
    encoder : SpeakerEncoder
        The model that rated the trials; it is not changed.
    pairs : sequence of Pair
    rated : RatedPairs
        By :func:`~speechtools.speaker.pairs.rate_pairs`. Trials without a score are left out.
    seed : int
        Divides the speakers into folds.

    Raises
    ------
    CorpusError
        Trials or speakers are too few.
    SpeechtoolsError
        Target trials do not have the higher scores.
    """
    usable = np.flatnonzero(np.isfinite(rated.scores))
    kept = [pairs[number] for number in usable.tolist()]
    targets = np.array([pair.target for pair in kept], dtype=bool)
    counts = int(targets.sum()), int((~targets).sum())
    if min(counts) < MIN_TRIALS:
        raise CorpusError(
            f"{counts[0]} target and {counts[1]} non-target trials have scores, but a calibration needs {MIN_TRIALS} "
            "of each kind, better several hundred. Add trials."
        )
    names = np.array([[pair.first, pair.second] for pair in kept])
    first, second = np.unique(names, return_inverse=True)[1].reshape(-1, 2).T
    one, other = speaker_groups(first, second, targets)
    speakers = len(np.unique(one[targets]))
    if speakers < MIN_SPEAKERS:
        raise CorpusError(
            f"The target trials are of {speakers} speakers, but a calibration needs {MIN_SPEAKERS}, better 20 or more. "
            "Add trials of other speakers."
        )
    base, scores, conditions = encoder.calibration, rated.normalized[usable], rated.conditions[usable]
    if base is not None:
        scores = base.llr(scores, conditions)

    def fitted(chosen: np.ndarray) -> Calibration:
        if base is not None:
            return fit(scores[chosen], targets[chosen])
        of_sides = conditions[chosen]
        known = Conditions(model_seconds=of_sides.model_seconds, test_seconds=of_sides.test_seconds)
        of_targets = len(np.unique(one[chosen][targets[chosen]]))
        return fit(scores[chosen], targets[chosen], known, encoder.calibrated_scale, speakers=of_targets)

    def without(chosen: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
        try:
            calibration = fitted(chosen)
        except SpeechtoolsError as error:
            raise CorpusError(
                f"The list cannot be divided to test the calibration on other speakers: {error} Add trials between all "
                "speakers."
            ) from error
        return lambda tested: calibration.llr(scores[tested], conditions[tested])

    calibration = fitted(np.arange(len(kept)))
    llrs = held_out(without, one, other, _FOLDS, seed)
    if base is not None:
        calibration = base.rescaled(calibration.slope, calibration.offset)
    cosines = rated.scores[usable]
    threshold = metrics.eer(cosines[targets], cosines[~targets])[1]
    former = None if rated.llrs is None else rated.llrs[usable]
    return Recalibration(calibration, threshold, targets, cosines, llrs, former, speakers)
