"""Any corpus with one folder per speaker: the example to copy for a reader of your own."""

from collections.abc import Iterator
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import CorpusError
from speechtools.core.registry import plugin
from speechtools.corpora import _layout
from speechtools.corpora.utterance import Utterance


@plugin("corpus/folder")
def folder(data_folder: str | Path) -> Iterator[Utterance]:
    """One folder per speaker: ``<speaker>/<utterance>.wav``, with any folders in between.

    Folders named train, dev (or valid, val) and test (or eval), in any case, contain the speakers of the splits;
    without them the split is ``""``. Ids are the path inside ``data_folder`` without its suffix, joined by hyphens:
    ``train-anna-monday-001``. There are no transcripts. Sorted by id.

    Raises
    ------
    CorpusError
        The folder is missing, without audio, or in a layout that another reader knows; a file lies outside the folders
        of the speakers or of the splits; two files have the same id (``001.wav`` beside ``001.flac``); or no file can
        be read. Unreadable files are skipped with one warning.

    Examples
    --------
    >>> speakers = {u.speaker for u in folder("/corpora/my-voices")}  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    files = audio.find_audio(root)
    if _layout.recognise(root, files) != "folder":
        raise _layout.wrong_layout(root, "folder", "<speaker>/<utterance>.wav", files)
    names = {path: path.relative_to(root) for path in files}
    divided = any(len(name.parts) > 1 and name.parts[0].lower() in _layout.SPLITS for name in names.values())
    utterances = []
    for path, name in names.items():
        split = _layout.SPLITS.get(name.parts[0].lower()) if divided else ""
        if split is None:
            raise CorpusError(f"{name} is outside the splits ({', '.join(_layout.SPLITS)}) of {root}. Move it.")
        speaker, *rest = name.parts[1:] if divided else name.parts
        if not rest:
            raise CorpusError(f"{name} is not in a speaker's folder in {root}. Move it.")
        utterances.append(Utterance("-".join(name.with_suffix("").parts), speaker, split, path, duration=0.0))
    return _layout.with_durations(root, utterances)  # sorts them, and fills in the durations
