"""Arabic Speech Commands (Ghandoura, Hjabo and Al Dakkak 2021): 30 speakers, 40 keywords, 10 times each."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from speechtools.core.errors import CorpusError
from speechtools.core.registry import plugin
from speechtools.corpora import _keywords
from speechtools.corpora.utterance import Utterance

_LISTS = {"train.csv": "train", "val.csv": "valid", "test.csv": "test"}


@plugin("corpus/arabic-speech-commands")
def arabic_speech_commands(data_folder: str | Path, keywords: Sequence[str | int] | None = None) -> Iterator[Utterance]:
    """Arabic Speech Commands: ``dataset/<keyword>/<speaker>_NO_<number>.wav``, divided by its lists.

    The lists are ``train.csv``, ``val.csv`` and ``test.csv`` with the header ``file,class``; without lists the split is
    ``""``. No speaker is in two of the published lists; a warning names those that are in yours. Keywords have the
    English names of the folders. ``background_noise`` is ignored. Ids are ``<keyword>-<speaker>-<number>``, sorted.

    Parameters
    ----------
    data_folder : str or Path
        The folder with ``dataset`` and the lists, or one above it. The audio may be in any format that libsndfile
        reads, whatever suffix the lists have.
    keywords : list of str, optional
        The keywords to keep; by default all.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout, a keyword does not occur, a list is malformed or names no
        existing file, a file is in two lists, two files have the same id, or no file can be read. Listed files that do
        not exist, files that no list names, other audio, and unreadable files are skipped with one warning each.
    ConfigError
        ``keywords`` is not a list, or an empty one.

    Examples
    --------
    >>> words = {u.text for u in arabic_speech_commands("/corpora/arabic", ["send", "enter"])}  # doctest: +SKIP
    """
    expected = "dataset/<keyword>/<speaker>_NO_<number>.wav"
    corpus = _keywords.KeywordCorpus(data_folder, "arabic-speech-commands", expected, keywords, "background_noise")
    return corpus.utterances(corpus.splits(3, _LISTS, _names_in, others=None))


def _names_in(file: Path) -> list[str]:
    """The files that a list names."""
    header, *rows = list(csv.reader(_keywords.lines(file))) or [[]]
    if header != ["file", "class"]:
        raise CorpusError(f"{file} has the header {','.join(header)!r} instead of 'file,class'. Fix the list.")
    for row in rows:
        if len(row) != 2 or Path(row[0]).parent.name != row[1]:
            raise CorpusError(
                f"{file} has the row {','.join(row)!r} instead of dataset/<keyword>/<file>,<keyword>. Fix the list."
            )
    return [name for name, _ in rows]
