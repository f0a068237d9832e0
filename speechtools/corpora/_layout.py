"""What the readers of corpora in folders share: telling layouts apart, and the lengths of the files."""

import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import AudioError, CorpusError
from speechtools.corpora.utterance import Utterance

#: Names of folders that divide a corpus, in lower case, and the split each stands for.
SPLITS = {"train": "train", "valid": "valid", "val": "valid", "dev": "valid", "test": "test", "eval": "test"}

#: Paths inside a corpus, with "/" and in lower case.
TIMIT = re.compile(r"(?:^|/)(?P<split>train|test)/dr[1-8]/(?P<speaker>[^/]+)/(?P<utterance>[^/.]+)\.[^/]+$")
LIBRISPEECH = re.compile(
    r"(?:^|/)(?P<kind>train|dev|test)-[^/]+/(?P<speaker>\d+)/(?P<chapter>\d+)/(?P=speaker)-(?P=chapter)-\d+\.[^/.]+$"
)
#: Corpora of keywords: paths inside them, with "/"; case counts in what the groups hold.
SPEECH_COMMANDS = re.compile(
    r"(?:^|/)(?P<keyword>[^/]+)/(?P<speaker>[^/]+)_nohash_(?P<number>\d+)\.[^/.]+$", re.IGNORECASE
)
ARABIC_SPEECH_COMMANDS = re.compile(
    r"(?:^|/)dataset/(?P<keyword>[^/]+)/(?P<speaker>[^/]+)_NO_(?P<number>\d+)\.[^/.]+$", re.IGNORECASE
)
AUDIOMNIST = re.compile(r"(?:^|/)(?P<speaker>[^/]+)/(?P<keyword>\d)_(?P=speaker)_(?P<number>\d+)\.[^/.]+$")

_NAMED = 3  # files named in a message that counts them all


def inside(root: Path, path: Path) -> str:
    """``path`` as the patterns want it, from the name of ``root`` on: a part of a corpus is known like the whole."""
    return path.relative_to(root.parent).as_posix().lower()


def find_lists(root: Path) -> dict[Path, str]:
    """The folders with Kaldi lists (``wav.scp``), and the split each holds."""
    if (root / "wav.scp").is_file():
        return {root: ""}
    folders = [path.parent for path in sorted(root.glob("*/wav.scp"))]
    return {folder: SPLITS[folder.name.lower()] for folder in folders if folder.name.lower() in SPLITS}


def recognise(root: Path, files: list[Path]) -> str | None:
    """The name of the reader whose layout a folder with these audio files has, or None."""
    if any(TIMIT.search(inside(root, path)) for path in files):
        return "timit"
    if any(LIBRISPEECH.search(inside(root, path)) for path in files):
        return "librispeech"
    if any(SPEECH_COMMANDS.search(inside(root, path)) for path in files):
        return "speech-commands"
    if any(ARABIC_SPEECH_COMMANDS.search(inside(root, path)) for path in files):
        return "arabic-speech-commands"
    if any(AUDIOMNIST.search(inside(root, path)) for path in files):
        return "audiomnist"
    if find_lists(root):
        return "kaldi"
    if any(path.parent != root for path in files):
        return "folder"
    return None


def wrong_layout(root: Path, reader: str, wanted: str, files: list[Path] | None = None) -> CorpusError:
    """The error of a folder in which a reader finds nothing of its own. ``files`` are its audio files, where known."""
    names = sorted(path.name + "/" * path.is_dir() for path in root.iterdir())
    if not names:
        return CorpusError(f"The corpus folder {root} is empty. Give the folder that holds the corpus.")
    found = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    fits = recognise(root, audio.find_audio(root) if files is None else files)
    if fits in (None, reader):
        remedy = "Give the folder that holds the corpus, or choose the reader of its layout."
    else:
        remedy = f"It looks like the layout of corpus/{fits}: choose that reader."
    return CorpusError(
        f"{root} is not laid out as corpus/{reader} reads it: looked for {wanted}; found {found}. {remedy}"
    )


def with_durations(root: Path, drafts: list[Utterance]) -> Iterator[Utterance]:
    """The drafts, sorted by id, with their durations filled in from the headers of the files.

    A file that cannot be read is left out; one warning at the end counts them and names the first.

    Raises
    ------
    CorpusError
        Two drafts have one id (at once), or not one file can be read (at the end).
    """
    drafts = sorted(drafts, key=lambda draft: draft.utt_id)
    for one, other in zip(drafts, drafts[1:], strict=False):
        if one.utt_id == other.utt_id:
            raise CorpusError(
                f"Two files of the corpus {root} give the utterance id {one.utt_id!r}: {one.path} and {other.path}. "
                "Remove or rename one of them."
            )
    return _timed(root, drafts)


def _timed(root: Path, drafts: list[Utterance]) -> Iterator[Utterance]:
    reasons = []
    for draft in drafts:
        try:
            seconds = audio.duration(draft.path)
        except AudioError as error:
            reasons.append(str(error))
            continue
        yield replace(draft, duration=seconds)
    if not reasons:
        return
    named = " ".join(reasons[:_NAMED]) + (" …" if len(reasons) > _NAMED else "")
    if len(reasons) == len(drafts):
        raise CorpusError(f"None of the {len(drafts)} audio files of the corpus {root} can be read. {named}")
    warnings.warn(f"{len(reasons)} of {len(drafts)} files of the corpus {root} were left out. {named}", stacklevel=2)


def transcript(path: Path) -> str:
    """The text of a file of transcripts; a byte that is no UTF-8 becomes a replacement character."""
    return path.read_text(encoding="utf-8", errors="replace")


def stem(path: Path) -> str:
    """The name up to its first dot: ``SA1`` of ``SA1.WAV.wav``."""
    return os.path.basename(path).split(".")[0]
