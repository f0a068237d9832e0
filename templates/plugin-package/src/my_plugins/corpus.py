"""corpus/flat-folder: all recordings in one folder, with the speaker in their names."""

from collections.abc import Iterator
from pathlib import Path

from speechtools import audio, plugin
from speechtools.core.errors import CorpusError
from speechtools.corpora.utterance import Utterance


@plugin("corpus/flat-folder")
def read_flat_folder(data_folder: str | Path) -> Iterator[Utterance]:
    """One folder of recordings called ``<speaker>_<utterance>.wav``, or of another audio format.

    Nothing is divided: the split is ``""``. Ids are the names without their suffix.

    Raises
    ------
    CorpusError
        The folder is missing or holds no recording of such a name.
    AudioError
        A recording cannot be read.
    """
    root = audio.existing_folder(data_folder)
    paths = [path for path in audio.find_audio(root) if path.parent == root and "_" in path.stem]
    if not paths:
        raise CorpusError(f"{root} holds no recording called <speaker>_<utterance>.wav. Give the folder that does.")
    for path in paths:
        yield Utterance(path.stem, path.stem.split("_")[0], "", path, audio.duration(path))
