"""The reader corpus/folder."""

import pytest

from speechtools.core.errors import CorpusError
from tests.corpora.layouts import put, read


def test_without_splits(tmp_path):
    for name in ("anna/001.wav", "boris/001.wav", "boris/x/001.wav"):
        put(tmp_path / name)
    utterances = {(u.utt_id, u.speaker, u.split) for u in read("folder", tmp_path)}
    assert utterances == {("anna-001", "anna", ""), ("boris-001", "boris", ""), ("boris-x-001", "boris", "")}


@pytest.mark.parametrize(
    "names, message",
    [
        (["stray.wav"], "<speaker>/<utterance>.wav .*stray.wav"),
        (["stray.wav", "anna/001.wav"], "stray.wav is not in a speaker's folder"),
        (["test/clara/001.wav", "anna/001.wav"], "anna/001.wav is outside the splits"),
    ],
)
def test_files_without_a_speaker(names, message, tmp_path):
    for name in names:
        put(tmp_path / name)
    with pytest.raises(CorpusError, match=message):
        read("folder", tmp_path)
