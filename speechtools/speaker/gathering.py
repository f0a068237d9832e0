"""d-vectors of all processes with their gradients, so that the GE2E loss is that of the joined batch."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from speechtools.core.errors import SpeechtoolsError


class _AllGather(torch.autograd.Function):
    """All processes' tensors, concatenated; backward, each process gets the scaled gradient of its own."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        ctx.size = len(tensor)
        return _gathered(tensor)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        first = dist.get_rank() * ctx.size
        return gradient[first : first + ctx.size] * dist.get_world_size()


def gather_dvectors(dvectors: Tensor, speakers: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The d-vectors and speakers of all processes, in the order of the ranks; in a single process, the arguments.

    Call it before the loss, on every process. All processes then compute the same loss L, that of the joined batch.
    With W processes, the d-vectors E_r of process r, and the encoder's parameters θ:

    - The gradient of the joined batch is dL/dθ = Σ_r (dE_r/dθ)ᵀ dL/dE_r.
    - Process r computes only its own term g_r of the sum, since its graph contains only its own E_r. It knows dL/dE_r,
      since it has computed the whole L, so the backward pass needs no communication. (Summing over the processes, as
      the gradient of an all_gather does in general, would add W equal terms.)
    - DistributedDataParallel *averages* over the processes, (1/W) Σ_r g_r. So dL/dE_r is multiplied by W here, and
      (1/W) Σ_r W g_r = dL/dθ.
    - w and b of the loss (or the weights of a classifier) have their whole gradient on every process, which averaging
      does not change, so the loss must be wrapped too. SpeechBrain's Brain wraps every module of
      ``hparams["modules"]`` that has parameters, and calls ``self.modules.loss``.

    Parameters
    ----------
    dvectors : Tensor
        (batch, emb) or (speakers, utterances, emb), of the same shape on all processes. Half precision becomes float32.
    speakers : Tensor, optional
        Integers (batch,) or (speakers,), or None, as in the loss.

    Returns
    -------
    dvectors, speakers : Tensor
        W times as many rows.

    Raises
    ------
    SpeechtoolsError
        The shapes differ between processes. It is raised on all of them, so that none hangs.

    Examples
    --------
    >>> gather_dvectors(torch.ones(2, 3), torch.tensor([4, 5]))[0].shape
    torch.Size([2, 3])
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return dvectors, speakers
    _check_shapes(dvectors, speakers)
    # The loss computes in float32 anyway, and gloo does not support bfloat16.
    dvectors = dvectors.float() if dvectors.dtype in (torch.bfloat16, torch.float16) else dvectors
    return _AllGather.apply(dvectors), None if speakers is None else _gathered(speakers)


def _gathered(tensor: Tensor) -> Tensor:
    tensors = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
    dist.all_gather(tensors, tensor.contiguous())
    return torch.cat(tensors)


def _check_shapes(dvectors: Tensor, speakers: Tensor | None) -> None:
    # One small reduction gives the largest and, negated, the smallest of every size.
    labels = -1 if speakers is None else speakers.numel()
    sizes = [labels, dvectors.dim(), *dvectors.shape[:3], *[0] * (3 - dvectors.dim())]
    most = torch.tensor([*sizes, *(-size for size in sizes)], device=dvectors.device)
    dist.all_reduce(most, dist.ReduceOp.MAX)
    largest, smallest = most.tolist()[: len(sizes)], [-size for size in most.tolist()[len(sizes) :]]
    if largest != smallest:
        shape = None if speakers is None else tuple(speakers.shape)
        raise SpeechtoolsError(
            f"Process {dist.get_rank()} has d-vectors of shape {tuple(dvectors.shape)} with speakers of shape {shape}, "
            "and another process has other shapes. Use the same speakers_per_batch and utterances_per_speaker on all."
        )
