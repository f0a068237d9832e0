"""``speechtools score``."""

import dataclasses
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from speechtools import SAMPLE
from speechtools.cli.command import command
from speechtools.cli.common import (
    batch_size_option,
    channel_option,
    load_model,
    model_options,
    module_option,
    output_options,
    plot_folder,
    print_problems,
    progress,
    recordings,
    refuse_inputs,
    unique_stems,
)
from speechtools.cli.explain import Explainer, explain_options, make_explainer
from speechtools.cli.lists import ListOptions, Selection, list_options
from speechtools.cli.tables import (
    is_finished,
    open_tables,
    print_summary,
    table_options,
    table_outputs,
    write_all,
)
from speechtools.core.errors import AudioError, ConfigError, printable
from speechtools.core.rows import Row

if TYPE_CHECKING:
    from speechtools.audio.sources import Channel


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoreRow(Row):
    """A recording and its score, or why it has none: a row of the CSV file."""

    file: str
    score: float | None = None
    seconds: float | None = None
    degraded_seconds: float | None = None
    scale: str | None = None
    model: str | None = None
    model_id: str | None = None
    channel: str | None = None
    below: float | None = None
    error: str | None = None


def measure_columns(measures: Iterable[str]) -> dict[str, str]:
    """The columns of a model's further scores, by measure.

    >>> measure_columns(["mos", "si-sdr"])
    {'mos': 'mos', 'si-sdr': 'si_sdr'}
    """
    names = {name: re.sub(r"\W", "_", name) for name in measures}
    return {name: f"{column}_score" if column in ScoreRow.columns() else column for name, column in names.items()}


def score_row(measures: Iterable[str]) -> type[ScoreRow]:
    """The rows of a model with these further scores, which become columns."""
    fields = [(column, float | None, None) for column in measure_columns(measures).values()]
    if not fields:
        return ScoreRow
    return dataclasses.make_dataclass("ScoreRow", fields, bases=(ScoreRow,), frozen=True, kw_only=True)


@command(
    examples=[
        "speechtools score --sample",
        "speechtools score call.wav",
        "speechtools score call.wav --explain                       # where, why and how much",
        "speechtools score recordings --csv scores.csv --png plots",
        "speechtools score recordings --csv scores.csv --resume     # after an interruption",
        "speechtools score --list corpus.scp --shard 3/16 --out scores-3.parquet --resume",
        "ffmpeg -i film.mp4 -f wav - | speechtools score -",
    ]
)
@click.argument("paths", nargs=-1, metavar="[FILE_OR_FOLDER]...")
@click.option("--sample", is_flag=True, help="Score the bundled recording: 3 s, with street noise.")
@list_options
@model_options
@table_options(ScoreRow, details="the frame scores and their times")
@click.option(
    "--png", metavar="FOLDER", help="Draw the spectrogram and the frame scores of every recording in this folder."
)
@click.option(
    "--below",
    type=float,
    metavar="SCORE",
    help="Frames that score worse than this count as degraded.  [default: 2.5 on the scales of PESQ and MOS]",
)
@explain_options
@batch_size_option
@channel_option
@output_options
@module_option
def score(
    paths: tuple[str, ...],
    sample: bool,
    listed: ListOptions,
    model: str | None,
    device: str | None,
    csv_path: str | None,
    jsonl_path: str | None,
    out_path: str | None,
    png: str | None,
    below: float | None,
    explain: bool,
    num_regions: int | None,
    order: str | None,
    batch_size: int,
    channel: "Channel",
    resume: bool,
    overwrite: bool,
) -> int:
    """Predict the quality of recordings, without a reference.

    Folders are searched for audio files; `-` is the standard input. The output has a line for each recording: its
    score, a tab, its path. On a terminal, a header explains the scale.

    Further scores of a model, such as MOS, follow the path.

    With --csv, --jsonl or --out, the results are written to a file instead; `-` is the standard output. Missing folders
    of outputs are created. The file grows with every recording, and --resume continues it.

    With --list, the recordings are those of a list, and with --shard a part of it. The tables of all shards have the
    same rows as that of one run.

    With --explain, lines below the score tell what lowers it most: start and end, causes, and cost. The score is the
    mean of frame scores, so the costs add up to what is missing to the best score of the scale.

    A recording that cannot be scored is reported; the others are scored, and the exit status is 1.
    """
    from tqdm import tqdm

    from speechtools.quality.regions import default_threshold

    selection = _select(paths, sample, listed, batch_size)
    files = selection.files
    plots = plot_files(files, png, overwrite or resume) if png else {}
    outputs = {option: [path] for option, path in table_outputs(csv_path, jsonl_path, out_path).items()}
    refuse_inputs(files, outputs | {"--png": plots.values()})
    refuse_inputs(filter(None, [listed.path]), outputs, "lists")
    net = load_model("QualityNet", model, device)
    row_model = score_row(net.measure_names)
    tables = open_tables(row_model, csv_path, jsonl_path, overwrite, resume, out_path)
    finished = {path for path in files if is_finished(path, tables)}
    remaining = selection.to_compute(finished.__contains__)
    below = default_threshold(net.measure) if below is None else below
    explainer = make_explainer(explain, num_regions, order, net, below)
    settings = {"model_id": net.model_id, "channel": str(channel), "below": below}
    for table in tables:
        table.check_settings(files, settings | {"explain": explain})
    settings["model"] = model or net.BUNDLED.name
    if not tables and sys.stdout.isatty():
        print(f"# {describe_scale(net.scale, net.measure)}\n# score\tfile")
    rows, columns = [], measure_columns(net.measure_names)
    results = score_rows(net, remaining, batch_size, settings, plots, channel, explainer)
    new_results = (result for result in results if Path(result[0].file) not in finished)
    for row in write_all(new_results, tables, files):
        lines = explainer.lines.pop(row.file, []) if explainer else []
        if row.score is not None and (not tables or (lines and not any(table.is_stream for table in tables))):
            further = "".join(f"\t{name}={getattr(row, column):.2f}" for name, column in columns.items())
            tqdm.write("\n".join([f"{row.score:.2f}\t{printable(row.file)}{further}", *lines]), file=sys.stdout)
        rows.append(row)
    failed = [row for row in rows if row.error]
    summary = f"{recordings(len(rows) - len(failed))} scored on the scale {net.scale}"
    if finished:
        summary += f", {len(finished)} before"
    print_summary(f"{summary}{selection.note and f' ({selection.note})'}", tables)
    return print_problems(f"not scored: {row.error}" for row in failed)


def _select(paths: tuple[str, ...], sample: bool, listed: ListOptions, batch_size: int) -> Selection:
    """The recordings to score."""
    from speechtools.audio.recordings import find_recordings, group_size

    listed.check(bool(paths or sample))
    if listed.path is not None:
        return listed.select(group_size(batch_size), "--batch_size")
    if not paths and not sample:
        raise ConfigError("Nothing to score. Pass files or folders, or --sample.")
    return Selection(find_recordings([*([SAMPLE] if sample else []), *paths]))


def describe_scale(name: str, scale: Any) -> str:
    """Describe the scale of a score in a few words: its name, and the measure if it is known.

    >>> from speechtools.measures import Scale
    >>> describe_scale("mos", Scale.of("mos"))
    'scale mos: mean opinion score, 1.0 (bad) to 5.0 (excellent)'
    >>> describe_scale("of another program", None)
    'scale of another program'
    """
    if scale is None:
        return f"scale {name}"
    limits = sorted([scale.minimum, scale.maximum], reverse=not scale.higher_is_better)
    from speechtools.measures import find_measure, is_measure

    best = "best"  # of a measure that is not installed
    if is_measure(name):
        best = "excellent" if getattr(find_measure(name), "from_listeners", False) else "clean"
    return f"scale {name}: {scale.description}, {limits[0]:.1f} (bad) to {limits[1]:.1f} ({best})"


def score_rows(
    net: Any,
    paths: list[Path],
    batch_size: int,
    settings: Mapping[str, Any],
    plots: Mapping[Path, Path],
    channel: "Channel",
    explainer: Explainer | None = None,
) -> Iterator[tuple[ScoreRow, dict[str, Any]]]:
    """Yield a row for each recording, in order, and its frames for the JSON lines; draw its plot, if it has one.

    All rows have the ``settings``: the columns ``model``, ``model_id``, ``channel`` and ``below``.
    """
    below = settings["below"]
    row_model, columns = score_row(net.measure_names), measure_columns(net.measure_names)
    for path, report in progress(net.assess_files(paths, batch_size, channel=channel), "scoring", len(paths)):
        if isinstance(report, AudioError):
            yield row_model(file=str(path), error=str(report), **settings), {}
            continue
        regions = [] if below is None else report.degraded_regions(below)
        degraded = None if below is None else [[round(r.start, 3), round(r.end, 3), round(r.score, 3)] for r in regions]
        frames: dict[str, Any] = {
            "degraded_regions": degraded,
            "times": [round(float(time), 4) for time in report.times],
            "frame_scores": [round(float(value), 4) for value in report.frame_scores],
            "explain": explainer is not None,
        }
        if explainer:
            frames |= explainer.explain(str(path), report)
        error = None
        if path in plots:
            from speechtools.audio import read
            from speechtools.quality.plots import frame_scores
            from speechtools.quality.region_plots import explained

            try:
                panel = printable(path.name), read(path, net.sample_rate, channel=channel), report
                if explainer:
                    figure = explained(plots[path], *panel, net.sample_rate, below)
                else:
                    figure = frame_scores(plots[path], [panel], net.sample_rate)
                frames["figure"] = str(figure)
            except Exception as reason:  # whatever it is, the score and the other recordings are kept
                error = f"{path} was scored, but {plots[path]} cannot be plotted: {reason}"
        row = row_model(
            file=str(path),
            score=round(report.score, 4),
            seconds=round(report.duration, 3),
            degraded_seconds=None if below is None else round(sum(region.end - region.start for region in regions), 3),
            scale=net.scale,
            error=error,
            **settings,
            **{column: round(report.measures[name], 4) for name, column in columns.items()},
        )
        yield row, frames


def plot_files(files: Iterable[Path], folder: str, overwrite: bool) -> dict[Path, Path]:
    """Name the plot of each recording: ``name.png``, with a number where another recording has this name."""
    names = {path: f"{stem}.png" for path, stem in unique_stems(files).items()}
    return dict(zip(names, plot_folder(folder, names.values(), overwrite), strict=True))
