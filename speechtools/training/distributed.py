"""Runs of several processes: who prepares, and how the process group ends without a hang."""

import gc
from collections.abc import Callable
from typing import TypeVar

import torch.distributed as dist
from speechbrain.utils.distributed import ddp_barrier, ddp_broadcast, if_main_process
from torch.nn.parallel import DistributedDataParallel

from speechtools.core.errors import SpeechtoolsError

Result = TypeVar("Result")
#: Whether this process was the first one of the group that ended last.
_was_first = True


def rank_and_size() -> dict[str, int]:
    """Return this process's ``rank`` and the ``world_size``; 0 and 1 without torchrun."""
    distributed = dist.is_available() and dist.is_initialized()
    return {
        "rank": dist.get_rank() if distributed else 0,
        "world_size": dist.get_world_size() if distributed else 1,
    }


def on_main_first(prepare: Callable[[], Result]) -> Result:
    """Call ``prepare`` on the first process while the others wait, then on the others, which find its work done.

    Returns
    -------
    object
        What ``prepare`` returns on this process.

    Raises
    ------
    SpeechtoolsError
        ``prepare`` failed on the first process, which raises its own error. The others raise this one.
    """
    result = on_main(prepare)
    return result if if_main_process() else prepare()  # type: ignore[return-value]


def on_main(work: Callable[[], Result]) -> Result | None:
    """Call ``work`` only on the first process; the others wait and return None. If it fails, all processes fail."""
    if if_main_process():
        try:
            result = work()
        except Exception as error:
            ddp_broadcast(f"{type(error).__name__}: {error}")
            raise
        ddp_broadcast(None)
        return result
    failure = ddp_broadcast(None)
    if failure is not None:
        raise SpeechtoolsError(f"Process {dist.get_rank()} ends because the first process failed: {failure}")
    return None


def end_distributed(wait: bool = True) -> bool:
    """Destroy the process group, so that every process can exit. Without torchrun, do nothing.

    Call it on every process after the last collective operation, before the first process exports and reports.
    Modules wrapped in ``DistributedDataParallel`` remain usable: they call the module inside.

    The wrapped modules are released before the group is. A ``Reducer`` that outlives the group holds the last
    reference to it and is freed under the GIL; it then joins a thread of gloo that may itself wait for the GIL, and
    the process hangs.

    Parameters
    ----------
    wait : bool
        Wait until all processes have arrived. Pass False if this process is about to exit after a failure: the
        others then get an error from the collective operation they are in.

    Returns
    -------
    bool
        Whether this is the first process, which continues alone. Use this value instead of SpeechBrain's
        ``if_main_process``, which is true on all processes once the group is gone.

    Examples
    --------
    >>> end_distributed()
    True
    """
    global _was_first
    if not (dist.is_available() and dist.is_initialized()):
        return _was_first
    if wait:
        ddp_barrier()
    _was_first = dist.get_rank() == 0
    # A Brain or a traceback may still refer to them. (type(), since isinstance() fails on a dead weak proxy.)
    for module in [value for value in gc.get_objects() if issubclass(type(value), DistributedDataParallel)]:
        module.forward = module.module.__call__
        module.reducer = module.logger = None
    gc.collect()
    if wait or dist.get_backend() == dist.Backend.GLOO:  # NCCL's destruction is collective
        dist.destroy_process_group()
    return _was_first
