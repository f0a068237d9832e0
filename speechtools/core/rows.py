"""Typed rows of CSV manifests: one dataclass a manifest, which writes, reads and checks it.

Rows are dataclasses with one small reader, not pydantic models: hundreds of thousands of them pass through worker
processes, their cells are only text, numbers and paths, and the toolkit needs no further dependency for that.
"""

import contextlib
import csv
import dataclasses
import functools
import importlib
import math
import types
import typing
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

from speechtools.core.errors import CorpusError
from speechtools.core.files import write_aside

RowType = TypeVar("RowType", bound="Row")

#: Models of manifests by name; see :class:`Row`.
MODELS: dict[str, type["Row"]] = {}
#: Importing these defines the toolkit's own models.
_MODEL_MODULES = ("speechtools.quality.data", "speechtools.enhancement.data", "speechtools.speaker.index")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a manifest: subclass it as a frozen, keyword-only dataclass whose fields are the columns.

    A field is a ``str``, ``int``, ``float``, ``bool`` or ``Path``, or one of them or None. A column may be missing,
    and its cells may be empty, where the field has a default. Numbers must be finite, and other columns are ignored.

    Parameters
    ----------
    manifest : str
        Of the subclass statement: a name that makes the model known to :func:`check_manifest`.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Recording(Row):
    ...     ID: str
    ...     path: Path
    ...     snr_db: float | None = None
    >>> Recording.columns()
    ['ID', 'path', 'snr_db']
    >>> Recording(ID="a", path=Path("a.wav")).cells()
    {'ID': 'a', 'path': 'a.wav', 'snr_db': ''}
    """

    #: The column whose values are unique.
    key: ClassVar[str] = "ID"
    #: What to do about columns that earlier versions wrote under another name.
    former_columns: ClassVar[dict[str, str]] = {}

    def __init_subclass__(cls, manifest: str = "", **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if manifest:
            MODELS[manifest] = cls

    @classmethod
    def columns(cls) -> list[str]:
        """The names of the columns, in order."""
        return [field.name for field in dataclasses.fields(cls)]

    def cells(self) -> dict[str, str]:
        """The row as text, by column."""
        return {name: _text(getattr(self, name)) for name in self.columns()}

    def check(self) -> Iterator[str]:
        """Yield what is wrong with the row, a sentence each."""
        return iter(())

    @classmethod
    def check_all(cls, rows: Sequence["Row"], folder: Path) -> Iterator[tuple[int, str]]:
        """Yield the index of a row and what is wrong with it; override this for rules between rows.

        ``folder`` is where the manifest is.
        """
        for index, row in enumerate(rows):
            for problem in row.check():
                yield index, problem


def write_rows(path: str | Path, model: type[RowType], rows: Iterable[RowType]) -> None:
    """Write a CSV manifest with a header, atomically."""
    with write_aside(path) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
        if not isinstance(model, type):  # to be removed: names of columns, and dicts
            dict_writer = csv.DictWriter(file, model)
            dict_writer.writeheader()
            dict_writer.writerows(rows)
            return
        writer, columns = csv.writer(file), model.columns()
        writer.writerow(columns)
        writer.writerows([_text(getattr(row, name)) for name in columns] for row in rows)


def iterate_rows(path: str | Path, model: type[RowType]) -> Iterator[RowType]:
    """Read a CSV manifest row by row, in constant memory; raises as :func:`read_rows` does."""
    for number, row, problems in _parse(Path(path), model):
        if row is None:
            raise _wrong_row(path, number, problems[0])
        yield row


def read_rows(path: str | Path, model: type[RowType], check: bool = False) -> list[RowType]:
    """Read a CSV manifest; with ``check``, also apply the checks of the model.

    Raises
    ------
    CorpusError
        The manifest is missing or is not CSV, lacks a column, or has a row that is torn or has a wrong value. The
        message names the first such row, its column and value.
    """
    if not isinstance(model, type):
        return _read_dicts(path, model)
    rows = list(iterate_rows(path, model))
    if check:
        for index, problem in model.check_all(rows, Path(path).parent):
            raise _wrong_row(path, index + 2, problem)
    return rows


def check_manifest(path: str | Path) -> tuple[str, int, list[str]]:
    """Check every row of a manifest of any known model, which its columns identify.

    Returns
    -------
    tuple
        The name of the model, the number of rows, and a message for each problem.

    Raises
    ------
    CorpusError
        The file is missing or torn, is not CSV, or no known model has its columns.
    """
    path = Path(path)
    for module in _MODEL_MODULES:
        importlib.import_module(module)
    name, model = _model_of(path)
    rows: list[Row] = []
    numbers: list[int] = []
    problems: list[tuple[int, str]] = []
    identities: list[str] = []
    for number, row, wrong in _parse(path, model, identities):
        problems += [(number, problem) for problem in wrong]
        if row is not None:
            rows.append(row)
            numbers.append(number)
    problems += [(numbers[index], problem) for index, problem in model.check_all(rows, path.parent)]
    first: dict[str, int] = {}
    for number, identity in enumerate(identities, start=2):
        if first.setdefault(identity, number) != number and identity:
            problems.append((number, f"{model.key} {identity!r} is also in row {first[identity]}; make it unique."))
    messages = [f"row {number} ({identities[number - 2]}): {problem}" for number, problem in sorted(problems)]
    return name, len(identities), messages or ([] if identities else ["The manifest has no rows."])


# ------------------------------------------------------------------------------------------------------ the reader


class _Column(NamedTuple):
    name: str
    parse: Callable[[str], Any]
    default: Any  # dataclasses.MISSING where a value is required


def _int(cell: str) -> int:
    try:
        value = int(cell)
    except ValueError as error:
        raise ValueError("not a whole number") from error
    if abs(value) >= 2**63:
        raise ValueError("too large")
    return value


def _float(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError as error:
        raise ValueError("not a number") from error
    if not math.isfinite(value):
        raise ValueError("not finite")
    return value


def _bool(cell: str) -> bool:
    try:
        return {"yes": True, "true": True, "no": False, "false": False}[cell.lower()]
    except KeyError:
        raise ValueError("neither yes nor no") from None


_PARSERS: dict[type, Callable[[str], Any]] = {str: str, int: _int, float: _float, bool: _bool, Path: Path}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return repr(float(value)) if isinstance(value, float) else str(value)


@functools.cache
def _columns(model: type[Row]) -> tuple[_Column, ...]:
    hints = typing.get_type_hints(model)
    columns = []
    for field in dataclasses.fields(model):
        kind = hints[field.name]
        if isinstance(kind, types.UnionType):
            (kind,) = (member for member in typing.get_args(kind) if member is not types.NoneType)
        columns.append(_Column(field.name, _PARSERS[kind], field.default))
    return tuple(columns)


def _parse(
    path: Path, model: type[RowType], identities: list[str] | None = None
) -> Iterator[tuple[int, RowType | None, list[str]]]:
    """Yield the number of each row, counted from 2 after the header, and the row, or None and what is wrong with it."""
    header = _header(path)
    columns = _columns(model)
    missing = [column.name for column in columns if column.name not in header and column.default is dataclasses.MISSING]
    if missing:
        remedy = " ".join(text for name, text in model.former_columns.items() if name in header)
        raise CorpusError(
            f"The manifest {path} has no column {', '.join(missing)}; its columns are {', '.join(header)}. "
            f"{remedy or 'Delete it and prepare it again.'}"
        )
    places = [(header.index(column.name), column) for column in columns if column.name in header]
    defaults = {column.name: column.default for column in columns if column.default is not dataclasses.MISSING}
    key = header.index(model.key) if model.key in header else 0
    with _open_csv(path) as reader:
        next(reader)
        for number, cells in enumerate(filter(None, reader), start=2):
            if len(cells) != len(header):
                raise _wrong_row(path, number, f"It has {len(cells)} cells, and the header has {len(header)}.")
            if identities is not None:
                identities.append(cells[key])
            values, problems = dict(defaults), []
            for place, (name, parse, default) in places:
                cell = cells[place]
                try:
                    if cell and not cell.isspace():
                        values[name] = parse(cell)
                    elif default is dataclasses.MISSING:
                        raise ValueError("empty")
                except ValueError as error:
                    problems.append(f"{name}={cell[:40]!r} is {error}.")
            row = None
            if not problems:
                row = object.__new__(model)  # a frozen dataclass's own __init__ takes longer than all else here
                row.__dict__.update(values)
            yield number, row, problems


def _header(path: Path) -> list[str]:
    with _open_csv(path) as reader:
        return next(reader, [])


@contextlib.contextmanager
def _open_csv(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise CorpusError(f"The manifest {path} does not exist. Correct the path, or prepare the data first.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            yield csv.reader(file)
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path} is not a CSV file ({error}). Give a manifest that a preparation wrote.") from error


def _wrong_row(path: str | Path, number: int, problem: str) -> CorpusError:
    return CorpusError(
        f"{path}, row {number}: {problem} Correct the row, or delete the manifest and prepare it again: finished files "
        "are kept."
    )


def _model_of(path: Path) -> tuple[str, type[Row]]:
    """The model with the most columns among those whose required columns a manifest has."""
    header = set(_header(path))
    required = {
        name: {column.name for column in _columns(model) if column.default is dataclasses.MISSING}
        for name, model in MODELS.items()
    }
    fitting = [name for name, columns in required.items() if columns <= header]
    if fitting:
        name = max(fitting, key=lambda name: len(required[name]))
        return name, MODELS[name]
    near = max(required, key=lambda name: (len(required[name] & header), -len(required[name])))
    former = " ".join(text for column, text in MODELS[near].former_columns.items() if column in header)
    raise CorpusError(
        f"{path} has the columns {', '.join(sorted(header)) or '(none)'}, which fit no known manifest "
        f"({', '.join(MODELS)}). The nearest is {near}; add {', '.join(sorted(required[near] - header))}. {former}"
    )


# ------------------------------------------------------------------------------------------------------ former names


def _read_dicts(path, fields):
    header = _header(Path(path))
    missing = [field for field in fields if field not in header]
    if missing:
        raise CorpusError(f"The manifest {path} has no column {', '.join(missing)}. Delete it and prepare it again.")
    with open(path, newline="", encoding="utf-8-sig") as file:
        return list(csv.DictReader(file))


def __getattr__(name: str) -> Any:
    """Former members of this module, with a DeprecationWarning."""
    homes = {
        "Utterance": "speechtools.corpora.utterance",
        "fingerprint": "speechtools.core.files",
        "write_aside": "speechtools.core.files",
    }
    if name not in homes:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    warnings.warn(f"{name} has moved to {homes[name]}. Import it from there.", DeprecationWarning, 2)
    return getattr(importlib.import_module(homes[name]), name)
