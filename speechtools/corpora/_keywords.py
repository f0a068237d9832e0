"""What the readers of keyword corpora share: the choice of keywords, lists of files, and who is in two splits."""

import difflib
import os
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.corpora import _layout
from speechtools.corpora.utterance import Utterance

_NAMED = 5  # files, keywords and speakers named in a message that counts them all


def select(root: Path, keywords: Sequence[str | int] | None, found: Collection[str]) -> set[str]:
    """The keywords that are wanted, of those ``found`` in the corpus ``root``; None wants all. Numbers count as text.

    Raises
    ------
    ConfigError
        ``keywords`` is no list, or an empty one.
    CorpusError
        No file holds one of the keywords.
    """
    if keywords is None:
        return set(found)
    if isinstance(keywords, str) or not isinstance(keywords, Collection) or not keywords:
        raise ConfigError(
            f"keywords={keywords!r} is no list of keywords. Give a list, as in [{next(iter(sorted(found)))}], or leave "
            "it out for all."
        )
    wanted = [str(keyword) for keyword in keywords]  # a yaml makes numbers of digits
    for keyword in wanted:
        if keyword not in found:
            spelled = {name.lower(): name for name in sorted(found)}
            near = difflib.get_close_matches(keyword.lower(), spelled, n=1, cutoff=0.6)
            hint = f" Did you mean {spelled[near[0]]!r}?" if near else ""
            raise CorpusError(
                f"No file of the corpus {root} holds the keyword {keyword!r}.{hint} It has: {', '.join(sorted(found))}."
            )
    return set(wanted)


def matching(root: Path, pattern: re.Pattern, reader: str, wanted: str, other: str = "") -> dict[Path, re.Match]:
    """The audio files below ``root`` whose path from there (with "/") fits a layout, and how it fits.

    Audio that does not fit is left out with one warning, but for the folder ``other``, which holds no keywords.

    Raises
    ------
    CorpusError
        The folder is missing, or no file fits.
    """
    files = audio.find_audio(root)
    names = {path: path.relative_to(root).as_posix() for path in files}
    matches = {path: match for path, name in names.items() if (match := pattern.search(name))}
    if not matches:
        raise _layout.wrong_layout(root, reader, wanted, files)
    strangers = [name for path, name in names.items() if path not in matches and other not in name.split("/")[:-1]]
    if strangers:
        warnings.warn(
            f"{len(strangers)} of {len(files)} audio files of the corpus {root} are not named {wanted}, and were left "
            f"out: {some(strangers)}.",
            stacklevel=3,
        )
    return matches


class Lists:
    """The lists that divide a corpus, read one after the other. ``there`` are the files that the corpus has.

    Listed files are matched without their suffix, since corpora get converted, and files that are not there are
    counted, for the one warning of :meth:`read`.
    """

    def __init__(self, root: Path, there: Collection[Path]):
        self.root = root
        self.splits: dict[Path, str] = {}  # by path without suffix
        self._there = {path.with_suffix("") for path in there}
        self._lists: dict[Path, Path] = {}  # by path without suffix: the list that named it
        self._missing: list[str] = []

    def add(self, file: Path, split: str, names: Sequence[str]) -> None:
        """Take in the files that the list ``file`` names, relative to its folder.

        Raises
        ------
        CorpusError
            A file is named by two lists of different splits.
        """
        for name in names:
            path = Path(os.path.normpath(file.parent / name)).with_suffix("")
            if self.splits.get(path, split) != split:
                raise CorpusError(
                    f"{name} is named by two lists, {self._lists[path]} and {file}, so it would be in two splits. "
                    "Remove it from one of them."
                )
            if path not in self.splits and path not in self._there:
                self._missing.append(f"{name} ({file.name})")
            self.splits[path], self._lists[path] = split, file

    def read(self, folders: Collection[Path], splits: dict[str, str], listed: Callable[[Path], list[str]]) -> set[Path]:
        """Take in all lists of some folders, with one warning about listed files that are not there.

        ``splits`` has the names of the lists and the split of each, and ``listed`` tells what a list names. Returns the
        folders that have a list.
        """
        divided = set()
        for folder in sorted(folders):
            for name, split in splits.items():
                if (folder / name).is_file():
                    divided.add(folder)
                    self.add(folder / name, split, listed(folder / name))
        if self._missing:
            warnings.warn(
                f"The lists of the corpus {self.root} name {len(self._missing)} of {len(self.splits)} files that do "
                f"not exist: {some(self._missing)}. They were left out.",
                stacklevel=4,
            )
        return divided


def warn_of_unlisted(root: Path, names: Sequence[str]) -> None:
    """One warning about files that no list names, in a corpus that has lists."""
    if names:
        warnings.warn(
            f"The lists of the corpus {root} do not name {len(names)} files that are there: {some(names)}. They were "
            "left out.",
            stacklevel=3,
        )


def lines(file: Path) -> list[str]:
    """The lines of a list that are not blank.

    Raises
    ------
    CorpusError
        It is no UTF-8 text.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{file} is no UTF-8 text ({error.reason} at byte {error.start}). Convert it.") from error
    return [line.strip() for line in text.split("\n") if line.strip()]


def finish(root: Path, drafts: list[Utterance]) -> Iterator[Utterance]:
    """The drafts with their durations, sorted by id, once it has been said which speakers are in several splits."""
    splits: dict[str, set[str]] = {}
    for draft in drafts:
        splits.setdefault(draft.speaker, set()).add(draft.split)
    torn = sorted(speaker for speaker, of in splits.items() if len(of) > 1)
    if torn:
        warnings.warn(
            f"{len(torn)} of {len(splits)} speakers of the corpus {root} are in more than one split: {some(torn)}. A "
            "test on them is no test on unheard speakers: mend the lists.",
            stacklevel=3,
        )
    return _layout.with_durations(root, drafts)


def some(names: Sequence[str]) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")
