"""Calibration: from scores to log-likelihood ratios and probabilities.

A log-likelihood ratio (LLR) says how much likelier a score is if both sides are of one speaker than if they are not. It
is a linear function of the score. What is known of both sides shifts it and changes its slope: how many recordings a
voice was enrolled from, how much speech it has, and optionally its quality. Scores of short or bad recordings say less.
Logistic regression fits it, with both kinds of trials weighted as if they were equally frequent, so that it does not
depend on the share of target trials (Brümmer and du Preez, "Application-independent evaluation of speaker detection",
2006).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError, SpeechtoolsError

#: Scale of scores that are not normalised.
COSINE = "cosine"
#: Fewest trials of each kind, and fewest groups of speakers, to fit a calibration to.
MIN_TRIALS, MIN_SPEAKERS = 20, 5
#: Smallest slope at any conditions, as a share of the one at mean conditions.
MIN_SLOPE = 0.2
_MAX_STEPS = 100


@dataclass(frozen=True)
class Conditions:
    """What is known of trials beside their scores. Each is a number or (trials,), and None or NaN where unknown.

    Attributes
    ----------
    recordings : array-like, optional
        Recordings that the voiceprint was enrolled from.
    model_seconds, test_seconds : array-like, optional
        Speech in all of them, and in the test recording.
    model_quality, test_quality : array-like, optional
        Score of the quality of both sides, such as that of Quality-Net.
    """

    recordings: ArrayLike | None = None
    model_seconds: ArrayLike | None = None
    test_seconds: ArrayLike | None = None
    model_quality: ArrayLike | None = None
    test_quality: ArrayLike | None = None

    def values(self) -> dict[str, np.ndarray]:
        """Those that are known, by name; numbers and durations as their logarithms, with NaN where unknown."""
        known = {}
        for name in TERMS:
            value = getattr(self, name)
            if value is not None:
                numbers = np.asarray(value, dtype=np.float64)
                if not name.endswith("quality"):
                    numbers = np.log(np.where(numbers > 0, numbers, np.nan))
                known[name] = numbers
        return known

    def __getitem__(self, chosen: Any) -> "Conditions":
        """Those of some of the trials."""
        values = {name: getattr(self, name) for name in TERMS}
        return Conditions(
            **{n: v if v is None or np.ndim(v) == 0 else np.asarray(v)[chosen] for n, v in values.items()}
        )


TERMS = ("recordings", "model_seconds", "test_seconds", "model_quality", "test_quality")


class Side(NamedTuple):
    """What is known of one side of a trial: recordings, seconds of speech, and quality; 0 or None where unknown."""

    recordings: int = 0
    seconds: float = 0.0
    quality: float | None = None


def conditions_of(models: Sequence[Side], tests: Sequence[Side]) -> Conditions:
    """The conditions (trials,) of trials with these sides."""

    def qualities(sides: Sequence[Side]) -> np.ndarray:
        return np.array([np.nan if side.quality is None else side.quality for side in sides])

    return Conditions(
        recordings=np.array([side.recordings for side in models]),
        model_seconds=np.array([side.seconds for side in models]),
        test_seconds=np.array([side.seconds for side in tests]),
        model_quality=qualities(models),
        test_quality=qualities(tests),
    )


@dataclass(frozen=True)
class Term:
    """The part of a condition in the log-likelihood ratio.

    With the deviation d = clip(value, low, high) - mean, it is ``(weight + gain * (score - centre)) * d``. Beyond the
    values that the fit has seen, the nearest of them counts; an unknown value counts as the mean.
    """

    weight: float
    mean: float
    low: float
    high: float
    gain: float = 0.0

    def deviations(self, values: np.ndarray) -> np.ndarray:
        """Deviations (…,) of values (…,) from their mean, within what the fit has seen; 0 for unknown values."""
        return np.where(np.isnan(values), 0.0, np.clip(values, self.low, self.high) - self.mean)


@dataclass(frozen=True)
class Calibration:
    """A function from scores and conditions to natural logarithms of likelihood ratios, linear in the score.

    With the deviations d of the conditions from their means, the ratio is

        offset + slope * score + Σ (weight + gain * (score - centre)) * d

    A slope ``slope + Σ gain * d`` below ``MIN_SLOPE * slope`` is replaced by this, so that a higher score always has a
    higher ratio.

    Attributes
    ----------
    slope : float
        That at mean conditions, positive.
    offset : float
        Log-likelihood ratio of the score 0 at mean conditions.
    scale : str
        Scale of the scores that it is for: ``cosine``, or that of a plugin of the kind ``score-norm``.
    terms : dict of Term
        By the names of conditions.
    centre : float
        The score at which the gains have no effect.

    Examples
    --------
    >>> calibration = Calibration(10.0, -5.0, terms={"recordings": Term(-1.0, 0.0, 0.0, 2.0)})
    >>> calibration.llr(0.75).item()
    2.5
    >>> calibration.threshold().item()
    0.5
    >>> round(calibration.threshold(Conditions(recordings=4)).item(), 3)  # a voiceprint of several has higher scores
    0.639
    """

    slope: float
    offset: float
    scale: str = COSINE
    terms: dict[str, Term] = field(default_factory=dict)
    centre: float = 0.0

    @property
    def uses_quality(self) -> bool:
        """Whether the quality of a side changes the ratio."""
        return any(name.endswith("quality") for name in self.terms)

    def _line(self, conditions: Conditions | None) -> tuple[np.ndarray, np.ndarray]:
        """Slopes and offsets (trials,) of the linear functions of scores at these conditions."""
        offset, gain = np.asarray(self.offset, dtype=np.float64), np.zeros(())
        for name, values in (conditions.values() if conditions else {}).items():
            if name in self.terms:
                term = self.terms[name]
                deviations = term.deviations(values)
                offset, gain = offset + term.weight * deviations, gain + term.gain * deviations
        gain = np.maximum(gain, (MIN_SLOPE - 1) * self.slope)
        return self.slope + gain, offset - gain * self.centre

    def llr(self, scores: ArrayLike, conditions: Conditions | None = None) -> np.ndarray:
        """Log-likelihood ratios (trials,) of scores (trials,), natural logarithms."""
        slope, offset = self._line(conditions)
        return slope * np.asarray(scores, dtype=np.float64) + offset

    def threshold(self, conditions: Conditions | None = None, prior: float = 0.5) -> np.ndarray:
        """The score from which on the probability of a target is one half or more.

        ``prior`` is the probability of a target before the score is known.
        """
        slope, offset = self._line(conditions)
        return (-_logit(prior) - offset) / slope

    def rescaled(self, gain: float, shift: float) -> "Calibration":
        """The calibration whose ratios are ``gain * llr + shift``."""
        terms = {
            name: replace(term, weight=gain * term.weight, gain=gain * term.gain) for name, term in self.terms.items()
        }
        return replace(self, slope=gain * self.slope, offset=gain * self.offset + shift, terms=terms)

    def to_plain(self) -> dict[str, Any]:
        """Plain values, as ``config.json`` of a model has them."""
        return asdict(self)

    @classmethod
    def from_plain(cls, plain: Any) -> "Calibration":
        """Read plain values.

        Raises
        ------
        ConfigError
            They are not those of a calibration.
        """
        try:
            fields = {"slope", "offset", "scale", "terms"}
            if not isinstance(plain, Mapping) or plain.keys() - {"centre"} != fields:  # earlier ones have no centre
                raise ValueError(f"it has not the keys {', '.join(sorted(fields))}")
            centre = plain.get("centre", 0.0)
            if unknown := plain["terms"].keys() - set(TERMS):
                raise ValueError(f"the condition {min(unknown)!r} is not known")
            of_terms = [value for term in plain["terms"].values() for value in term.values()]
            numbers = [plain["slope"], plain["offset"], centre, *of_terms]
            if not all(isinstance(n, int | float) and not isinstance(n, bool) and math.isfinite(n) for n in numbers):
                raise ValueError("a value is not a finite number")
            terms = {name: Term(**term) for name, term in plain["terms"].items()}
            if plain["slope"] <= 0 or not isinstance(plain["scale"], str):
                raise ValueError(f"slope={plain['slope']!r}, scale={plain['scale']!r}")
        except (ValueError, TypeError, AttributeError) as error:
            raise ConfigError(f"The calibration of the model is not valid: {error}. Export the model again.") from error
        return cls(float(plain["slope"]), float(plain["offset"]), plain["scale"], terms, float(centre))


def _logit(prior: float) -> float:
    check_number("prior", prior)
    if not 0 < prior < 1:
        raise ConfigError(f"prior={prior} must be a probability between 0 and 1, without these.")
    return math.log(prior / (1 - prior))


def probability(llr: float, prior: float = 0.5) -> float:
    """Probability that both sides are of one speaker.

    Parameters
    ----------
    llr : float
        Log-likelihood ratio.
    prior : float
        The probability before the recordings were compared, between 0 and 1.

    Examples
    --------
    >>> probability(0.0), round(probability(math.log(9)), 3), round(probability(math.log(9), prior=0.1), 3)
    (0.5, 0.9, 0.5)
    """
    log_odds = llr + _logit(prior)
    return 1 / (1 + math.exp(-log_odds)) if log_odds >= 0 else math.exp(log_odds) / (1 + math.exp(log_odds))


def fit(
    scores: ArrayLike,
    targets: ArrayLike,
    conditions: Conditions | None = None,
    scale: str = COSINE,
    weights: ArrayLike | None = None,
    speakers: int | None = None,
) -> Calibration:
    """Fit a calibration by logistic regression.

    The answers are smoothed as in Platt's method, so that trials without an error give finite ratios: n target trials
    alone do not support ratios above n. Weights and gains of conditions are drawn to 0 where speakers are few.

    Parameters
    ----------
    scores : array-like
        (trials,)
    targets : array-like
        (trials,) booleans.
    conditions : Conditions, optional
        Those that are known are used, if they differ between the trials.
    scale : str
        Of the scores.
    weights : array-like, optional
        (trials,): how much each trial counts among those of its kind.
    speakers : int, optional
        Speakers of the target trials. Default: as many as trials.

    Raises
    ------
    SpeechtoolsError
        A kind of trials is missing, a score is not finite, or target trials do not have the higher scores.

    Examples
    --------
    >>> scores = np.array([0.9, 0.8, 0.7, 0.3, 0.2, 0.1, 0.65, 0.35])
    >>> calibration = fit(scores, [True, True, True, False, False, False, False, True])
    >>> round(calibration.threshold().item(), 2)
    0.5
    """
    scores, targets = np.asarray(scores, dtype=np.float64), np.asarray(targets, dtype=bool)
    if not np.isfinite(scores).all():
        raise SpeechtoolsError("Scores to be calibrated are NaN or infinite. Leave these trials out.")
    counts = np.count_nonzero(targets), np.count_nonzero(~targets)
    if not all(counts):
        kind = "target" if not counts[0] else "non-target"
        raise SpeechtoolsError(f"The list has no {kind} trials. A calibration needs both kinds.")
    shares = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=np.float64)
    shares = np.where(targets, shares / shares[targets].sum(), shares / shares[~targets].sum()) / 2
    # Both kinds count the same.
    centre = float(shares @ scores)
    columns, terms = {"score": scores - centre}, {}
    for name, values in (conditions.values() if conditions else {}).items():
        values = np.broadcast_to(values, scores.shape)
        known = np.isfinite(values)
        if not known.any() or np.ptp(values[known]) < 1e-6:
            continue
        mean = float(shares[known] @ values[known] / shares[known].sum())
        low, high = np.quantile(values[known], [0.005, 0.995])
        terms[name] = Term(0.0, mean, float(low), float(high))
        columns[name] = terms[name].deviations(values)
        columns[f"{name} gain"] = columns[name] * columns["score"]
    spreads = {name: float(np.sqrt(shares @ column**2)) for name, column in columns.items()}
    names = [name for name in columns if spreads[name] > 1e-9]
    matrix = np.stack([columns[name] / spreads[name] for name in names] + [np.ones(len(scores))], axis=1)
    # (trials, columns)
    answers = np.where(targets, (counts[0] + 1) / (counts[0] + 2), 1 / (counts[1] + 2))
    strength = 1 / (2 * (speakers or min(counts)))  # of a standard normal prior
    ridge = np.array([0.0 if name == "score" else strength for name in names] + [0.0])
    *coefficients, offset = _regress(matrix, answers, shares, ridge)
    solution = {name: float(value / spreads[name]) for name, value in zip(names, coefficients, strict=True)}
    slope = solution.get("score", 0.0)
    if slope <= 0:
        raise SpeechtoolsError("Target trials do not have higher scores than others. Check the answers in the list.")
    fitted = {
        name: replace(term, weight=solution[name], gain=solution.get(f"{name} gain", 0.0))
        for name, term in terms.items()
        if name in solution
    }
    return Calibration(slope, float(offset) - slope * centre, scale, fitted, centre)


def _regress(matrix: np.ndarray, answers: np.ndarray, shares: np.ndarray, ridge: np.ndarray) -> np.ndarray:
    """Coefficients (columns,) of a logistic regression of answers (trials,) in [0, 1], by Newton's method."""

    def loss(coefficients: np.ndarray) -> float:
        log_odds = matrix @ coefficients
        return float(shares @ (np.logaddexp(0, log_odds) - answers * log_odds) + ridge @ coefficients**2 / 2)

    coefficients = np.zeros(matrix.shape[1])
    current = loss(coefficients)
    for _ in range(_MAX_STEPS):
        estimated = 0.5 * (1 + np.tanh(matrix @ coefficients / 2))
        gradient = matrix.T @ (shares * (estimated - answers)) + ridge * coefficients
        curvature = matrix.T @ (matrix * (shares * estimated * (1 - estimated))[:, None]) + np.diag(ridge + 1e-12)
        step = np.linalg.solve(curvature, gradient)
        size = 1.0
        while size > 1e-6 and loss(coefficients - size * step) > current:
            size /= 2
        coefficients = coefficients - size * step
        previous, current = current, loss(coefficients)
        if previous - current < 1e-12:
            break
    return coefficients


def speaker_groups(first: np.ndarray, second: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The groups of recordings that target trials join: those of both sides, (trials,) each.

    Parameters
    ----------
    first, second : np.ndarray
        (trials,): indices of the recordings.
    targets : np.ndarray
        (trials,) booleans.

    Examples
    --------
    >>> groups = speaker_groups(np.array([0, 1, 0]), np.array([1, 2, 3]), np.array([True, True, False]))
    >>> [side.tolist() for side in groups]
    [[0, 0, 0], [0, 0, 1]]
    """
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    size = int(max(first.max(), second.max())) + 1
    pairs = coo_array((np.ones(np.count_nonzero(targets)), (first[targets], second[targets])), shape=(size, size))
    groups = connected_components(pairs, directed=False)[1]
    return groups[first], groups[second]


def held_out(
    fitted: Callable[[np.ndarray], Callable[[np.ndarray], np.ndarray]],
    first: np.ndarray,
    second: np.ndarray,
    folds: int = 5,
    seed: int = 0,
) -> np.ndarray:
    """Log-likelihood ratios (trials,) of calibrations that were fitted without the speakers of the trial.

    The speakers are divided into folds. The trials between two folds are rated by a calibration that was fitted to
    those trials with no speaker in either.

    Parameters
    ----------
    fitted : callable
        Fits a calibration to trials, given as indices, and returns the function from indices to ratios.
    first, second : np.ndarray
        (trials,): labels of the speakers of both sides.
    folds : int
        Three or more.
    seed : int
        Divides the speakers.

    Raises
    ------
    SpeechtoolsError
        Those of ``fitted``, such as for a kind of trials that is missing without a fold.
    """
    labels, place = np.unique(np.concatenate([first, second]), return_inverse=True)
    fold_of = np.random.default_rng([seed, 5]).permutation(len(labels)) % folds
    one, other = fold_of[place].reshape(2, -1)
    ratios = np.full(len(first), np.nan)
    for a in range(folds):
        for b in range(a, folds):
            tested = np.flatnonzero(((one == a) & (other == b)) | ((one == b) & (other == a)))
            if len(tested):
                unseen = np.flatnonzero(~np.isin(one, (a, b)) & ~np.isin(other, (a, b)))
                ratios[tested] = fitted(unseen)(tested)
    return ratios
