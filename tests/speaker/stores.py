"""Small stores of speech for tests."""

import numpy as np

from speechtools.core.rows import write_rows
from speechtools.speaker.index import SpeakerRow
from speechtools.speaker.store import store_of


def row(utt_id, speaker, start=0, samples=9, shard="a.npy", keyword=""):
    place = {"shard": shard, "start": start, "samples": samples}
    return SpeakerRow(utt_id=utt_id, speaker=speaker, path="x.wav", duration=samples / 16000, keyword=keyword, **place)


def write_manifest(folder, rows):
    """A manifest and its shard ``a.npy``, the numbers 0 to 99."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "a.npy", np.arange(100, dtype=np.int16))
    write_rows(folder / "train.csv", SpeakerRow, rows)
    return folder / "train.csv"


def write_store(folder, counts):
    """A store whose utterances are constant: 100 times the number of the speaker, plus that of the utterance."""
    utterances = {
        f"s{speaker}": [np.full(1600 + 10 * number, 100 * speaker + number, np.int16) for number in range(count)]
        for speaker, count in enumerate(counts)
    }
    return store_of(folder, utterances)
