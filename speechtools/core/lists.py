"""Lists of recordings in text files, their shards, and the blocks of a list that are computed together."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

from speechtools.core.errors import ConfigError, printable

Item = TypeVar("Item")

#: Suffix of the lists of Kaldi.
KALDI_SUFFIX = ".scp"
_OFFSET = re.compile(r"\.ark:\d+(\[.*\])?$")


class Entry(NamedTuple):
    """A recording in a list.

    Attributes
    ----------
    name : str
        The id in a list of Kaldi; else the path as the list has it, normalized.
    path : str
        The path of the file.
    """

    name: str
    path: str


def read_list(path: str | Path, option: str = "--list") -> list[Entry]:
    """Read a list of recordings: ``<id> <path>`` per line in a file named ``.scp``, as in Kaldi; else a path per line.

    Relative paths start at the folder of the list. Empty lines are skipped. The files need not exist.

    Parameters
    ----------
    path : str or Path
        The list.
    option : str
        The option that named it, for messages.

    Raises
    ------
    ConfigError
        The list is missing, empty or not text; a line has no path or a command instead of one; or two lines have the
        same id or path.
    """
    path = Path(path)
    is_kaldi = path.suffix.lower() == KALDI_SUFFIX
    # Two lines may differ in an id and share a file, so both are unique.
    lines_of: dict[str, int] = {}
    entries = []
    for number, line in enumerate(_lines(path, option), start=1):
        if not line.strip():
            continue
        name, file = _fields(line, f"{option}: line {number} of {path}", is_kaldi)
        location = str(path.parent / file)
        keys = {os.path.normpath(location): printable(location)} | ({f"id {name}": f"the id {name!r}"} if name else {})
        for key, what in keys.items():
            if lines_of.setdefault(key, number) != number:
                raise ConfigError(
                    f"{option}: lines {lines_of[key]} and {number} of {path} both name {what}. Remove or rename one."
                )
        entries.append(Entry(name if is_kaldi else os.path.normpath(file), location))
    if not entries:
        form = "a line <id> <path>" if is_kaldi else "the path of a recording in each line"
        raise ConfigError(f"{option}: the list {path} is empty. Write {form}.")
    return entries


def _lines(path: Path, option: str) -> list[str]:
    if path.is_dir() or not path.exists():
        reason = "is a folder" if path.is_dir() else "does not exist"
        raise ConfigError(f"{option}: the list {path} {reason}. Pass a text file with the path of a recording a line.")
    # Names of files may have any encoding.
    text = path.read_bytes().removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    if "\0" in text:
        raise ConfigError(f"{option}: {path} is not a text file. Pass a file with the path of a recording a line.")
    return [line.removesuffix("\r") for line in text.split("\n")]


def _fields(line: str, place: str, is_kaldi: bool) -> tuple[str, str]:
    """Return the id, which is empty outside of lists of Kaldi, and the path."""
    if not is_kaldi:
        return "", line.strip()
    name, *rest = line.split(maxsplit=1)
    if not rest:
        raise ConfigError(f"{place} is {printable(line.strip())!r}, an id without a path. Complete it.")
    file = rest[0].strip()
    if file.endswith("|"):
        raise ConfigError(f"{place} has the command {printable(file)!r} for {name!r}. List paths of files instead.")
    if _OFFSET.search(file):
        raise ConfigError(f"{place} has a place in an archive, {printable(file)!r}. List paths of files instead.")
    return name, file


@dataclass(frozen=True)
class Shard:
    """One of the parts into which a list is divided.

    Attributes
    ----------
    number, count : int
        Its number, from 1, and how many there are.
    """

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> "Shard":
        """Read ``3/16``, the third of sixteen.

        >>> Shard.parse("3/16")
        Shard(number=3, count=16)

        Raises
        ------
        ConfigError
            The text has another form, or the number is not between 1 and the count.
        """
        match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
        if not match:
            raise ConfigError(f"--shard={printable(text)} is not of the form K/N. Write 3/16 for the third of sixteen.")
        number, count = map(int, match.groups())
        if not 1 <= number <= count:
            numbers = f"numbers go from 1 to {count}" if count else "there must be at least one shard"
            raise ConfigError(f"--shard={text} does not exist: {numbers}.")
        return cls(number, count)

    def of(self, blocks: Sequence[Item]) -> list[Item]:
        """The blocks of this shard: every ``count``-th, so that sorted lists are divided evenly.

        >>> Shard(2, 3).of("abcdefg")
        ['b', 'e']
        """
        return list(blocks[self.number - 1 :: self.count])


def divide(items: Sequence[Item], size: int) -> Iterator[Sequence[Item]]:
    """Yield blocks of so many items in turn; the last may be shorter.

    >>> list(divide("abcde", 2))
    ['ab', 'cd', 'e']
    """
    return (items[first : first + size] for first in range(0, len(items), size))
