"""Files that are written whole or not at all, and the fingerprints that name folders of prepared data."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from speechtools.core.errors import CorpusError


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
    """Yield a temporary path, which replaces ``path`` when the block succeeds and is removed otherwise."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


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
