"""How many threads torch computes with in a training: as many as there are free cores."""

import logging
import os
from pathlib import Path

import psutil
import torch

from speechtools.data.processes import cpu_count

logger = logging.getLogger(__name__)


def use_free_cores(folder: str | Path) -> int:
    """Let torch compute on the cores that other programs leave free, and return the number of threads.

    Threads of one operation wait for each other. Where one of them has to share its core with another program, all of
    them wait: a training on two threads then takes two to ten times as long as on one. OMP_NUM_THREADS, where it is
    set, is left as it is.

    Parameters
    ----------
    folder : str or Path
        The run's. A run that is resumed keeps the number that it began with, which ``num_threads.txt`` holds: sums of
        another number of threads can differ in their last bits.
    """
    if "OMP_NUM_THREADS" in os.environ:
        return torch.get_num_threads()
    record = Path(folder) / "num_threads.txt"
    cores = cpu_count()
    if record.is_file() and any(Path(folder).glob("save/CKPT*")):
        threads = int(record.read_text(encoding="utf-8"))
    else:
        threads = max(1, min(torch.get_num_threads(), round(free_cores())))
        record.write_text(str(threads), encoding="utf-8")
    if threads < cores:
        logger.info(
            "Computing on %d of %d cores, since the others were busy when this run began. "
            "The environment variable OMP_NUM_THREADS sets another number.",
            threads,
            cores,
        )
    torch.set_num_threads(threads)
    return threads


def free_cores(seconds: float = 0.5) -> float:
    """The share of this process's cores that was idle during the next ``seconds``, summed over the cores."""
    percent = psutil.cpu_percent(interval=seconds, percpu=True)
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(percent))
    return sum(1 - percent[core] / 100 for core in affinity if core < len(percent))
