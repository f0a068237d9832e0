"""Any recordings with a list of scores, such as mean opinion scores."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from operator import itemgetter
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
    utterances = []
    for row, place in read_labels(root / LIST):
        utt_id = "-".join(row.path.with_suffix("").parts)
        fields = utt_id, row.speaker or utt_id, row.split, root / row.path, 0.0
        utterances.append(Utterance(*fields, score=row.score, measure=row.measure or None, score_place=place))
    return _layout.with_durations(root, utterances, root / LIST)


def read_labels(path: Path, measure: str = "") -> list[tuple[LabelRow, str]]:
    """Read a list of scores; those of a recording are averaged.

    Parameters
    ----------
    path : Path
        The list, as :func:`labelled` describes it.
    measure : str
        What scores are on whose row does not say it. A recording may then have scores on several measures.

    Returns
    -------
    list of tuple
        A row for each recording (and measure), whose ``split`` is train, valid, test or empty; and where its scores
        are, for messages.

    Raises
    ------
    CorpusError
        As for :func:`labelled`.
    """
    groups: dict[tuple[Path, str], list[tuple[int, LabelRow]]] = {}
    for number, row in enumerate(iterate_rows(path, LabelRow), start=2):
        if row.split and row.split.lower() not in _layout.SPLITS:
            raise CorpusError(f"{path}: split={row.split!r} of {row.path} is not train, valid or test.")
        row = replace(row, measure=row.measure or measure, split=_layout.SPLITS.get(row.split.lower(), ""))
        groups.setdefault((row.path, measure and row.measure), []).append((number, row))
    labels, numbered = [], []
    for (name, _), group in groups.items():
        first, score = group[0][1], sum(row.score for _, row in group) / len(group)
        if any(replace(row, score=first.score) != first for _, row in group):
            raise CorpusError(f"{path}: the rows of {name} differ in more than the score. Make them agree.")
        labels.append((replace(first, score=score), f"{path}, row {' and '.join(str(number) for number, _ in group)}"))
        numbered += group
    for number, row in sorted(numbered, key=itemgetter(0)):
        for problem in check_score(row.score, row.measure) if row.measure else ():
            raise CorpusError(f"{path}, row {number}: {problem}")
    if averaged := sum(len(group) > 1 for group in groups.values()):
        logger.info("%d of %d recordings have several scores in %s: their mean is used.", averaged, len(groups), path)
    return labels
