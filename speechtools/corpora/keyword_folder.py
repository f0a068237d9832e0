"""A corpus of keywords without lists: one folder per keyword, with one folder per speaker in it."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import CorpusError
from speechtools.core.registry import plugin
from speechtools.corpora import _keywords, _layout
from speechtools.corpora.utterance import Utterance


@plugin("corpus/keyword-folder")
def keyword_folder(data_folder: str | Path, keywords: Sequence[str | int] | None = None) -> Iterator[Utterance]:
    """One folder per keyword, with one per speaker in it: ``<keyword>/<speaker>/<file>.wav``.

    A speaker has the same folder name under every keyword. The corpus is not divided: the split is ``""``. Ids are the
    path without its suffix, joined by hyphens, with underscores for blanks: ``OK_Google-anna-03``. Sorted by id.

    Parameters
    ----------
    data_folder : str or Path
        The folder with the keywords. The audio may be in any format that libsndfile reads.
    keywords : list of str, optional
        The keywords to keep; by default all.

    Raises
    ------
    CorpusError
        The folder is missing, without audio or in a layout that another reader knows, a file lies higher or deeper than
        that, a keyword does not occur, two files have the same id (``03.wav`` beside ``03.flac``), or no file can be
        read. Unreadable files are skipped with one warning.
    ConfigError
        ``keywords`` is not a list, or an empty one.

    Examples
    --------
    >>> speakers = {u.speaker for u in keyword_folder("/corpora/wake-words", ["OK Google"])}  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    files = audio.find_audio(root)
    if _layout.recognise(root, files) != "folder":
        raise _layout.wrong_layout(root, "keyword-folder", "<keyword>/<speaker>/<file>.wav", files)
    names = {path: path.relative_to(root) for path in files}
    for name in names.values():
        if len(name.parts) != 3:
            raise CorpusError(f"{name} in the corpus {root} is not <keyword>/<speaker>/<file>. Move it.")
    selection = _keywords.select(root, keywords, {name.parts[0] for name in names.values()})
    utterances = []
    for path, name in names.items():
        keyword, speaker, _ = name.parts
        if keyword in selection:
            utt_id = "_".join("-".join(name.with_suffix("").parts).split())  # lists of trials allow no blanks
            utterances.append(Utterance(utt_id, speaker, "", path, 0.0, keyword))
    return _keywords.finish(root, utterances)
