"""Laws of tables that a later run continues."""

import contextlib
import dataclasses
import json

import pytest

from speechtools.cli.tables import open_tables
from speechtools.core.errors import ConfigError
from speechtools.core.rows import Row

HEADER = "file,score,error\r\n"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scored(Row):
    """A recording and its score."""

    file: str
    score: float | None = None
    error: str | None = None


def continued(path, content):
    """The files whose results are kept, and the lines that the table has then."""
    path.write_text(content, newline="")
    paths = {"csv_path": None, "jsonl_path": None} | {f"{path.suffix[1:]}_path": str(path)}
    (table,) = open_tables(Scored, **paths, overwrite=False, resume=True)
    with contextlib.ExitStack() as stack:
        table.open(stack, [*table.finished])
    return [*table.finished], path.read_text().splitlines()


@pytest.mark.parametrize(
    "line", ["b.wav,2.5x,", "b.wav,nan,", "b.wav,,", ",2.5,", "b.wav,2.5,,", "b.wav,2.5", "b.wav,2.5,a reason"]
)
def test_a_damaged_line_of_csv_is_processed_again(tmp_path, line):
    files, lines = continued(tmp_path / "a.csv", f"{HEADER}a.wav,2.5,\r\n{line}\r\nc.wav,1.5,\r\n")
    assert files == ["a.wav", "c.wav"] and lines == ["file,score,error", "a.wav,2.5,", "c.wav,1.5,"]


@pytest.mark.parametrize(
    "line",
    [
        "{",
        "[1]",
        "3",
        '{"file": "b.wav",\r"score": 1.0, "error": null}',
        "[" * 100_000,
        '{"file": "b.wav"}',
        '{"file": 3, "score": 1.0, "error": null}',
    ]
    + [json.dumps({"file": "b.wav", "score": score, "error": None}) for score in ("2.5", None, [], float("nan"), True)],
)
def test_a_damaged_line_of_json_is_processed_again(tmp_path, line):
    whole = [json.dumps({"file": f"{name}.wav", "score": 2, "error": None, "times": [1]}) for name in "ac"]
    files, lines = continued(tmp_path / "a.jsonl", f"{whole[0]}\n{line}\n{whole[1]}")  # the last line end is missing
    assert files == ["a.wav", "c.wav"] and lines == whole


def test_a_table_that_is_not_csv_any_more_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="--csv.* is damaged"):
        continued(tmp_path / "a.csv", f'{HEADER}a.wav,2.5,\r\n"{"b" * 200_000}\r\n')
