"""Typed rows of CSV manifests: one dataclass per manifest, which writes, reads and checks it.

Rows are dataclasses with one small reader, not pydantic models: hundreds of thousands of them pass through worker
processes, their cells are only text, numbers and paths, and the toolkit needs no further dependency for that.
"""

import contextlib
import csv
import dataclasses
import functools
import os
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeVar

from speechtools.core.checksums import find_damaged
from speechtools.core.errors import CorpusError
from speechtools.core.files import write_aside
from speechtools.core.moved import former_names

RowType = TypeVar("RowType", bound="Row")

__getattr__ = former_names(__name__)
#: Models of manifests by name, of the modules that are imported; see :class:`Row`.
MODELS: dict[str, type["Row"]] = {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a manifest: subclass it as a frozen, keyword-only dataclass whose fields are the columns.

    A field is a ``str``, ``int``, ``float``, ``bool`` or ``Path``, or one of them or None. A column may be missing,
    and its cells may be empty, where the field has a default. Numbers must be finite, and other columns are ignored.

    Parameters
    ----------
    manifest : str
        Of the subclass statement: a name that makes the model known to :func:`check_manifest`. Paths to files in the
        folder of such a manifest are written relative to it, so that the folder can be moved; relative paths are read
        as such.

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
    #: Whether relative paths belong to the folder of the manifest.
    has_relative_paths: ClassVar[bool] = False
    #: Of a list that people write: other names that they give to required columns, for messages.
    usual_names: ClassVar[dict[str, tuple[str, ...]]] = {}

    def __init_subclass__(cls, manifest: str = "", **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if manifest:
            MODELS[manifest] = cls
            cls.has_relative_paths = True

    @classmethod
    def columns(cls) -> list[str]:
        """The names of the columns, in order."""
        return [field.name for field in dataclasses.fields(cls)]

    def cells(self) -> dict[str, str]:
        """The row as text, by column."""
        return {name: as_cell(getattr(self, name)) for name in self.columns()}

    def check(self) -> Iterator[str]:
        """Yield what is wrong with the row, one sentence per problem."""
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
        writer, columns = csv.writer(file), model.columns()
        folder = os.path.abspath(Path(path).parent) if model.has_relative_paths else None
        writer.writerow(columns)
        writer.writerows([as_cell(_relative(getattr(row, name), folder)) for name in columns] for row in rows)


def iterate_rows(path: str | Path, model: type[RowType]) -> Iterator[RowType]:
    """Read a CSV manifest row by row, in constant memory; raises as :func:`read_rows` does."""
    for number, _, row, problems in _parse(Path(path), model):
        if row is None:
            raise _wrong_row(path, model, number, problems[0])
        yield row


def read_rows(path: str | Path, model: type[RowType], check: bool = False) -> list[RowType]:
    """Read a CSV manifest; with ``check``, also apply the checks of the model.

    Raises
    ------
    CorpusError
        The manifest is missing or is not CSV, lacks a column, or has a row that is torn or has a wrong value. The
        message names the first such row, its column and value.
    """
    rows = list(iterate_rows(path, model))
    if check:
        for index, problem in model.check_all(rows, Path(path).parent):
            raise _wrong_row(path, model, index + 2, problem)
    return rows


def check_manifest(path: str | Path) -> tuple[str, int, list[str]]:
    """Check every row of a manifest of any model in :data:`MODELS`, which its columns identify.

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
    name = _model_of(path)
    model = MODELS[name]
    numbered: list[tuple[int, Row]] = []
    problems: list[tuple[int, str]] = []
    identities: list[str] = []
    first: dict[str, int] = {}
    for number, identity, row, wrong in _parse(path, model):
        identities.append(identity)
        problems += [(number, problem) for problem in wrong]
        if row is not None:
            numbered.append((number, row))
            if first.setdefault(identity, number) != number:
                problems.append((number, f"{model.key} {identity!r} is also in row {first[identity]}; make it unique."))
    rows = [row for _, row in numbered]
    problems += _damage(path.parent, numbered)
    problems += [(numbered[index][0], problem) for index, problem in model.check_all(rows, path.parent)]
    messages = [f"row {number} ({identities[number - 2]}): {problem}" for number, problem in sorted(problems)]
    return name, len(identities), messages if identities else ["The manifest has no rows."]


def _damage(folder: Path, numbered: Sequence[tuple[int, Row]]) -> Iterator[tuple[int, str]]:
    """Yield the number of a row and which file of it has changed since its preparation; reads all files."""
    if damaged := find_damaged(folder, full=True):
        for number, row in numbered:
            for name, value in vars(row).items():
                file = str(_relative(value, os.path.abspath(folder)))
                if file in damaged:
                    yield number, f"{name}={file} {damaged[file]}: it is not the file that the preparation wrote."


# ------------------------------------------------------------------------------------------------------ the reader


class _Column(NamedTuple):
    name: str
    parse: Callable[[str], Any]
    type_name: str
    default: Any  # dataclasses.MISSING where a value is required


def _finite(kind: type) -> Callable[[str], Any]:
    def parse(cell: str) -> Any:
        value = kind(cell)
        if not abs(value) < 2**63:  # also NaN
            raise ValueError(cell)
        return value

    return parse


_BOOLEANS = {"yes": True, "true": True, "no": False, "false": False}
_PARSERS: dict[type, tuple[Callable[[str], Any], str]] = {
    str: (str, "text"),
    Path: (Path, "a path"),
    int: (_finite(int), "a whole number"),
    float: (_finite(float), "a finite number"),
    bool: (lambda cell: _BOOLEANS[cell.lower()], "yes or no"),
}


def as_cell(value: Any) -> str:
    """Return a value as the text of a cell.

    >>> as_cell(True), as_cell(None), as_cell(0.1), as_cell("a.wav")
    ('yes', '', '0.1', 'a.wav')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else repr(float(value)) if isinstance(value, float) else str(value)


def _relative(value: Any, folder: str | None) -> Any:
    """A path to a file in a folder, relative to it; any other value as it is."""
    if folder is not None and isinstance(value, Path) and value.is_relative_to(folder):
        return value.relative_to(folder).as_posix()
    return value


@functools.cache
def _columns(model: Any) -> list[_Column]:
    hints = typing.get_type_hints(model)
    columns = []
    for field in dataclasses.fields(model):
        # ``float | None`` is parsed as float: an empty cell never gets to the parser.
        kind = next(iter(set(typing.get_args(hints[field.name])) - {type(None)}), hints[field.name])
        columns.append(_Column(field.name, *_PARSERS[kind], field.default))
    return columns


def _missing(model: type[Row], header: Iterable[str]) -> list[str]:
    """Names of the required columns that a header lacks."""
    required = [column.name for column in _columns(model) if column.default is dataclasses.MISSING]  # type: ignore[arg-type]
    return [name for name in required if name not in header]


def _remedy(model: type[Row], header: Iterable[str]) -> str:
    if model.usual_names:
        missing = _missing(model, header)
        renames = [f"{name} to {new}" for new in missing for name in header if name.lower() in model.usual_names[new]]
        return f"Rename {', '.join(renames)}." if renames else f"Begin the file with {','.join(model.usual_names)}."
    known = [remedy for name, remedy in model.former_columns.items() if name in header]
    return (
        known[0] if known else "Correct the first row; if a recipe wrote the file, delete it and run the recipe again."
    )


def _parse(path: Path, model: type[RowType]) -> Iterator[tuple[int, str, RowType | None, list[str]]]:
    """Yield the number of each row, from 2 on, its key, and the row, or None and what is wrong with its cells."""
    columns = _columns(model)  # type: ignore[arg-type]
    with _open_csv(path) as reader:
        header: list[str] = next(reader, [])
        if missing := _missing(model, header):
            raise CorpusError(
                f"{path} has no column {', '.join(missing)}; its columns are {', '.join(header)}. "
                f"{_remedy(model, header)}"
            )
        if model.has_relative_paths:
            in_folder = functools.partial(Path, os.path.abspath(path.parent))  # an absolute path stays as it is
            columns = [column._replace(parse=in_folder) if column.parse is Path else column for column in columns]
        places = [(header.index(column.name), column) for column in columns if column.name in header]
        defaults = {column.name: column.default for column in columns}
        key = header.index(model.key) if model.key in header else 0
        for number, cells in enumerate(filter(None, reader), start=2):
            if len(cells) != len(header):
                raise _wrong_row(path, model, number, f"It has {len(cells)} cells, and the header has {len(header)}.")
            row, problems = _row(model, defaults, places, cells)
            yield number, cells[key], row, problems


def parse_row(model: type[RowType], cells: Mapping[str, str]) -> RowType | None:
    """Return the row of some cells by column; None if a column is missing, or a value is wrong.

    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Recording(Row):
    ...     ID: str
    ...     snr_db: float | None = None
    >>> parse_row(Recording, {"ID": "a", "snr_db": "5"}), parse_row(Recording, {"ID": "a", "snr_db": "loud"})
    (Recording(ID='a', snr_db=5.0), None)
    """
    columns = _columns(model)  # type: ignore[arg-type]
    if any(column.name not in cells for column in columns):
        return None
    defaults = {column.name: column.default for column in columns}
    return _row(model, defaults, [*enumerate(columns)], [cells[column.name] for column in columns])[0]


def row_of(model: type[RowType], values: Mapping[str, Any]) -> tuple[RowType | None, list[str]]:
    """Return the row of some values by column, such as those of a JSON object, or None and what is wrong with them.

    >>> @dataclasses.dataclass(frozen=True, kw_only=True)
    ... class Recording(Row):
    ...     ID: str
    ...     snr_db: float | None = None
    >>> row_of(Recording, {"ID": "a"}), row_of(Recording, {"snr_db": 5})
    ((Recording(ID='a', snr_db=None), []), (None, ['ID is empty.']))
    """
    columns = _columns(model)  # type: ignore[arg-type]
    defaults = {column.name: column.default for column in columns}
    return _row(model, defaults, [*enumerate(columns)], [as_cell(values.get(column.name)) for column in columns])


def _row(
    model: type[RowType], defaults: dict[str, Any], places: Sequence[tuple[int, _Column]], cells: Sequence[str]
) -> tuple[RowType | None, list[str]]:
    """Return the row of cells in the places of columns, or None and what is wrong with them."""
    values, problems = defaults.copy(), []
    for place, (name, parse, type_name, default) in places:
        cell = cells[place]
        try:
            if cell and not cell.isspace():
                values[name] = parse(cell)
            elif default is dataclasses.MISSING:
                problems.append(f"{name} is empty.")
        except (ValueError, KeyError):
            problems.append(f"{name}={cell[:40]!r} is not {type_name}.")
    if problems:
        return None, problems
    row = object.__new__(model)  # a frozen dataclass's own __init__ takes longer than all else here
    row.__dict__.update(values)
    return row, problems


@contextlib.contextmanager
def _open_csv(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise CorpusError(f"The manifest {path} does not exist. Correct the path, or prepare the data first.")
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            yield csv.reader(file)
    except (UnicodeDecodeError, csv.Error) as error:
        raise CorpusError(f"{path} is not a CSV file ({error}). Pass a manifest that a preparation wrote.") from error


def _wrong_row(path: str | Path, model: type[Row], number: int, problem: str) -> CorpusError:
    by_recipe = "; if a recipe wrote the file, delete it and run the recipe again: finished files are kept"
    return CorpusError(f"{path}, row {number}: {problem} Correct the row{'' if model.usual_names else by_recipe}.")


def _model_of(path: Path) -> str:
    """The name of the model with the most columns among those whose required columns a manifest has."""
    if not MODELS:
        raise CorpusError("No manifest is known. Import the module with its model, such as speechtools.quality.rows.")
    with _open_csv(path) as reader:
        header: list[str] = next(reader, [])

    def distance(name: str) -> tuple:
        missing, former = _missing(MODELS[name], header), set(MODELS[name].former_columns) & set(header)
        return bool(missing), not former, len(missing), -len(_columns(MODELS[name]))  # type: ignore[arg-type]

    name = min(MODELS, key=distance)
    if missing := _missing(MODELS[name], header):
        raise CorpusError(
            f"{path} has the columns {', '.join(header) or '(none)'}, which fit no known manifest "
            f"({', '.join(MODELS)}). The nearest is {name}, which also needs {', '.join(missing)}. "
            f"{_remedy(MODELS[name], header)}"
        )
    return name
