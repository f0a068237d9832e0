"""``speechtools score``."""

import csv
import dataclasses
import itertools
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

import click

from speechtools import SAMPLE
from speechtools.cli.common import (
    load_model,
    model_options,
    module_option,
    print_problems,
    progress,
    recordings,
    refuse_to_replace,
)
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.files import write_aside
from speechtools.core.rows import Row


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreRow(Row):
    """A recording and its score, or why it has none: a row of the CSV file."""

    file: str
    score: float | None = None
    seconds: float | None = None
    degraded_seconds: float | None = None
    error: str | None = None


@click.command()
@click.argument("paths", nargs=-1, metavar="[FILE_OR_FOLDER]...")
@click.option("--sample", is_flag=True, help="Score the bundled recording: 3 s, with street noise.")
@model_options
@click.option(
    "--csv", "csv_path", metavar="FILE", help="Write a CSV file: file, score, seconds, degraded_seconds, error."
)
@click.option("--jsonl", "jsonl_path", metavar="FILE", help="Write JSON lines, with the frame scores and their times.")
@click.option("--png", metavar="FOLDER", help="Plot the spectrogram and the frame scores of every file.")
@click.option("--below", type=float, default=2.5, show_default=True, help="Scores below this count as degraded.")
@click.option("--batch_size", type=int, default=32, show_default=True, help="Recordings that are scored together.")
@module_option
def score(
    paths: tuple[str, ...],
    sample: bool,
    model: str | None,
    device: str | None,
    csv_path: str | None,
    jsonl_path: str | None,
    png: str | None,
    below: float,
    batch_size: int,
) -> int:
    """Predict the quality of recordings, without a reference. Folders are searched for audio files.

    The output has a line for each recording: its score, a tab, its path. On a terminal, a header explains the scale;
    in a pipe or file there is none.

    A file that cannot be scored is reported; the others are scored, and the exit status is 1.
    """
    from speechtools.audio.recordings import find_recordings

    if not paths and not sample:
        raise ConfigError("Nothing to score. Pass files or folders, or --sample.")
    files = find_recordings([*([SAMPLE] if sample else []), *paths])
    net = load_model("QualityNet", model, device)
    refuse_to_replace(files, {"--csv": csv_path, "--jsonl": jsonl_path})
    outputs = [path for path in (csv_path, jsonl_path) if path]
    if not outputs and sys.stdout.isatty():
        print(f"# {describe_scale(net.scale)}\n# score\tfile")
    rows = write_rows(score_rows(net, files, batch_size, below, png), csv_path, jsonl_path)
    failed = [row for row in rows if row.error]
    for path in outputs:
        print(f"{recordings(len(rows) - len(failed))} scored on the scale {net.scale}: {path}")
    return print_problems(f"not scored: {row.error}" for row in failed)


def describe_scale(name: str) -> str:
    """Describe the scale of a score in a few words.

    >>> describe_scale("raw_nb")
    'scale raw_nb: raw narrow-band PESQ, -0.5 (bad) to 4.5 (clean)'
    """
    from speechtools.measures import describe_measure, find_measure

    try:
        measure = find_measure(name)
    except ConfigError:  # a scale of another program
        return f"scale {name}"
    limits = sorted([measure.minimum, measure.maximum], reverse=not measure.higher_is_better)
    return f"scale {name}: {describe_measure(name)}, {limits[0]:.1f} (bad) to {limits[1]:.1f} (clean)"


def score_rows(
    net: Any, paths: list[Path], batch_size: int, below: float, png: str | None
) -> Iterator[tuple[ScoreRow, dict[str, Any]]]:
    """Yield a row for each recording, in order, and its frames for the JSON lines; plot it into the folder ``png``."""
    plotted: set[str] = set()
    for path, report in progress(net.assess_files(paths, batch_size), "scoring", len(paths)):
        if isinstance(report, AudioError):
            yield ScoreRow(file=str(path), error=str(report)), {}
            continue
        regions = report.degraded_regions(below)
        frames: dict[str, Any] = {
            "degraded_regions": [[round(r.start, 3), round(r.end, 3), round(r.score, 3)] for r in regions],
            "times": [round(float(time), 4) for time in report.times],
            "frame_scores": [round(float(value), 4) for value in report.frame_scores],
        }
        error = None
        if png is not None:
            from speechtools.audio import read
            from speechtools.quality import plots

            plot = Path(png) / _unused_name(path, plotted)
            try:
                panel = path.name, read(path, net.sample_rate), report
                frames["figure"] = str(plots.frame_scores(plot, [panel], net.sample_rate))
            except (AudioError, OSError) as reason:  # the score is kept
                error = f"{path} was scored, but {plot} cannot be plotted: {reason}"
        row = ScoreRow(
            file=str(path),
            score=round(report.score, 4),
            seconds=round(report.duration, 3),
            degraded_seconds=round(sum(region.end - region.start for region in regions), 3),
            error=error,
        )
        yield row, frames


def write_rows(
    rows: Iterable[tuple[ScoreRow, dict[str, Any]]], csv_path: str | None, jsonl_path: str | None
) -> list[ScoreRow]:
    """Write rows as they come, or print them; the files appear whole at the end. Returns the rows without frames.

    After an interrupt, the files contain what was scored so far.
    """
    from tqdm import tqdm

    results: list[ScoreRow] = []
    interrupt: KeyboardInterrupt | None = None
    with ExitStack() as stack:
        table = csv.DictWriter(_open(stack, csv_path), ScoreRow.columns()) if csv_path else None
        lines = _open(stack, jsonl_path) if jsonl_path else None
        if table:
            table.writeheader()
        try:
            for row, frames in rows:
                if table:
                    table.writerow(row.cells())
                if lines:
                    lines.write(json.dumps(dataclasses.asdict(row) | frames) + "\n")
                if not table and not lines and row.score is not None:
                    tqdm.write(f"{row.score:.2f}\t{row.file}", file=sys.stdout)
                results.append(row)
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt:
        raise interrupt
    return results


def _open(stack: ExitStack, path: str) -> TextIO:
    # The name of a file that is not valid UTF-8 is escaped.
    aside = stack.enter_context(write_aside(path))
    return stack.enter_context(open(aside, "w", newline="", encoding="utf-8", errors="backslashreplace"))


def _unused_name(path: Path, taken_names: set[str]) -> str:
    """Return ``name.png``, with a number if another file has this name."""
    names = itertools.chain([f"{path.stem}.png"], (f"{path.stem}-{number}.png" for number in itertools.count(2)))
    name = next(name for name in names if name not in taken_names)
    taken_names.add(name)
    return name
