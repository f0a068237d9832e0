"""The reader corpus/timit."""

import shutil

import pytest

from speechtools.core.errors import CorpusError
from tests.corpora.layouts import by_id, make, put, read


@pytest.fixture
def corpus(tmp_path):
    make("timit", tmp_path / "TIMIT")
    return tmp_path / "TIMIT"


def test_case_changes_nothing(corpus, tmp_path):
    for path in corpus.rglob("*.*"):
        lower = tmp_path / "lower" / path.relative_to(corpus).as_posix().lower()
        lower.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, lower)
    upper, lower = (
        [(u.utt_id, u.speaker, u.split, u.text) for u in read("timit", root)] for root in (corpus, tmp_path / "lower")
    )
    assert upper == lower


def test_of_converted_copies_the_one_with_the_longest_name_is_read(corpus):
    put(corpus / "TRAIN" / "DR1" / "FCJF0" / "SA1.WAV.wav", 3200)
    (corpus / "TRAIN" / "DR1" / "FCJF0" / "SX37.TXT").unlink()
    utterances = by_id("timit", corpus)
    assert len(utterances) == 6
    assert utterances["fcjf0_sa1"].path.name == "SA1.WAV.wav" and utterances["fcjf0_sa1"].duration == 0.2
    assert utterances["fcjf0_sa1"].text == "She had SA1 in greasy wash water." and utterances["fcjf0_sx37"].text is None


def test_two_copies(corpus, tmp_path):
    shutil.copytree(corpus, tmp_path / "copy")
    with pytest.raises(CorpusError, match="fcjf0_sa1"):
        read("timit", tmp_path)
