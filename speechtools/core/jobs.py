"""Pools of worker processes: results in order, and jobs that survive their workers."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures import TimeoutError as FutureTimeoutError  # another class than TimeoutError in Python 3.10
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

from speechtools.core.errors import AudioError, CorpusError, SpeechtoolsError
from speechtools.core.installation import optional_package
from speechtools.core.moved import former_names
from speechtools.core.plugin_code import import_plugin_modules, plugin_modules
from speechtools.core.processes import cpu_count, end_with_parent, pickle_plain_errors, process_context
from speechtools.core.signals import leave_to_parent

Item = TypeVar("Item")
Result = TypeVar("Result")
_MAX_POOL_BREAKS = 5
#: Signals that end a process whatever its work: the system's, for lack of memory, or a person's.
_FROM_OUTSIDE = {-signal.SIGKILL, -signal.SIGTERM} if sys.platform != "win32" else {-signal.SIGTERM}

__getattr__ = former_names(__name__)


def progress_bar(iterable, description: str, total: int, progress: bool = True, initial: int = 0):
    """A tqdm bar over files; in a log file it writes a line every half minute at most."""
    interval = 0.1 if sys.stderr.isatty() else 30.0
    return tqdm(iterable, description, total, initial=initial, unit="file", mininterval=interval, disable=not progress)


def map_in_processes(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    num_workers: int | None,
    description: str,
    progress: bool = True,
    chunksize: int = 8,
) -> Iterator[Result]:
    """Yield the results in order, with a progress bar; in this process for one worker or few items.

    Raises
    ------
    CorpusError
        A worker process was killed.
    """
    if len(items) == 0:
        return
    num_workers = cpu_count() if num_workers is None else num_workers
    if num_workers == 1 or len(items) < 2 * chunksize:
        yield from progress_bar(map(function, items), description, len(items), progress)
        return
    # The function goes to each worker once: it may hold long lists of files.
    initial = (function, plugin_modules())
    pool = ProcessPoolExecutor(num_workers, process_context(), initializer=_start_worker, initargs=initial)
    finished = False
    try:
        results = pool.map(_work, items, chunksize=chunksize)
        yield from progress_bar(results, description, len(items), progress)
        finished = True
    except (BrokenProcessPool, _StoppedError) as error:
        time.sleep(0.2)  # a signal to all processes of the program arrives at this one too
        reason = "a worker process was killed, most likely because memory ran out"
        remedy = "Start again, with a smaller num_workers or more memory: finished files are kept."
        raise CorpusError(f"{description}: {reason}. {remedy}") from error
    finally:  # also when the caller stops halfway
        if not finished:
            for process in list((getattr(pool, "_processes", None) or {}).values()):
                process.terminate()
        pool.shutdown(cancel_futures=True)


#: What this worker does with an item.
_function: Callable
#: Whether this worker is in the middle of an item, and whether it begins no other.
_is_busy = _is_stopping = False


class _StoppedError(BaseException):
    """SIGTERM has stopped a worker in the middle of an item; what it was writing is removed on the way out."""


def _start_worker(function: Callable, modules: Sequence[str]) -> None:
    global _function
    _function = function
    import_plugin_modules(modules)
    pickle_plain_errors()
    end_with_parent()
    leave_to_parent()
    signal.signal(signal.SIGTERM, _stop)


def _stop(number: int, frame: Any) -> None:
    """Skip all further items, so that the pool can end in order; exit if it does not end soon."""
    global _is_stopping
    if not _is_stopping:
        _is_stopping = True
        exit_late = threading.Timer(2.0, os._exit, (128 + number,))
        exit_late.daemon = True
        exit_late.start()
        if _is_busy:
            raise _StoppedError


def _work(item: Any) -> Any:
    """Call the function of the pool. Runs in a worker."""
    global _is_busy
    if _is_stopping:
        raise _StoppedError
    _is_busy = True
    try:
        return _function(item)
    finally:
        _is_busy = False


# ------------------------------------------------------------------------------------- a pool that survives its workers


class Finished(NamedTuple):
    """A job that is done.

    Attributes
    ----------
    number : int
        Of the job.
    outcome : Any
        What the function returned, or, as text, the reason why it returned nothing.
    lasting : bool
        Whether a later run may rely on it.
    limit_s : float or None
        The time limit that the job exceeded.
    """

    number: int
    outcome: Any
    lasting: bool = True
    limit_s: float | None = None


def run_jobs(
    function: Callable, jobs: Iterator[tuple[int, tuple]], num_workers: int, timeout_s: float, description: str
) -> Generator[Finished, None, None]:
    """Call ``function(*arguments)`` for every job in worker processes, and yield each job as it finishes.

    A job that raises AudioError, kills its process or exceeds the time limit costs only itself. One whose process is
    killed from outside, as for lack of memory, is tried once more. Close the generator to stop the workers.

    Parameters
    ----------
    function : callable
        Must not return text, which is reserved for the reason of a failure.
    jobs : iterator
        ``(number, arguments)``; few are read ahead.
    num_workers : int
        Processes.
    timeout_s : float
        Time limit of a job in seconds.
    description : str
        Name of the work in messages.

    Raises
    ------
    CorpusError
        The pool broke several times, for example for lack of memory.
    SpeechtoolsError
        The package ``pebble`` is not installed.
    """
    pebble = optional_package("pebble", description)
    again: list[tuple[int, tuple]] = []  # in flight when a pool broke, or killed once
    killed: set[int] = set()
    breaks = 0
    with _fast_shutdown(pebble):
        while True:
            options = {"initializer": _start_scorer, "initargs": (plugin_modules(),), "context": process_context()}
            pool = pebble.ProcessPool(num_workers, **options)
            in_flight: dict[Future, tuple[int, tuple]] = {}
            try:
                while True:
                    # Few at a time, so that a million jobs take no more memory than a hundred.
                    while len(in_flight) < 4 * num_workers:
                        job = again.pop() if again else next(jobs, None)
                        if job is None:
                            break
                        again.append(job)  # not lost if the pool breaks here
                        future = pool.schedule(_attempt, args=(function, *job[1]), timeout=timeout_s)
                        in_flight[future] = again.pop()
                    if not in_flight:
                        return
                    for future in wait(in_flight, return_when=FIRST_COMPLETED).done:
                        number = in_flight[future][0]
                        if number not in killed and _was_killed(future, pebble):
                            killed.add(number)
                            again.append(in_flight.pop(future))
                            continue
                        finished = _finished(future, number, timeout_s, pebble)
                        del in_flight[future]
                        yield finished
            except (BrokenProcessPool, RuntimeError) as error:  # RuntimeError: schedule() on a broken pool
                again += in_flight.values()
                breaks += 1
                if breaks > _MAX_POOL_BREAKS:
                    reason = f"the worker processes broke {breaks} times ({error}), probably for lack of memory"
                    raise CorpusError(f"{description}: {reason}. Start again with a smaller num_workers.") from error
            finally:
                pool.stop()
                pool.join()


def _start_scorer(modules: Sequence[str]) -> None:
    import_plugin_modules(modules)
    pickle_plain_errors()
    end_with_parent()
    leave_to_parent()


def _attempt(function: Callable, *arguments) -> Any:
    """The result, or the reason of an AudioError. Runs in a worker."""
    try:
        return function(*arguments)
    except AudioError as error:
        return str(error)


def _was_killed(future: Future, pebble: ModuleType) -> bool:
    error = None if future.cancelled() else future.exception()
    return isinstance(error, pebble.ProcessExpired) and error.exitcode in _FROM_OUTSIDE


def _finished(future: Future, number: int, timeout_s: float, pebble: ModuleType) -> Finished:
    try:
        return Finished(number, future.result())
    except pebble.ProcessExpired as error:
        if error.exitcode in _FROM_OUTSIDE:
            how = f"was killed twice (signal {-error.exitcode}) during this file, most likely because memory ran out"
            return Finished(number, f"The worker process {how}. Use fewer workers, or leave the file out.")
        how = f"signal {-error.exitcode}" if error.exitcode < 0 else f"exit status {error.exitcode}"
        return Finished(number, f"The worker process crashed ({how}) on this file. Listen to it, or leave it out.")
    except FutureTimeoutError:
        reason = f"The file took longer than {timeout_s:g} s. Raise timeout_s, or leave the file out."
        return Finished(number, reason, limit_s=timeout_s)
    except (BrokenProcessPool, SpeechtoolsError):
        raise
    except Exception as error:  # perhaps no fault of the file, such as a lack of memory
        return Finished(number, f"{type(error).__name__}: {error}. Start again to retry this file.", lasting=False)


@contextmanager
def _fast_shutdown(pebble: ModuleType) -> Iterator[None]:
    """With pebble's own times, ending a pool takes 0.1 s, and stopping a worker that is inside C code 3 s."""
    before = pebble.CONSTS.sleep_unit, pebble.CONSTS.term_timeout
    pebble.CONSTS.sleep_unit, pebble.CONSTS.term_timeout = 0.01, 0.3
    try:
        yield
    finally:
        pebble.CONSTS.sleep_unit, pebble.CONSTS.term_timeout = before
