"""Any corpus with Kaldi lists."""

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
    """Kaldi lists: ``wav.scp`` (id, path), ``utt2spk`` (id, speaker) and optionally ``text`` (id, words).

    ``data_folder`` contains the lists itself (the split is then ``""``), or folders with lists: train, dev (or valid,
    val) and test (or eval). A path in wav.scp is absolute, or relative to ``data_folder``, the folder above it or the
    folder of the list, tried in this order. Commands instead of paths, and ``segments``, are not supported.
    Sorted by id.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout; a list lacks a column or an utterance, names one twice, or is
        not UTF-8; a file named in wav.scp does not exist; an entry is a command; there is a list of segments; or no
        file can be read. Unreadable files are skipped with one warning.

    Examples
    --------
    >>> texts = {u.utt_id: u.text for u in kaldi("/corpora/speechocean762/train")}  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    lists = _layout.find_lists(root)
    if not lists:
        raise _layout.wrong_layout(root, "kaldi", "wav.scp (or train/wav.scp, with dev, valid, val, test, eval)")
    utterances = [utterance for folder, split in lists.items() for utterance in _read_lists(root, folder, split)]
    if not utterances:
        raise CorpusError(f"The corpus {root} has no utterances: wav.scp is empty. Write the lists again.")
    return _layout.with_durations(root, utterances)


def _read_lists(root: Path, folder: Path, split: str) -> list[Utterance]:
    if (folder / "segments").exists():
        raise CorpusError(f"{folder / 'segments'} is not supported. Cut the audio with Kaldi's extract-segments.")
    paths = _audio_paths(root, folder)
    if not (folder / "utt2spk").is_file():
        raise CorpusError(f"{folder} has a wav.scp but no utt2spk. Add it, with a line <id> <speaker> per utterance.")
    speakers = _read_list(folder / "utt2spk")
    texts = _read_list(folder / "text", may_be_blank=True) if (folder / "text").is_file() else {}
    missing = [utt_id for utt_id in paths if utt_id not in speakers]
    if missing:
        raise CorpusError(
            f"{folder / 'utt2spk'} lacks {len(missing)} of the {len(paths)} utterances of wav.scp, such as "
            f"{missing[0]!r}. Add them, or remove them from wav.scp."
        )
    return [Utterance(key, speakers[key], split, path, 0.0, texts.get(key)) for key, path in paths.items()]


def _audio_paths(root: Path, folder: Path) -> dict[str, Path]:
    """The file of each utterance in ``folder/wav.scp``."""
    starts = list(dict.fromkeys((root, root.parent, folder)))
    paths, missing = {}, []
    for utt_id, entry in _read_list(folder / "wav.scp").items():
        if entry.endswith("|"):
            raise CorpusError(f"{folder / 'wav.scp'} has the command {entry!r} for {utt_id!r}. List paths instead.")
        file = next((start / entry for start in starts if os.path.isfile(start / entry)), None)
        if file is None:
            missing.append((utt_id, entry))
        else:
            paths[utt_id] = Path(os.path.abspath(file))
    if missing:
        utt_id, entry = missing[0]
        location = entry if os.path.isabs(entry) else f"{entry} in {', '.join(map(str, starts))}"
        raise CorpusError(
            f"{folder / 'wav.scp'} names {len(missing)} of {len(missing) + len(paths)} files that do not exist, such "
            f"as that of {utt_id!r}: {location}. Fix the paths, or pass the folder that they start from."
        )
    return paths


def _read_list(path: Path, may_be_blank: bool = False) -> dict[str, str]:
    """A Kaldi list: keys, and the rest of each line."""
    entries: dict[str, str] = {}
    for number, line in enumerate(_layout.read_lines(path), start=1):
        if not line.strip():
            continue
        key, *rest = line.split(maxsplit=1)
        if not rest and not may_be_blank:
            raise CorpusError(f"Line {number} of {path} is {line!r}, an id without a value. Complete it.")
        if key in entries:
            raise CorpusError(f"Line {number} of {path} names {key!r} a second time. Remove one of the two lines.")
        entries[key] = rest[0].strip() if rest else ""
    return entries
