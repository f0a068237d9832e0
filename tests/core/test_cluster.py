"""Jobs on a Dask cluster of two processes."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import pytest

from speechtools.core import cluster
from speechtools.core.cluster import run_on_cluster
from speechtools.core.errors import AudioError, ConfigError, CorpusError, InstallationError, PluginError

pytestmark = [
    pytest.mark.processes,
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("distributed") is None, reason="pip install '.[dask]'"),
]


@pytest.fixture(scope="module")
def address():
    """The scheduler of two workers."""
    import dask
    import distributed

    options = {"dashboard_address": None, "silence_logs": 60}
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, **options) as local,
    ):
        yield local.scheduler_address


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    monkeypatch.setattr(cluster, "CONNECT_SECONDS", 1.0)
    monkeypatch.setattr(cluster, "WORKER_SECONDS", 30.0)
    monkeypatch.setattr(cluster, "_LOOK_SECONDS", 0.2)


def square(number, marker=None):
    """The square of a number. The first call of one with a marker ends its process."""
    if marker is not None and not Path(marker).exists():
        Path(marker).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    return number**2


def deadly(number):
    """End the process for number 3."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def sometimes(number):
    """Fail for two numbers."""
    if number in (150, 151):
        raise (KeyError("x"), AudioError("it is silent"))[number - 150]
    return number


def wrong(number):
    """Fail in several ways."""
    raise (AudioError("it is silent"), PluginError("no such plugin"), KeyError("x"))[number]


def outcomes(address, function, arguments):
    return {job.number: job for job in run_on_cluster(address, function, iter(enumerate(arguments)), "test")}


def test_the_results_are_complete_although_a_worker_dies(address, tmp_path):
    arguments = [(number, str(tmp_path / "marker") if number == 20 else None) for number in range(100)]
    jobs = outcomes(address, square, arguments)
    assert (tmp_path / "marker").exists()
    assert {number: job.outcome for number, job in jobs.items()} == {number: number**2 for number in range(100)}


def test_a_job_that_fails_beside_others_costs_only_itself(address):
    jobs = outcomes(address, sometimes, [(number,) for number in range(200)])
    assert len(jobs) == 200 and "KeyError" in jobs[150].outcome and not jobs[150].lasting
    assert jobs[151].outcome == "it is silent" and jobs[152].outcome == 152


@pytest.mark.slow
def test_a_job_that_ends_every_worker_costs_only_itself(address):
    jobs = outcomes(address, deadly, [(number,) for number in range(5)])
    assert [jobs[number].outcome for number in (0, 1, 2, 4)] == [0, 1, 2, 4] and "workers ended" in jobs[3].outcome


def test_errors_of_jobs(address):
    assert outcomes(address, wrong, [(0,)])[0].outcome == "it is silent"
    with pytest.raises(PluginError):
        outcomes(address, wrong, [(1,)])
    assert not outcomes(address, wrong, [(2,)])[0].lasting
    assert outcomes(address, wrong, []) == {}


def test_a_package_that_the_workers_lack_is_named(address, monkeypatch):
    module = types.ModuleType("only_here")
    exec("def function(number):\n    return number", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    with pytest.raises(InstallationError, match="only_here"):
        outcomes(address, module.function, [(0,)])


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1:9", "nowhere://x", "tcp://127.0.0.1:port"])
def test_a_scheduler_that_does_not_answer_is_one_message(address):
    start = time.monotonic()
    with pytest.raises(ConfigError, match="--dask"):
        outcomes(address, wrong, [(0,)])
    assert time.monotonic() - start < 20


SCHEDULER = """
import asyncio
from distributed import Scheduler, Worker
async def main():
    async with Scheduler(port=0, host="127.0.0.1", dashboard_address=":0") as scheduler:
        print(scheduler.address, flush=True)
        await asyncio.sleep(60)
asyncio.run(main())
"""


@pytest.mark.slow
def test_a_scheduler_without_workers_and_one_that_ends(monkeypatch):
    monkeypatch.setattr(cluster, "WORKER_SECONDS", 0.5)
    with subprocess.Popen([sys.executable, "-c", SCHEDULER], stdout=subprocess.PIPE, text=True) as process:
        try:
            address = process.stdout.readline().strip()
            with pytest.raises(ConfigError, match=f"dask worker {address}"):
                outcomes(address, wrong, [(0,)])
            monkeypatch.setattr("distributed.Client.wait_for_workers", lambda *_, **__: None)
            with pytest.raises(CorpusError, match="all workers have ended"):
                outcomes(address, wrong, [(0,)])
            monkeypatch.setattr(cluster._Cluster, "_workers", lambda _: process.kill() or {"": {"nthreads": 1}})
            with pytest.raises(CorpusError, match="the scheduler has ended"):
                outcomes(address, wrong, [(0,)])
        finally:
            process.kill()
