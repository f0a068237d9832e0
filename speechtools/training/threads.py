"""Number of threads of a training on CPUs."""

import logging
import os
from pathlib import Path

import psutil
import torch

from speechtools.core.files import write_aside
from speechtools.core.processes import cpu_count, leave_cores

logger = logging.getLogger(__name__)


def use_free_cores(folder: str | Path) -> int:
    """Let torch compute on the cores that other programs leave free.

    Threads of one operation wait for each other. If one of them shares its core with another program, all of them
    wait: a training on two threads then takes two to ten times as long as on one.

    Parameters
    ----------
    folder : str or Path
        Folder of the run. A resumed run keeps its number of threads, which ``num_threads.txt`` records, because sums
        over another number of threads can differ in their last bits. The variable OMP_NUM_THREADS has precedence.

    Returns
    -------
    int
        The number of threads.
    """
    record = Path(folder) / "num_threads.txt"
    is_resumed = record.is_file() and any(Path(folder).glob("save/CKPT*"))
    before = _number(record.read_text(errors="replace")) if is_resumed else None
    default = torch.get_num_threads()
    if _number(os.environ.get("OMP_NUM_THREADS", "")):
        threads = default
    elif before:
        threads = min(before, cpu_count())
    else:
        threads = max(1, min(default, round(free_cores())))
        if threads < default:
            leave_cores(default - threads)
            logger.info(
                "Computing on %d of %d cores because the others are busy. Set OMP_NUM_THREADS to change this.",
                threads,
                default,
            )
    if before and before != threads:
        logger.warning(
            "This run began on %d threads and continues on %d. Its weights may differ in their last bits from those of "
            "an uninterrupted run.",
            before,
            threads,
        )
    if not before:
        with write_aside(record) as aside:
            aside.write_text(str(threads), encoding="utf-8")
    torch.set_num_threads(threads)
    return threads


def free_cores(seconds: float = 0.5) -> float:
    """Measure for ``seconds`` how much of this process's cores is idle: the sum of their idle shares."""
    percent = psutil.cpu_percent(interval=seconds, percpu=True)
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(percent))
    return sum(1 - percent[core] / 100 for core in affinity if core < len(percent))


def _number(text: str) -> int | None:
    """A number of threads, at least 1; None for any other text."""
    return int(text) if text.strip().isdecimal() and int(text) > 0 else None
