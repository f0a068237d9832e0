"""Utterances, and the CSV manifests that list them.

A prepared folder is named by the fingerprint of the options that made it, so a changed option never meets a stale
manifest; files are written aside and renamed, so a reader sees a whole one or none.
"""

import contextlib
import csv
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from speechtools.core.errors import CorpusError


@dataclass(frozen=True, slots=True)
class Utterance:
    """One recorded utterance of a corpus.

    ``split`` is ``"train"``, ``"valid"``, ``"test"``, or ``""`` where the corpus makes no division; ``duration`` is in
    seconds; ``text`` is the transcript, or None where the corpus has none. ``keyword_end`` is the time (s) at which the
    keyword ends, where the corpus is one of keywords and tells.
    """

    utt_id: str
    speaker: str
    split: str
    path: Path
    duration: float
    text: str | None = None
    keyword_end: float | None = None


def fingerprint(options: dict) -> str:
    """Twelve hex digits that name a set of options (any that JSON can hold; paths as text).

    >>> fingerprint({"seed": 1}) == fingerprint({"seed": 1}), fingerprint({"seed": 1}) == fingerprint({"seed": 2})
    (True, False)
    """
    return hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()[:12]


@contextlib.contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """A temporary path beside ``path`` that replaces it when the block ends well, and is removed when it does not."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_rows(path: str | Path, fields: list[str], rows: Iterable[dict]) -> None:
    """Write a CSV manifest with a header, atomically."""
    with write_aside(path) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)


def read_header(path: str | Path) -> list[str]:
    """The columns of a CSV manifest.

    Raises
    ------
    CorpusError
        The manifest is missing or no text.
    """
    path = Path(path)
    if not path.is_file():
        raise CorpusError(f"The manifest {path} does not exist. Run the preparation first, or mend the path.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            return next(csv.reader(file), [])
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path} is no CSV file ({error}). Give a manifest, as a preparation writes it.") from error


def read_rows(path: str | Path, fields: Iterable[str]) -> list[dict]:
    """Read a CSV manifest whose header must hold ``fields``.

    Raises
    ------
    CorpusError
        The manifest is missing, lacks a column, or has a row with too few or too many cells (a torn write).
    """
    path = Path(path)
    if not path.is_file():
        raise CorpusError(f"The manifest {path} does not exist. Run the preparation first, or mend the path.")
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        missing = [field for field in fields if field not in (reader.fieldnames or ())]
        if missing:
            raise CorpusError(
                f"The manifest {path} has no column {', '.join(missing)}; its header is {reader.fieldnames}. "
                "It was not written by this toolkit's preparation: delete it and prepare again."
            )
        rows = list(reader)
    for number, row in enumerate(rows, start=2):
        if None in row or None in row.values():
            raise CorpusError(
                f"Row {number} of the manifest {path} has not as many cells as its header: it was cut or edited. "
                "Delete the manifest and prepare again."
            )
    return rows
