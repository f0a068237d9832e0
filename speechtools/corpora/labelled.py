"""Any recordings with a list of scores, such as mean opinion scores."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import CorpusError
from speechtools.core.registry import plugin
from speechtools.core.rows import Row, iterate_rows
from speechtools.corpora import _layout
from speechtools.corpora.row_checks import check_score
from speechtools.corpora.utterance import Utterance

logger = logging.getLogger(__name__)

#: The list, in the folder of the corpus.
LIST = "labels.csv"


@dataclass(frozen=True, kw_only=True)
class LabelRow(Row):
    """A line of ``labels.csv``; the path is relative to the folder, and all columns but two can be left out."""

    key = "path"
    usual_names = {
        "path": ("file", "filename", "file_name", "name", "audio", "wav", "recording"),
        "score": ("rating", "mos", "label", "value", "mean", "quality"),
    }

    path: Path
    score: float
    measure: str = ""
    speaker: str = ""
    split: str = ""


@plugin("corpus/labelled")
def labelled(data_folder: str | Path) -> Iterator[Utterance]:
    """Recordings with scores: ``labels.csv`` has the columns ``path`` and ``score``.

    Its further columns are optional. ``measure`` is what the score is on, for example ``mos``. ``speaker`` keeps the
    recordings of a speaker in one split; without it, every recording counts as a speaker. ``split`` is train, valid or
    test; other columns are ignored. Several rows of a recording, such as one for each listener, are averaged; only the
    score may differ. Ids are paths without suffix, joined by hyphens. Sorted by id.

    Raises
    ------
    CorpusError
        The folder or its list is missing, a line of the list is wrong, two rows of a recording disagree, two recordings
        have the same id, or no file can be read. Unreadable files are skipped with one warning.

    Examples
    --------
    >>> scores = [u.score for u in labelled("/corpora/my-mos-test")]  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    if not (root / LIST).is_file():
        others = sorted(path.name for path in root.glob("*.csv"))
        hint = f" If the scores are in {' or '.join(others)}, rename it." if others else ""
        raise CorpusError(
            f"{root} has no {LIST}. Write it, with the columns path and score and a row per rating.{hint}"
        )
    ratings: dict[Path, list[LabelRow]] = {}
    listed = list(iterate_rows(root / LIST, LabelRow))
    numbers: dict[Path, list[int]] = {}
    for number, row in enumerate(listed, start=2):
        if row.split and row.split.lower() not in _layout.SPLITS:
            raise CorpusError(f"{root / LIST}: split={row.split!r} of {row.path} is not train, valid or test.")
        ratings.setdefault(row.path, []).append(row)
        numbers.setdefault(row.path, []).append(number)
    utterances = []
    for path, rows in ratings.items():
        first, score = rows[0], sum(row.score for row in rows) / len(rows)
        if any(replace(row, score=first.score) != first for row in rows):
            raise CorpusError(f"{root / LIST}: the rows of {path} differ in more than the score. Make them agree.")
        utt_id, split = "-".join(path.with_suffix("").parts), _layout.SPLITS.get(first.split.lower(), "")
        speaker, measure = first.speaker or utt_id, first.measure or None
        place = f"{root / LIST}, row {' and '.join(map(str, numbers[path]))}"
        fields = utt_id, speaker, split, root / path, 0.0
        utterances.append(Utterance(*fields, score=score, measure=measure, score_place=place))
    for number, row in enumerate(listed, start=2):
        for problem in check_score(row.score, row.measure) if row.measure else ():
            raise CorpusError(f"{root / LIST}, row {number}: {problem}")
    if averaged := sum(len(rows) > 1 for rows in ratings.values()):
        logger.info("%d of %d recordings have several scores in %s: their mean is used.", averaged, len(ratings), LIST)
    return _layout.with_durations(root, utterances, root / LIST)
