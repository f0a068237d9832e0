"""Tables in Parquet files, which are written at the end of a run."""

import contextlib
import dataclasses
import json
import os
import typing
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import Any

from speechtools.cli.common import check_output
from speechtools.cli.tables import JsonTable, base_columns, file_cell
from speechtools.core.errors import ConfigError
from speechtools.core.files import is_stream, write_aside
from speechtools.core.installation import optional_package
from speechtools.core.rows import Row

#: What the file of the lines has behind the name of the table.
JOURNAL_SUFFIX = ".journal"
#: Rows that are written together.
_GROUP_ROWS = 50_000


class ParquetTable(JsonTable):
    """Rows as Parquet, without the details.

    A Parquet file cannot grow, so the rows of a run are JSON lines in a journal beside it. The end of the run, also an
    early one by a signal or an error, makes the table of them and removes the journal. Only a kill leaves the journal,
    from which ``resume`` continues.
    """

    def __init__(self, option: str, path: str, model: type[Row], overwrite: bool = False, resume: bool = False):
        self._pyarrow = optional_package("pyarrow", f"{option}={path}", "parquet")
        self._parquet = optional_package("pyarrow.parquet", f"{option}={path}", "parquet")
        if os.path.isdir(path):
            raise ConfigError(f"{option}={path} is a folder. Pass the name of a file.")
        if is_stream(path):
            raise ConfigError(f"{option}={path} is a device or a pipe, and Parquet needs a file. Choose another name.")
        check_output(option, path)
        self._resumes = resume
        earlier = ""
        if os.path.exists(path) and os.path.getsize(path):
            earlier = self._earlier_lines(option, path, model, overwrite, resume)
        super().__init__(option, path, model, overwrite=True, resume=resume)
        self.finished = dict(self._finished_lines(earlier)) | self.finished

    def open(self, stack: ExitStack, files: Collection[str]) -> None:
        """Open the journal, which is made a table when the stack closes."""
        if not self._resumes:
            Path(self.path).unlink(missing_ok=True)
        super().open(stack, files)
        stack.callback(self._write_table)

    def _lines_path(self) -> str:
        return self.path + JOURNAL_SUFFIX

    def _earlier_lines(self, option: str, path: str, model: type[Row], overwrite: bool, resume: bool) -> str:
        """The lines of a table that exists, if the run continues it."""
        columns = model.columns() if resume else base_columns(model)
        names: list[str] = []
        with contextlib.suppress(self._pyarrow.ArrowInvalid):
            names = self._parquet.read_schema(path).names
        if names[: len(columns)] != columns or (resume and len(names) > len(columns)):
            if resume or not overwrite:
                remedy = "Choose another output" + (", or pass --overwrite." if not resume else ".")
                raise ConfigError(f"{option}={path} exists and is not a table that this command wrote. {remedy}")
            return ""
        if not resume:
            return ""
        try:
            with self._parquet.ParquetFile(path) as file:
                batches = [batch.to_pylist() for batch in file.iter_batches()]
        except (OSError, self._pyarrow.ArrowException) as error:
            first_line = next(iter(str(error).splitlines()), type(error).__name__)
            reason = f"{option}={path} is damaged ({first_line}), so it cannot be continued"
            raise ConfigError(f"{reason}. Choose another output, or pass --overwrite without --resume.") from error
        return "\n".join(json.dumps(row) for batch in batches for row in batch)

    def _line(self, row: Row, details: Mapping[str, Any]) -> str:
        values = dataclasses.asdict(row)  # Parquet has no text that is not valid UTF-8
        return json.dumps({name: file_cell(v) if isinstance(v, str) else v for name, v in values.items()}) + "\n"

    def _write_table(self) -> None:
        """Make the table of the journal, and remove that."""
        self.stream.flush()
        schema = self._schema()
        with write_aside(self.path) as aside, self._parquet.ParquetWriter(aside, schema) as writer:
            for rows in self._journal_rows():
                writer.write_table(self._pyarrow.Table.from_pylist(rows, schema))
        Path(self.lines_path).unlink(missing_ok=True)

    def _journal_rows(self) -> Iterator[list[dict[str, Any]]]:
        with open(self.lines_path, encoding="utf-8") as lines:
            while group := list(islice(lines, _GROUP_ROWS)):
                yield [json.loads(line) for line in group]

    def _schema(self) -> Any:
        kinds = {
            str: self._pyarrow.string(),
            float: self._pyarrow.float64(),
            int: self._pyarrow.int64(),
            bool: self._pyarrow.bool_(),
        }
        hints = typing.get_type_hints(self.model)
        fields = []
        for name in self.model.columns():
            kind = next(iter(set(typing.get_args(hints[name])) - {type(None)}), hints[name])
            fields.append((name, kinds[kind]))
        return self._pyarrow.schema(fields)
