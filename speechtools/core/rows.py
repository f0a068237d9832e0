"""The CSV manifests of prepared data."""

import csv
import importlib
import warnings
from collections.abc import Iterable
from pathlib import Path

from speechtools.core.errors import CorpusError
from speechtools.core.files import write_aside


def __getattr__(name: str):
    """Former members of this module, with a DeprecationWarning."""
    home = {"Utterance": "speechtools.corpora.utterance", "fingerprint": "speechtools.core.files"}
    if name not in home:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{name} has moved to {home[name]}. Import it from there.", DeprecationWarning, 2)
    return getattr(importlib.import_module(home[name]), name)


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
