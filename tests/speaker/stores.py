"""Small stores of speech for tests."""

import numpy as np

from speechtools.core.rows import write_rows
from speechtools.speaker.index import SpeakerRow
from speechtools.speaker.store import SpeakerStore


def row(utt_id, speaker, start, samples, shard="a.npy", keyword=""):
    return SpeakerRow(
        utt_id=utt_id,
        speaker=speaker,
        path="x.wav",
        duration=samples / 16000,
        shard=shard,
        start=start,
        samples=samples,
        keyword=keyword,
    )


def write_manifest(folder, rows, audio=None):
    """A manifest and its shard ``a.npy``, by default the numbers 0 to 99."""
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "a.npy", np.arange(100, dtype=np.int16) if audio is None else audio)
    write_rows(folder / "train.csv", SpeakerRow, rows)
    return folder / "train.csv"


def write_utterances(folder, utterances):
    """A store of ``(utt_id, speaker, samples)``."""
    starts = np.cumsum([0, *(len(samples) for _, _, samples in utterances)]).tolist()
    rows = [row(name, who, start, len(x)) for (name, who, x), start in zip(utterances, starts, strict=False)]
    return SpeakerStore(write_manifest(folder, rows, np.concatenate([samples for _, _, samples in utterances])))


def write_store(folder, counts):
    """A store whose utterances are constant: 100 times the number of the speaker, plus that of the utterance."""
    return write_utterances(
        folder,
        [
            (f"s{speaker}-{number}", f"s{speaker}", np.full(1600 + 10 * number, 100 * speaker + number, np.int16))
            for speaker, count in enumerate(counts)
            for number in range(count)
        ],
    )
