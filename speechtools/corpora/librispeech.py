"""LibriSpeech (OpenSLR 12), and what follows its layout, such as Mini LibriSpeech."""

from collections.abc import Iterator
from pathlib import Path

from speechtools import audio
from speechtools.core.registry import plugin
from speechtools.corpora import _layout
from speechtools.corpora.utterance import Utterance


@plugin("corpus/librispeech")
def librispeech(data_folder: str | Path) -> Iterator[Utterance]:
    """LibriSpeech: ``<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac`` and ``….trans.txt``.

    ``data_folder`` is the folder that holds the subsets, one above it, or a single subset. Subsets ``train-*`` are the
    split train, ``dev-*`` valid, ``test-*`` test; where only one of the three kinds is there, nothing is divided,
    and the split is ``""``. The audio may be of any format that libsndfile reads. Sorted by id.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout, an id comes twice, or no file can be read. Single
        unreadable files are left out with one warning.

    Example
    -------
    >>> speakers = {u.speaker for u in librispeech("/corpora/LibriSpeech/dev-clean")}  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    files = audio.find_audio(root)
    matches = {path: _layout.LIBRISPEECH.search(_layout.inside(root, path)) for path in files}
    matches = {path: match for path, match in matches.items() if match}
    if not matches:
        wanted = "dev-clean/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac (or train-*, test-*)"
        raise _layout.wrong_layout(root, "librispeech", wanted, files)
    divided = len({match["kind"] for match in matches.values()}) > 1
    texts = {}
    for folder in sorted({path.parent for path in matches}):
        for file in sorted(folder.glob("*.trans.txt")):
            for line in _layout.transcript(file).split("\n"):
                utt_id, _, text = line.partition(" ")
                texts[folder, utt_id] = text.strip()
    drafts = [
        Utterance(
            utt_id=path.stem,
            speaker=match["speaker"],
            split=_layout.SPLITS[match["kind"]] if divided else "",
            path=path,
            duration=0.0,
            text=texts.get((path.parent, path.stem)),
        )
        for path, match in matches.items()
    ]
    return _layout.with_durations(root, drafts)
