"""Google Speech Commands, version 1 and 2 (Warden 2018, arXiv:1804.03209)."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from speechtools import audio
from speechtools.core.registry import plugin
from speechtools.corpora import _keywords, _layout
from speechtools.corpora.utterance import Utterance

_LISTS = {"validation_list.txt": "valid", "testing_list.txt": "test"}


@plugin("corpus/speech-commands")
def speech_commands(data_folder: str | Path, keywords: Sequence[str | int] | None = None) -> Iterator[Utterance]:
    """Google Speech Commands: ``<word>/<speaker>_nohash_<number>.wav``, divided by its lists.

    ``data_folder`` is the folder that holds the words, or one above it. What ``validation_list.txt`` names is the
    split valid, what ``testing_list.txt`` names is test, and all else is train; with neither list there, the split is
    ``""``. The lists were made from a hash of the speaker, so that no speaker is in two splits; where one is, a
    warning says so. ``_background_noise_`` is left out. Ids are ``<word>-<speaker>-<number>``, sorted.

    Parameters
    ----------
    data_folder : str or Path
        Where the corpus is. The audio may be of any format that libsndfile reads, whatever suffix the lists give it.
    keywords : list of str, optional
        The words to keep, by default all.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout, no file holds one of the keywords, a file is in both lists,
        an id comes twice, or no file can be read. Listed files that do not exist, audio of other names, and unreadable
        files are left out with one warning each.
    ConfigError
        ``keywords`` is no list, or an empty one.

    Example
    -------
    >>> words = {u.text for u in speech_commands("/corpora/speech_commands_v0.02", ["yes", "no"])}  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    wanted = "<word>/<speaker>_nohash_<number>.wav"
    matches = _keywords.matching(root, _layout.SPEECH_COMMANDS, "speech-commands", wanted, other="_background_noise_")
    words = _keywords.select(root, keywords, {match["keyword"] for match in matches.values()})
    lists = _keywords.Lists(root, matches)
    divided = lists.read(
        {path.parent.parent for path in matches},
        _LISTS,
        lambda file: [line for line in _keywords.lines(file) if keywords is None or line.split("/")[0] in words],
    )
    drafts = []
    for path, match in matches.items():
        if match["keyword"] in words:
            split = lists.splits.get(path.with_suffix(""), "train" if path.parent.parent in divided else "")
            utt_id = f"{match['keyword']}-{match['speaker']}-{match['number']}"
            drafts.append(Utterance(utt_id, match["speaker"], split, path, 0.0, match["keyword"]))
    return _keywords.finish(root, drafts)
