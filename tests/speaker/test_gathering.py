"""Laws of the gathered d-vectors: several processes have the loss and the gradients of one with the joined batch."""

import itertools
import re

import pytest
import runs
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import speechtools
from speechtools.core.errors import SpeechtoolsError
from speechtools.speaker.gathering import gather_dvectors
from speechtools.training.distributed import end_distributed

pytestmark = pytest.mark.processes
WORLD_SIZE = 2
SPEAKERS, UTTERANCES, INPUT, SIZE = 3, 4, 7, 5  # of each process
CASES = list(itertools.product(["ge2e-softmax", "ge2e-contrast", "te2e", "softmax"], [True, False]))
#: Shapes of the d-vectors of both processes, with equally many values, and of the labels.
MISFIT = [((2, 4, SIZE), 2), ((4, 2, SIZE), 4)]


def modules_of(name: str) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(1)
    loss = speechtools.build(f"speaker-loss/{name}")
    if name == "softmax":
        loss.set_speakers(WORLD_SIZE * SPEAKERS, SIZE)
    return nn.Sequential(nn.Linear(INPUT, 9), nn.Tanh(), nn.Linear(9, SIZE)), loss


def joined_batch(regular: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Features and speakers of both processes: the first half is the first one's."""
    torch.manual_seed(2)
    feats = torch.randn(WORLD_SIZE * SPEAKERS, UTTERANCES, INPUT)
    speakers = torch.tensor([4, 0, 5, 2, 1, 3])
    return (feats, speakers) if regular else (feats.flatten(0, 1), speakers.repeat_interleave(UTTERANCES))


def loss_and_gradients(encoder, loss, feats, speakers) -> list[torch.Tensor]:
    value = loss(*gather_dvectors(encoder(feats), speakers))
    value.backward()
    return [value.detach()] + [p.grad.clone() for module in (encoder, loss) for p in module.parameters()]


def work(rank: int, folder: str) -> None:
    """What each process does: all cases, then the misfits; the results go to a file."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=WORLD_SIZE)
    results = {}
    for name, regular in CASES:
        encoder, loss = (DistributedDataParallel(module) for module in modules_of(name))
        half = [tensor.chunk(WORLD_SIZE)[rank] for tensor in joined_batch(regular)]
        results[name, regular] = loss_and_gradients(encoder, loss, *half)
    dvectors, speakers = torch.full((2, 3), float(rank)).bfloat16(), torch.tensor([rank, rank + 10])
    results["gathered"] = gather_dvectors(dvectors, speakers)
    shape, labels = MISFIT[rank]
    with pytest.raises(SpeechtoolsError, match=re.escape(f"Process {rank} has d-vectors of shape {shape}")):
        gather_dvectors(torch.zeros(shape), torch.zeros(labels, dtype=torch.long))
    torch.save(results, f"{folder}/{rank}.pt")
    end_distributed()


@pytest.fixture(scope="module")
def of_two_processes(tmp_path_factory):
    """The results of both processes, by rank."""
    folder = tmp_path_factory.mktemp("processes")
    runs.start_together(work, (str(folder),), WORLD_SIZE)
    return [torch.load(folder / f"{rank}.pt") for rank in range(WORLD_SIZE)]


@pytest.mark.parametrize("name, regular", CASES)
def test_two_processes_have_the_loss_and_gradients_of_one(of_two_processes, name, regular):
    alone = loss_and_gradients(*modules_of(name), *joined_batch(regular))
    # The gradients are nonzero, so that their equality is informative. (That of b is zero where b is not used.)
    assert sum(float(value.abs().max()) > 1e-4 for value in alone) >= len(alone) - 1
    for results in of_two_processes:
        for one, other in zip(results[name, regular], alone, strict=True):
            torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_everything_comes_in_the_order_of_the_ranks(of_two_processes):
    for results in of_two_processes:
        dvectors, speakers = results["gathered"]
        assert dvectors.dtype == torch.float32  # gloo gathers no bfloat16
        assert dvectors[:, 0].tolist() == [0.0, 0.0, 1.0, 1.0] and speakers.tolist() == [0, 10, 1, 11]
