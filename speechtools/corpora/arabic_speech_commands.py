"""Arabic Speech Commands (Ghandoura, Hjabo and Al Dakkak 2021): 30 speakers, 40 keywords, 10 times each."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import CorpusError
from speechtools.core.registry import plugin
from speechtools.corpora import _keywords, _layout
from speechtools.corpora.utterance import Utterance

_LISTS = {"train.csv": "train", "val.csv": "valid", "test.csv": "test"}


@plugin("corpus/arabic-speech-commands")
def arabic_speech_commands(data_folder: str | Path, keywords: Sequence[str | int] | None = None) -> Iterator[Utterance]:
    """Arabic Speech Commands: ``dataset/<keyword>/<speaker>_NO_<number>.wav``, divided by its lists.

    ``data_folder`` is the folder that holds ``dataset`` and the lists ``train.csv``, ``val.csv`` and ``test.csv``
    (header ``file,class``), or one above it; without lists the split is ``""``. No speaker is in two of the
    corpus' own lists; where one is, a warning says so. The keywords are called by their English names, as the folders
    are. ``background_noise`` is left out. Ids are ``<keyword>-<speaker>-<number>``, sorted.

    Parameters
    ----------
    data_folder : str or Path
        Where the corpus is. The audio may be of any format that libsndfile reads, whatever suffix the lists give it.
    keywords : list of str, optional
        The keywords to keep, by default all.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout, no file holds one of the keywords, a list has no such
        header, a wrong class or no file that exists, a file is in two lists, an id comes twice, or no file can be
        read. Listed files that do not exist, files that no list names, audio of other names, and unreadable files are
        left out with one warning each.
    ConfigError
        ``keywords`` is no list, or an empty one.

    Example
    -------
    >>> words = {u.text for u in arabic_speech_commands("/corpora/arabic", ["send", "enter"])}  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    wanted = "dataset/<keyword>/<speaker>_NO_<number>.wav"
    matches = _keywords.matching(
        root, _layout.ARABIC_SPEECH_COMMANDS, "arabic-speech-commands", wanted, other="background_noise"
    )
    chosen = _keywords.select(root, keywords, {match["keyword"] for match in matches.values()})
    lists = _keywords.Lists(root, matches)
    named = None if keywords is None else chosen
    divided = lists.read({path.parents[2] for path in matches}, _LISTS, lambda file: _listed(file, named))
    drafts, unlisted = [], []
    for path, match in matches.items():
        if match["keyword"] not in chosen:
            continue
        split = lists.splits.get(path.with_suffix(""), None if path.parents[2] in divided else "")
        if split is None:
            unlisted.append(path.relative_to(root).as_posix())
            continue
        utt_id = f"{match['keyword']}-{match['speaker']}-{match['number']}"
        drafts.append(Utterance(utt_id, match["speaker"], split, path, 0.0, match["keyword"]))
    if not drafts:
        raise CorpusError(
            f"The lists of the corpus {root} name none of the {len(unlisted)} files that are there, the first of which "
            f"is {unlisted[0]}. Mend the lists, or remove them to read the corpus undivided."
        )
    _keywords.warn_of_unlisted(root, unlisted)
    return _keywords.finish(root, drafts)


def _listed(file: Path, keywords: set[str] | None) -> list[str]:
    """The files that a list names, of some keywords or of all."""
    names = []
    rows = csv.reader(_keywords.lines(file))
    if (header := next(rows, [])) != ["file", "class"]:
        raise CorpusError(f"{file} has the header {','.join(header)!r} instead of 'file,class'. Write the list anew.")
    for row in rows:
        if len(row) != 2 or Path(row[0]).parent.name != row[1]:
            raise CorpusError(
                f"{file} has the row {','.join(row)!r}, where dataset/<keyword>/<file>,<keyword> belongs. Mend it."
            )
        if keywords is None or row[1] in keywords:
            names.append(row[0])
    return names
