"""A lock around reading, changing and writing a file, among processes."""

import contextlib
import errno
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from speechtools.core.errors import ConfigError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

#: Errors of a file system that has no locks.
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}


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
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror} ({lock.parent}).") from error
    busy = f"{path} is in use by another process since {timeout:g} s or more. Try again when that has ended."
    with _flock(lock, timeout, busy) if fcntl else _windows_lock(lock, timeout, busy):
        yield


@contextlib.contextmanager
def _flock(lock: Path, timeout: float, busy: str) -> Iterator[None]:
    deadline = time.monotonic() + timeout
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The process before may have removed this lock file after it was opened here.
            if _same_file(descriptor, lock):
                break
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise ConfigError(busy) from None
            time.sleep(0.02)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                os.close(descriptor)
                raise
            warnings.warn(f"{lock.parent} has no file locks: use one process at a time.", stacklevel=4)
            break
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)
    try:
        yield
    finally:
        if _same_file(descriptor, lock):
            lock.unlink(missing_ok=True)
        os.close(descriptor)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _windows_lock(lock: Path, timeout: float, busy: str) -> Iterator[None]:
    import filelock

    try:
        with filelock.FileLock(lock, timeout=timeout):
            yield
    except filelock.Timeout:
        raise ConfigError(busy) from None
