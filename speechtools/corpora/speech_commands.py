"""Google Speech Commands, version 1 and 2 (Warden 2018, arXiv:1804.03209)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from speechtools.core.registry import plugin
from speechtools.corpora import _keywords
from speechtools.corpora.utterance import Utterance

_LISTS = {"validation_list.txt": "valid", "testing_list.txt": "test"}


@plugin("corpus/speech-commands")
def speech_commands(data_folder: str | Path, keywords: Sequence[str | int] | None = None) -> Iterator[Utterance]:
    """Google Speech Commands: ``<word>/<speaker>_nohash_<number>.wav``, divided by its lists.

    Files in ``validation_list.txt`` are the split valid, those in ``testing_list.txt`` test, all others train; without
    lists, the split is ``""``. The lists come from a hash of the speaker, so that no speaker should be in two splits;
    a warning names those that are. ``_background_noise_`` is ignored. Ids are ``<word>-<speaker>-<number>``, sorted.

    Parameters
    ----------
    data_folder : str or Path
        The folder with the words, or one above it. The audio may be in any format that libsndfile reads, whatever
        suffix the lists have.
    keywords : list of str, optional
        The words to keep; by default all.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout, a keyword does not occur, a file is in both lists, two files
        have the same id, or no file can be read. Listed files that do not exist, other audio, and unreadable files are
        skipped with one warning each.
    ConfigError
        ``keywords`` is not a list, or an empty one.

    Examples
    --------
    >>> words = {u.text for u in speech_commands("/corpora/speech_commands_v0.02", ["yes", "no"])}  # doctest: +SKIP
    """
    corpus = _keywords.KeywordCorpus(
        data_folder, "speech-commands", "<word>/<speaker>_nohash_<number>.wav", keywords, "_background_noise_"
    )
    return corpus.utterances(corpus.splits(2, _LISTS, _keywords.lines, others="train"))
