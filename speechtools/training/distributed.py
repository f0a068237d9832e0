"""The end of a run of several processes, in an order in which no process hangs."""

import gc

import torch.distributed as dist
from speechbrain.utils.distributed import ddp_barrier
from torch.nn.parallel import DistributedDataParallel

#: Whether this process was the first one of the group that was ended last.
_was_first = True


def end_distributed(wait: bool = True) -> bool:
    """Destroy the process group, so that every process finishes by itself. Without torchrun, do nothing.

    Call it on every process after the last collective operation, before the first process exports and reports.
    Modules wrapped in ``DistributedDataParallel`` remain usable: they call the module inside.

    The wrapped modules are released before the group is. A ``Reducer`` that outlives the group holds the last
    reference to it and is freed under the GIL; it then joins a thread of gloo that may itself wait for the GIL, and
    the process hangs for ever.

    Parameters
    ----------
    wait : bool
        Wait until all processes have arrived. Pass False where this process is about to exit after a failure: the
        others then get an error from the collective operation they are in.

    Returns
    -------
    bool
        Whether this is the first process, which goes on alone. Ask no other function after it: without a group,
        SpeechBrain's ``if_main_process`` is true on all of them.

    Example
    -------
    >>> end_distributed()
    True
    """
    global _was_first
    if not (dist.is_available() and dist.is_initialized()):
        return _was_first
    if wait:
        ddp_barrier()
    _was_first = dist.get_rank() == 0
    # Whoever still refers to them: a Brain, a traceback. (type(), since isinstance() fails on a dead weak proxy.)
    for module in [value for value in gc.get_objects() if issubclass(type(value), DistributedDataParallel)]:
        module.forward = module.module.__call__
        module.reducer = module.logger = None
    gc.collect()
    if wait or dist.get_backend() == dist.Backend.GLOO:  # NCCL's destruction is collective
        dist.destroy_process_group()
    return _was_first
