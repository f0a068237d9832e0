"""AudioMNIST (Becker et al. 2018, arXiv:1807.03418): 60 speakers, 10 digits, 50 times each."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from speechtools.core.registry import plugin
from speechtools.corpora._keywords import KeywordCorpus
from speechtools.corpora.utterance import Utterance


@plugin("corpus/audiomnist")
def audiomnist(data_folder: str | Path, keywords: Sequence[str | int] | None = None) -> Iterator[Utterance]:
    """AudioMNIST: ``data/<speaker>/<digit>_<speaker>_<number>.wav``.

    The corpus is not divided: the split is ``""``. Ids are ``<digit>-<speaker>-<number>``, sorted.

    Parameters
    ----------
    data_folder : str or Path
        The folder of the speakers, or one above it. The audio may be in any format that libsndfile reads.
    keywords : list of str, optional
        The digits to keep, ``"0"`` to ``"9"``; by default all.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout, a keyword does not occur, two files have the same id, or no
        file can be read. Other audio and unreadable files are skipped with one warning each.
    ConfigError
        ``keywords`` is not a list, or an empty one.

    Examples
    --------
    >>> speakers = {u.speaker for u in audiomnist("/corpora/AudioMNIST", ["3", "8"])}  # doctest: +SKIP
    """
    return KeywordCorpus(data_folder, "audiomnist", "<speaker>/<digit>_<speaker>_<number>.wav", keywords).utterances()
