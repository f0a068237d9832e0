"""What the benchmarks share: timing in turns, and their table."""

import statistics
import time
from collections.abc import Callable, Iterable, Sequence

from rich.console import Console
from rich.table import Table

COLUMNS = ("what", "plain", "toolkit", "ratio", "target")


def in_turns(*functions: Callable[[], object], repeats: int, statistic: Callable = min) -> list[float]:
    """Time (s) of each function: by default the best, because other work on the machine only adds time.

    They are called in turns, after a round that is not timed. ``statistic`` combines the times of a function.
    """
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(repeats + 1):
        for function, seconds in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            seconds.append(time.perf_counter() - start)
    return [statistic(seconds[1:]) for seconds in times]


def medians(*functions: Callable[[], object], repeats: int) -> list[float]:
    """The median time (s) of each function, called in turns."""
    return in_turns(*functions, repeats=repeats, statistic=statistics.median)


def print_table(title: str, rows: Iterable[Sequence[str]], columns: Sequence[str] = COLUMNS) -> None:
    """Print the results of a benchmark."""
    table = Table(*columns, title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=150).print(table)
