"""corpus/flat-folder: all recordings in one folder, the speaker in the file name."""

from collections.abc import Iterator
from pathlib import Path

from speechtools import audio, plugin
from speechtools.core.errors import CorpusError
from speechtools.corpora.utterance import Utterance


@plugin("corpus/flat-folder")
def read_flat_folder(data_folder: str | Path) -> Iterator[Utterance]:
    """Read one folder of recordings ``<speaker>_<utterance>.wav``, or of another audio format.

    The split is ``""``, and the id is the name without its suffix.

    Raises
    ------
    CorpusError
        The folder is missing or contains no recording of such a name.
    AudioError
        A recording cannot be read.
    """
    root = audio.existing_folder(data_folder)
    paths = [path for path in audio.find_audio(root) if path.parent == root and "_" in path.stem]
    if not paths:
        raise CorpusError(f"{root} has no recording <speaker>_<utterance>.wav. Pass the folder that has them.")
    for path in paths:
        yield Utterance(path.stem, path.stem.split("_")[0], "", path, audio.duration(path))
