"""Tables with a score for each recording, and which rows of two tables are about the same recording."""

import codecs
import csv
import dataclasses
import io
import itertools
import json
import math
import os
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from pathlib import Path, PurePath

from speechtools.core.errors import ConfigError, CorpusError, first_of, printable
from speechtools.core.rows import as_cell
from speechtools.core.spelling import did_you_mean

#: Names of the column with the path or name of a recording, in the order in which they are looked for.
KEYS = ("file", "path", "filename", "file_name", "name", "audio", "wav", "recording", "ID", "id")
#: Columns that name the measure of the scores.
_SCALES = ("scale", "measure")
_DELIMITERS = ",;\t"


@dataclasses.dataclass(frozen=True)
class ScoreTable:
    """Scores of recordings.

    Attributes
    ----------
    name : str
        The file, for messages.
    scores : dict
        The scores by the paths of the recordings.
    errors : dict
        Why a row has no score, by path.
    cells : dict
        All cells of the rows by column, by path.
    columns : tuple of str
        Names of the columns.
    """

    name: str
    scores: dict[str, float]
    errors: dict[str, str] = dataclasses.field(default_factory=dict)
    cells: dict[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)
    columns: tuple[str, ...] = ()

    @property
    def paths(self) -> list[str]:
        """The paths of all rows, with and without a score."""
        return [*self.scores, *self.errors]

    @property
    def scales(self) -> list[str]:
        """The names of the measures that the table names."""
        return self.values(next((name for name in _SCALES if name in self.columns), ""))

    def values(self, column: str) -> list[str]:
        """The distinct cells of a column that are not empty, sorted."""
        return sorted({row.get(column, "") for row in self.cells.values()} - {""})

    @classmethod
    def read(cls, path: str | Path, column: str = "score", key: str | None = None) -> "ScoreTable":
        """Read a table that ``speechtools score --csv`` or ``--jsonl`` wrote, or any CSV file or JSON lines.

        Parameters
        ----------
        path : str or Path
            CSV with a header and commas, semicolons or tabs, or JSON lines.
        column : str
            The column of the scores. A row whose score is empty or not finite is an error of the table.
        key : str, optional
            The column with the paths or names of the recordings; by default, the first of :data:`KEYS` that is there.

        Raises
        ------
        CorpusError
            The file is missing, is not a table, has no rows or names a recording twice; or a score is not a number.
        ConfigError
            There is no such column.
        """
        columns, rows = read_cells(path)
        key = find_key(path, columns, key)
        check_column(path, columns, column, "--column")
        scores: dict[str, float] = {}
        errors: dict[str, str] = {}
        cells: dict[str, Mapping[str, str]] = {}
        for number, file, row in keyed_rows(path, rows, key):
            cell = row.get(column, "").strip()
            try:
                score = float(cell or "nan")
            except ValueError as error:
                value = printable(f"{column}={cell[:40]}")
                remedy = "Correct it, or choose another column with --column."
                raise CorpusError(f"{path}, row {number}: {value} is not a number. {remedy}") from error
            if math.isfinite(score):
                scores[file] = score
            else:
                errors[file] = row.get("error") or f"{column} is {cell or 'empty'}"
            cells[file] = row
        return cls(str(path), scores, errors, cells, tuple(columns))

    @classmethod
    def of(cls, name: str, scores: Mapping[str, float]) -> "ScoreTable":
        """Make a table of the scores of recordings by path or name."""
        numbers = {str(file): float(score) for file, score in scores.items()}
        errors = {file: f"the score is {score}" for file, score in numbers.items() if not math.isfinite(score)}
        return cls(name, {file: score for file, score in numbers.items() if file not in errors}, errors)


def read_cells(path: str | Path) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    """Read a CSV file with a header, or JSON lines.

    Returns
    -------
    columns : list of str
    rows : list
        The number of each row in the file, from 1, and its cells by column.

    Raises
    ------
    CorpusError
        The file is missing, is not a table, or has no rows.
    """
    path = Path(path)
    if path.is_dir() or not path.exists():
        reason = "is a folder" if path.is_dir() else "does not exist"
        raise CorpusError(f"{path} {reason}. Pass a table, such as `speechtools score --csv` writes.")
    try:
        with path.open("rb") as file:  # line by line: frame scores make long lines
            is_json = file.peek().removeprefix(codecs.BOM_UTF8).lstrip()[:1] == b"{"
            lines = io.TextIOWrapper(file, encoding="utf-8-sig", newline="\n" if is_json else "")
            columns, rows = (_json_lines if is_json else _csv_rows)(_without_nul(lines))
    except (ValueError, RecursionError, csv.Error) as error:
        raise CorpusError(f"{path} is neither CSV nor JSON lines: {error}.") from error
    if not rows:
        raise CorpusError(f"{path} has no rows. Pass a table with a header and a row for each recording.")
    return columns, rows


def _without_nul(lines: Iterable[str]) -> Iterator[str]:
    for line in lines:
        if "\0" in line:
            raise ValueError("it contains NUL characters")
        yield line


def _csv_rows(lines: Iterator[str]) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    header_line = next(lines, "")
    reader = csv.reader(itertools.chain([header_line], lines), delimiter=max(_DELIMITERS, key=header_line.count))
    columns = [name.strip() for name in next(reader, [])]
    if twice := [name for name in columns if columns.count(name) > 1]:
        raise ValueError(f"its header has the column {twice[0]!r} twice")
    rows = []
    for number, cells in enumerate(reader, start=2):
        if not cells:
            continue
        if len(cells) != len(columns):
            raise ValueError(f"row {number} has {len(cells)} cells, and the header has {len(columns)}")
        rows.append((number, dict(zip(columns, cells, strict=True))))
    return columns, rows


def _json_lines(lines: Iterator[str]) -> tuple[list[str], list[tuple[int, dict[str, str]]]]:
    columns: dict[str, None] = {}
    rows = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            content = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number} is not JSON ({error})") from error
        if not isinstance(content, dict):
            raise ValueError(f"line {number} is not an object")
        # Frame scores, causes and regions are not needed.
        cells = {name: as_cell(value) for name, value in content.items() if not isinstance(value, list | dict)}
        columns |= dict.fromkeys(cells)
        rows.append((number, cells))
    return list(columns), rows


def find_key(path: str | Path, columns: Iterable[str], key: str | None) -> str:
    """Return the column with the paths of the recordings; raise a ConfigError if there is none."""
    if key is None:
        columns = list(columns)
        if not (known := [name for name in KEYS if name in columns]):
            there = first_of([printable(name) for name in columns])
            raise ConfigError(
                f"{path} has no column {', '.join(KEYS[:4])} …; its columns are {there}. Name the column with the "
                "paths or names of the recordings with --key."
            )
        return known[0]
    check_column(path, columns, key, "--key")
    return key


def check_column(path: str | Path, columns: Iterable[str], column: str, option: str) -> None:
    """Raise a ConfigError if a table has no such column."""
    columns = list(columns)
    if column not in columns:
        there = ", ".join(map(printable, columns))
        hint = did_you_mean(column, columns)
        raise ConfigError(f"{path} has no column {column!r}.{hint} Choose one with {option}: {there}.")


def keyed_rows(
    path: str | Path, rows: Iterable[tuple[int, dict[str, str]]], key: str
) -> Iterator[tuple[int, str, dict[str, str]]]:
    """Yield the number, the recording and the cells of each row; no recording may have two."""
    numbers: dict[str, int] = {}
    for number, row in rows:
        file = row.get(key, "").strip()
        if not file:
            raise CorpusError(f"{path}, row {number}: {key} is empty. Name the recording.")
        earlier = numbers.setdefault(os.path.normpath(file), number)
        if earlier != number:
            what = f"{path} has two rows for {printable(file)}: {earlier} and {number}"
            raise CorpusError(f"{what}. Keep one of them, or name another column with --key.")
        yield number, file, row


# ---------------------------------------------------------------------------------------------------------- pairs


def pair_paths(first: Iterable[str], second: Iterable[str]) -> tuple[dict[str, str], set[str]]:
    """Find the same recordings in two lists of paths.

    Equal paths are a pair. Then, those whose ends are equal, the longest ends first: ``a/s1/x.wav`` and ``b/s1/x.wav``;
    then those that are equal relative to the folder that a list has in common; then, equal names in any folders; and
    last, the same without the suffixes of the names: ``in/x.flac`` and ``out/x.wav``. An end or a name counts only if
    no other path of its list has it.

    Returns
    -------
    pairs : dict
        Paths of the second list by those of the first.
    ambiguous : set of str
        Paths without a pair whose names are also names of paths without a pair in the other list.

    Examples
    --------
    >>> pair_paths(["a/s1/x.wav", "a/s2/x.wav", "a/y.wav"], ["b/s2/x.wav", "b/s1/x.wav", "z/y.wav"])[0]
    {'a/s1/x.wav': 'b/s1/x.wav', 'a/s2/x.wav': 'b/s2/x.wav', 'a/y.wav': 'z/y.wav'}
    >>> pairs, ambiguous = pair_paths(["s1/x.wav", "s2/x.wav"], ["s3/x.wav"])
    >>> pairs, sorted(ambiguous)
    ({}, ['s1/x.wav', 's2/x.wav', 's3/x.wav'])
    """
    lists = [{path: path_parts(path) for path in dict.fromkeys(paths)} for paths in (first, second)]
    longest = min((max(map(len, parts.values()), default=0) for parts in lists), default=0)
    roots = [len(common_start([path[:-1] for path in parts.values()])) for parts in lists]
    steps: list[tuple[Callable, Callable]] = [(tuple, tuple)]
    steps += [(_end_of(length),) * 2 for length in range(longest, 1, -1)]
    steps += [(lambda parts: parts[roots[0] :], lambda parts: parts[roots[1] :]), (_end_of(1),) * 2]
    steps += [(_without_suffix(first), _without_suffix(second)) for first, second in steps]
    pairs: dict[str, str] = {}
    paired: set[str] = set()
    for step in steps:
        ends, others = (_unique(parts, end) for parts, end in zip(lists, step, strict=True))
        for end, path in ends.items():
            other = others.get(end)
            if other is not None and path not in pairs and other not in paired:
                pairs[path] = other
                paired.add(other)
    rests = [{path: parts[-1] for path, parts in lists[0].items() if path not in pairs}]
    rests.append({path: parts[-1] for path, parts in lists[1].items() if path not in paired})
    shared = set(rests[0].values()) & set(rests[1].values())
    return {path: pairs[path] for path in lists[0] if path in pairs}, {
        path for rest in rests for path, name in rest.items() if name in shared
    }


def _without_suffix(end: Callable) -> Callable:
    return lambda parts: end((*parts[:-1], os.path.splitext(parts[-1])[0]))


def path_parts(path: str) -> tuple[str, ...]:
    """The folders and the name of a path.

    >>> path_parts("a/./b//x.wav")
    ('a', 'b', 'x.wav')
    """
    return PurePath(os.path.normpath(path)).parts or (".",)


def common_start(folders: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """The folders with which all paths begin.

    >>> common_start([("a", "b"), ("a", "c")])
    ('a',)
    """
    folders = list(folders)
    low, high = min(folders, default=()), max(folders, default=())
    length = next((i for i, pair in enumerate(zip(low, high)) if pair[0] != pair[1]), min(len(low), len(high)))  # noqa: B905
    return low[:length]


def common_end(first: str, second: str) -> str:
    """The end that two paths have in common.

    >>> common_end("a/s1/x.wav", "b/s1/x.wav")
    's1/x.wav'
    """
    backwards = common_start([path_parts(first)[::-1], path_parts(second)[::-1]])
    return PurePath(*backwards[::-1]).as_posix()


def _end_of(length: int) -> Callable[[tuple[str, ...]], Hashable]:
    """A function that returns the last parts of a path; None for a shorter one."""
    return lambda parts: parts[-length:] if len(parts) >= length else None


def _unique(paths: Mapping[str, tuple[str, ...]], end: Callable[[tuple[str, ...]], Hashable]) -> dict[Hashable, str]:
    """The paths by what only they have."""
    found: dict[Hashable, list[str]] = {}
    for path, parts in paths.items():
        if (key := end(parts)) is not None:
            found.setdefault(key, []).append(path)
    return {key: same[0] for key, same in found.items() if len(same) == 1}
