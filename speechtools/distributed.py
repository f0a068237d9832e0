"""The end of a run of several processes: none waits for ever, and none hangs on its way out."""

import gc

import torch.distributed as dist
from speechbrain.utils.distributed import ddp_barrier
from torch.nn.parallel import DistributedDataParallel


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
        Wait until all processes have arrived. After a failure, pass False: the other processes then get an error from
        the collective operation they are in, and end too.

    Returns
    -------
    bool
        Whether this is the first process, which goes on alone.

    Example
    -------
    >>> end_distributed()
    True
    """
    if not (dist.is_available() and dist.is_initialized()):
        return True
    if wait:
        ddp_barrier()
    is_first = dist.get_rank() == 0
    # Whoever still refers to them: a Brain, a traceback. (type(), since isinstance() fails on a dead weak proxy.)
    for module in [each for each in gc.get_objects() if issubclass(type(each), DistributedDataParallel)]:
        module.forward = module.module.forward
        module.reducer = module.logger = None
    gc.collect()
    if wait or dist.get_backend() == dist.Backend.GLOO:  # NCCL's destruction is collective
        dist.destroy_process_group()
    return is_first
