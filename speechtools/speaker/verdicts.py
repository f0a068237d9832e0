"""The results of verification and identification."""

from typing import Any, NamedTuple

from speechtools.speaker.weighing import Usable


class _Result(tuple):
    """A tuple with attributes for what is known of its decision; what is not passed is None."""

    threshold: float | None = None
    llr: float | None = None
    probability: float | None = None
    usable: Usable | None = None

    def __new__(
        cls,
        *values: Any,
        threshold: float | None = None,
        llr: float | None = None,
        probability: float | None = None,
        usable: Usable | None = None,
        **named: Any,
    ) -> Any:
        """Return the tuple of ``values`` and ``named`` ones."""
        result: Any = super().__new__(cls, *values, **named)
        result.threshold, result.llr, result.probability, result.usable = threshold, llr, probability, usable
        return result

    def _replace(self, **changes: Any) -> Any:
        """Return the result with some values changed, those of a named tuple or the attributes."""
        return type(self)(**(self._asdict() | vars(self) | changes))  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        fields = ((key, getattr(self, key)) for key in self._fields)  # type: ignore[attr-defined]
        parts = [f"{key}={value:.3f}" if key == "score" else f"{key}={value!r}" for key, value in fields]
        if self.llr is not None and self.probability is not None:
            parts += [f"llr={self.llr:.2f}", f"probability={self.probability:.3f}"]
        return f"{type(self).__name__}({', '.join(parts)})"


class _Decision(NamedTuple):
    score: float
    accepted: bool


class Verdict(_Result, _Decision):
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


class _NamedDecision(NamedTuple):
    name: str
    score: float
    accepted: bool


class Match(_Result, _NamedDecision):
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

    Examples
    --------
    >>> Match("anna", 0.8125, True, probability=0.9)
    Match(name='anna', score=0.812, accepted=True)
    """
