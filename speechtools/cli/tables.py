"""Tables of results, a line for each recording, that grow as the results come and go on after an interruption."""

import abc
import csv
import dataclasses
import io
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import click

from speechtools.cli.common import check_output
from speechtools.core.errors import ConfigError, printable
from speechtools.core.files import is_stream, write_aside
from speechtools.core.rows import Row, RowType, as_cell, parse_row
from speechtools.core.spelling import did_you_mean

#: Endings of ``--out``.
_ENDINGS = (".csv", ".jsonl", ".parquet")
# A name that is not valid UTF-8 is escaped.
_TEXT: dict[str, Any] = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}


def csv_option(model: type[Row]) -> Callable[[Callable], Callable]:
    """Make the option ``--csv`` of a command whose table has these rows."""
    help_text = f"Write a CSV file with the columns {', '.join(model.columns())}."
    return click.option("--csv", "csv_path", metavar="FILE", help=help_text)


def table_options(model: type[Row], details: str = "") -> Callable[[Callable], Callable]:
    """Make the options ``--csv`` and ``--jsonl``; ``details`` are what JSON lines have beside the columns."""

    def add(command: Callable) -> Callable:
        help_text = f"Write the same as JSON lines{details and f', with {details}'}."
        return csv_option(model)(click.option("--jsonl", "jsonl_path", metavar="FILE", help=help_text)(command))

    return add


def out_option(command: Callable) -> Callable:
    """Add ``--out``, a table whose ending chooses the format."""
    help_text = f"Write the same to a file whose ending chooses the format: {_one_of_endings()}."
    return click.option("--out", "out_path", metavar="FILE", help=help_text)(command)


def _one_of_endings() -> str:
    """The endings of ``--out`` in words."""
    *first, last = _ENDINGS
    return f"{', '.join(first)} or {last}"


def file_cell(path: str | Path) -> str:
    """A path as a table stores it.

    >>> file_cell("a.wav"), file_cell("bad\\udcff.wav")
    ('a.wav', 'bad\\\\udcff.wav')
    """
    return str(path).encode("utf-8", "backslashreplace").decode()


def column_names(measures: Iterable[str], taken: Collection[str]) -> dict[str, str]:
    """The columns of scores, by measure, in a table that has other columns.

    >>> column_names(["mos", "si-sdr"], ["file", "mos"])
    {'mos': 'mos_score', 'si-sdr': 'si_sdr'}
    """
    names = {name: re.sub(r"\W", "_", name) for name in measures}
    return {name: f"{column}_score" if column in taken else column for name, column in names.items()}


def base_columns(model: type[Row]) -> list[str]:
    """The columns of a table's rows without those that only some models have."""
    return [base for base in model.__mro__ if issubclass(base, Row) and base is not Row][-1].columns()


class Table(abc.ABC):
    """A table of rows with a ``file`` and an ``error``. Whatever ends the command, the rows so far are in the file.

    Parameters
    ----------
    option : str
        The option that named the file, for messages.
    path : str
        The file; ``-`` is the standard output.
    model : type
        The rows: a subclass of :class:`Row`. Its attribute ``result_column``, by default ``score``, names the column
        without which a row has no result.
    overwrite : bool
        Replace a file of another kind.
    resume : bool
        Continue the table of an earlier run. Its rows with an error are dropped.

    Raises
    ------
    ConfigError
        The path is a folder, or a file of another kind and ``overwrite`` is false; or it cannot be written.
    """

    def __init__(self, option: str, path: str, model: type[Row], overwrite: bool = False, resume: bool = False):
        if os.path.isdir(path):
            raise ConfigError(f"{option}={path} is a folder. Pass the name of a file.")
        if path != "-":
            check_output(option, path)
        self.path, self.model = path, model
        #: The file of the lines, during the run.
        self.lines_path = self._lines_path()
        self.is_stream = path == "-" or is_stream(path)
        #: Lines of the earlier run, by file.
        self.finished: dict[str, str] = {}
        self.stream: TextIO = sys.stdout
        if self.is_stream or not os.path.exists(self.lines_path) or not os.path.getsize(self.lines_path):
            return
        with open(self.lines_path, encoding="utf-8", errors="replace", newline="") as stream:
            is_table = self._is_table(stream.readline(4096), resume)
        if not is_table and (resume or not overwrite):
            remedy = "Choose another output" + (", or pass --overwrite." if not resume else ".")
            raise ConfigError(f"{option}={self.lines_path} exists and is not a table that this command wrote. {remedy}")
        if resume:
            try:
                self.finished = dict(
                    self._finished_lines(Path(self.lines_path).read_bytes().decode("utf-8", "replace"))
                )
            except csv.Error as error:
                reason = f"{option}={path} is damaged ({error}), so it cannot be continued"
                raise ConfigError(f"{reason}. Choose another output, or pass --overwrite without --resume.") from error

    def open(self, stack: ExitStack, files: Collection[str]) -> None:
        """Open the file: an earlier run's lines about ``files`` stay, all others go."""
        if self.path == "-":
            self.stream.write(self._header())
            return
        lines = [line for file, line in self.finished.items() if file in files]
        if lines:  # aside, so that an interruption does not lose them
            with write_aside(self.lines_path) as aside:
                aside.write_text("".join([self._header(), *lines]), **_TEXT)
        else:
            Path(self.lines_path).parent.mkdir(parents=True, exist_ok=True)
        self.stream = stack.enter_context(open(self.lines_path, "a" if lines else "w", **_TEXT))
        if not lines:
            self.stream.write(self._header())

    def check_settings(self, files: Iterable[str | Path], settings: Mapping[str, Any]) -> None:
        """Raise an error if lines of an earlier run about ``files`` were written with other settings.

        Parameters
        ----------
        files : iterable of str or Path
            Recordings, finished or not.
        settings : mapping
            Values by column. Those that a line does not have, such as details in a CSV file, are not compared.

        Raises
        ------
        ConfigError
            The first such line, and the options that differ.
        """
        for file in map(file_cell, files):
            cells = self._cells(self.finished[file]) if file in self.finished else {}
            columns = [key for key, value in settings.items() if cells.get(key, as_cell(value)) != as_cell(value)]
            if columns:
                options = " and ".join(f"--{column.removesuffix('_id')}" for column in columns)
                raise ConfigError(
                    f"{printable(self.path)} was written with another {options}, as its line about {printable(file)} "
                    "shows. Use the same options, or choose another output."
                )

    def write(self, row: Row, details: Mapping[str, Any]) -> None:
        """Add a row; ``details`` are for formats that are not flat."""
        self.stream.write(self._line(row, details))
        self.stream.flush()

    def _lines_path(self) -> str:
        return self.path

    @abc.abstractmethod
    def _is_table(self, first_line: str, same_columns: bool) -> bool:
        """Whether a file that begins with this line is such a table; it may have other further columns, or not."""

    @abc.abstractmethod
    def _finished_lines(self, text: str) -> Iterator[tuple[str, str]]:
        """Yield the file and the line of each whole row that has a result."""

    @abc.abstractmethod
    def _cells(self, line: str) -> dict[str, str]:
        """The cells of a line, by column."""

    @abc.abstractmethod
    def _line(self, row: Row, details: Mapping[str, Any]) -> str:
        """The line of a row."""

    def _finished_row(self, cells: Mapping[str, str]) -> dict[str, Any] | None:
        """Return the values of a line with a result; None for one that is damaged, and is processed again."""
        row = parse_row(self.model, cells)
        values = {} if row is None else dataclasses.asdict(row)
        error = values.pop("error", None)
        required = ("file", getattr(self.model, "result_column", "score"))
        missing = [name for name in required if values.get(name) is None]  # other cells may be empty
        return None if error or missing else values

    def _header(self) -> str:
        return ""


class CsvTable(Table):
    """Rows as CSV, with a header."""

    def _is_table(self, first_line: str, same_columns: bool) -> bool:
        if same_columns:
            return first_line == self._header()
        columns = base_columns(self.model)
        return next(csv.reader([first_line]), [])[: len(columns)] == columns

    def _finished_lines(self, text: str) -> Iterator[tuple[str, str]]:
        whole = text[: text.rfind("\n") + 1]  # the last line of a killed process may be torn
        for cells in csv.DictReader(io.StringIO(whole, newline="")):
            if len(cells) == len(self.model.columns()) and None not in cells.values() and self._finished_row(cells):
                yield cells["file"], _csv_line(cells.values())

    def _cells(self, line: str) -> dict[str, str]:
        return next(csv.DictReader(io.StringIO(line, newline=""), self.model.columns()))

    def _header(self) -> str:
        return _csv_line(self.model.columns())

    def _line(self, row: Row, details: Mapping[str, Any]) -> str:
        return _csv_line(row.cells().values())


class JsonTable(Table):
    """Rows as JSON lines, with the details."""

    def _is_table(self, first_line: str, same_columns: bool) -> bool:
        return first_line.startswith('{"file": ')

    def _finished_lines(self, text: str) -> Iterator[tuple[str, str]]:
        for line in text.split("\n"):
            try:
                content = json.loads(line)
            except (ValueError, RecursionError):  # torn
                continue
            if not isinstance(content, dict) or len(line.splitlines()) > 1:  # by a carriage return inside
                continue
            values = self._finished_row({name: as_cell(value) for name, value in content.items()})
            if values and content | values == content:
                yield file_cell(content["file"]), line + "\n"

    def _cells(self, line: str) -> dict[str, str]:
        return {name: as_cell(value) for name, value in json.loads(line).items()}

    def _line(self, row: Row, details: Mapping[str, Any]) -> str:
        return json.dumps(dataclasses.asdict(row) | dict(details)) + "\n"


def _csv_line(cells: Collection[str]) -> str:
    text = io.StringIO()
    csv.writer(text).writerow(cells)
    return text.getvalue()


def open_tables(
    model: type[Row],
    csv_path: str | None,
    jsonl_path: str | None,
    overwrite: bool,
    resume: bool,
    out_path: str | None = None,
) -> list[Table]:
    """Check the outputs ``--csv``, ``--jsonl`` and ``--out`` of a command and return their tables, still closed.

    Raises
    ------
    ConfigError
        An output is a folder or a file of another kind, has an unknown ending, or there is none to resume.
    SpeechtoolsError
        The package that writes Parquet is not installed.
    """
    paths = table_outputs(csv_path, jsonl_path, out_path)
    if resume and not paths:
        raise ConfigError("--resume continues a table, so it needs --csv, --jsonl or --out.")
    for (option, path), (other, other_path) in itertools.combinations(paths.items(), 2):
        if _is_same_file(path, other_path):
            raise ConfigError(f"{option} and {other} are both {path}. Choose two files.")
    kinds: dict[str, type[Table]] = {"--csv": CsvTable, "--jsonl": JsonTable}
    if out_path:
        kinds["--out"] = _table_of(out_path)
    return [kinds[option](option, path, model, overwrite, resume) for option, path in paths.items()]


def table_outputs(csv_path: str | None, jsonl_path: str | None, out_path: str | None) -> dict[str, str]:
    """The files of the options that are set, by option."""
    paths = {"--csv": csv_path, "--jsonl": jsonl_path, "--out": out_path}
    return {option: path for option, path in paths.items() if path}


def _table_of(out_path: str) -> type[Table]:
    """The class of the table for the ending of ``--out``."""
    ending = os.path.splitext(out_path)[1].lower()
    if ending == ".parquet":
        from speechtools.cli.parquet import ParquetTable

        return ParquetTable
    if ending not in _ENDINGS:
        what = f"the ending {ending!r} is unknown" if ending else "the name has no ending"
        raise ConfigError(f"--out={out_path}: {what}.{did_you_mean(ending, _ENDINGS)} Use {_one_of_endings()}.")
    return CsvTable if ending == ".csv" else JsonTable


def _is_same_file(first: str, second: str) -> bool:
    """Whether two names are those of one file, existing or not; devices can be written to twice."""
    if os.path.realpath(first) == os.path.realpath(second):
        return True
    return os.path.isfile(first) and os.path.isfile(second) and os.path.samefile(first, second)


def is_finished(path: str | Path, tables: Collection[Table]) -> bool:
    """Whether an earlier run stored a result of this recording in all tables."""
    return bool(tables) and all(file_cell(path) in table.finished for table in tables)


def write_all(
    rows: Iterable[tuple[RowType, Mapping[str, Any]]], tables: Sequence[Table], files: Iterable[str | Path] = ()
) -> Iterator[RowType]:
    """Write rows to the tables as they come, and yield them.

    Parameters
    ----------
    rows : iterable of (Row, mapping)
        Each row, and its details for formats that are not flat.
    tables : sequence of Table
        Opened here. Without one, the rows are only yielded.
    files : iterable of str or Path
        Lines of an earlier run about these files stay.
    """
    names = {file_cell(path) for path in files}
    with ExitStack() as stack:
        for table in tables:
            table.open(stack, names)
        for row, details in rows:
            for table in tables:
                table.write(row, details)
            yield row


def print_summary(summary: str, tables: Iterable[Table]) -> None:
    """Print what each table contains, beside tables on the standard output."""
    for table in tables:
        print(f"{summary}: {printable(table.path)}", file=sys.stderr if table.is_stream else sys.stdout)
