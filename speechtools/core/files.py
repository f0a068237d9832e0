"""Files that are written whole or not at all, and the fingerprints that name folders of prepared data."""

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path


def fingerprint(options: dict) -> str:
    """Twelve hex digits that identify a set of options (values that JSON can hold; paths count as text).

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
