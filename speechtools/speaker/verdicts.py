"""The results of verification and identification."""

from typing import NamedTuple

from speechtools.speaker.weighing import Usable


class _Decision(NamedTuple):
    score: float
    accepted: bool


class Verdict(_Decision):
    """The result of a verification: a tuple of score and decision.

    Attributes
    ----------
    score : float
        Cosine of the two d-vectors, in [-1, 1].
    accepted : bool
        Whether the score reaches the threshold.
    threshold : float or None
        The threshold of this decision. That of a calibrated model depends on both sides.
    llr : float or None
        Log-likelihood ratio, a natural logarithm. None if the model is not calibrated.
    probability : float or None
        Probability of the same voice. None if the model is not calibrated.
    usable : Usable or None
        How much of the speech in the recording is usable; of two, in the one with the smaller share. None without
        :meth:`~SpeakerVerification.weigh_by_quality`.

    Examples
    --------
    >>> Verdict(0.8125, True)
    Verdict(score=0.812, accepted=True)
    >>> verdict = Verdict(5.25, True, llr=3.0, probability=0.9526)
    >>> verdict
    Verdict(score=5.250, accepted=True, llr=3.00, probability=0.953)
    >>> score, accepted = verdict
    """

    threshold: float | None
    llr: float | None
    probability: float | None
    usable: Usable | None

    def __new__(
        cls,
        score: float,
        accepted: bool,
        *,
        threshold: float | None = None,
        llr: float | None = None,
        probability: float | None = None,
        usable: Usable | None = None,
    ) -> "Verdict":
        """Return a verdict; what is not passed is not known."""
        verdict = super().__new__(cls, score, accepted)
        verdict.threshold, verdict.llr, verdict.probability, verdict.usable = threshold, llr, probability, usable
        return verdict

    def __repr__(self) -> str:
        return f"Verdict(score={self.score:.3f}, accepted={self.accepted}{_calibrated(self)})"


class _NamedDecision(NamedTuple):
    name: str
    score: float
    accepted: bool


class Match(_NamedDecision):
    """A voice that :meth:`SpeakerVerification.identify` found: a tuple of name, score and decision.

    Attributes
    ----------
    name : str
        Name of the enrolled voice.
    score : float
        Cosine of its voiceprint and the d-vector of the recording, in [-1, 1].
    accepted : bool
        Whether the score reaches the threshold.
    threshold, llr, probability, usable
        As in :class:`Verdict`. The probability is that of a comparison with this voice alone.
    """

    threshold: float | None
    llr: float | None
    probability: float | None
    usable: Usable | None

    def __new__(
        cls,
        name: str,
        score: float,
        accepted: bool,
        *,
        threshold: float | None = None,
        llr: float | None = None,
        probability: float | None = None,
        usable: Usable | None = None,
    ) -> "Match":
        """Return a match; what is not passed is not known."""
        match = super().__new__(cls, name, score, accepted)
        match.threshold, match.llr, match.probability, match.usable = threshold, llr, probability, usable
        return match

    def __repr__(self) -> str:
        name, decision = repr(self.name), f"score={self.score:.3f}, accepted={self.accepted}"
        return f"Match(name={name}, {decision}{_calibrated(self)})"


def _calibrated(result: Verdict | Match) -> str:
    if result.llr is None or result.probability is None:
        return ""
    return f", llr={result.llr:.2f}, probability={result.probability:.3f}"
