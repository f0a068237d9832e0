"""A corpus of keywords without lists: one folder a keyword, and in it one a speaker."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from speechtools import audio
from speechtools.core.errors import CorpusError
from speechtools.core.registry import plugin
from speechtools.corpora import _keywords, _layout
from speechtools.corpora.utterance import Utterance


@plugin("corpus/keyword-folder")
def keyword_folder(data_folder: str | Path, keywords: Sequence[str | int] | None = None) -> Iterator[Utterance]:
    """One folder a keyword, in it one a speaker: ``<keyword>/<speaker>/<file>.wav``.

    The same speaker has the same folder name under every keyword. Nothing is divided: the split is ``""``. Ids are the
    path without its suffix, joined by hyphens, blanks made underscores: ``OK_Google-anna-03``. Sorted by id.

    Parameters
    ----------
    data_folder : str or Path
        The folder that holds the keywords. The audio may be of any format that libsndfile reads.
    keywords : list of str, optional
        The keywords to keep, by default all.

    Raises
    ------
    CorpusError
        The folder is missing, without audio or in a layout that another reader knows, a file lies higher or deeper
        than that, no file holds one of the keywords, an id comes twice (``03.wav`` beside ``03.flac``), or no file can
        be read. Single unreadable files are left out with one warning.
    ConfigError
        ``keywords`` is no list, or an empty one.

    Example
    -------
    >>> speakers = {u.speaker for u in keyword_folder("/corpora/wake-words", ["OK Google"])}  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    files = audio.find_audio(root)
    if _layout.recognise(root, files) != "folder":
        raise _layout.wrong_layout(root, "keyword-folder", "<keyword>/<speaker>/<file>.wav (any audio format)", files)
    names = {path: path.relative_to(root) for path in files}
    for name in names.values():
        if len(name.parts) != 3:
            raise CorpusError(
                f"{name} lies {'higher' if len(name.parts) < 3 else 'deeper'} in the corpus {root} than "
                "<keyword>/<speaker>/<file>. Move it, or give the folder that holds the keywords."
            )
    chosen = _keywords.select(root, keywords, {name.parts[0] for name in names.values()})
    drafts = [
        Utterance(_id(name), name.parts[1], "", path, 0.0, name.parts[0])
        for path, name in names.items()
        if name.parts[0] in chosen
    ]
    return _keywords.finish(root, drafts)


def _id(name: Path) -> str:
    """An id without blanks, which lists of trials cannot hold."""
    return "_".join("-".join(name.with_suffix("").parts).split())
