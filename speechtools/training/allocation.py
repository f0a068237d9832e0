"""How the C library keeps memory that tensors have given back."""

import ctypes
import platform

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LIMIT = 2**30


def keep_freed_memory() -> bool:
    """Let this process keep freed memory for its next tensors, instead of returning it and faulting it in again.

    By default glibc maps every large tensor anew, and the kernel clears its pages each time; for the small networks of
    this toolkit that takes up to a third of a training step on a CPU. The resident size stays at what the largest step
    has needed. Returns whether it was done: other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(_M_MMAP_THRESHOLD, _LIMIT) and mallopt(_M_TRIM_THRESHOLD, _LIMIT))
