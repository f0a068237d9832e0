"""LibriSpeech (OpenSLR 12) and corpora in its layout, such as Mini LibriSpeech."""

from collections.abc import Iterator
from pathlib import Path

from speechtools import audio
from speechtools.core.registry import plugin
from speechtools.corpora import _layout
from speechtools.corpora.utterance import Utterance


@plugin("corpus/librispeech")
def librispeech(data_folder: str | Path) -> Iterator[Utterance]:
    """LibriSpeech: ``<subset>/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac`` and ``….trans.txt``.

    ``data_folder`` is the folder with the subsets, one above it, or a single subset. Subsets ``train-*`` are the
    split train, ``dev-*`` valid, ``test-*`` test; with only one of the three kinds, the split is ``""``. The audio may
    be in any format that libsndfile reads. Sorted by id.

    Raises
    ------
    CorpusError
        The folder is missing, empty or in another layout, two files have the same id, or no file can be read.
        Unreadable files are skipped with one warning.

    Examples
    --------
    >>> speakers = {u.speaker for u in librispeech("/corpora/LibriSpeech/dev-clean")}  # doctest: +SKIP
    """
    root = audio.existing_folder(data_folder)
    files = audio.find_audio(root)
    matches = _layout.matching(root, files, _layout.LAYOUTS["librispeech"])
    if not matches:
        expected = "dev-clean/<speaker>/<chapter>/<speaker>-<chapter>-<number>.flac (or train-*, test-*)"
        raise _layout.wrong_layout(root, "librispeech", expected, files)
    divided = len({match["kind"].lower() for match in matches.values()}) > 1
    texts = {}
    for folder in sorted({path.parent for path in matches}):
        for file in sorted(folder.glob("*.trans.txt")):
            for line in _layout.transcript(file).split("\n"):
                utt_id, _, text = line.partition(" ")
                texts[folder, utt_id] = text.strip()
    utterances = []
    for path, match in matches.items():
        split = _layout.SPLITS[match["kind"].lower()] if divided else ""
        utterances.append(Utterance(path.stem, match["speaker"], split, path, 0.0, texts.get((path.parent, path.stem))))
    return _layout.with_durations(root, utterances)
