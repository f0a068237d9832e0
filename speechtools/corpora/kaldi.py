"""Any corpus that comes with Kaldi's lists."""

import os
from collections.abc import Iterator
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import CorpusError
from speechtools.core.registry import plugin
from speechtools.corpora import _layout
from speechtools.corpora.utterance import Utterance


@plugin("corpus/kaldi")
def kaldi(data_folder: str | Path) -> Iterator[Utterance]:
    """Kaldi lists: ``wav.scp`` (id, path), ``utt2spk`` (id, speaker) and, where there is one, ``text`` (id, words).

    ``data_folder`` holds the lists itself (the split is then ``""``) or has folders that do: train, dev (or valid, val)
    and test (or eval). A path in wav.scp is absolute, or starts at ``data_folder``, at the folder above it or at that
    of the list, looked up in this order. Commands in place of paths, and ``segments``, are not supported. Sorted by id.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout; a list lacks a column or an utterance, names one twice, or
        is no UTF-8; a file named in wav.scp does not exist; an entry is a command; there is a list of segments; or no
        file can be read. Single unreadable files are left out with one warning.

    Example
    -------
    >>> texts = {u.utt_id: u.text for u in kaldi("/corpora/speechocean762/train")}  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    lists = _layout.find_lists(root)
    if not lists:
        wanted = "wav.scp, in the folder itself or in one of its folders train, dev, valid, val, test, eval"
        raise _layout.wrong_layout(root, "kaldi", wanted)
    drafts = [draft for folder, split in lists.items() for draft in _read_lists(root, folder, split)]
    if not drafts:
        raise CorpusError(f"The lists of the corpus {root} name no utterance: wav.scp is empty. Write the lists anew.")
    return _layout.with_durations(root, drafts)


def _read_lists(root: Path, folder: Path, split: str) -> list[Utterance]:
    if (folder / "segments").exists():
        raise CorpusError(
            f"{folder / 'segments'} cuts the recordings into utterances, which this reader does not do. Cut the audio "
            "into one file an utterance (Kaldi's extract-segments), list these in wav.scp and remove segments."
        )
    paths = _audio_paths(root, folder)
    if not (folder / "utt2spk").is_file():
        raise CorpusError(f"{folder} has a wav.scp but no utt2spk, which names the speakers. Add it: <id> <speaker>.")
    speakers = _read_list(folder / "utt2spk")
    texts = _read_list(folder / "text", may_be_blank=True) if (folder / "text").is_file() else {}
    missing = [utt_id for utt_id in paths if utt_id not in speakers]
    if missing:
        raise CorpusError(
            f"{folder / 'utt2spk'} lacks {len(missing)} of the {len(paths)} utterances of wav.scp, the first "
            f"{missing[0]!r}. Add them, or take them out of wav.scp."
        )
    return [Utterance(key, speakers[key], split, path, 0.0, texts.get(key)) for key, path in paths.items()]


def _audio_paths(root: Path, folder: Path) -> dict[str, Path]:
    """The file of each utterance of ``folder/wav.scp``."""
    starts = list(dict.fromkeys((root, root.parent, folder)))
    paths, gone = {}, []
    for utt_id, entry in _read_list(folder / "wav.scp").items():
        if entry.endswith("|"):
            raise CorpusError(
                f"{folder / 'wav.scp'} gives for {utt_id!r} the command {entry!r}, and this reader runs no commands. "
                "Convert the audio to files first (WAV or FLAC) and list their paths."
            )
        found = next((start / entry for start in starts if os.path.isfile(start / entry)), None)
        if found is None:
            gone.append((utt_id, entry))
        else:
            paths[utt_id] = Path(os.path.abspath(found))
    if gone:
        utt_id, entry = gone[0]
        tried = entry if os.path.isabs(entry) else f"{entry} from {', '.join(str(start) for start in starts)}"
        raise CorpusError(
            f"{folder / 'wav.scp'} names {len(gone)} of {len(gone) + len(paths)} files that do not exist, the first "
            f"for {utt_id!r}: {tried}. Mend the paths (and their suffixes), or give the folder that they start from."
        )
    return paths


def _read_list(path: Path, may_be_blank: bool = False) -> dict[str, str]:
    """A Kaldi list: a key and the rest of the line."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise CorpusError(f"{path} is no UTF-8 text ({error.reason} at byte {error.start}). Convert it.") from error
    entries = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        key, *rest = line.split(maxsplit=1)
        if not rest and not may_be_blank:
            raise CorpusError(f"Line {number} of {path} is {line!r}: an id with nothing behind it. Complete the line.")
        if key in entries:
            raise CorpusError(f"Line {number} of {path} names {key!r} a second time. Remove one of the two lines.")
        entries[key] = rest[0].strip() if rest else ""
    return entries
