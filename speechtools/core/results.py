"""Result files of a run: write them as JSON and name them on the screen."""

import json
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console

from speechtools.core.files import write_aside


def write_json(path: str | Path, content: dict | list) -> None:
    """Write results as JSON, atomically. NaN raises ValueError, since other programs cannot read it."""
    with write_aside(path) as aside:
        aside.write_text(json.dumps(content, indent=2, allow_nan=False, default=str) + "\n", encoding="utf-8")


def print_outputs(run: str | Path, plots: Iterable[Path], console: Console | None = None) -> None:
    """Print where a run's results, its exported model and its plots are, one path per line."""
    console, run = console or Console(), Path(run)
    paths = [("results", run / "results.json"), ("model", run / "pretrained"), *(("plot", path) for path in plots)]
    for name, path in paths:
        console.print(f"{name}: {path}", soft_wrap=True)
