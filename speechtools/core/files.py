"""Files that are written whole or not at all, and the fingerprints that name folders of prepared data."""

import contextlib
import errno
import functools
import hashlib
import itertools
import json
import os
import platform
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from speechtools.core.errors import CorpusError

# Names of temporary files: the machine and process show whether one is stale, the count separates threads.
_MACHINE = hashlib.sha256(platform.node().encode(errors="replace")).hexdigest()[:6]
_ASIDE_PROCESS = re.compile(rf"\.{_MACHINE}-(\d+)-\d+\.part$")
_counter = itertools.count()
_OPEN_FILES = {"/dev/stdout", "/dev/stderr", *(f"/dev/fd/{number}" for number in range(256))}


def fingerprint(options: dict) -> str:
    """Twelve hex digits that identify a set of options (values that JSON can represent; paths count as text).

    A folder of prepared data is named after the options it was made with, so a changed option never meets stale data.

    Examples
    --------
    >>> fingerprint({"seed": 1}) == fingerprint({"seed": 1}), fingerprint({"seed": 1}) == fingerprint({"seed": 2})
    (True, False)
    """
    return hashlib.sha256(json.dumps(options, sort_keys=True, default=str).encode()).hexdigest()[:12]


@contextlib.contextmanager
def write_aside(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path, which replaces ``path`` when the block succeeds and is removed otherwise.

    A link is followed: its target is replaced, and keeps its mode. What exists and is not a regular file (a device, a
    pipe) is yielded itself, to be opened and written. Temporary files that killed processes of this machine left in the
    folder are removed.

    Raises
    ------
    OSError
        ``path`` is a folder or a write-protected file, or its folder cannot be created.
    """
    path = Path(path)
    try:
        existing = path.stat()
    except FileNotFoundError:
        existing = None
    if existing and stat.S_ISDIR(existing.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if is_stream(path):
        yield path
        return
    target = Path(os.path.realpath(path))
    if existing and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
    target.parent.mkdir(parents=True, exist_ok=True)
    _remove_stale(target.parent)
    label = re.sub(r"[^\w.-]", "_", target.name[:40], flags=re.ASCII)  # short for a name of any length
    aside = target.with_name(f".{label}.{_MACHINE}-{os.getpid()}-{next(_counter)}.part")
    try:
        yield aside
        if existing:
            os.chmod(aside, stat.S_IMODE(existing.st_mode))
        os.replace(aside, target)
    finally:
        aside.unlink(missing_ok=True)


def is_stream(path: str | Path) -> bool:
    """Whether a path is written through and never replaced: a device, a pipe, or an open file such as /dev/stdout."""
    path = Path(path)
    try:
        is_regular = stat.S_ISREG(path.stat().st_mode)
    except OSError:
        return False
    return not is_regular or path.is_relative_to("/proc") or path.as_posix() in _OPEN_FILES


@functools.cache
def _remove_stale(folder: Path) -> None:
    """Remove the temporary files of processes that have ended; once per folder, because listing it takes time."""
    if os.name != "posix":  # elsewhere, os.kill ends a process whatever the signal
        return
    for aside in folder.glob(f".*.{_MACHINE}-*.part"):
        if process := _ASIDE_PROCESS.search(aside.name):
            try:
                os.kill(int(process[1]), 0)
            except ProcessLookupError:
                aside.unlink(missing_ok=True)
            except (PermissionError, OverflowError):  # a process of another user; not one of our names
                pass


@contextlib.contextmanager
def disk_errors(what: str, remedy: str, megabytes: float = 0.0) -> Iterator[None]:
    """Raise an OSError of the block as CorpusError: what cannot be written, how much space it needs, what to do.

    Examples
    --------
    >>> with disk_errors("the list in /read-only", "Choose another folder."):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    speechtools.core.errors.CorpusError: Cannot write the list in /read-only: No space left on device. Choose another \
folder.
    """
    try:
        yield
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        size = f"; it needs about {max(1, round(megabytes))} MB" if megabytes else ""
        raise CorpusError(f"Cannot write {what}: {reason}{size}. {remedy}") from error
