"""Any recordings with a list of scores, such as mean opinion scores."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import CorpusError
from speechtools.core.registry import plugin
from speechtools.core.rows import Row, iterate_rows
from speechtools.corpora import _layout
from speechtools.corpora.utterance import Utterance

#: The list, in the folder of the corpus.
LIST = "labels.csv"


@dataclass(frozen=True, kw_only=True)
class LabelRow(Row):
    """A line of ``labels.csv``; the path is relative to the folder, and all columns but two can be left out."""

    key = "path"

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
    test. Ids are paths without suffix, joined by hyphens. Sorted by id.

    Raises
    ------
    CorpusError
        The folder or its list is missing, a line of the list is wrong, a recording is listed twice, two recordings have
        the same id, or no file can be read. Unreadable files are skipped with one warning.

    Examples
    --------
    >>> scores = [u.score for u in labelled("/corpora/my-mos-test")]  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    if not (root / LIST).is_file():
        raise _layout.wrong_layout(root, "labelled", LIST)
    utterances, paths = [], set()
    for row in iterate_rows(root / LIST, LabelRow):
        if row.split and row.split.lower() not in _layout.SPLITS:
            raise CorpusError(f"{root / LIST}: split={row.split!r} of {row.path} is not train, valid or test.")
        if row.path in paths:
            raise CorpusError(f"{root / LIST} has several rows of {row.path}. Give it one row, with the mean score.")
        paths.add(row.path)
        utt_id = "-".join(row.path.with_suffix("").parts)
        split = _layout.SPLITS.get(row.split.lower(), "")
        utterance = Utterance(utt_id, row.speaker or utt_id, split, root / row.path, duration=0.0)
        utterances.append(replace(utterance, score=row.score, measure=row.measure or None))
    return _layout.with_durations(root, utterances)
