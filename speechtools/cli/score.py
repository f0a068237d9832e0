"""``speechtools score``."""

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from speechtools import SAMPLE
from speechtools.cli.cluster import RemoteModel, dask_option, score_on_cluster
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
from speechtools.cli.live import live_options
from speechtools.cli.measured import MeasureOptions, measure_recordings
from speechtools.cli.tables import (
    column_names,
    is_finished,
    open_tables,
    out_option,
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
    return column_names(measures, ScoreRow.columns())


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
        "speechtools score enhanced --reference clean --measures pesq-wb,stoi,si-sdr,quality-net --csv measures.csv",
        "ffmpeg -i film.mp4 -f wav - | speechtools score -",
        "speechtools score --live                                   # needs the extra live",
        "arecord -t raw -f S16_LE -r 16000 | speechtools score --raw 16000",
    ]
)
@click.argument("paths", nargs=-1, metavar="[FILE_OR_FOLDER]...")
@click.option("--sample", is_flag=True, help="Score the bundled recording: 3 s, with street noise.")
@list_options
@dask_option
@model_options
@table_options(ScoreRow, details="the frame scores and their times")
@out_option
@click.option(
    "--reference",
    metavar="FOLDER_OR_LIST",
    help="Compare the recordings with these clean ones of the same names, by --measures.",
)
@click.option(
    "--measures",
    metavar="NAMES",
    help="Measures for --reference, separated by commas: pesq-wb, stoi, si-sdr or others of `speechtools list`, and "
    "quality-net, the score without a reference.",
)
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
@live_options
@batch_size_option
@channel_option
@output_options
@module_option
def score(
    paths: tuple[str, ...],
    sample: bool,
    listed: ListOptions,
    scheduler: str | None,
    model: str | None,
    device: str | None,
    csv_path: str | None,
    jsonl_path: str | None,
    out_path: str | None,
    reference: str | None,
    measures: str | None,
    png: str | None,
    below: float | None,
    explain: bool,
    num_regions: int | None,
    order: str | None,
    live: bool,
    raw: int | None,
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

    With --reference and --measures, the table has a column for each measure, and is computed in processes on all cores.

    With --explain, lines below the score tell what lowers it most: start and end, causes, and cost. The score is the
    mean of frame scores, so the costs add up to what is missing to the best score of the scale.

    With --live or --raw, what is being spoken is scored, with a model for streams: a line for each second, with its
    score, the score so far, and causes; and a line that begins with # for each region that has ended. By default, the
    model is quality-net-live, whose scores are known within 0.2 s.

    A recording that cannot be scored is reported; the others are scored, and the exit status is 1.
    """
    from tqdm import tqdm

    from speechtools.quality.regions import default_threshold

    if live or raw is not None:
        named = (sample, listed.path, csv_path, jsonl_path, out_path, png)
        if paths or any(named) or scheduler or reference or measures or explain or (live and raw):
            raise click.UsageError("Pass recordings, or --live, or --raw HZ, which take --model and --device alone.")
        return score_stream(model, device, raw)
    if scheduler is not None and (png or explain):
        raise ConfigError(f"{'--png' if png else '--explain'} is not computed on a cluster. Leave it out, or --dask.")
    selection = _select(paths, sample, listed, batch_size)
    outputs = table_outputs(csv_path, jsonl_path, out_path)
    if measures is not None or reference is not None:
        if measures is None or reference is None:
            raise ConfigError("--measures and --reference belong together. Pass both.")
        if others := [name for name, value in {"--png": png, "--below": below, "--explain": explain}.items() if value]:
            raise ConfigError(f"{others[0]} is not an option of --measures. Leave it out.")
        shared = (model, device, batch_size, channel, scheduler, outputs, resume, overwrite)
        return measure_recordings(selection, listed, MeasureOptions(measures, reference, *shared))
    files = selection.files
    plots = plot_files(files, png, overwrite or resume) if png else {}
    output_paths = {option: [path] for option, path in outputs.items()}
    refuse_inputs(files, output_paths | {"--png": plots.values()})
    refuse_inputs(filter(None, [listed.path]), output_paths, "lists")
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
    if scheduler is None:
        results = score_rows(net, remaining, batch_size, settings, plots, channel, explainer)
    else:
        remote = RemoteModel.of("QualityNet", model, device, net.model_id)
        blocks = selection.blocks(remaining)
        results = score_on_cluster(scheduler, blocks, remote, row_model, batch_size, settings, channel)
    shown = progress(results, "scoring", len(remaining))
    new_results = (result for result in shown if Path(result[0].file) not in finished)
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


def score_stream(model: str | None, device: str | None, raw: int | None) -> int:
    """Score what is being spoken."""
    from speechtools.cli.live_score import MODEL, score_live

    return score_live(load_model("QualityNet", model or MODEL, device), raw)


def _select(paths: tuple[str, ...], sample: bool, listed: ListOptions, batch_size: int) -> Selection:
    """The recordings to score."""
    from speechtools.audio.recordings import find_recordings, group_size

    listed.check(bool(paths or sample))
    if listed.path is not None:
        return listed.select(group_size(batch_size), "--batch_size")
    if not paths and not sample:
        raise ConfigError("Nothing to score. Pass files or folders, or --sample.")
    return Selection(find_recordings([*([SAMPLE] if sample else []), *paths]), group_size(batch_size), is_list=False)


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
    for path, report in net.assess_files(paths, batch_size, channel=channel):
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
