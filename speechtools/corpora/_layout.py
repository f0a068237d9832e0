"""What the readers of folders share: recognising a layout, reading lists, and the durations of the files."""

import itertools
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import AudioError, CorpusError, first_of
from speechtools.corpora.utterance import Utterance

#: Names of folders that divide a corpus, in lower case, and the split of each.
SPLITS = {"train": "train", "valid": "valid", "val": "valid", "dev": "valid", "test": "test", "eval": "test"}

#: Layouts that file names reveal, by reader: patterns of paths with "/", in the order in which they are tried.
LAYOUTS = {
    reader: re.compile(rf"(?:^|/){pattern}\.[^/.]+$", re.IGNORECASE)
    for reader, pattern in {
        "timit": r"(?P<split>train|test)/dr[1-8]/(?P<speaker>[^/]+)/(?P<sentence>[^/.]+)(?:\.[^/.]+)*",
        "librispeech": r"(?P<kind>train|dev|test)-[^/]+/(?P<speaker>\d+)/(?P<book>\d+)/(?P=speaker)-(?P=book)-\d+",
        "speech-commands": r"(?P<keyword>[^/]+)/(?P<speaker>[^/]+)_nohash_(?P<number>\d+)",
        "arabic-speech-commands": r"dataset/(?P<keyword>[^/]+)/(?P<speaker>[^/]+)_NO_(?P<number>\d+)",
        "audiomnist": r"(?P<speaker>[^/]+)/(?P<keyword>\d)_(?P=speaker)_(?P<number>\d+)",
    }.items()
}

_NAMED = 3  # unreadable files named in a warning that counts them all


def matching(root: Path, files: Iterable[Path], pattern: re.Pattern) -> dict[Path, re.Match]:
    """Files that fit a pattern. Paths start with the name of ``root``, so that a subfolder of a corpus matches too."""
    matches = {path: pattern.search(path.relative_to(root.parent).as_posix()) for path in files}
    return {path: match for path, match in matches.items() if match}


def find_lists(root: Path) -> dict[Path, str]:
    """The folders with Kaldi lists (``wav.scp``) and the split of each."""
    if (root / "wav.scp").is_file():
        return {root: ""}
    folders = [path.parent for path in sorted(root.glob("*/wav.scp"))]
    return {folder: SPLITS[folder.name.lower()] for folder in folders if folder.name.lower() in SPLITS}


def recognise(root: Path, files: list[Path]) -> str | None:
    """The name of the reader for a folder with these audio files, or None."""
    for reader, pattern in LAYOUTS.items():
        if matching(root, files, pattern):
            return reader
    if find_lists(root):
        return "kaldi"
    return "folder" if any(path.parent != root for path in files) else None


def wrong_layout(root: Path, reader: str, expected: str, files: list[Path] | None = None) -> CorpusError:
    """The error for a folder without anything that ``reader`` can read. ``files`` are its audio files, if known."""
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())
    if not names:
        return CorpusError(f"The corpus folder {root} is empty. Pass the folder that contains the corpus.")
    other = recognise(root, audio.find_audio(root) if files is None else files)
    if other in (None, reader):
        remedy = "Pass the folder that contains the corpus, or choose the reader of its layout."
    else:
        remedy = f"It looks like the layout of corpus/{other}: choose that reader."
    return CorpusError(f"corpus/{reader} finds no {expected} in {root}, which contains {first_of(names)}. {remedy}")


def with_durations(root: Path, utterances: list[Utterance], list_file: Path | None = None) -> Iterator[Utterance]:
    """The utterances, sorted by id, with durations from the headers of the files.

    Unreadable files are skipped; one warning at the end counts them and names the first, and the ``list_file`` that
    lists them, if there is one.

    Raises
    ------
    CorpusError
        Two utterances have the same id (raised at once), or no file can be read (at the end).
    """
    utterances = sorted(utterances, key=lambda utterance: utterance.utt_id)
    for one, other in itertools.pairwise(utterances):
        if one.utt_id == other.utt_id:
            raise CorpusError(
                f"Two files of the corpus {root} have the utterance id {one.utt_id!r}: {one.path} and {other.path}. "
                "Remove or rename one of them."
            )
    return _timed(utterances, f"listed in {list_file}" if list_file else f"of the corpus {root}")


def _timed(utterances: list[Utterance], origin: str) -> Iterator[Utterance]:
    reasons = []
    for utterance in utterances:
        try:
            seconds = audio.duration(utterance.path)
        except AudioError as error:
            reasons.append(str(error))
            continue
        yield replace(utterance, duration=seconds)
    if not reasons:
        return
    details = " ".join(reasons[:_NAMED]) + (" …" if len(reasons) > _NAMED else "")
    if len(reasons) == len(utterances):
        raise CorpusError(f"None of the {len(utterances)} audio files {origin} can be read. {details}")
    warnings.warn(f"{len(reasons)} of {len(utterances)} files {origin} were skipped. {details}", stacklevel=2)


def read_lines(path: Path) -> list[str]:
    """The lines of a text file.

    Raises
    ------
    CorpusError
        It is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start}). Convert it.") from error


def transcript(path: Path) -> str:
    """The text of a file of transcripts; a byte that is not UTF-8 becomes a replacement character."""
    return path.read_text(encoding="utf-8", errors="replace")
