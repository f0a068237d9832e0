"""Labels: the score of every degraded file of a corpus against its clean reference, by any measure."""

import csv
import errno
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, zip_longest
from pathlib import Path

import soxr

from speechtools import audio
from speechtools.core.cluster import run_on_cluster
from speechtools.core.errors import AudioError, ConfigError, CorpusError
from speechtools.core.jobs import progress_bar, run_jobs
from speechtools.core.journal import Journal
from speechtools.core.plugin_code import fingerprint_of
from speechtools.core.processes import cpu_count
from speechtools.core.rows import Row, read_rows, write_rows
from speechtools.measures import Measure, find_measure

logger = logging.getLogger(__name__)

#: How far a score may lie beyond the nominal range: PESQ does not clip at its lower end.
_TOLERANCE = 0.1


@dataclass(frozen=True, kw_only=True)
class LabelRow(Row):
    """A label: the id of a file, the name of the measure and the score."""

    key = "id"

    id: str
    measure: str
    score: float


@dataclass(frozen=True, kw_only=True)
class RejectedRow(Row):
    """A file without a label, and why."""

    key = "id"

    id: str
    degraded: Path | None = None
    reason: str


@dataclass(frozen=True, slots=True)
class LabelJob:
    """One file to score: its name in the result, the clean reference, and the degraded (or clean) file itself."""

    item_id: str
    reference: Path
    degraded: Path


def label(
    jobs: Iterable[LabelJob],
    output_csv: str | Path,
    measure: str | Measure = "raw_nb",
    num_workers: int | None = None,
    timeout_s: float = 120.0,
    progress: bool = True,
    sample_rate: int = 16000,
    rejected_csv: str | Path | None = None,
    dask: str | None = None,
) -> dict[str, float]:
    """Score many files in worker processes, on all cores or on a Dask cluster.

    Writes ``output_csv`` (columns id, measure, score; in the order of the jobs) and ``rejected_csv`` (id, degraded,
    reason). Both appear at the end. During the run each finished file is added to a journal, ``<output_csv>.journal``;
    a run that was stopped or killed at any moment, and is started again, reads the journal and continues with the rest.
    A line of the journal counts only for the same measure (with the same code, if it is yours) and the same two files,
    unchanged in size and modification time. Rejected files are in the journal too: one that killed its process is not
    tried again (delete its line, or the journal, to try it), and one that exceeded the time limit only with a longer
    limit.

    Parameters
    ----------
    jobs : iterable of LabelJob
        The files; an ``item_id`` must not occur twice.
    output_csv : str or Path
        Where the labels go.
    measure : str or Measure
        A measure, or the name of one or of a scale of PESQ; see :func:`speechtools.measures.find_measure`.
    num_workers : int, optional
        Processes; None takes one for each core.
    timeout_s : float
        The time that one file may take in seconds.
    progress : bool
        Show a progress bar.
    sample_rate : int
        Rate in Hz at which both files are read, so that their lengths agree. Both are then resampled to the highest
        rate of the measure, if it does not take this one.
    rejected_csv : str or Path, optional
        Where the rejected files go; None: ``rejected.csv`` beside the labels.
    dask : str, optional
        The scheduler of a Dask cluster, such as ``tcp://host:8786``, whose workers see the same files and score them.
        They have no time limit.

    Returns
    -------
    dict[str, float]
        The score of each ``item_id`` that was not rejected, in the order of the jobs.

    Raises
    ------
    ConfigError
        Unknown measure; ``num_workers`` or ``timeout_s`` is not positive; or the cluster does not answer.
    CorpusError
        An ``item_id`` occurs twice, or the labels cannot be written (a full disk); finished files are kept.
    SpeechtoolsError
        A package that the measure needs is not installed.
    """
    scorer = find_measure(measure)
    if getattr(scorer, "from_listeners", False):
        raise ConfigError(
            f"measure/{scorer.name} cannot be computed: listeners give its scores. Use a corpus with scores (labels: "
            "corpus), or another measure."
        )
    num_workers = cpu_count() if num_workers is None else num_workers
    if num_workers < 1 or not timeout_s > 0:
        raise ConfigError(
            f"Labelling needs at least one worker and a time limit above 0 s; got num_workers={num_workers}, "
            f"timeout_s={timeout_s}. Leave num_workers out to use every core."
        )
    is_taken = scorer.sample_rates is None or sample_rate in scorer.sample_rates
    score_rate = sample_rate if is_taken else max(scorer.sample_rates or ())
    jobs = list(jobs)
    twice = [name for name, count in Counter(job.item_id for job in jobs).items() if count > 1]
    if twice:
        raise CorpusError(f"Two files have the id {twice[0]!r}. Use unique ids.")
    output_csv = Path(output_csv)
    journal_path = output_csv.with_name(output_csv.name + ".journal")
    rejected_csv = output_csv.with_name("rejected.csv") if rejected_csv is None else Path(rejected_csv)

    identity = [scorer.name, getattr(scorer, "version", ""), sample_rate, *([] if is_taken else [score_rate])]
    if code := fingerprint_of(type(scorer)):  # an edited measure of yours scores every file again
        identity.append(code)
    keys = [_key(job, identity) for job in jobs]
    known = Journal.read(journal_path, timeout_s)
    # A score that the measure cannot give is not one that it gave.
    low, high = scorer.minimum - _TOLERANCE, scorer.maximum + _TOLERANCE
    known = {key: known[key] for key in known if not isinstance(known[key], float) or low <= known[key] <= high}
    outcomes = [known.get(key) for key in keys]  # a float, the reason of a rejection, or None where still to do
    del known
    to_do = [index for index, outcome in enumerate(outcomes) if outcome is None]
    rates = sample_rate, score_rate
    calls = (
        (index, (scorer, os.path.abspath(jobs[index].reference), os.path.abspath(jobs[index].degraded), *rates))
        for index in to_do
    )
    done = len(jobs) - len(to_do)

    def labels() -> Iterator[LabelRow]:
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, float):
                yield LabelRow(id=job.item_id, measure=scorer.name, score=outcome)

    def rejected() -> Iterator[RejectedRow]:
        for job, outcome in zip(jobs, outcomes, strict=True):
            if isinstance(outcome, str):
                yield RejectedRow(id=job.item_id, degraded=job.degraded, reason=outcome)

    try:
        if to_do:
            with (
                Journal(journal_path) as journal,
                progress_bar(None, scorer.name, len(jobs), progress, initial=done) as bar,
                closing(
                    run_on_cluster(dask, _score_files, calls, scorer.name)
                    if dask
                    else run_jobs(_score_files, calls, min(num_workers, len(to_do)), timeout_s, scorer.name)
                ) as run,
            ):
                for finished in run:
                    if finished.lasting:
                        journal.add(keys[finished.number], finished, id=jobs[finished.number].item_id)
                    outcomes[finished.number] = finished.outcome
                    done += 1
                    bar.update()
        _write_if_changed(output_csv, LabelRow, labels)
        _write_if_changed(rejected_csv, RejectedRow, rejected)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise CorpusError(
            f"Cannot write the labels beside {output_csv}: {'the disk is full' if full else error}. {done} of "
            f"{len(jobs)} files are finished and kept in {journal_path.name}. "
            f"{'Free some space' if full else 'Fix that'} and start again to continue."
        ) from error
    num_rejected = sum(isinstance(outcome, str) for outcome in outcomes)
    if num_rejected:
        logger.warning(
            "%d of %d files got no %s label; the reasons are in %s", num_rejected, len(jobs), scorer.name, rejected_csv
        )
    return {row.id: row.score for row in labels()}


def add_rejected(rejected_csv: str | Path, reasons: dict[str, str]) -> None:
    """Add files that were never scored, by id, to the ``rejected.csv`` that :func:`label` has written."""
    rows = read_rows(rejected_csv, RejectedRow)
    rows += [RejectedRow(id=name, reason=reason) for name, reason in reasons.items()]
    write_rows(rejected_csv, RejectedRow, rows)


def _score_files(measure: Measure, reference: str, degraded: str, sample_rate: int, score_rate: int) -> float:
    """Score two files, read at one rate, at the rate of the measure. Runs in a worker."""
    limit = getattr(measure, "max_seconds", float("inf"))
    for path in (degraded, reference):  # before an hour of audio is decoded
        seconds = audio.duration(path)
        if seconds > limit:
            raise AudioError(
                f"The audio lasts {seconds:.0f} s, and measure/{measure.name} takes at most {limit:g} s. Cut the files."
            )
    # Read directly at the score's rate, files of different rates could differ by a sample.
    signals = [soxr.resample(audio.read(path, sample_rate), sample_rate, score_rate) for path in (reference, degraded)]
    return float(measure(signals[0], signals[1], score_rate))


def _key(job: LabelJob, identity: list) -> str:
    """A fingerprint of the measure and of both files as they are now."""
    parts = list(identity)
    for path in (job.reference, job.degraded):
        try:
            stat = os.stat(path)
            parts += [os.path.abspath(path), stat.st_size, stat.st_mtime_ns]
        except OSError:
            parts += [os.path.abspath(path), None, None]  # tried again once it is there
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def _write_if_changed(path: Path, model: type[Row], make_rows: Callable[[], Iterator]) -> None:
    if path.is_file():
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            expected = chain([model.columns()], (list(row.cells().values()) for row in make_rows()))
            if all(row == other for row, other in zip_longest(csv.reader(file), expected)):
                return
    write_rows(path, model, make_rows())
