"""AudioMNIST (Becker et al. 2018, arXiv:1807.03418): 60 speakers, 10 digits, 50 times each."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from speechtools import audio
from speechtools.core.registry import plugin
from speechtools.corpora import _keywords, _layout
from speechtools.corpora.utterance import Utterance


@plugin("corpus/audiomnist")
def audiomnist(data_folder: str | Path, keywords: Sequence[str | int] | None = None) -> Iterator[Utterance]:
    """AudioMNIST: ``data/<speaker>/<digit>_<speaker>_<number>.wav``.

    ``data_folder`` is the folder of the speakers, or one above it. The keywords are the digits ``"0"`` to ``"9"``.
    Nothing is divided: the split is ``""``. Ids are ``<digit>-<speaker>-<number>``, sorted.

    Parameters
    ----------
    data_folder : str or Path
        Where the corpus is. The audio may be of any format that libsndfile reads.
    keywords : list of str, optional
        The digits to keep, by default all.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout, no file holds one of the keywords, an id comes twice, or no
        file can be read. Audio of other names and unreadable files are left out with one warning each.
    ConfigError
        ``keywords`` is no list, or an empty one.

    Example
    -------
    >>> speakers = {u.speaker for u in audiomnist("/corpora/AudioMNIST", ["3", "8"])}  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    wanted = "<speaker>/<digit>_<speaker>_<number>.wav"
    matches = _keywords.matching(root, _layout.AUDIOMNIST, "audiomnist", wanted)
    digits = _keywords.select(root, keywords, {match["keyword"] for match in matches.values()})
    drafts = [
        Utterance(
            utt_id=f"{match['keyword']}-{match['speaker']}-{match['number']}",
            speaker=match["speaker"],
            split="",
            path=path,
            duration=0.0,
            text=match["keyword"],
        )
        for path, match in matches.items()
        if match["keyword"] in digits
    ]
    return _keywords.finish(root, drafts)
