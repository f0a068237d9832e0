"""d-vectors of all processes, with their gradients, so that the GE2E loss is that of the joined batch."""

import torch
import torch.distributed as dist
from torch import Tensor

from speechtools.errors import SpeechtoolsError


class _AllGather(torch.autograd.Function):
    """All processes' tensors, one behind the other; backward, each process gets its own part's gradient, scaled."""

    @staticmethod
    def forward(ctx, tensor):
        parts = [torch.empty_like(tensor) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor.contiguous())
        ctx.size = len(tensor)
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient):
        first = dist.get_rank() * ctx.size
        return gradient[first : first + ctx.size] * dist.get_world_size()


def gather_dvectors(dvectors: Tensor, speakers: Tensor) -> tuple[Tensor, Tensor]:
    """The d-vectors and speakers of all processes, in the order of their ranks; without torchrun, what was given.

    Every process then computes one and the same loss L, of the joined batch. Its gradient with respect to the own
    d-vectors is the own part of dL/d(all d-vectors): nothing needs to be exchanged on the way back. The encoder's
    parameters get from a process only the share that flows through its own utterances, and DistributedDataParallel
    *averages* the shares of the W processes where their sum is due: so the gradient is multiplied by W here. The
    loss's own parameters have the whole gradient on every process, which the average leaves as it is.

    Arguments
    ---------
    dvectors, speakers : Tensor
        Of equal shape on every process, (n, …) and (n,).

    Returns
    -------
    Tensor, Tensor
        (W * n, …) and (W * n,)

    Raises
    ------
    SpeechtoolsError
        The processes hold different numbers of d-vectors.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return dvectors, speakers
    size = torch.tensor([dvectors.numel(), -dvectors.numel()], device=dvectors.device)
    dist.all_reduce(size, dist.ReduceOp.MAX)
    if size.sum() != 0:
        raise SpeechtoolsError(
            f"This process has d-vectors of shape {tuple(dvectors.shape)}, and another one has {int(size[0])} or "
            f"{-int(size[1])} values: all must have as many. Give every process the same speakers_per_batch."
        )
    # SpeechBrain's loss may meet bf16 d-vectors, which gloo does not gather.
    dvectors = dvectors.float() if dvectors.dtype in (torch.bfloat16, torch.float16) else dvectors
    parts = [torch.empty_like(speakers) for _ in range(dist.get_world_size())]
    dist.all_gather(parts, speakers.contiguous())
    return _AllGather.apply(dvectors), torch.cat(parts)
