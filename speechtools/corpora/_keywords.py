"""What the readers of keyword corpora share: choosing keywords, and file names that contain keyword and speaker."""

import os
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import ConfigError, CorpusError, first_of
from speechtools.core.spelling import did_you_mean
from speechtools.corpora._layout import LAYOUTS, read_lines, with_durations, wrong_layout
from speechtools.corpora.utterance import Utterance


def select(root: Path, keywords: Sequence[str | int] | None, available: Collection[str]) -> set[str]:
    """The chosen keywords of a corpus; None chooses all that are ``available``. Numbers count as text.

    Raises
    ------
    ConfigError
        ``keywords`` is not a list, or an empty one.
    CorpusError
        A keyword is not available.
    """
    if keywords is None:
        return set(available)
    if isinstance(keywords, str) or not isinstance(keywords, Collection) or not keywords:
        raise ConfigError(f"keywords={keywords!r} is not a list. Pass a list, as in [{min(available)}], or omit it.")
    for keyword in map(str, keywords):  # YAML reads digits as numbers
        if keyword not in available:
            raise CorpusError(
                f"No file of the corpus {root} has the keyword {keyword!r}.{did_you_mean(keyword, available)} "
                f"Available: {', '.join(sorted(available))}."
            )
    return set(map(str, keywords))


class KeywordCorpus:
    """The audio files of a corpus whose names contain keyword, speaker and number, as ``LAYOUTS[reader]`` says.

    Audio with other names is skipped with one warning, except in the folder ``background``.

    Parameters
    ----------
    reader, expected : str
        Name of the reader, and its layout in words, for messages.
    keywords : list of str, optional
        The keywords to keep; by default all.

    Raises
    ------
    CorpusError
        The folder is missing, no file fits, or none has one of the keywords.
    ConfigError
        ``keywords`` is not a list, or an empty one.
    """

    def __init__(
        self, data_folder: str | Path, reader: str, expected: str, keywords: Sequence | None, background: str = ""
    ):
        self.root = audio.existing_folder(data_folder)
        files = audio.find_audio(self.root)
        names = {path: path.relative_to(self.root).as_posix() for path in files}
        matches = {path: match for path, name in names.items() if (match := LAYOUTS[reader].search(name))}
        if not matches:
            raise wrong_layout(self.root, reader, expected, files)
        others = [name for path, name in names.items() if path not in matches and background not in name.split("/")]
        _warn(f"Skipped {len(others)} of {len(files)} audio files of the corpus {self.root}, not {expected}", others)
        self.keywords = select(self.root, keywords, {match["keyword"] for match in matches.values()})
        self.all_keywords = keywords is None
        self.matches = {path: match for path, match in matches.items() if match["keyword"] in self.keywords}

    def splits(
        self, level: int, lists: dict[str, str], names_in: Callable[[Path], list[str]], others: str | None
    ) -> dict[Path, str | None]:
        """The split of each file by the lists of the corpus; ``""`` for files without lists.

        Files are compared without suffix, since corpora get converted. Listed files that do not exist are counted in
        one warning.

        Parameters
        ----------
        level : int
            Which parent of a file contains the lists: 2 is the folder above its own.
        lists : dict
            File name of each list, and its split.
        names_in : callable
            Reads a list: the files that it names, relative to its folder.
        others : str or None
            Split of the files that no list names.

        Raises
        ------
        CorpusError
            A file is in lists of two splits.
        """
        existing = {path.with_suffix("") for path in self.matches}
        entries: dict[Path, tuple[str, Path]] = {}  # by path without suffix: split and list
        missing, divided = [], set()
        for folder in sorted({path.parents[level - 1] for path in self.matches}):
            for file in (folder / name for name in lists if (folder / name).is_file()):
                divided.add(folder)
                for name in names_in(file):
                    if not self.all_keywords and Path(name).parent.name not in self.keywords:
                        continue
                    path, split = Path(os.path.normpath(folder / name)).with_suffix(""), lists[file.name]
                    if path in entries and entries[path][0] != split:
                        raise CorpusError(
                            f"{name} is in the lists of two splits, {entries[path][1]} and {file}. Remove it from one."
                        )
                    if path not in entries and path not in existing:
                        missing.append(f"{name} ({file.name})")
                    entries[path] = split, file
        _warn(f"Lists of {self.root} name {len(missing)} of {len(entries)} files that do not exist", missing)
        unlisted = {path: others if path.parents[level - 1] in divided else "" for path in self.matches}
        return {path: entries.get(path.with_suffix(""), (split,))[0] for path, split in unlisted.items()}

    def utterances(self, splits: dict[Path, str | None] | None = None) -> Iterator[Utterance]:
        """The utterances, named ``<keyword>-<speaker>-<number>``; files with the split None are skipped with a warning.

        Raises
        ------
        CorpusError
            All files have the split None, two have the same id, or no file can be read.
        """
        utterances, unlisted = [], []
        for path, match in self.matches.items():
            split = "" if splits is None else splits[path]
            if split is None:
                unlisted.append(path.relative_to(self.root).as_posix())
                continue
            utt_id = f"{match['keyword']}-{match['speaker']}-{match['number']}"
            utterances.append(Utterance(utt_id, match["speaker"], split, path, 0.0, match["keyword"]))
        if not utterances:
            raise CorpusError(
                f"The lists of the corpus {self.root} name none of its {len(unlisted)} files, such as {unlisted[0]}. "
                "Fix the lists, or remove them to read the corpus undivided."
            )
        _warn(f"Skipped {len(unlisted)} files of the corpus {self.root} that its lists do not name", unlisted)
        return finish(self.root, utterances)


def lines(file: Path) -> list[str]:
    """The lines of a list that are not blank; raises CorpusError if it is not UTF-8."""
    return [line.strip() for line in read_lines(file) if line.strip()]


def finish(root: Path, utterances: list[Utterance]) -> Iterator[Utterance]:
    """The utterances with durations, sorted by id; one warning names speakers that are in several splits."""
    splits: dict[str, set[str]] = {}
    for utterance in utterances:
        splits.setdefault(utterance.speaker, set()).add(utterance.split)
    shared = sorted(speaker for speaker, names in splits.items() if len(names) > 1)
    _warn(f"Fix the lists of {root}: {len(shared)} of {len(splits)} speakers are in more than one split", shared)
    return with_durations(root, utterances)


def _warn(message: str, names: list[str]) -> None:
    """Warn with the first of some names, if there are any."""
    if names:
        warnings.warn(f"{message}: {first_of(names)}.", stacklevel=4)
