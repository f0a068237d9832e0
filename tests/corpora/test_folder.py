"""The reader corpus/folder."""

import pytest

from speechtools.core.errors import CorpusError
from tests.corpora.layouts import make_folder, put, put_text, read


def test_speakers_and_splits(tmp_path):
    make_folder(tmp_path)
    utterances = {(u.utt_id, u.speaker, u.split) for u in read("folder", tmp_path)}
    assert len(utterances) == 8 and utterances > {
        ("Train-anna-001", "anna", "train"),
        ("Train-boris-monday-002", "boris", "train"),
        ("dev-dora-001", "dora", "valid"),
        ("test-clara-002", "clara", "test"),
    }


def test_without_splits(tmp_path):
    for name in ("anna/001.wav", "boris/001.wav", "boris/x/001.wav"):
        put(tmp_path / name)
    put_text(tmp_path / "docs" / "notes.txt", "not a speaker")
    utterances = {(u.utt_id, u.speaker, u.split) for u in read("folder", tmp_path)}
    assert utterances == {("anna-001", "anna", ""), ("boris-001", "boris", ""), ("boris-x-001", "boris", "")}


@pytest.mark.parametrize(
    "names, message",
    [
        (["stray.wav"], "<speaker>/<utterance>.wav .*stray.wav"),
        (["stray.wav", "anna/001.wav"], "stray.wav is not in a speaker's folder"),
        (["test/clara/001.wav", "stray.wav"], "stray.wav is outside the splits"),
        (["test/clara/001.wav", "anna/001.wav"], "anna/001.wav is outside the splits"),
        (["test/clara/001.wav", "test/001.wav"], "test/001.wav is not in a speaker's folder"),
    ],
)
def test_files_without_a_speaker(names, message, tmp_path):
    for name in names:
        put(tmp_path / name)
    with pytest.raises(CorpusError, match=message):
        read("folder", tmp_path)
