"""Work in processes: results in order, a pool that survives its workers, no orphans."""

import copyreg
import faulthandler
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pebble
import pytest

from speechtools.core import registry
from speechtools.core.errors import AudioError, CorpusError
from speechtools.core.jobs import map_in_processes, run_jobs
from speechtools.core.processes import run_until_exit

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def square(number):
    if number < 0:
        raise AudioError("negative")
    return number * number


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_come_in_order_and_errors_come_through():
    for workers in (1, 2):
        results = map_in_processes(square, range(100), workers, "squaring", progress=False)
        assert list(results) == [n * n for n in range(100)]
    with pytest.raises(TypeError, match="not supported"):
        list(map_in_processes(square, ["a"] * 50, 2, "failing", progress=False))
    with pytest.raises(CorpusError, match="dying.*num_workers"):
        list(map_in_processes(die, range(100), 2, "dying", progress=False))


class LockedError(Exception):
    """An error that cannot be pickled."""

    def __init__(self):
        super().__init__("locked")
        self.lock = threading.Lock()


def fail_by_another(number):
    try:
        raise LockedError
    except LockedError as error:
        raise CorpusError("it is locked") from error


def fail_to_decode(number):
    b"\xff".decode()


@pytest.fixture
def pickled_with_causes():
    """tblib pickles all errors, as after `import distributed`."""
    pickling_support = pytest.importorskip("tblib.pickling_support", reason="pip install '.[dask]'")
    before = dict(copyreg.dispatch_table)
    pickling_support.install()
    yield
    copyreg.dispatch_table.clear()
    copyreg.dispatch_table.update(before)


@pytest.mark.usefixtures("pickled_with_causes")
def test_errors_come_through_after_an_import_of_distributed():
    with pytest.raises(CorpusError, match="it is locked"):
        list(map_in_processes(fail_by_another, range(50), 2, "failing", progress=False))
    with pytest.raises(UnicodeDecodeError, match="invalid start byte"):
        list(map_in_processes(fail_to_decode, range(50), 2, "failing", progress=False))
    with pytest.raises(CorpusError, match="it is locked"):
        list(run_jobs(fail_by_another, iter([(0, (0,))]), 1, 30.0, "failing"))


def build_by_name(number):
    return registry.build("measure/of-a-file")(number)


@pytest.mark.usefixtures("registry_restored")
def test_spawned_workers_know_the_plugins_of_imported_files(tmp_path, monkeypatch):
    """As on macOS and Windows."""
    lines = ["from speechtools.core.registry import plugin", "@plugin('measure/of-a-file')"]
    lines += ["class Double:", "    def __call__(self, number):", "        return 2 * number"]
    (tmp_path / "doubling_plugin.py").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.setattr("speechtools.core.jobs.process_context", lambda: multiprocessing.get_context("spawn"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    registry.import_module(tmp_path / "doubling_plugin.py")
    results = map_in_processes(build_by_name, range(4), 2, "doubling", progress=False, chunksize=2)
    assert list(results) == [0, 2, 4, 6]
    jobs = ((number, (number,)) for number in range(2))
    assert sorted(done.outcome for done in run_jobs(build_by_name, jobs, 1, 60.0, "doubling")) == [0, 2]


def run(numbers):
    jobs = ((number, (number,)) for number in numbers)
    return {finished.number: finished.outcome for finished in run_jobs(square, jobs, 2, 20.0, "squaring")}


def test_a_pool_that_breaks_is_replaced_and_loses_no_job(monkeypatch):
    schedule, calls = pebble.ProcessPool.schedule, []

    def breaking(self, *args, **options):
        calls.append(1)
        if len(calls) == 3:
            raise RuntimeError("Unexpected error within the Pool")
        future = schedule(self, *args, **options)
        if len(calls) == 6:
            future.cancel()
            future.result = lambda: (_ for _ in ()).throw(BrokenProcessPool("gone"))
        return future

    monkeypatch.setattr(pebble.ProcessPool, "schedule", breaking)
    assert run(range(-1, 8)) == {-1: "negative", **{number: number * number for number in range(8)}}


def test_a_pool_that_always_breaks_ends_in_one_error(monkeypatch):
    def breaking(*_, **__):
        raise RuntimeError("Unexpected error within the Pool")

    monkeypatch.setattr(pebble.ProcessPool, "schedule", breaking)
    with pytest.raises(CorpusError, match="num_workers"):
        run([1, 2])


def pids_that_end(program, count, number, *arguments):
    """Start a program, read the ids that its processes print, end it by a signal, and wait until all have ended."""
    first = subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        # A process that a shell started in the background ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    pids: set[int] = set()
    while len(pids) < count:
        pids.add(int(first.stdout.readline()))
    assert len(pids) == count and all(map(is_running, pids))
    first.send_signal(number)
    first.wait(20)
    deadline = time.time() + 20
    while time.time() < deadline and any(map(is_running, pids)):
        time.sleep(0.1)
    return not any(map(is_running, pids))


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def killed_once(marker, number):
    """The process of the job 3 is killed the first time."""
    if number == 3 and not os.path.exists(marker):
        open(marker, "w").close()
        faulthandler.disable()
        die(number)
    return number


def test_a_job_whose_process_is_killed_from_outside_is_tried_once_more(tmp_path):
    jobs = ((number, (str(tmp_path / "marker"), number)) for number in range(6))
    finished = {job.number: job.outcome for job in run_jobs(killed_once, jobs, 2, 20.0, "squaring")}
    assert finished == {number: number for number in range(6)}
    ((_, reason, lasting, _),) = run_jobs(die, iter([(0, (0,))]), 1, 20.0, "dying")
    assert "memory" in reason and lasting


WRITERS = """
import os, sys, time
from pathlib import Path
from speechtools.core.excepthook import show_messages_only
from speechtools.core.files import write_aside
from speechtools.core.jobs import map_in_processes
from speechtools.core.signals import raise_terminated_from_now
raise_terminated_from_now()
show_messages_only(KeyboardInterrupt)
def work(n):
    with write_aside(Path(sys.argv[1]) / f"{n}.txt") as aside:
        aside.write_text("half")
        os.write(1, b"%d\\n" % os.getpid())
        if n % 8:
            time.sleep(60)
list(map_in_processes(work, range(64), 2, "writing", progress=False))
"""


@linux_only
@pytest.mark.parametrize("to_all", [False, True], ids=["the program", "its workers too"])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_leaves_finished_files_and_no_litter(tmp_path, number, to_all):
    """Also a signal to the whole group, as from a terminal or a batch system."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITERS, str(tmp_path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    pids = {int(process.stdout.readline()) for _ in range(4)}  # each has one file, and is in the middle of another
    (os.killpg if to_all else os.kill)(process.pid, number)
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 128 + number and errors.count("\n") == 1, errors
    assert not any(map(is_running, pids))
    assert all(path.suffix == ".txt" and not path.name.startswith(".") for path in tmp_path.iterdir())
    assert len(list(tmp_path.iterdir())) >= 2


WORKERS = """
import os, time
from speechtools.core.jobs import map_in_processes
def work(n):
    os.write(1, b"%d\\n" % os.getpid())  # in one piece: both workers write at once
    time.sleep(60)
list(map_in_processes(work, range(50), 2, "sleeping", progress=False))
"""
#: Programs that run one another by run_until_exit, to the depth that is their argument; the last one only waits.
CHAIN = """
import os, sys, time
from speechtools.core.processes import end_with_starter, run_until_exit
end_with_starter()
os.write(1, b"%d\\n" % os.getpid())
depth = int(sys.argv[1])
run_until_exit([sys.executable, *sys.orig_argv[1:-1], str(depth - 1)]) if depth else time.sleep(60)
"""


@linux_only
def test_workers_end_when_their_parent_is_killed():
    assert pids_that_end(WORKERS, 2, signal.SIGKILL)


@linux_only
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_processes_started_with_run_until_exit_end_with_this_one(number):
    assert pids_that_end(CHAIN, 3, number, "2")


def test_a_failing_program_is_reported_and_keeps_its_environment():
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        run_until_exit(["sh", "-c", "exit $STATUS"], env={"STATUS": "3"})


def test_keeping_freed_memory_spares_page_faults():
    """In a process of its own, since it cannot be undone: tensors made again and again are not faulted in anew."""
    program = """
import resource, torch
from speechtools.core.memory import keep_freed_memory
def faults():
    for _ in range(10):  # the heap takes some rounds to settle, more or fewer from run to run
        torch.ones(12_000_000)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        torch.ones(12_000_000)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(faults(), int(keep_freed_memory()), faults())
"""
    before, done, after = map(int, subprocess.check_output([sys.executable, "-c", program], timeout=60).split())
    assert not done or after < 0.5 * before
