"""corpus/my-net: the recordings of a list, ``utterances.csv`` with the columns path and speaker.

THE CONTRACT
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from speechtools import audio, plugin
from speechtools.core.rows import Row, iterate_rows
from speechtools.corpora.utterance import Utterance


@dataclass(frozen=True, kw_only=True)
class ListRow(Row):
    """A line of ``utterances.csv``; a column with a default can be left out.

    ``score`` and ``measure`` (such as mos) are labels that come with the recordings: ``--labels=corpus`` trains
    Quality-Net on them.
    """

    path: str
    speaker: str
    split: str = ""
    score: float | None = None
    measure: str | None = None


@plugin("corpus/my-net")
def read_my_net(data_folder: str | Path) -> Iterator[Utterance]:
    """Read ``utterances.csv``: path inside the folder, speaker, and train, valid, test or nothing.

    Raises
    ------
    CorpusError
        The folder or its list is missing, or the list lacks a column or has a wrong value.
    AudioError
        A recording cannot be read.
    """
    root = audio.existing_folder(data_folder)
    for row in iterate_rows(root / "utterances.csv", ListRow):
        path = root / row.path
        seconds = audio.duration(path)
        yield Utterance(row.path, row.speaker, row.split, path, seconds, score=row.score, measure=row.measure)
