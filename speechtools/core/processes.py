"""Processes: how they start, the cores that they may use, and how they end with the process that started them."""

import copyreg
import multiprocessing
import multiprocessing.connection
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from typing import Any

#: Set where this process ends with its standard input: see run_until_exit.
_ENDS_WITH_STDIN = "SPEECHTOOLS_ENDS_WITH_STDIN"
#: Seconds between two looks of a worker at its parent.
_WATCH_SECONDS = 0.5


def process_context() -> multiprocessing.context.BaseContext:
    """Fork on Linux, spawn elsewhere.

    Workers use no torch, so forking a process that has loaded it is safe, and spares each worker the imports.
    """
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


#: Cores that other programs kept busy when this process chose its threads.
_busy_cores = 0


def leave_cores(count: int) -> None:
    """Leave so many cores to other programs from now on."""
    global _busy_cores
    _busy_cores = count


def cores_left(threads: int) -> int:
    """Cores beside those of this process's ``threads`` and of other programs; it may be negative."""
    return cpu_count() - _busy_cores - threads


def end_with_parent(*_: Any) -> None:
    """End this worker when its parent has ended, however it did; otherwise it would wait for work forever."""
    parent, starter = multiprocessing.parent_process(), os.getppid()

    def watch():
        # The sentinel alone is not enough: workers that were forked later keep the one of this worker open.
        while not multiprocessing.connection.wait([parent.sentinel], _WATCH_SECONDS):
            if os.getppid() != starter or (os.name == "posix" and not _exists(parent.pid)):
                break
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def pickle_plain_errors() -> None:
    """Let this worker pickle errors as Python does, without their causes.

    ``distributed`` makes tblib pickle all errors with their causes, contexts and tracebacks, also in workers that are
    forked later. That fails where one of these cannot be pickled, such as an error of PyAV, and the worker's pool
    breaks.
    """
    for kind, reduce in list(copyreg.dispatch_table.items()):
        is_error = isinstance(kind, type) and issubclass(kind, BaseException)
        if is_error and str(getattr(reduce, "__module__", "")).startswith("tblib."):
            del copyreg.dispatch_table[kind]


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def run_until_exit(command: Sequence[str], **arguments) -> None:
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
    """End this process as by SIGTERM when the process ends that started it with :func:`run_until_exit`."""

    def watch():
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    if os.environ.pop(_ENDS_WITH_STDIN, None):  # processes that this one starts have another standard input
        threading.Thread(target=watch, daemon=True).start()
