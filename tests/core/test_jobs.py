"""Work in processes: results in order, a pool that survives its workers, no orphans."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures.process import BrokenProcessPool

import pytest

from speechtools.core.errors import AudioError, CorpusError
from speechtools.core.jobs import map_in_processes, run_jobs, run_with_us

linux_only = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def square(number):
    if number < 0:
        raise AudioError("negative")
    return number * number


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    results = map_in_processes(square, range(100), workers, "squaring", progress=False)
    assert list(results) == [n * n for n in range(100)]


def test_a_killed_worker_is_reported():
    with pytest.raises(CorpusError, match="dying.*num_workers"):
        list(map_in_processes(die, range(100), 2, "dying", progress=False))


def test_errors_of_the_function_come_through():
    with pytest.raises(TypeError, match="not supported"):
        list(map_in_processes(square, ["a"] * 50, 2, "failing", progress=False))


def run(numbers):
    jobs = ((index, (number,)) for index, number in enumerate(numbers))
    return {finished.number: finished.outcome for finished in run_jobs(square, jobs, 2, 20.0, "squaring")}


def test_jobs_return_results_and_the_reasons_of_failures():
    assert run([3, -1, 5]) == {0: 9, 1: "negative", 2: 25}


def test_a_pool_that_breaks_is_replaced_and_loses_no_job(monkeypatch):
    import pebble

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
    assert run(range(9)) == {number: number * number for number in range(9)}


def test_a_pool_that_always_breaks_ends_in_one_error(monkeypatch):
    import pebble

    def breaking(*_, **__):
        raise RuntimeError("Unexpected error within the Pool")

    monkeypatch.setattr(pebble.ProcessPool, "schedule", breaking)
    with pytest.raises(CorpusError, match="num_workers"):
        run([1, 2])


@linux_only
def test_workers_end_when_their_parent_is_killed():
    script = """
import os, time
from speechtools.core.jobs import map_in_processes
def work(n):
    os.write(1, b"%d\\n" % os.getpid())  # in one piece: both workers write at once
    time.sleep(60)
list(map_in_processes(work, range(50), 2, "sleeping", progress=False))
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    workers = {int(parent.stdout.readline()), int(parent.stdout.readline())}
    assert len(workers) == 2
    parent.kill()
    parent.wait(20)
    assert_end(workers)


def assert_end(pids):
    deadline = time.time() + 20
    while time.time() < deadline and any(is_running(pid) for pid in pids):
        time.sleep(0.1)
    assert not any(is_running(pid) for pid in pids)


#: Programs that run one another by run_with_us, to the depth that is their argument; the last one only waits.
CHAIN = """
import os, sys, time
from speechtools.core.jobs import end_with_starter, run_with_us
end_with_starter()
os.write(1, b"%d\\n" % os.getpid())
depth = int(sys.argv[1])
run_with_us([sys.executable, *sys.orig_argv[1:-1], str(depth - 1)]) if depth else time.sleep(60)
"""


@linux_only
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_processes_started_with_run_with_us_end_with_this_one(number):
    first = subprocess.Popen(
        [sys.executable, "-c", CHAIN, "2"],
        stdout=subprocess.PIPE,
        text=True,
        # A process that a shell started in the background ignores Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    pids = [int(first.stdout.readline()) for _ in range(3)]
    assert pids[0] == first.pid and all(is_running(pid) for pid in pids)
    first.send_signal(number)
    first.wait(20)
    assert_end(pids)


def test_a_failing_program_is_reported_and_keeps_its_environment():
    script = "import os, sys; sys.exit(int(os.environ['STATUS']))"
    run_with_us([sys.executable, "-c", script], env={"STATUS": "0"})
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        run_with_us([sys.executable, "-c", script], env={"STATUS": "3"})


def is_running(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_keeping_freed_memory_spares_page_faults():
    """In a process of its own, since it cannot be undone: tensors made again and again are not faulted in anew."""
    script = """
import resource, sys
import torch
from speechtools.core.memory import keep_freed_memory
done = keep_freed_memory() if sys.argv[1] == "yes" else True
for _ in range(10):  # the heap takes some rounds to settle, more or fewer from run to run
    torch.ones(12_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    torch.ones(12_000_000)
print(int(done), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
    faults = {}
    for choice in ("no", "yes"):
        done, count = subprocess.check_output([sys.executable, "-c", script, choice], text=True, timeout=60).split()
        faults[choice] = int(count)
        if done == "0":
            pytest.skip("not glibc")
    assert faults["yes"] < 0.5 * faults["no"]
