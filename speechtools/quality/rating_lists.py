"""Lists of ratings of recordings, such as mean opinion scores, and their division."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from speechtools import audio
from speechtools.core.errors import AudioError, CorpusError, first_of
from speechtools.corpora.labelled import read_labels
from speechtools.measures import find_measure

logger = logging.getLogger(__name__)

#: What ratings are on whose row names no measure.
DEFAULT_MEASURE = "mos"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class Rating:
    """The score of a recording on a measure.

    Attributes
    ----------
    path : Path
    score : float
    measure : str
        Name of the plugin, without its kind.
    speaker : str
        The recording itself, where its speaker is not known.
    split : str
        ``train``, ``valid``, ``test``, or empty.
    """

    path: Path
    score: float
    measure: str
    speaker: str
    split: str


def is_list(labels: str | Path) -> bool:
    """Whether the option ``labels`` names a list of ratings.

    >>> is_list("ratings/mine.csv"), is_list("measure")
    (True, False)
    """
    return Path(labels).suffix.lower() == ".csv"


def read_ratings(path: str | Path) -> list[Rating]:
    """Read a list of ratings: a CSV file with the columns ``path`` and ``score``.

    Its further columns are those of :func:`speechtools.corpora.labelled.labelled`. Paths are absolute, or relative to
    the list; ratings of a recording on one measure are averaged; the default of ``measure`` is ``mos``.

    Raises
    ------
    CorpusError
        The list is missing, empty, lacks a column or has a wrong row; or recordings are missing or cannot be read.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise CorpusError(f"labels={path} is not a file. Pass a CSV file with the columns path and score.")
    if not path.read_bytes().strip():
        raise CorpusError(f"{path} is empty. Write the columns path and score, and a row for each rating.")
    folder, ratings = path.absolute().parent, []
    for row, _ in read_labels(path, DEFAULT_MEASURE):
        name = find_measure(row.measure).name
        ratings.append(Rating(folder / row.path, row.score, name, row.speaker or str(row.path), row.split))
    if not ratings:
        raise CorpusError(f"{path} has no ratings below its header. Write a row for each.")
    refuse_unreadable(path, ratings, audio.duration)
    return ratings


def refuse_unreadable(source: str | Path, ratings: Sequence[Rating], read: Callable[[Path], object]) -> None:
    """Raise one CorpusError that names the recordings which ``read`` cannot read."""
    reasons: dict[Path, str] = {}
    paths = list(dict.fromkeys(rating.path for rating in ratings))
    for path in paths:
        try:
            read(path)
        except AudioError as error:
            reasons[path] = str(error)
    if reasons:
        raise CorpusError(
            f"{len(reasons)} of the {len(paths)} recordings of {source} cannot be used: "
            f"{first_of([str(path) for path in reasons])}. {next(iter(reasons.values()))} Correct or remove their "
            "rows; paths are relative to the list."
        )


def split_ratings(
    ratings: Sequence[Rating], valid_share: float, test_share: float, seed: int
) -> dict[str, list[Rating]]:
    """Split ratings into training, validation and test, which share no speaker.

    The splits of the list are kept, and an empty one counts as training. If the list has no validation or no test,
    shares of the speakers are drawn for them, at least one. With fewer than five speakers to draw from, recordings are
    drawn instead, with a warning.

    Raises
    ------
    CorpusError
        A speaker is in two splits of the list, or there are too few ratings.
    """
    splits_of: dict[str, set[str]] = {}
    for rating in ratings:
        splits_of.setdefault(rating.speaker, set()).add(rating.split or "train")
    if several := [speaker for speaker, splits in splits_of.items() if len(splits) > 1]:
        raise CorpusError(
            f"Speaker {several[0]!r} of the ratings is in several splits. Put all recordings of a speaker into one, or "
            "leave the column split empty: then speakers are drawn."
        )
    shares = {"test": test_share, "valid": valid_share}
    stated = {rating.split for rating in ratings}
    drawn = [split for split in shares if split not in stated]
    groups = {rating: rating.speaker for rating in ratings}
    free = sorted({groups[rating] for rating in ratings if rating.split in ("", "train")})
    if drawn and len(free) < 5:
        logger.warning(
            "The ratings have %d speakers to draw %s from, so recordings are drawn: the results are not for new "
            "speakers.",
            len(free),
            " and ".join(drawn),
        )
        groups = {rating: str(rating.path) for rating in ratings}
        free = sorted({groups[rating] for rating in ratings if rating.split in ("", "train")})
    chosen: dict[str, str] = {}
    order = [free[i] for i in np.random.default_rng([seed, 8]).permutation(len(free))]
    for split in drawn:
        count = max(1, round(shares[split] * len(free)))
        chosen |= dict.fromkeys(order[:count], split)
        order = order[count:]
    result: dict[str, list[Rating]] = {split: [] for split in SPLITS}
    for rating in ratings:
        result[chosen.get(groups[rating]) or rating.split or "train"].append(rating)
    if empty := [split for split in SPLITS if not result[split]]:
        raise CorpusError(
            f"{len(ratings)} ratings leave none for {' and '.join(empty)}. Add ratings, or correct the column split."
        )
    return result
