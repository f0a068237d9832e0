"""A lock around reading, changing and writing a file, among processes."""

import contextlib
import errno
import functools
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from speechtools.core.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Errors of a file system that has no locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF}


@contextlib.contextmanager
def locked(path: str | Path, timeout: float = 60.0) -> Iterator[None]:
    """Lock ``path`` for this process during the block, with a hidden file beside it that is removed at the end.

    It is the kernel's lock, which ends with the process: the lock file of a killed process blocks nobody.

    Raises
    ------
    ConfigError
        Another process has the lock for longer than ``timeout`` seconds, or the folder is not writable.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder, locked(Path(folder) / "voices.npz"):
    ...     print(os.listdir(folder))
    ['.voices.npz.lock']
    """
    target = Path(os.path.realpath(path))
    lock = target.with_name(f".{target.name}.lock")
    busy = f"Another process has locked {path} for {timeout:g} s. Try again when it has ended."
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        release = (_lock if fcntl else _lock_on_windows)(lock, timeout, busy)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror} ({lock.parent}).") from error
    try:
        yield
    finally:
        release()


def _lock(lock: Path, timeout: float, busy: str) -> Callable[[], None]:
    """Wait for the lock, and return the function that releases it."""
    deadline = time.monotonic() + timeout
    while True:
        descriptor = _open(lock)
        try:
            if _flock(descriptor, lock.parent):
                # The process before may have removed this lock file after it was opened here.
                if _same_file(descriptor, lock):
                    return functools.partial(_release, descriptor, lock)
            elif time.monotonic() > deadline:
                raise ConfigError(busy)
            else:
                time.sleep(0.02)
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _open(lock: Path) -> int:
    try:
        return os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
    except PermissionError:
        if not lock.exists():
            raise
        return os.open(lock, os.O_RDONLY)  # the lock file of another user


def _flock(descriptor: int, folder: Path) -> bool:
    """Try to lock a file; where there are no locks, this is a warning."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        warnings.warn(f"{folder} has no file locks, so use one process at a time.", stacklevel=6)
    return True


def _release(descriptor: int, lock: Path) -> None:
    with contextlib.suppress(PermissionError):  # of another user, in a folder such as /tmp
        if _same_file(descriptor, lock):
            lock.unlink(missing_ok=True)
    os.close(descriptor)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _lock_on_windows(lock: Path, timeout: float, busy: str) -> Callable[[], None]:
    import filelock

    file_lock = filelock.FileLock(lock, timeout=timeout)
    try:
        file_lock.acquire()
    except filelock.Timeout:
        raise ConfigError(busy) from None
    return file_lock.release
