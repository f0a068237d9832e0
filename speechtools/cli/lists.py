"""The options ``--list`` and ``--shard``, and the recordings that they select."""

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from speechtools.core.errors import ConfigError
from speechtools.core.lists import Shard, divide, read_list


def list_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add ``--list`` and ``--shard``; the command gets ``listed``, the :class:`ListOptions`."""

    @click.option(
        "--list",
        "list_path",
        metavar="FILE",
        help="Take the recordings of this list: a wav.scp of Kaldi, or a text file with a path in each line. Relative "
        "paths start at the folder of the list.",
    )
    @click.option("--shard", metavar="K/N", help="Take the K-th of N parts of the list, such as 3/16.")
    @functools.wraps(command)
    def with_list(*args: Any, list_path: str | None, shard: str | None, **kwargs: Any) -> int:
        return command(*args, listed=ListOptions(list_path, shard), **kwargs)

    return with_list


@dataclass(frozen=True)
class Selection:
    """The recordings of a command.

    The results of recordings that are computed together differ in their last digits from those of other batches. Blocks
    of a list are always computed together, also in a shard and after an interruption, so that the results are the same.

    Attributes
    ----------
    files : list of Path
        The recordings.
    block_size : int
        Recordings that are computed together.
    is_list : bool
        Whether they are those of a list.
    names : dict
        The name of each recording in the list.
    note : str
        A remark about the shard.
    """

    files: list[Path]
    block_size: int
    is_list: bool = True
    names: dict[Path, str] = field(default_factory=dict)
    note: str = ""

    def to_compute(self, is_finished: Callable[[Path], bool]) -> list[Path]:
        """The recordings that are not finished, and those of their blocks."""
        blocks = divide(self.files, self.block_size if self.is_list else 1)
        return [path for block in blocks if not all(map(is_finished, block)) for path in block]

    def blocks(self, files: Sequence[Path]) -> list[Sequence[Path]]:
        """The files of :meth:`to_compute` in blocks, which are those of the list."""
        return list(divide(files, self.block_size))


@dataclass(frozen=True)
class ListOptions:
    """The values of ``--list`` and ``--shard``."""

    path: str | None
    shard: str | None

    def check(self, has_recordings: bool, what: str = "recordings") -> None:
        """Raise a :class:`ConfigError` if the options do not fit each other, or the other arguments."""
        if self.path is None:
            if self.shard is not None:
                raise ConfigError(f"--shard={self.shard} is a part of a list. Pass --list.")
        elif has_recordings:
            raise ConfigError(f"The {what} are those of --list={self.path}. Pass no others, or leave it out.")

    def select(self, block_size: int, smaller: str = "") -> Selection:
        """Read the list and return the recordings of the shard.

        Parameters
        ----------
        block_size : int
            Recordings that are computed together, and are never divided between shards.
        smaller : str
            The option that makes blocks smaller, if there is one.

        Raises
        ------
        ConfigError
            The list or the shard is wrong, or none of the files exists.
        """
        shard = Shard(1, 1) if self.shard is None else Shard.parse(self.shard)
        blocks = list(divide(read_list(self.path or ""), block_size))
        entries = [entry for block in shard.of(blocks) for entry in block]
        files = [Path(entry.path) for entry in entries]
        if files and not any(map(os.path.lexists, files)):
            raise ConfigError(
                f"--list: none of the {len(files)} files of {self.path} exists, such as {files[0]}. Relative paths "
                "start at the folder of the list; correct them, or move the list."
            )
        note = ""
        if not files:
            count = "1 block" if len(blocks) == 1 else f"{len(blocks)} blocks"
            note = f"shard {self.shard} is empty: the list has {count} of {block_size} recordings"
            note += f"; a smaller {smaller} makes more" if smaller else ""
        names = {path: entry.name for path, entry in zip(files, entries, strict=True)}
        return Selection(files, block_size, True, names, note)
