"""How worker processes are started."""

import multiprocessing
import os
import sys


def process_context() -> multiprocessing.context.BaseContext:
    """Fork on Linux, spawn elsewhere.

    Workers of this package use no torch, so forking a process that has loaded it is safe, and it spares each worker
    the seconds that importing the recipe anew would take.
    """
    return multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")


def cpu_count() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
