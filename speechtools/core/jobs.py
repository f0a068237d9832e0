"""Work in several processes: how they are started, and how they end."""

import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm import tqdm

from speechtools.core.errors import CorpusError

Item = TypeVar("Item")
Result = TypeVar("Result")
#: Set where this process is to end when its standard input does: see run_with_us.
_ENDS_WITH_STDIN = "SPEECHTOOLS_ENDS_WITH_STDIN"


def process_context() -> multiprocessing.context.BaseContext:
    """Fork on Linux, spawn elsewhere.

    Workers of this package use no torch, so forking a process that has loaded it is safe, and it spares each worker
    the seconds that importing the recipe anew would take.
    """
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


#: Cores that other programs kept busy when this process chose its threads.
_busy_cores = 0


def leave_cores(count: int) -> None:
    """Count so many cores as busy with other programs from now on."""
    global _busy_cores
    _busy_cores = count


def cores_left(threads: int) -> int:
    """Cores for processes besides those that this one's ``threads`` and other programs take; it may be negative."""
    return cpu_count() - _busy_cores - threads


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
    """The results in order, with a progress bar; in this process where there is one worker or little to do.

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
    pool = ProcessPoolExecutor(num_workers, process_context(), initializer=end_with_parent)
    try:
        yield from progress_bar(pool.map(function, items, chunksize=chunksize), description, len(items), progress)
    except BrokenProcessPool as error:
        raise CorpusError(
            f"{description}: a worker process was killed, perhaps for want of memory. What is finished is kept: start "
            "again, with a smaller num_workers if it happens again."
        ) from error
    finally:  # also when the caller stops halfway: what is queued need not be done
        pool.shutdown(cancel_futures=True)


def end_with_parent() -> None:
    """Let this worker end when its parent is killed; by itself it would wait for work for ever."""

    def watch():
        multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def run_with_us(command: Sequence[str], **arguments) -> None:
    """Run a command to its end. If it calls :func:`end_with_starter`, it ends when this process does, even by SIGKILL.

    Parameters
    ----------
    command : sequence of str
        The program and its arguments. Its standard input is a pipe, which breaks when this process ends.
    **arguments
        Of ``subprocess.Popen``.

    Raises
    ------
    subprocess.CalledProcessError
        It failed.
    """
    environment = {**(arguments.pop("env", None) or os.environ), _ENDS_WITH_STDIN: "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, env=environment, **arguments) as process:
        status = process.wait()
    if status != 0:
        raise subprocess.CalledProcessError(status, command)


def end_with_starter() -> None:
    """Let this process end as by SIGTERM when the one ends that began it by :func:`run_with_us`; else do nothing."""

    def watch():
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    if os.environ.pop(_ENDS_WITH_STDIN, None):  # what this process starts has another standard input
        threading.Thread(target=watch, daemon=True).start()
