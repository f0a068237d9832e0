"""d-vectors of all processes, with their gradients, so that the GE2E loss is that of the joined batch."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from speechtools.core.errors import SpeechtoolsError


class _AllGather(torch.autograd.Function):
    """All processes' tensors, one behind the other; backward, each process gets its own part's gradient, scaled."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.size = len(tensor)
        return _gathered(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        first = dist.get_rank() * ctx.size
        return gradient[first : first + ctx.size] * dist.get_world_size()


def gather_dvectors(dvectors: Tensor, speakers: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The d-vectors and speakers of all processes, in the order of their ranks; without torchrun, what was given.

    To be called before the loss, on every process. They all compute one and the same loss L then, of the joined batch.
    What becomes of its gradient, with W processes, E_r the d-vectors of process r, θ the encoder's parameters:

    - wanted: dL/dθ = Σ_r (dE_r/dθ)ᵀ dL/dE_r, as one process with the joined batch has it;
    - process r can only compute its own term of the sum, as θ reached only its own E_r. It has dL/dE_r whole, since it
      has computed the whole L: nothing needs to be exchanged on the way back. (Summing over the processes, as the
      gradient of an all_gather does in general, would here add W equal terms.)
    - DistributedDataParallel *averages* over the processes: of the terms g_r it makes (1/W) Σ_r g_r. So dL/dE_r is
      multiplied by W here, and (1/W) Σ_r W g_r = dL/dθ;
    - w and b of the loss (or the weights of a classifier) have their whole gradient on every process, and the average
      of W equal values leaves it as it is: the loss is to be wrapped, too. SpeechBrain's Brain wraps every module of
      ``hparams["modules"]`` that has parameters, and calls ``self.modules.loss``.

    Parameters
    ----------
    dvectors : Tensor
        (batch, emb) or (speakers, utterances, emb), of one shape on all processes. Half precision becomes float32.
    speakers : Tensor, optional
        Integers (batch,) or (speakers,); None as in the loss.

    Returns
    -------
    dvectors, speakers : Tensor
        W times as many rows.

    Raises
    ------
    SpeechtoolsError
        The processes hold d-vectors or labels of different shapes; it is raised on all of them, so that none waits.

    Example
    -------
    >>> gather_dvectors(torch.ones(2, 3), torch.tensor([4, 5]))[0].shape
    torch.Size([2, 3])
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return dvectors, speakers
    _check_shapes(dvectors, speakers)
    # The loss wants float32 anyway, and gloo gathers no bfloat16.
    dvectors = dvectors.float() if dvectors.dtype in (torch.bfloat16, torch.float16) else dvectors
    return _AllGather.apply(dvectors), None if speakers is None else _gathered(speakers)


def _gathered(tensor: Tensor) -> Tensor:
    parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, tensor.contiguous())
    return torch.cat(parts)


def _check_shapes(dvectors: Tensor, speakers: Tensor | None) -> None:
    # One small exchange: the largest and, as the largest negative, the smallest of every size.
    labels = -1 if speakers is None else speakers.numel()
    sizes = [labels, dvectors.dim(), *dvectors.shape[:3], *[0] * (3 - dvectors.dim())]
    most = torch.tensor([*sizes, *(-size for size in sizes)], device=dvectors.device)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    largest, smallest = most.tolist()[: len(sizes)], [-size for size in most.tolist()[len(sizes) :]]
    if largest != smallest:
        given = None if speakers is None else tuple(speakers.shape)
        raise SpeechtoolsError(
            f"Process {dist.get_rank()} has d-vectors of shape {tuple(dvectors.shape)} with speakers of shape {given}, "
            f"and another process has others: all must have as many. Give every process the same speakers_per_batch "
            "and utterances_per_speaker."
        )
