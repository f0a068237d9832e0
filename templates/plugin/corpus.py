"""corpus/my-net: a corpus.

THE CONTRACT
"""

from collections.abc import Iterator
from pathlib import Path

from speechtools import audio, plugin
from speechtools.core.errors import CorpusError
from speechtools.corpora.utterance import Utterance


@plugin("corpus/my-net")
def read_my_net(data_folder: str | Path) -> Iterator[Utterance]:
    """Read a folder of recordings for each speaker: ``<speaker>/<utterance>.wav``.

    This is an example: replace it by the layout of your corpus, here and in the test. For a list of the recordings::

        table = root / "list.csv"
        if not table.is_file():
            raise CorpusError(f"{table} does not exist. Pass the folder that has it.")
        for row in csv.DictReader(table.open(newline="", encoding="utf-8")):
            path = root / row["path"]
            if not path.is_file():
                raise CorpusError(f"{table} lists {path}, which does not exist. Correct the list.")

    Splits are by speaker: all utterances of a speaker have one split. ``""`` counts as train, and without speakers for
    valid or test, recipes draw some by ``valid_share`` and ``heldout_share``.

    An utterance can also have a ``text``, or a ``score`` and its ``measure``, such as mos, for ``--labels=corpus``.

    Raises
    ------
    CorpusError
        The folder is missing or contains no such recording.
    AudioError
        A recording cannot be read.
    """
    root = audio.existing_folder(data_folder)
    paths = sorted(root.glob("*/*.wav"))
    if not paths:
        raise CorpusError(f"{root} has no recording <speaker>/<utterance>.wav. Pass the folder that has them.")
    for path in paths:
        speaker, split = path.parent.name, ""  # or train, valid, test
        yield Utterance(f"{speaker}-{path.stem}", speaker, split, path, audio.duration(path))
