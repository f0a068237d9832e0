"""Checksums of the files of a folder, in a list beside them: damage is found when the folder is used."""

import contextlib
import hashlib
import itertools
import json
import os
import random
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from speechtools.core.errors import CorpusError, first_of
from speechtools.core.files import write_aside

#: The list, in the folder of the files.
LIST = "checksums.json"
#: What is wrong with a file that does not exist.
MISSING = "is missing"
#: Bytes that a quick check reads of files whose sizes and times are unchanged.
SAMPLE_BYTES = 2**25


def digest(path: str | Path) -> str:
    """A checksum of the content of a file, as 32 hex digits."""
    checksum = hashlib.blake2b(digest_size=16)
    with open(path, "rb", buffering=0) as stream:
        while block := stream.read(2**20):
            checksum.update(block)
    return checksum.hexdigest()


def write_checksums(folder: str | Path, paths: Iterable[str | Path]) -> None:
    """Write the list of a folder: checksum, size and modification time of files in it or its subfolders."""
    folder = Path(folder)
    _write(folder, _states(folder, [os.path.relpath(path, folder) for path in paths]))


def find_damaged(folder: str | Path, full: bool = False) -> dict[str, str]:
    """Find the files of a folder whose content is not that of its list; nothing without a list.

    A quick check compares sizes and modification times. It reads the files whose time has changed, such as those of a
    copied folder, and records their new times if the content is the same; and it reads a sample of the others, of about
    :data:`SAMPLE_BYTES`, drawn anew every time.

    Parameters
    ----------
    folder : str or Path
    full : bool
        Read every file.

    Returns
    -------
    dict of str
        What is wrong, by path relative to the folder.

    Raises
    ------
    CorpusError
        The list itself is damaged.
    """
    folder = Path(folder)
    listed = read_checksums(folder)
    damaged, to_read, unchanged = {}, [], []
    for name, (_, size, time) in listed.items():
        try:
            status = os.stat(folder / name)
        except OSError:
            damaged[name] = MISSING
            continue
        if status.st_size != size:
            damaged[name] = f"has {status.st_size} bytes instead of {size}"
        elif full or status.st_mtime_ns != time:
            to_read.append(name)
        else:
            unchanged.append(name)
    random.Random().shuffle(unchanged)  # leaves the seeded generator alone
    ends = itertools.accumulate(listed[name][1] for name in unchanged)
    drawn = [name for name, end in zip(unchanged, ends, strict=True) if end <= SAMPLE_BYTES]
    current = _states(folder, to_read + drawn)
    for name, state in current.items():
        if state[0] != listed[name][0]:
            damaged[name] = "has another content"
    if not damaged and any(current[name][2] != listed[name][2] for name in to_read):
        with contextlib.suppress(OSError):  # a folder that cannot be written is read again next time
            _write(folder, listed | current)
    return damaged


def refuse_damaged(folder: str | Path, remedy: str) -> None:
    """Raise a CorpusError if a quick check of a folder finds damage: which files, why, and what to do."""
    damaged = find_damaged(folder)
    if damaged:
        names = first_of([f"{name} {reason}" for name, reason in damaged.items()])
        raise CorpusError(f"{len(damaged)} files in {folder} are not as the preparation wrote them: {names}. {remedy}")


def read_checksums(folder: str | Path) -> dict[str, tuple[str, int, int]]:
    """Read the list of a folder: checksum, size and modification time (ns) by relative path; {} without a list.

    Raises
    ------
    CorpusError
        The list is damaged.
    """
    path = Path(folder) / LIST
    if not path.is_file():
        return {}
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))
        return {name: (str(checksum), int(size), int(time)) for name, (checksum, size, time) in listed.items()}
    except (ValueError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise CorpusError(
            f"{path} is damaged, so the files beside it cannot be checked. Delete it if you know that they are intact."
        ) from error


def _states(folder: Path, names: list[str]) -> dict[str, tuple[str, int, int]]:
    def state(name: str) -> tuple[str, int, int]:
        status = os.stat(folder / name)  # first: a later change shows as another time
        return digest(folder / name), status.st_size, status.st_mtime_ns

    with ThreadPoolExecutor(4) as pool:  # hashing releases the interpreter's lock
        return dict(zip(names, pool.map(state, names), strict=True))


def _write(folder: Path, states: dict[str, tuple[str, int, int]]) -> None:
    with write_aside(folder / LIST) as aside:
        lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(state)}" for name, state in states.items())
        aside.write_text("{\n" + lines + "\n}\n", encoding="utf-8")
