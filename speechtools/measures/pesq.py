"""PESQ labels: the score of every degraded file against its clean reference.

Three scales are offered. The paper's labels (Quality-Net, section 3.1) are raw narrow-band P.862 scores, ``raw_nb``;
the package ``pesq`` returns only the mapped ones, ``nb`` (ITU-T P.862.1) and ``wb`` (P.862.2), so the raw score is
recovered from ``nb`` by inverting its mapping. The targets of a model, and so its Q_MAX, follow the scale.

:func:`label` scores many files in worker processes. PESQ's C code writes beyond its memory on some inputs, so every
file is checked first, and one that kills its process nevertheless costs only itself.
"""

import csv
import errno
import hashlib
import json
import logging
import os
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures import TimeoutError as FutureTimeoutError  # another class than TimeoutError in Python 3.10
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import version
from itertools import chain, zip_longest
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np

from speechtools import audio
from speechtools.core.errors import AudioError, ConfigError, CorpusError, SpeechtoolsError
from speechtools.core.jobs import cpu_count, process_context, progress_bar
from speechtools.core.registry import did_you_mean
from speechtools.core.rows import read_rows, write_rows

logger = logging.getLogger(__name__)

#: Files are read, and resampled where needed, at this rate (Hz).
SAMPLE_RATE = 16000
#: PESQ takes nothing shorter (s).
MIN_SECONDS = 0.25
#: PESQ's C code has room for 50 utterances. From 52 on it returns wrong scores, and from about 56 on it crashes.
#: Speech has one utterance every 2 s (measured on read English), so that 60 s hold about 30.
MAX_SECONDS = 60.0
#: The most utterances that are given to PESQ. They are counted without all of its filters, at most 7 too few
#: (measured on read speech and lists of single words).
MAX_UTTERANCES = 40
_ROOM_FOR_UTTERANCES = 50
_SHORTEST_UTTERANCE_S = 0.4  # with the pause after it

_FIELDS = ("id", "scale", "pesq")
_REJECTED_FIELDS = ("id", "degraded", "reason")
_MAX_POOL_BREAKS = 5


@dataclass(frozen=True, slots=True)
class Scale:
    """A scale of PESQ scores: its name, the mode of ``pesq`` that it needs, and its range.

    ``maximum`` is the score of a file against itself, Q_MAX of the Quality-Net paper. ``minimum`` is the nominal lower
    end; PESQ does not clip there, and a few very bad files score up to 0.03 (``raw_nb``: 0.1) below it.
    """

    name: str
    mode: str
    minimum: float
    maximum: float


#: The scales by name.
SCALES: dict[str, Scale] = {
    known.name: known
    for known in (
        Scale("raw_nb", "nb", -0.5, 4.5),
        Scale("nb", "nb", 1.017, 4.549),
        Scale("wb", "wb", 1.043, 4.644),
    )
}


@dataclass(frozen=True, slots=True)
class LabelJob:
    """One file to score: its name in the result, the clean reference, and the degraded (or clean) file itself."""

    item_id: str
    reference: Path
    degraded: Path


def scale(name: str) -> Scale:
    """The scale of that name: ``raw_nb``, ``nb`` or ``wb``.

    Raises
    ------
    ConfigError
        There is no such scale.

    Example
    -------
    >>> scale("raw_nb").maximum
    4.5
    """
    if isinstance(name, str) and name in SCALES:
        return SCALES[name]
    raise ConfigError(
        f"There is no PESQ scale {name!r}.{did_you_mean(name, SCALES)} Choose raw_nb (the raw P.862 score of the "
        "Quality-Net paper), nb (P.862.1) or wb (P.862.2)."
    )


_find_scale = scale  # the functions below have a parameter called scale


def nb_from_raw(raw):
    """MOS-LQO of a raw narrow-band score: y = 0.999 + 4 / (1 + exp(-1.4945 x + 4.6607)).

    ITU-T Recommendation P.862.1 (2003), equation 1. Takes a number or an array of any shape, and returns the same.

    Example
    -------
    >>> round(float(nb_from_raw(4.5)), 3)
    4.549
    """
    return 0.999 + 4 / (1 + np.exp(4.6607 - 1.4945 * np.asarray(raw, dtype=np.float64)))


def raw_from_nb(nb):
    """Raw narrow-band score of a MOS-LQO: x = (4.6607 - ln((4.999 - y) / (y - 0.999))) / 1.4945.

    ITU-T Recommendation P.862.1 (2003), equation 2: the inverse of :func:`nb_from_raw`. Takes a number or an array of
    any shape, and returns the same.

    Raises
    ------
    ConfigError
        A value does not lie between 0.999 and 4.999, so no raw score maps to it.

    Example
    -------
    >>> round(float(raw_from_nb(1.6072)), 4)
    1.9686
    """
    nb = np.asarray(nb, dtype=np.float64)
    inside = (nb > 0.999) & (nb < 4.999)
    if not inside.all():
        raise ConfigError(
            f"{float(nb[~inside].flat[0])} is no narrow-band MOS-LQO: P.862.1 maps to values between 0.999 and 4.999. "
            "Give scores of the scale nb, not raw or wide-band ones."
        )
    return (4.6607 - np.log((4.999 - nb) / (nb - 0.999))) / 1.4945


def pesq_score(reference: np.ndarray, degraded: np.ndarray, sample_rate: int, scale: str = "raw_nb") -> float:
    """PESQ of a degraded signal against its reference.

    What PESQ would score silently wrong, or die of, is refused first.

    Parameters
    ----------
    reference, degraded
        (samples,), of one length; their levels do not matter, their time alignment only a little
    sample_rate
        16000, or 8000 for the narrow-band scales (Hz)
    scale
        ``raw_nb`` (P.862), ``nb`` (P.862.1) or ``wb`` (P.862.2)

    Raises
    ------
    AudioError
        The signals differ in length, are not one-dimensional, hold NaN, are silent, shorter than 0.25 s or longer than
        60 s, have too many separate utterances for PESQ (40), or PESQ finds no speech in the reference; or the sample
        rate is not one that PESQ knows.
    ConfigError
        There is no such scale.
    SpeechtoolsError
        The package ``pesq`` is not installed.
    """
    wanted = _find_scale(scale)
    pesq = _recipe_package("pesq")
    reference, degraded = np.asarray(reference), np.asarray(degraded)
    _check_pair(reference, degraded, sample_rate, wanted)
    try:
        with np.errstate(all="ignore"):
            score = float(pesq.pesq(sample_rate, reference, degraded, wanted.mode))
    except pesq.NoUtterancesError:
        raise AudioError(
            "PESQ finds no speech in the reference: it looks for at least 0.2 s of sound above the background. "
            "Use a reference with speech, or leave the file out."
        ) from None
    except pesq.BufferTooShortError:
        raise AudioError(f"PESQ needs at least {MIN_SECONDS} s of audio. Leave the file out.") from None
    except pesq.OutOfMemoryError as error:
        raise AudioError(f"PESQ ran out of memory ({_text(error)}). Use fewer workers, or shorter files.") from None
    except (pesq.PesqError, ValueError, ZeroDivisionError) as error:
        raise AudioError(
            f"PESQ could not score the file ({_text(error)}): the degraded signal holds nothing that it can compare "
            "with speech. Listen to it, and leave it out."
        ) from None
    if not np.isfinite(score):
        raise AudioError(f"PESQ returned {score}. Listen to the file, and leave it out.")
    return float(raw_from_nb(score)) if wanted.name == "raw_nb" else score


def label(
    jobs: Iterable[LabelJob],
    output_csv: str | Path,
    scale: str = "raw_nb",
    num_workers: int | None = None,
    timeout_s: float = 120.0,
    progress: bool = True,
) -> dict[str, float]:
    """Score many files in worker processes, on all cores.

    Written are ``output_csv`` (columns id, scale, pesq; in the order of the jobs) and, beside it, ``rejected.csv``
    (id, degraded, reason). Both appear at the end. During the run each finished file is added to a journal,
    ``<output_csv>.journal``; a run that was stopped or killed at any moment, and is started again, takes what the
    journal holds and goes on with the rest. A line of the journal counts only for the same scale and the same two
    files, unchanged in size and modification time. Rejected files are in the journal too: one that killed its process
    once is not tried again (delete its line, or the journal, to try it), and one that ran into the time limit only
    with a longer limit.

    Parameters
    ----------
    jobs
        the files; an ``item_id`` must not occur twice
    output_csv
        where the labels go
    scale
        ``raw_nb``, ``nb`` or ``wb``
    num_workers
        processes; None takes one for each core
    timeout_s
        the time that one file may take (s)
    progress
        show a progress bar

    Returns
    -------
    dict[str, float]
        the score of each ``item_id`` that was not rejected, in the order of the jobs

    Raises
    ------
    ConfigError
        There is no such scale, or ``num_workers`` or ``timeout_s`` is not positive.
    CorpusError
        An ``item_id`` occurs twice, or the labels cannot be written (a full disk); what was scored so far is kept.
    SpeechtoolsError
        The packages ``pesq`` and ``pebble`` are not installed.
    """
    wanted = _find_scale(scale)
    num_workers = cpu_count() if num_workers is None else num_workers
    if num_workers < 1 or not timeout_s > 0:
        raise ConfigError(
            f"Labelling needs at least one worker and a time limit above 0 s; got num_workers={num_workers}, "
            f"timeout_s={timeout_s}. Leave num_workers out to use every core."
        )
    _recipe_package("pesq")
    _recipe_package("pebble")
    jobs = list(jobs)
    _check_unique(jobs)
    output_csv = Path(output_csv)
    journal_path = output_csv.with_name(output_csv.name + ".journal")
    rejected_csv = output_csv.with_name("rejected.csv")

    scorer = f"pesq {version('pesq')} {MAX_SECONDS} {MAX_UTTERANCES}"
    keys = [_key(job, wanted, scorer) for job in jobs]
    known = _read_journal(journal_path, timeout_s)
    outcomes = [known.get(key) for key in keys]  # a float, the reason of a rejection, or None where still to do
    del known
    to_do = [index for index, outcome in enumerate(outcomes) if outcome is None]
    numbered = ((index, jobs[index]) for index in to_do)
    done = len(jobs) - len(to_do)

    def labelled() -> Iterator[dict]:
        for job, found in zip(jobs, outcomes, strict=True):
            if not isinstance(found, str):
                yield {"id": job.item_id, "scale": scale, "pesq": found}

    def rejected() -> Iterator[dict]:
        for job, found in zip(jobs, outcomes, strict=True):
            if isinstance(found, str):
                yield {"id": job.item_id, "degraded": job.degraded, "reason": found}

    try:
        if to_do:
            with (
                _Journal(journal_path) as journal,
                progress_bar(None, f"PESQ {scale}", len(jobs), progress, initial=done) as bar,
                closing(_score_all(numbered, wanted, min(num_workers, len(to_do)), timeout_s)) as run,
            ):
                for finished in run:
                    if finished.lasting:
                        journal.add(keys[finished.number], jobs[finished.number].item_id, finished)
                    outcomes[finished.number] = finished.outcome
                    done += 1
                    bar.update()
        _write_if_changed(output_csv, _FIELDS, labelled)
        _write_if_changed(rejected_csv, _REJECTED_FIELDS, rejected)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise CorpusError(
            f"The PESQ labels cannot be written beside {output_csv}: {'the disk is full' if full else error}. "
            f"{done} of {len(jobs)} files are finished and kept in {journal_path.name}. "
            f"{'Free some space' if full else 'Mend that'} and run it again: it goes on from there."
        ) from error
    num_rejected = sum(isinstance(outcome, str) for outcome in outcomes)
    if num_rejected:
        logger.warning("%d of %d files got no PESQ label; the reasons are in %s", num_rejected, len(jobs), rejected_csv)
    return {row["id"]: row["pesq"] for row in labelled()}


def add_rejected(rejected_csv: str | Path, reasons: dict[str, str]) -> None:
    """Files that never came to PESQ, by id, join those in the ``rejected.csv`` that :func:`label` has written."""
    rows = read_rows(rejected_csv, _REJECTED_FIELDS)
    rows += [{"id": name, "degraded": "", "reason": reason} for name, reason in reasons.items()]
    write_rows(rejected_csv, list(_REJECTED_FIELDS), rows)


def _check_pair(reference: np.ndarray, degraded: np.ndarray, sample_rate: int, wanted: Scale) -> None:
    rates = (16000,) if wanted.mode == "wb" else (8000, 16000)
    if sample_rate not in rates:
        raise AudioError(
            f"PESQ on the scale {wanted.name} takes audio of {' or '.join(map(str, rates))} Hz; got {sample_rate} Hz. "
            "Resample both signals."
        )
    for name, signal_ in (("reference", reference), ("degraded signal", degraded)):
        if signal_.ndim != 1:
            raise AudioError(
                f"The {name} has the shape {signal_.shape}, but PESQ takes one channel, (samples,). "
                "Average the channels, or take one of them."
            )
    if len(reference) != len(degraded):
        raise AudioError(
            f"The reference has {len(reference)} samples and the degraded signal {len(degraded)}: "
            "a length mismatch is scored silently wrong by pesq. Cut or pad them to one length, aligned in time."
        )
    seconds = len(reference) / sample_rate
    if seconds < MIN_SECONDS:
        raise AudioError(f"The audio lasts {seconds:.4f} s and PESQ needs at least {MIN_SECONDS} s. Leave it out.")
    if seconds > MAX_SECONDS:
        raise AudioError(_too_long(seconds))
    for name, signal_ in (("reference", reference), ("degraded signal", degraded)):
        if signal_.dtype.kind not in "fiu" or not np.isfinite(signal_).all():
            raise AudioError(f"The {name} holds NaN, infinite or complex samples. Mend what made it, or leave it out.")
        if not signal_.any():
            raise AudioError(f"The {name} is silent: all of its samples are zero. Leave the file out.")
    if seconds > _ROOM_FOR_UTTERANCES * _SHORTEST_UTTERANCE_S:
        count = _count_utterances(reference, sample_rate)
        if count > MAX_UTTERANCES:
            raise AudioError(
                f"The reference has about {count} utterances separated by pauses, and PESQ has room for "
                f"{_ROOM_FOR_UTTERANCES}, beyond which its scores are wrong. Cut the files into pieces of at most "
                f"{MAX_UTTERANCES} utterances."
            )


def _too_long(seconds: float) -> str:
    return (
        f"The audio lasts {seconds:.0f} s: beyond 50 utterances, which speech reaches within two minutes, PESQ's "
        f"scores are wrong and then it crashes. Cut the files into pieces of at most {MAX_SECONDS:.0f} s."
    )


def _count_utterances(reference: np.ndarray, sample_rate: int) -> int:
    """About the number of utterances that PESQ's own voice activity detection will find.

    ``apply_VAD`` and ``id_searchwindows`` of the reference software of P.862, with the IRS filter as a few points.
    """
    spectrum = np.fft.rfft(reference / np.abs(reference).max())  # (bins,)
    frequencies = np.fft.rfftfreq(len(reference), 1 / sample_rate)
    gain_db = np.interp(frequencies, [0, 50, 100, 200, 300, 600, 3250, 4000], [-200, -40, -20, 0, 6, 12, 12, -200])
    speech = np.fft.irfft(spectrum * 10 ** (gain_db / 20), len(reference))  # (samples,)
    size = sample_rate // 250  # frames of 4 ms
    frames = speech[: len(speech) // size * size].reshape(-1, size)  # (frames, size)
    power = np.square(frames).mean(axis=1)  # (frames,)
    threshold = power.mean()
    power = np.maximum(power, 1e-4 * power.max())
    for _ in range(12):
        noise = power[power <= threshold]
        threshold = 1.001 * (noise.mean() + 2 * noise.std()) if noise.size else 0.0
    active = power > threshold
    active[[0, -1]] = False
    edges = np.flatnonzero(np.diff(active)) + 1  # (2 * stretches,)
    starts, ends = edges[::2], edges[1::2]
    long_enough = ends - starts > 4
    starts, ends = starts[long_enough], ends[long_enough]
    if not starts.size:
        return 1
    apart = starts[1:] - ends[:-1] > 50  # pauses of at most 0.2 s join what they separate
    starts, ends = starts[np.r_[True, apart]], ends[np.r_[apart, True]]
    return int((ends - starts >= 46).sum())  # PESQ widens each by up to 4 frames, then wants 50


def _score_files(reference: str, degraded: str, scale: str) -> float:
    """PESQ of two files. Runs in a worker."""
    for path in (degraded, reference):  # before an hour of audio is decoded
        seconds = audio.duration(path)
        if seconds > MAX_SECONDS:
            raise AudioError(_too_long(seconds))
    return pesq_score(audio.read(reference, SAMPLE_RATE), audio.read(degraded, SAMPLE_RATE), SAMPLE_RATE, scale)


def _attempt(reference: str, degraded: str, scale: str) -> float | str:
    """The score, or the reason of a rejection. Runs in a worker."""
    try:
        return _score_files(reference, degraded, scale)
    except AudioError as error:
        return str(error)


class _Finished(NamedTuple):
    """A job that is done: its score, or the reason why it has none."""

    number: int
    outcome: float | str
    lasting: bool = True  # whether the next run may rely on it
    limit_s: float | None = None  # the time limit that it ran into


def _score_all(
    numbered: Iterator[tuple[int, LabelJob]], wanted: Scale, num_workers: int, timeout_s: float
) -> Generator[_Finished, None, None]:
    """Score the jobs in worker processes, and yield each as it finishes."""
    pebble = _recipe_package("pebble")
    again: list[tuple[int, LabelJob]] = []  # those in flight when a pool broke
    breaks = 0
    with _quick_to_end(pebble):
        while True:
            pool = pebble.ProcessPool(max_workers=num_workers, context=process_context())
            in_flight: dict[Future, tuple[int, LabelJob]] = {}
            try:
                while True:
                    # Few at a time, so that a million jobs take no more memory than a hundred.
                    while len(in_flight) < 4 * num_workers:
                        item = again.pop() if again else next(numbered, None)
                        if item is None:
                            break
                        again.append(item)  # not lost if the pool breaks here
                        args = (str(item[1].reference), str(item[1].degraded), wanted.name)
                        future = pool.schedule(_attempt, args=args, timeout=timeout_s)
                        in_flight[future] = again.pop()
                    if not in_flight:
                        return
                    for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                        finished = _finished(future, in_flight[future][0], timeout_s, pebble)
                        del in_flight[future]
                        yield finished
            except (BrokenProcessPool, RuntimeError) as error:  # RuntimeError: schedule() on a broken pool
                again += in_flight.values()
                breaks += 1
                if breaks > _MAX_POOL_BREAKS:
                    raise CorpusError(
                        f"The PESQ processes could not be kept running: their pool broke {breaks} times ({error}), "
                        "most likely for want of memory. Lower num_workers and run it again: it goes on from there."
                    ) from error
            finally:
                pool.stop()
                pool.join()


@contextmanager
def _quick_to_end(pebble: ModuleType) -> Iterator[None]:
    """With pebble's own times, ending a pool takes 0.1 s, and stopping a worker that is inside PESQ 3 s."""
    before = pebble.CONSTS.sleep_unit, pebble.CONSTS.term_timeout
    pebble.CONSTS.sleep_unit, pebble.CONSTS.term_timeout = 0.01, 0.3
    try:
        yield
    finally:
        pebble.CONSTS.sleep_unit, pebble.CONSTS.term_timeout = before


def _finished(future: Future, index: int, timeout_s: float, pebble: ModuleType) -> _Finished:
    try:
        return _Finished(index, future.result())
    except pebble.ProcessExpired as error:
        return _Finished(index, _death(error.exitcode))
    except FutureTimeoutError:
        reason = f"PESQ did not end within {timeout_s:g} s. Raise timeout_s, or leave the file out."
        return _Finished(index, reason, limit_s=timeout_s)
    except (BrokenProcessPool, SpeechtoolsError):
        raise
    except Exception as error:  # perhaps no fault of the file, such as a lack of memory
        reason = f"{type(error).__name__}: {error}. Run it again to try this file once more."
        return _Finished(index, reason, lasting=False)


def _death(exit_code: int) -> str:
    how = f"signal {-exit_code}" if exit_code < 0 else f"exit status {exit_code}"
    return (
        f"the PESQ process died ({how}) on this file. Listen to it; for signal 9, the system may have been out of "
        "memory: use fewer workers."
    )


class _Journal:
    """The finished jobs, one JSON object a line, each written at once so that a kill loses at most the line it cuts."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b", buffering=0)
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._write(b"\n")  # after a line that a kill cut short

    def __enter__(self) -> "_Journal":
        return self

    def __exit__(self, *_):
        self._file.close()

    def add(self, key: str, item_id: str, finished: _Finished) -> None:
        name = "rejected" if isinstance(finished.outcome, str) else "pesq"
        line = {"key": key, "id": item_id, name: finished.outcome}
        if finished.limit_s is not None:
            line["limit_s"] = finished.limit_s
        self._write(json.dumps(line).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, "No space left on device")


def _read_journal(path: Path, timeout_s: float) -> dict[str, float | str]:
    """The outcome of each key, without files that ran into a time limit below ``timeout_s``."""
    known: dict[str, float | str] = {}
    if not path.exists():
        return known
    with open(path, encoding="utf-8", errors="replace") as file:
        for text in file:
            try:
                line = json.loads(text)
                key, outcome = line["key"], line["rejected"] if "rejected" in line else float(line["pesq"])
                limit_s = line.get("limit_s")
            except (ValueError, TypeError, KeyError, AttributeError):  # cut short by a kill
                continue
            if limit_s is not None and limit_s < timeout_s:
                known.pop(key, None)
            else:
                known[key] = outcome
    return known


def _key(job: LabelJob, wanted: Scale, scorer: str) -> str:
    parts: list[str | int | None] = [wanted.name, scorer]
    for path in (job.reference, job.degraded):
        try:
            stat = os.stat(path)
            parts += [os.path.abspath(path), stat.st_size, stat.st_mtime_ns]
        except OSError:
            parts += [os.path.abspath(path), None, None]  # tried again once it is there
    return hashlib.blake2b(json.dumps(parts).encode(), digest_size=16).hexdigest()


def _check_unique(jobs: list[LabelJob]) -> None:
    seen = set()
    for job in jobs:
        if job.item_id in seen:
            raise CorpusError(
                f"The id {job.item_id!r} is given to two files (the second is {job.degraded}), so their labels "
                "could not be told apart. Give every job an id of its own."
            )
        seen.add(job.item_id)


def _write_if_changed(path: Path, fields: tuple[str, ...], make_rows: Callable[[], Iterator[dict]]) -> None:
    if path.is_file():
        with open(path, newline="", encoding="utf-8", errors="replace") as file:
            wanted = chain([list(fields)], ([str(value) for value in row.values()] for row in make_rows()))
            if all(there == row for there, row in zip_longest(csv.reader(file), wanted)):
                return
    write_rows(path, list(fields), make_rows())


def _recipe_package(name: str) -> ModuleType:
    try:
        return import_module(name)
    except ImportError as error:
        raise SpeechtoolsError(
            f"PESQ labels need the package {name!r}, which cannot be imported ({error}). It comes with: "
            'pip install "speechtools[recipes]"'
        ) from error


def _text(error: Exception) -> str:
    first = error.args[0] if error.args else type(error).__name__
    return first.decode() if isinstance(first, bytes) else str(first)
