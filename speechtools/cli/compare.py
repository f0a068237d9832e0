"""``speechtools compare``."""

import collections
import dataclasses
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from speechtools.cli.command import command
from speechtools.cli.common import (
    check_output,
    overwrite_option,
    print_message,
    print_problems,
    recordings,
    refuse_inputs,
)
from speechtools.cli.tables import csv_option, open_tables, write_all
from speechtools.core.errors import ConfigError, first_of, printable
from speechtools.core.rows import Row

if TYPE_CHECKING:
    from speechtools.quality.comparison import Comparison, Difference

#: How a JSON file of this command begins.
_JSON_START = b'{\n  "verdict": '


@dataclasses.dataclass(frozen=True, kw_only=True)
class CompareRow(Row):
    """The difference over all recordings, or over a group: a row of the CSV file."""

    group: str
    files: int
    mean_a: float
    mean_b: float
    difference: float
    low: float | None = None
    high: float | None = None
    share_better: float
    share_worse: float


@command(
    examples=[
        "speechtools compare noisy.csv enhanced.csv",
        "speechtools compare noisy.csv enhanced.csv --group folder --plot compare.png",
        "speechtools compare a.csv b.csv --groups kinds.csv --csv compare.csv",
        "speechtools compare a.csv b.csv --column wer --key utterance --lower_is_better",
    ]
)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--column", metavar="NAME", default="score", show_default=True, help="The column of the scores.")
@click.option(
    "--key",
    metavar="NAME",
    help="The column with the paths or names of the recordings.  [default: file, path, filename, name …]",
)
@click.option(
    "--group",
    metavar="NAME",
    help="Compare groups of recordings, too: by a column of the tables, or by `folder`, the parent folder.",
)
@click.option(
    "--groups",
    metavar="FILE",
    help="Take the groups from this table, with the columns file and group, or --group.",
)
@click.option(
    "--lower_is_better",
    is_flag=True,
    help="Lower scores are better.  [default: as for the measure that the tables name; otherwise higher]",
)
@click.option(
    "--seed", type=click.IntRange(min=0), metavar="NUMBER", default=0, show_default=True, help="Of the intervals."
)
@click.option("--plot", metavar="FILE", help="Draw the differences by group, with their intervals, as a PNG file.")
@csv_option(CompareRow)
@click.option(
    "--json", "json_path", metavar="FILE", help="Write everything as JSON, with every pair and what is left out."
)
@overwrite_option
def compare(
    a: str,
    b: str,
    column: str,
    key: str | None,
    group: str | None,
    groups: str | None,
    lower_is_better: bool,
    seed: int,
    plot: str | None,
    csv_path: str | None,
    json_path: str | None,
    overwrite: bool,
) -> int:
    """Compare the scores of the same recordings in two tables, to say whether B is better than A.

    A and B are tables that `speechtools score --csv` or `--jsonl` wrote, or other CSV files with a column of paths or
    names and a column of scores. Recordings are paired by path: equal paths, equal ends of paths, or equal names.

    The output has the mean difference with its 95 % interval (10,000 bootstrap samples of the recordings), the share
    of recordings where B is better, and a verdict.

    Recordings without a partner or a score are left out; they are reported, and the exit status is 1.
    """
    from speechtools.quality.comparison import FEW
    from speechtools.quality.comparison import compare as compare_tables

    outputs = {"--csv": csv_path, "--json": json_path, "--plot": plot}
    inputs = [a, b, *([groups] if groups else [])]
    refuse_inputs(inputs, {option: [path] for option, path in outputs.items() if path}, "tables")
    _check_outputs(outputs, overwrite)
    tables = open_tables(CompareRow, csv_path, None, overwrite, resume=False)
    comparison = compare_tables(
        a,
        b,
        column=column,
        key=key,
        group=group,
        groups=groups,
        higher_is_better=False if lower_is_better else None,
        seed=seed,
    )
    rows = [comparison.total, *comparison.groups]
    collections.deque(write_all(((_row(difference), {}) for difference in rows), tables), maxlen=0)
    if json_path:
        _write_json(json_path, comparison.to_dict())
    if plot:
        comparison.plot(plot)
    if "-" not in (csv_path, json_path):
        _print_comparison(comparison)
    if few := [row.group for row in (comparison.total, *comparison.groups) if row.files < FEW]:
        print_message(f"warning: intervals of fewer than {FEW} recordings are too narrow: {first_of(few)}")
    return print_problems(_left_out(comparison))


def _check_outputs(outputs: dict[str, str | None], overwrite: bool) -> None:
    """Raise a :class:`ConfigError` if an output cannot be written, or is a file that this command did not write."""
    from speechtools.core.plots import is_plot

    paths = [os.path.realpath(path) for path in outputs.values() if path and path != "-"]
    if len(set(paths)) < len(paths) or [*outputs.values()].count("-") > 1:
        raise ConfigError("Two outputs have the same name. Choose different files.")
    for option, path in outputs.items():
        if option == "--csv" or path is None or (path == "-" and option == "--json"):  # its table checks --csv
            continue
        if path == "-" or os.path.isdir(path):
            raise ConfigError(f"{option}={path} is not the name of a file. Choose one.")
        check_output(option, path)
        if os.path.isfile(path) and os.path.getsize(path) and not overwrite:
            with open(path, "rb") as file:
                is_ours = file.read(len(_JSON_START)) == _JSON_START if option == "--json" else is_plot(path)
            if not is_ours:
                raise ConfigError(f"{option}={path} exists and was not written by this command. Pass --overwrite.")


def _row(difference: "Difference") -> CompareRow:
    low, high = difference.interval or (None, None)
    values = {field.name: getattr(difference, field.name, None) for field in dataclasses.fields(CompareRow)}
    values |= {"low": low, "high": high}
    return CompareRow(**{name: round(v, 6) if isinstance(v, float) else v for name, v in values.items()})  # type: ignore[arg-type]


def _write_json(path: str, content: dict[str, Any]) -> None:
    import json

    from speechtools.core.results import write_json

    if path == "-":
        print(json.dumps(content, indent=2, allow_nan=False))
    else:
        write_json(path, content)


def _print_comparison(comparison: "Comparison") -> None:
    """Print the differences as a table with columns of equal width, and the verdict."""
    direction = "higher" if comparison.total.higher_is_better else "lower"
    scale = printable(comparison.scale or comparison.column)
    print(f"A is {printable(comparison.name_a)}, B is {printable(comparison.name_b)}; {scale}, {direction} is better")
    header = ["group", "files", "A", "B", "B - A", f"{100 * comparison.level:g} % interval", "B better", "B worse"]
    digits = comparison.total.decimals
    lines = [header, *(_cells(difference, digits) for difference in (comparison.total, *comparison.groups))]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for first, *others in lines:
        cells = [first.ljust(widths[0]), *(c.rjust(width) for c, width in zip(others, widths[1:], strict=True))]
        print("  ".join(cells))
    print(comparison.verdict)


def _cells(difference: "Difference", digits: int) -> list[str]:
    numbers = [f"{value:.{digits}f}" for value in (difference.mean_a, difference.mean_b, difference.difference)]
    interval = " to ".join(f"{limit:.{digits}f}" for limit in difference.interval or ()) or "-"
    shares = [f"{100 * share:.0f} %" for share in (difference.share_better, difference.share_worse)]
    return [printable(difference.group), str(difference.files), *numbers, interval, *shares]


def _left_out(comparison: "Comparison") -> Iterator[str]:
    """Yield a line for each reason to leave recordings out, with their number and the first of them."""
    files: dict[tuple[str, str], list[str]] = {}
    for item in comparison.left_out:
        name = item.file + (f" ({item.detail})" if item.detail else "")
        files.setdefault((item.reason, item.table), []).append(name)
    tables = {"A": comparison.name_a, "B": comparison.name_b}
    for (reason, table), names in files.items():
        yield f"left out, {reason} {tables[table]}: {recordings(len(names))}: {first_of(names)}"
