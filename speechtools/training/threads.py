"""How many threads torch computes with in a training: as many as there are free cores."""

import logging
import os
from pathlib import Path

import psutil
import torch

from speechtools.core.files import write_aside
from speechtools.core.jobs import cpu_count, leave_cores

logger = logging.getLogger(__name__)


def use_free_cores(folder: str | Path) -> int:
    """Let torch compute on the cores that other programs leave free, and return the number of threads.

    Threads of one operation wait for each other. Where one of them has to share its core with another program, all of
    them wait: a training on two threads then takes two to ten times as long as on one.

    Parameters
    ----------
    folder : str or Path
        The run's. A run that is resumed keeps the number that it began with, which ``num_threads.txt`` holds: sums of
        another number of threads can differ in their last bits. OMP_NUM_THREADS, where it is set, comes first.
    """
    record = Path(folder) / "num_threads.txt"
    before = _number(record.read_text(errors="replace")) if record.is_file() and _is_resumed(folder) else None
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
                "Computing on %d of %d cores, since the others are busy. Set OMP_NUM_THREADS for another number.",
                threads,
                default,
            )
    if before and before != threads:
        logger.warning(
            "This run began on %d threads and goes on with %d: its weights may differ in their last bits from those of "
            "an undisturbed run.",
            before,
            threads,
        )
    if not before:
        with write_aside(record) as aside:
            aside.write_text(str(threads), encoding="utf-8")
    torch.set_num_threads(threads)
    return threads


def free_cores(seconds: float = 0.5) -> float:
    """The share of this process's cores that was idle during the next ``seconds``, summed over the cores."""
    percent = psutil.cpu_percent(interval=seconds, percpu=True)
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(len(percent))
    return sum(1 - percent[core] / 100 for core in affinity if core < len(percent))


def _is_resumed(folder: str | Path) -> bool:
    return any(Path(folder).glob("save/CKPT*"))


def _number(text: str) -> int | None:
    """A number of threads, at least 1; None for any other text."""
    return int(text) if text.strip().isdecimal() and int(text) > 0 else None
