"""Work in processes: results in order, a killed worker told, no orphans."""

import os
import signal
import subprocess
import sys
import time

import pytest

from speechtools.core.errors import CorpusError
from speechtools.core.jobs import map_in_processes, run_with_us


def square(number):
    return number * number


def die(number):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("workers", [1, 2])
def test_results_come_in_order(workers):
    results = map_in_processes(square, range(100), workers, "squaring", progress=False)
    assert list(results) == [n * n for n in range(100)]


def test_a_killed_worker_is_told():
    with pytest.raises(
        CorpusError, match="dying: a worker process was killed.*start again, with a smaller num_workers"
    ):
        list(map_in_processes(die, range(100), 2, "dying", progress=False))


def test_errors_of_the_function_come_through():
    with pytest.raises(TypeError, match="unsupported operand"):
        list(map_in_processes(square, [object()] * 50, 2, "failing", progress=False))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_when_their_parent_is_killed():
    script = """
import os, time
from speechtools.core.jobs import map_in_processes, run_with_us
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


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_what_was_run_with_us_ends_with_us(number):
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


def test_a_program_that_fails_is_told_and_keeps_its_environment():
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
from speechtools.training.allocation import keep_freed_memory
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
