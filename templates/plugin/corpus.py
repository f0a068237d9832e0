"""corpus/my-net: the recordings of a list, ``utterances.csv`` with the columns path, speaker and split.

THE CONTRACT
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from speechtools import audio, plugin
from speechtools.core.errors import CorpusError
from speechtools.corpora.utterance import Utterance


@plugin("corpus/my-net")
def read_my_net(data_folder: str | Path) -> Iterator[Utterance]:
    """Read ``utterances.csv``: path inside the folder, speaker, and train, valid, test or nothing.

    Raises
    ------
    CorpusError
        The folder or its list is missing, or the list has no row or lacks a column.
    AudioError
        A recording cannot be read.
    """
    root = audio.existing_folder(data_folder)
    table = root / "utterances.csv"
    if not table.is_file():
        raise CorpusError(f"{root} has no utterances.csv. Pass the folder of the list.")
    with open(table, newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    if not rows or not {"path", "speaker", "split"} <= rows[0].keys():
        raise CorpusError(f"{table} needs the columns path, speaker and split, and a row for each recording.")
    for row in rows:
        path = root / row["path"]
        yield Utterance(row["path"], row["speaker"], row["split"], path, audio.duration(path))
