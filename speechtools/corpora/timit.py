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

    ``data_folder`` is the folder with TRAIN and TEST, or one above it. The audio may be SPHERE, as the LDC ships
    it, or any other format that libsndfile reads; of copies side by side (``SA1.WAV``, ``SA1.WAV.wav``) the one with
    the longest name is taken. The sentences sa1 and sa2, which all speakers share, are included: filter them by id.
    Ids are ``<speaker>_<sentence>`` in lower case, sorted; the splits are the corpus's own, train and test.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout, two files have the same id (two copies of the corpus), or no
        file can be read. Unreadable files are skipped with one warning.

    Examples
    --------
    >>> for utterance in timit("/corpora/TIMIT"):  # doctest: +SKIP
    ...     print(utterance.utt_id, utterance.split, utterance.text)
    """
    root = audio.existing_folder(data_folder)
    files = audio.find_audio(root)
    utterances = {}  # by folder and sentence: the copy with the longest name
    by_length = sorted(files, key=lambda path: len(path.name))
    for path, match in _layout.matching(root, by_length, _layout.LAYOUTS["timit"]).items():
        split, speaker, sentence = (match[group].lower() for group in ("split", "speaker", "sentence"))
        utterances[path.parent, sentence] = Utterance(f"{speaker}_{sentence}", speaker, split, path, 0.0, _text(path))
    if not utterances:
        raise _layout.wrong_layout(root, "timit", "TRAIN/DR1/<speaker>/<sentence>.WAV (in any case)", files)
    return _layout.with_durations(root, list(utterances.values()))


def _text(path: Path) -> str | None:
    """The sentence, without the first and last sample that precede it in the file."""
    for suffix in (".TXT", ".txt"):
        file = path.with_name(path.name.partition(".")[0] + suffix)
        if file.is_file():
            words = _layout.transcript(file).split()
            if len(words) > 2 and words[0].isdigit() and words[1].isdigit():
                words = words[2:]
            return " ".join(words)
    return None
