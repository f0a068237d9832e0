"""The utterance, which every corpus reader yields."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recorded utterance of a corpus.

    Attributes
    ----------
    utt_id, speaker : str
        Unique id, and the name of the speaker.
    split : str
        ``"train"``, ``"valid"``, ``"test"``, or ``""`` where the corpus has no division of its own.
    path : Path
        The audio file.
    duration : float
        In seconds.
    text : str, optional
        The transcript.
    keyword_end : float, optional
        Time (s) at which the keyword ends, in a corpus of keywords.
    score : float, optional
        A label of quality that comes with the corpus, such as a mean opinion score.
    measure : str, optional
        What ``score`` is on: the name of a measure, such as ``mos``.
    score_place : str, optional
        Where the score is written, for messages: the file and its row.
    """

    utt_id: str
    speaker: str
    split: str
    path: Path
    duration: float
    text: str | None = None
    keyword_end: float | None = None
    score: float | None = None
    measure: str | None = None
    score_place: str | None = None
