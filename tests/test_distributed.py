"""The end of a run of several processes: wrapped modules are released, and one failure ends them all."""

import pytest
import runs
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from speechtools.distributed import end_distributed


def test_without_a_group_nothing_is_ended_and_the_only_process_is_the_first():
    assert end_distributed() and end_distributed(wait=False)


def release(rank, folder):
    """What each process does: trains a wrapped module for a step, ends the group, and goes on with the module."""
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    wrapped = DistributedDataParallel(nn.Linear(3, 2))
    feats = torch.ones(1, 3)
    wrapped(feats).sum().backward()
    before = wrapped(feats)
    is_first = end_distributed()
    result = {
        "first": is_first,
        "before": before.detach(),
        "after": wrapped(feats).detach(),
        "reducer": wrapped.reducer,
    }
    torch.save({**result, "ended": not dist.is_initialized()}, folder / f"{rank}.pt")


@pytest.mark.processes
def test_wrapped_modules_are_released_and_go_on_computing(tmp_path):
    runs.start_together(release, (tmp_path,), 2)
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(2)]
    assert [result["first"] for result in results] == [True, False]
    for result in results:
        assert result["ended"] and result["reducer"] is None
        torch.testing.assert_close(result["after"], result["before"])


#: A script whose second process fails ahead of the third all_reduce, while the first one waits in it.
FAILS = """
import os
import torch
from torch.nn.parallel import DistributedDataParallel
from speechtools import training
from speechtools.errors import CorpusError
training.start(["run.yaml", "--device=cpu", "--distributed_backend=gloo"])
wrapped = DistributedDataParallel(torch.nn.Linear(3, 2))
for step in range(5):
    if step == 2 and os.environ["RANK"] == FAILING:
        raise ERROR
    wrapped(torch.ones(1, 3)).sum().backward()
"""


@pytest.mark.processes
@pytest.mark.parametrize("failing", ["0", "1"])
@pytest.mark.parametrize(
    "error, message", [("CorpusError('No speech found.')", "error: No speech found."), ("SystemExit(1)", "")]
)
def test_the_failure_of_one_process_ends_the_others(tmp_path, failing, error, message):
    (tmp_path / "run.yaml").write_text("output_folder: run\n")
    (tmp_path / "fails.py").write_text(FAILS.replace("FAILING", repr(failing)).replace("ERROR", error))
    done = runs.run_processes(2, cwd=tmp_path, script="fails.py")
    failed, other = (done[int(failing)], done[1 - int(failing)])
    assert failed.returncode == other.returncode == 1
    assert message in failed.stderr
    assert f"error: Process {1 - int(failing)} ends, since another process has." in other.stderr
    assert "Traceback" not in failed.stderr + other.stderr


def end_again_and_again(rank, folder):
    """What each of two processes does: ends one group after the other, while it still refers to wrapped modules."""
    torch.set_num_threads(1)
    for number in range(40):
        dist.init_process_group("gloo", f"file://{folder}/{number}", rank=rank, world_size=2)
        wrapped = [DistributedDataParallel(nn.Linear(3, 2)) for _ in range(4)]
        for module in wrapped:
            module(torch.ones(1, 3)).sum().backward()
        end_distributed()


@pytest.mark.processes
def test_no_process_hangs_at_its_end(tmp_path):
    """With torch 2.11, destroying the group ahead of the wrapped modules hung within these rounds."""
    runs.start_together(end_again_and_again, (tmp_path,), 2)
