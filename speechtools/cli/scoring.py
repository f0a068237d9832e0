"""Scores of many recordings, as rows: what ``speechtools score`` prints and writes."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TextIO

from tqdm import tqdm

from speechtools import audio
from speechtools.core import plots
from speechtools.core.errors import AudioError
from speechtools.core.files import write_aside

#: Columns of the CSV. ``score`` and ``seconds`` are empty where ``error`` is not.
FIELDS = ["file", "score", "seconds", "degraded_seconds", "error"]


def score(
    net: Any, paths: list[Path], batch_size: int = 32, below: float = 2.5, png: str | None = None
) -> Iterator[dict]:
    """One row a recording, in order; ``net`` is a QualityNet.

    Parameters
    ----------
    below : float
        Frame scores lower than this make up ``degraded_regions`` and ``degraded_seconds``.
    png : str
        A folder for one figure a recording.
    """
    drawn: set[str] = set()
    results = net.assess_files(paths, batch_size)
    for path, result in tqdm(results, "scoring", len(paths), unit="file", disable=None):
        row: dict[str, Any] = {"file": str(path), "score": "", "seconds": "", "degraded_seconds": "", "error": ""}
        if isinstance(result, AudioError):
            yield row | {"error": str(result)}
            continue
        regions = result.degraded_regions(below)
        row |= {
            "score": round(result.score, 4),
            "seconds": round(result.duration, 3),
            "degraded_seconds": round(sum(region.end - region.start for region in regions), 3),
            "degraded_regions": [[round(r.start, 3), round(r.end, 3), round(r.score, 3)] for r in regions],
            "times": [round(float(time), 4) for time in result.times],
            "frame_scores": [round(float(value), 4) for value in result.frame_scores],
        }
        if png is not None:
            figure = Path(png) / _free_name(path, drawn)
            try:
                samples = audio.read(path, net.sample_rate)
                plots.frame_scores(figure, [(path.name, samples, result)], net.sample_rate)
                row["figure"] = str(figure)
            except (AudioError, OSError) as error:  # the score stays
                row["error"] = f"{path} was scored, but its figure {figure} cannot be drawn: {error}"
        yield row


def write(rows: Iterable[dict], csv_path: str | None, jsonl_path: str | None, to_screen: bool) -> list[dict]:
    """Write rows as they come; the files appear at the end, whole. Returns the rows without their frames.

    An interrupt (Ctrl-C) ends the scoring; what is scored by then is written before it is passed on.
    """
    kept, interrupt = [], None
    with ExitStack() as stack:
        table = lines = None
        if csv_path:
            table = csv.DictWriter(_open(stack, csv_path), FIELDS, extrasaction="ignore")
            table.writeheader()
        if jsonl_path:
            lines = _open(stack, jsonl_path)
        try:
            for row in rows:
                if table:
                    table.writerow(row)
                if lines:
                    lines.write(json.dumps({key: None if value == "" else value for key, value in row.items()}) + "\n")
                if to_screen and row["score"] != "":
                    tqdm.write(f"{row['score']:.2f}\t{row['file']}", file=sys.stdout)
                kept.append({key: row[key] for key in FIELDS})
        except KeyboardInterrupt as caught:
            interrupt = caught
    if interrupt is not None:
        raise interrupt
    return kept


def _open(stack: ExitStack, path: str) -> TextIO:
    # A file name that is no valid UTF-8 is written with escapes: it must not cost the other rows.
    aside = stack.enter_context(write_aside(path))
    return stack.enter_context(open(aside, "w", newline="", encoding="utf-8", errors="backslashreplace"))


def _free_name(path: Path, taken: set[str]) -> str:
    """``name.png``; files of one name in several folders get a number."""
    name, number = f"{path.stem}.png", 1
    while name in taken:
        number += 1
        name = f"{path.stem}-{number}.png"
    taken.add(name)
    return name
