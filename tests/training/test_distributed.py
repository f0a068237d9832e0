"""The end of a run of several processes: wrapped modules are released, and one failure ends them all."""

import os
import subprocess
import sys

import pytest
import runs
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.training.distributed import end_distributed, on_main_first


def work_together(rank, folder):
    """What each of two processes does: prepare, train a wrapped module for a step, end the group, and continue."""
    os.environ["RANK"] = str(rank)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    results = {"called": []}

    def prepare(name):
        results["called"].append(name)
        if name == "bad":
            raise ConfigError("The corpus is gone.")
        existed = (folder / name).exists()
        (folder / name).touch()
        return existed

    for name in ("good", "bad", "again"):
        try:
            results[name] = on_main_first(lambda name=name: prepare(name))
        except SpeechtoolsError as error:
            results[name] = error
    wrapped, feats = DistributedDataParallel(nn.Linear(3, 2)), torch.ones(1, 3)
    wrapped(feats).sum().backward()
    wrapped.module.register_forward_hook(lambda module, inputs, output: output + 100)
    before = wrapped(feats)
    is_first = end_distributed()
    assert end_distributed() == is_first == (rank == 0) and not dist.is_initialized()
    assert wrapped.reducer is None
    torch.testing.assert_close(wrapped(feats), before)
    torch.save(results, folder / f"{rank}.pt")


@pytest.mark.processes
def test_two_processes_prepare_fail_and_release_their_modules_together(tmp_path):
    runs.start_together(work_together, (tmp_path,), 2)
    first, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2))
    assert (first["good"], other["good"]) == (first["again"], other["again"]) == (False, True), "the first came first"
    assert isinstance(first["bad"], ConfigError) and str(first["bad"]) == "The corpus is gone."
    assert "Process 1" in str(other["bad"]) and "ConfigError: The corpus is gone" in str(other["bad"])
    assert first["called"] == ["good", "bad", "again"] and other["called"] == ["good", "again"]


#: A script of which one process fails ahead of the third all_reduce, while the other one waits in it.
FAILS = """
import atexit, os
import torch
from torch.nn.parallel import DistributedDataParallel
from speechtools import training
from speechtools.core.errors import CorpusError
atexit.register(lambda: print("released:", wrapped.reducer is None))  # runs after what start() registers
training.start(["run.yaml", "--device=cpu", "--distributed_backend=gloo"])
wrapped = DistributedDataParallel(torch.nn.Linear(3, 2))
for step in range(5):
    if step == 2 and os.environ["RANK"] == FAILING:
        raise ERROR
    wrapped(torch.ones(1, 3)).sum().backward()
"""


@pytest.mark.processes
@pytest.mark.parametrize(
    "failing, error, message",
    [
        ("0", "CorpusError('No speech found.')", "error: No speech found."),
        pytest.param("1", "SystemExit(1)", "", marks=pytest.mark.slow),
    ],
)
def test_the_failure_of_one_process_ends_the_others(tmp_path, failing, error, message):
    (tmp_path / "run.yaml").write_text("output_folder: run\n")
    (tmp_path / "fails.py").write_text(FAILS.replace("FAILING", repr(failing)).replace("ERROR", error))
    address = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(runs.free_port())}
    processes = [
        subprocess.Popen(
            [sys.executable, "fails.py"],
            cwd=tmp_path,
            env={**os.environ, **runs.ALONE, **address, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    try:
        outputs = [process.communicate(timeout=runs.TIMEOUT) for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [1, 1]
    (_, failed), (_, other) = outputs[int(failing)], outputs[1 - int(failing)]
    assert message in failed
    assert f"error: Process {1 - int(failing)} lost the connection to another process" in other
    assert "Traceback" not in failed + other
    assert all("released: True" in output for output, _ in outputs)


def end_again_and_again(rank, folder):
    """What each of two processes does: ends one group after the other, while it still refers to wrapped modules."""
    torch.set_num_threads(1)
    for number in range(20):
        dist.init_process_group("gloo", f"file://{folder}/{number}", rank=rank, world_size=2)
        wrapped = [DistributedDataParallel(nn.Linear(3, 2)) for _ in range(4)]
        for module in wrapped:
            module(torch.ones(1, 3)).sum().backward()
        end_distributed()


@pytest.mark.processes
def test_no_process_hangs_at_its_end(tmp_path):
    """Where the group is destroyed ahead of the wrapped modules, torch up to 2.11 hangs now and then."""
    runs.start_together(end_again_and_again, (tmp_path,), 2)
