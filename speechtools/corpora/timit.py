"""TIMIT (LDC93S1), in the layout of the LDC."""

from collections.abc import Iterator
from pathlib import Path

from speechtools import audio
from speechtools.core.registry import plugin
from speechtools.corpora import _layout
from speechtools.corpora.utterance import Utterance


@plugin("corpus/timit")
def timit(data_folder: str | Path) -> Iterator[Utterance]:
    """TIMIT: ``TRAIN/DR1/FCJF0/SA1.WAV`` and its transcript ``SA1.TXT``, in upper or lower case.

    ``data_folder`` is the folder that holds TRAIN and TEST, or one above it. The audio may be SPHERE, as the LDC ships
    it, or any other format that libsndfile reads; of copies side by side (``SA1.WAV``, ``SA1.WAV.wav``) the one with
    the longest name is taken. The sentences sa1 and sa2, which all speakers share, are kept: leave them out by id.
    Ids are ``<speaker>_<sentence>`` in lower case, sorted; the splits are the corpus' own, train and test.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout, an id comes twice (two copies of the corpus), or no file can
        be read. Single unreadable files are left out with one warning.

    Example
    -------
    >>> for utterance in timit("/corpora/TIMIT"):  # doctest: +SKIP
    ...     print(utterance.utt_id, utterance.split, utterance.text)
    """
    root = audio.existing_folder(data_folder)
    files = audio.find_audio(root)
    chosen = {}  # by folder and sentence: the copy with the longest name
    for path in sorted(files, key=lambda path: len(path.name)):
        if match := _layout.TIMIT.search(_layout.inside(root, path)):
            chosen[path.parent, match["utterance"]] = path, match
    if not chosen:
        raise _layout.wrong_layout(root, "timit", "TRAIN/DR1/<speaker>/<sentence>.WAV (any case)", files)
    drafts = [
        Utterance(f"{match['speaker']}_{match['utterance']}", match["speaker"], match["split"], path, 0.0, _text(path))
        for path, match in chosen.values()
    ]
    return _layout.with_durations(root, drafts)


def _text(path: Path) -> str | None:
    """The sentence, without the first and last sample that stand before it in the file."""
    for suffix in (".TXT", ".txt"):
        file = path.with_name(_layout.stem(path) + suffix)
        if file.is_file():
            words = _layout.transcript(file).split()
            if len(words) > 2 and words[0].isdigit() and words[1].isdigit():
                words = words[2:]
            return " ".join(words)
    return None
