"""``speechtools score --reference``: a table of measures of recordings against their references."""

import dataclasses
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from speechtools.cli.common import load_model, print_problems, progress, recordings, refuse_inputs
from speechtools.cli.lists import ListOptions, Selection
from speechtools.cli.tables import column_names, is_finished, open_tables, print_summary, write_all
from speechtools.core.errors import AudioError, ConfigError, first_of, printable
from speechtools.core.lists import KALDI_SUFFIX, read_list
from speechtools.core.rows import Row
from speechtools.core.spelling import did_you_mean

if TYPE_CHECKING:
    from speechtools.audio.sources import Channel

#: The measure that needs no reference: the score of the model of ``--model``.
QUALITY_NET = "quality-net"
#: Seconds that all measures of a recording may take.
_TIMEOUT_S = 600.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeasuredRow(Row):
    """A recording, its reference, and what is beside its scores in a row of the table."""

    result_column: ClassVar[str] = "seconds"

    file: str
    reference: str | None = None
    seconds: float | None = None
    channel: str | None = None
    model_id: str | None = None
    error: str | None = None


def measured_row(columns: Iterable[str]) -> type[MeasuredRow]:
    """The rows of a table with these columns of measures."""
    fields = [(column, float | None, None) for column in columns]
    return dataclasses.make_dataclass("MeasuredRow", fields, bases=(MeasuredRow,), frozen=True, kw_only=True)


@dataclasses.dataclass(frozen=True)
class MeasureOptions:
    """The options of the command that the measures need."""

    measures: str
    reference: str
    model: str | None
    device: str | None
    batch_size: int
    channel: "Channel"
    scheduler: str | None
    outputs: Mapping[str, str]
    resume: bool
    overwrite: bool


def measure_recordings(selection: Selection, listed: ListOptions, options: MeasureOptions) -> int:
    """Run ``speechtools score --reference … --measures …`` and return its exit status."""
    names = [name.strip() for name in options.measures.split(",")]
    measures = _find_measures(names)
    columns = column_names([_plugin_name(name) for name in names], MeasuredRow.columns())
    references = find_references(selection.files, listed, options.reference)
    files = selection.files
    outputs = {option: [path] for option, path in options.outputs.items()}
    refuse_inputs([*files, *references.values()], outputs)
    refuse_inputs(filter(None, [listed.path, options.reference]), outputs, "lists")
    net = load_model("QualityNet", options.model, options.device) if QUALITY_NET in names else None
    row_model = measured_row(columns.values())
    csv_path, jsonl_path, out_path = map(options.outputs.get, ("--csv", "--jsonl", "--out"))
    tables = open_tables(row_model, csv_path, jsonl_path, options.overwrite, options.resume, out_path)
    finished = {path for path in files if is_finished(path, tables)}
    settings = {"channel": str(options.channel), "model_id": net.model_id if net else None}
    for table in tables:
        table.check_settings(files, settings)
    remaining = selection.to_compute(finished.__contains__)
    if not tables and sys.stdout.isatty():
        print("\t".join(["#", *columns, "file"]).replace("\t", " ", 1))
    scored, problems = 0, []
    results = _results(remaining, references, measures, net, options)
    rows = (_row(row_model, columns, settings, options.reference, *result) for result in results)
    shown = progress(rows, "scoring", len(remaining))
    new_rows: Iterator[tuple[Any, dict]] = ((row, {}) for row in shown if Path(row.file) not in finished)
    for row in write_all(new_rows, tables, files):
        if row.error:
            problems.append(f"not scored: {row.error}")
        scored += not row.error
        scores = [getattr(row, column) for column in columns.values()]
        if not tables and any(score is not None for score in scores):
            cells = ["-" if score is None else f"{score:.2f}" for score in scores]
            print("\t".join([*cells, printable(row.file)]))
    before = f", {len(finished)} before" if finished else ""
    note = f" ({selection.note})" if selection.note else ""
    print_summary(f"{recordings(scored)} scored by {', '.join(columns)}{before}{note}", tables)
    return print_problems(problems)


def _find_measures(names: list[str]) -> list[Any]:
    """Build the measures, with the names of this command in the messages."""
    from speechtools.core.checks import naming
    from speechtools.measures import is_measure
    from speechtools.measures.pairs import find_measures

    for name in names:
        if names.count(name) > 1:
            raise ConfigError(f"Invalid value for --measures: {name} is named twice. Leave one out.")
        if not name:
            raise ConfigError("Invalid value for --measures: a name is empty. Separate names by single commas.")
        near = did_you_mean(name, [QUALITY_NET])
        if near and name != QUALITY_NET and not is_measure(name):
            raise ConfigError(f"Invalid value for --measures: unknown measure {name!r}.{near}")
    with naming("--measures"):
        return find_measures(name for name in names if name != QUALITY_NET)


def _plugin_name(name: str) -> str:
    """The name of a measure without its kind, also if the option has a former one."""
    from speechtools.measures import find_measure

    return name if name == QUALITY_NET else find_measure(name).name


def find_references(files: Sequence[Path], listed: ListOptions, reference: str) -> dict[Path, Path]:
    """Find the reference of each recording; those without one are left out. A warning names unused references.

    Two lists of Kaldi are aligned by their ids, and all others by their paths, as ``speechtools compare`` does.

    Parameters
    ----------
    files : sequence of Path
        The recordings, or those of a shard.
    listed : ListOptions
        The list from which they are.
    reference : str
        A folder, a list, or the reference of a single recording.

    Raises
    ------
    ConfigError
        There is no such reference, or no recording has one.
    """
    from speechtools.audio.finding import FFMPEG_SUFFIXES, SUFFIXES
    from speechtools.audio.recordings import find_recordings
    from speechtools.quality.score_tables import pair_paths

    if not os.path.exists(reference):
        raise ConfigError(f"--reference={reference} does not exist. Pass a folder or a list of clean recordings.")
    is_list = os.path.isfile(reference)
    if is_list and Path(reference).suffix.lower() in SUFFIXES | FFMPEG_SUFFIXES:
        if listed.path is not None or len(files) != 1:
            raise ConfigError(
                f"--reference={reference} is one recording, and there are several to score. Pass a folder or a list."
            )
        return {files[0]: Path(reference)}
    entries = read_list(reference, "--reference") if is_list else []
    others = [entry.path for entry in entries] if is_list else list(map(str, find_recordings([reference])))
    # All recordings, also those of other shards: a name may be ambiguous.
    whole = read_list(listed.path) if listed.path is not None else []
    recordings_list = [entry.path for entry in whole] or list(map(str, files))
    if is_list and all(Path(path).suffix.lower() == KALDI_SUFFIX for path in (reference, listed.path or "")):
        by_id = {entry.name: entry.path for entry in entries}
        pairs = {entry.path: by_id[entry.name] for entry in whole if entry.name in by_id}
    else:
        pairs, _ = pair_paths(recordings_list, others)
    if not pairs:
        raise ConfigError(
            f"None of the {recordings(len(recordings_list))}, such as {first_of(recordings_list[:1])}, has a reference "
            f"in {reference}, such as {first_of(others[:1])}. The names must be equal, except for their suffixes."
        )
    if left_out := sorted(set(others) - set(pairs.values())):
        count = f"{len(left_out)} of the {len(others)} references in {reference}"
        warnings.warn(f"{count} have no recording and are left out: {first_of(left_out)}.", stacklevel=2)
    return {path: Path(pairs[str(path)]) for path in files if str(path) in pairs}


def _results(
    files: Sequence[Path],
    references: Mapping[Path, Path],
    measures: Sequence[Any],
    net: Any,
    options: MeasureOptions,
) -> Iterator[tuple[Path, Path | None, Any, Any]]:
    """Yield each recording in order, its reference, the outcome of the measures, and the report of the model."""
    jobs = []
    if measures:
        jobs = [(number, path) for number, path in enumerate(files) if path in references]
    outcomes: dict[int, Any] = {}
    measured = _measure(jobs, references, measures, options)
    reports = net.assess_files(files, options.batch_size, channel=options.channel) if net else None
    for number, path in enumerate(files):
        if measures and path in references:
            while number not in outcomes:
                finished = next(measured)
                outcomes[finished.number] = finished.outcome
        yield path, references.get(path), outcomes.pop(number, None), next(reports)[1] if reports else None


def _measure(
    jobs: Sequence[tuple[int, Path]], references: Mapping[Path, Path], measures: Sequence[Any], options: MeasureOptions
) -> Iterator[Any]:
    """Yield the jobs as they finish, in processes or on a cluster."""
    from speechtools.core.cluster import run_on_cluster
    from speechtools.core.jobs import run_jobs
    from speechtools.core.processes import cpu_count
    from speechtools.measures.pairs import score_pair

    calls = (
        (number, (measures, os.path.abspath(references[path]), os.path.abspath(path), options.channel))
        for number, path in jobs
    )
    if not jobs:
        return iter(())
    if options.scheduler is not None:
        return run_on_cluster(options.scheduler, score_pair, calls, "score")
    return run_jobs(score_pair, calls, min(cpu_count(), len(jobs)), _TIMEOUT_S, "score --measures")


def _row(
    row_model: Any,
    columns: Mapping[str, str],
    settings: Mapping[str, Any],
    place: str,
    path: Path,
    reference: Path | None,
    outcome: Any,
    report: Any,
) -> MeasuredRow:
    """Make the row of a recording from what its measures and the model returned."""
    scores: dict[str, float] = {}
    reasons: list[str] = []
    seconds = None
    if reference is None:
        reasons.append(f"no recording in {place} is its reference, or several have its name")
    elif isinstance(outcome, str):
        reasons.append(outcome)
    elif outcome is not None:
        seconds, scores = outcome["seconds"], dict(outcome["scores"])
        reasons += [f"{name}: {reason}" for name, reason in outcome["reasons"].items()]
    if isinstance(report, AudioError):
        reasons.append(f"{QUALITY_NET}: {report}")
    elif report is not None:
        seconds, scores[QUALITY_NET] = report.duration, report.score
    return row_model(
        file=str(path),
        reference=None if reference is None else str(reference),
        seconds=None if seconds is None else round(seconds, 3),
        error=f"{path}: {'; '.join(reasons)}" if reasons else None,
        **settings,
        **{column: round(scores[name], 4) if name in scores else None for name, column in columns.items()},
    )
