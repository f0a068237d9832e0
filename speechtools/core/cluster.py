"""Jobs on the workers of a Dask cluster."""

import contextlib
import enum
import itertools
import logging
import pickle
import threading
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from typing import Any

from speechtools.core.errors import AudioError, ConfigError, CorpusError, InstallationError, SpeechtoolsError
from speechtools.core.installation import optional_package
from speechtools.core.jobs import Finished
from speechtools.core.plugin_code import import_plugin_modules, plugin_modules

#: Seconds in which the scheduler must answer.
CONNECT_SECONDS = 10.0
#: Seconds in which a worker must be there, at the start and after the last one has left.
WORKER_SECONDS = 60.0
#: Seconds between two looks at the workers while no job finishes.
_LOOK_SECONDS = 5.0
#: Tasks that are sent ahead for each thread of the workers, and at least.
_AHEAD, _LEAST_AHEAD = 4, 16
#: Short jobs are sent as one task, of about so many seconds and at most so many jobs: a task costs about 10 ms.
_TASK_SECONDS, _MOST_JOBS = 0.3, 16

#: The libraries behind the jobs expect one thread at a time.
_lock = threading.Lock()


def run_on_cluster(
    address: str, function: Callable, jobs: Iterator[tuple[int, tuple]], description: str
) -> Generator[Finished, None, None]:
    """Call ``function(*arguments)`` for every job on a Dask cluster, and yield each job as it finishes.

    As :func:`speechtools.core.jobs.run_jobs`, but without a time limit. The workers must have this package and see the
    same files. A job whose worker dies is done again by another one; one that ends several workers costs only itself.
    Close the generator to cancel what is not finished.

    Parameters
    ----------
    address : str
        The scheduler, such as ``tcp://host:8786``.
    function : callable
        Must not return text, which is reserved for the reason of a failure. A worker calls it in one thread at a time.
    jobs : iterator
        ``(number, arguments)``; few are read ahead.
    description : str
        Name of the work in messages.

    Raises
    ------
    ConfigError
        The scheduler does not answer, or has no worker.
    CorpusError
        The scheduler or all workers have ended.
    InstallationError
        The workers lack this package, or one that it needs.
    SpeechtoolsError
        The package ``distributed`` is not installed.
    """
    with contextlib.closing(_Cluster(address, description)) as cluster:
        capacity, size = cluster.capacity(), 1
        in_flight: dict[Any, list[tuple[int, tuple]]] = {}
        suspects: list[tuple[int, tuple]] = []
        while True:
            while len(in_flight) < capacity and (task := list(itertools.islice(jobs, size))):
                in_flight[cluster.submit(function, task)] = task
            if not in_flight:
                break
            for future in cluster.wait(in_flight):
                outcome = cluster.finished(future, [number for number, _ in in_flight[future]])
                if outcome is _Outcome.LOST:
                    continue
                task = in_flight.pop(future)
                if isinstance(outcome, _Outcome):  # its workers died
                    suspects += task
                    continue
                results, seconds = outcome
                yield from (result for result in results if result.outcome is not _Outcome.FAILED)
                suspects += [
                    job for job, result in zip(task, results, strict=True) if result.outcome is _Outcome.FAILED
                ]
                size = max(1, min(_MOST_JOBS, round(_TASK_SECONDS * len(task) / max(seconds, 1e-3))))
            capacity = cluster.capacity()
        # Dask suspects all jobs that a worker had when it died. Only the one that ends a worker alone is to blame.
        for job in suspects:
            yield cluster.finish_alone(cluster.submit(function, [job]), job[0])


class _Outcome(enum.Enum):
    """Why a job has no result yet."""

    #: Its worker has died with the result, and another one does the job again.
    LOST = enum.auto()
    #: Workers died while they had it, as often as Dask allows.
    KILLED = enum.auto()
    #: It failed beside others, and is done again alone, to see how.
    FAILED = enum.auto()


class _Cluster:
    """A connection to a Dask scheduler, in its own words of :func:`run_on_cluster`."""

    def __init__(self, address: str, description: str):
        self._dask = optional_package("distributed", "--dask", "dask")
        self._address, self._description = address, description
        self._threads, self._looked = 0, 0.0
        self._modules = plugin_modules()
        logging.getLogger("distributed").setLevel(logging.CRITICAL)  # every loss of a worker would fill the screen
        try:
            self._client = self._dask.Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            reason = f"the Dask scheduler at {address} does not answer within {CONNECT_SECONDS:g} s"
            if isinstance(error, ValueError):
                reason = f"{address} is not the address of a Dask scheduler ({error})"
            raise ConfigError(
                f"--dask: {reason}. Start one with `dask scheduler`, and pass the address that it prints, such as "
                "tcp://host:8786."
            ) from error
        try:
            self._client.wait_for_workers(1, timeout=WORKER_SECONDS)
        except self._dask.TimeoutError as error:
            self.close()
            raise ConfigError(
                f"--dask: the scheduler at {address} has no workers after {WORKER_SECONDS:g} s. Start some with "
                f"`dask worker {address}`."
            ) from error
        try:
            self._client.run(exec, f"import {__name__}")
        except ImportError as error:
            self.close()
            raise self._not_installed(error) from error

    def capacity(self) -> int:
        """The number of jobs to send ahead."""
        if time.monotonic() - self._looked > _LOOK_SECONDS:
            self._threads = sum(worker["nthreads"] for worker in self._workers().values())
            self._looked = time.monotonic()
        return max(_LEAST_AHEAD, _AHEAD * self._threads)

    def submit(self, function: Callable, jobs: Sequence[tuple[int, tuple]]) -> Any:
        """Send some jobs as one task."""
        # A job that a worker cannot unpickle would end its connection, so the task itself unpickles its content.
        content = pickle.dumps((function, [arguments for _, arguments in jobs]))
        return self._client.submit(_attempt, self._modules, content, pure=False)

    def wait(self, futures: Collection[Any]) -> list[Any]:
        """Wait until some tasks are finished, as long as there are workers."""
        last_worker = time.monotonic()
        while futures:
            try:
                with self._client.as_current():
                    return list(self._dask.wait(list(futures), _LOOK_SECONDS, "FIRST_COMPLETED").done)
            except self._dask.TimeoutError:
                if self._workers():
                    last_worker = time.monotonic()
                elif time.monotonic() - last_worker > WORKER_SECONDS:
                    raise self._ended("all workers have ended") from None
            except self._dask.CancelledError as error:
                raise self._ended("the scheduler has ended") from error
        return []

    def finished(self, future: Any, numbers: Sequence[int]) -> tuple[list[Finished], float] | _Outcome:
        """What has become of the jobs of a task, and the seconds that it took."""
        error: BaseException | None = None
        try:
            if future.status == "finished":
                outcomes, seconds = future.result(timeout=CONNECT_SECONDS)
                return [Finished(number, outcome) for number, outcome in zip(numbers, outcomes, strict=True)], seconds
            if future.status == "error":
                error = future.exception(timeout=CONNECT_SECONDS)
        except self._dask.TimeoutError:
            return _Outcome.LOST
        except self._dask.CancelledError as reason:
            raise self._ended("the scheduler has ended") from reason
        except Exception as reason:  # that of the job, done again
            error = reason
        if future.status == "cancelled":
            raise self._ended("the scheduler has ended")
        if error is None:
            return _Outcome.LOST
        if isinstance(error, self._dask.KilledWorker):
            return _Outcome.KILLED
        if isinstance(error, ImportError):
            raise self._not_installed(error) from error
        if isinstance(error, SpeechtoolsError):
            raise error
        failure = f"{type(error).__name__}: {error}. Start again to retry this file."
        return [Finished(number, failure, lasting=False) for number in numbers], 0.0

    def finish_alone(self, future: Any, number: int) -> Finished:
        """Wait for a job while no other one is in flight."""
        finished: tuple[list[Finished], float] | _Outcome = _Outcome.LOST
        while finished is _Outcome.LOST:
            self.wait([future])
            finished = self.finished(future, [number])
        if not isinstance(finished, _Outcome):
            return finished[0][0]
        reason = "The workers ended during this work, perhaps for lack of memory"
        return Finished(number, f"{reason}. Give them more, or leave the file out.")

    def close(self) -> None:
        """Cancel what is not finished, and disconnect."""
        with contextlib.suppress(Exception):  # the scheduler may have ended
            self._client.close(timeout=CONNECT_SECONDS)

    def _workers(self) -> dict[str, Any]:
        try:
            return self._client.scheduler_info(n_workers=-1)["workers"]
        except (OSError, RuntimeError) as error:
            raise self._ended("the scheduler has ended") from error

    def _not_installed(self, error: ImportError) -> InstallationError:
        return InstallationError(
            f"{self._description}: the workers of {self._address} cannot import what they need ({error}). Install the "
            "same version of speechtools with its extras there, and add the folders of your plugins to PYTHONPATH."
        )

    def _ended(self, reason: str) -> CorpusError:
        return CorpusError(
            f"{self._description}: {reason} ({self._address}). Finished work is kept: start the cluster and the "
            "command again, to continue with --resume."
        )


def _attempt(modules: Sequence[str], content: bytes) -> tuple[list[Any], float]:
    """The results of jobs, each perhaps the reason of an AudioError, and the seconds. Runs in a worker."""
    with _lock:
        import_plugin_modules(modules)
        function, jobs = pickle.loads(content)
        began, outcomes = time.monotonic(), []
        for arguments in jobs:
            try:
                outcomes.append(function(*arguments))
            except AudioError as error:
                outcomes.append(str(error))
            except Exception as error:
                if len(jobs) == 1 or isinstance(error, SpeechtoolsError | ImportError):
                    raise
                outcomes.append(_Outcome.FAILED)
        return outcomes, time.monotonic() - began
