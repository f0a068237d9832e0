"""The reader corpus/timit."""

import shutil
from dataclasses import replace

import pytest

from speechtools.core.errors import CorpusError
from tests.corpora.layouts import by_id, make_timit, put, read


@pytest.fixture
def corpus(tmp_path):
    make_timit(tmp_path / "TIMIT")
    return tmp_path / "TIMIT"


def test_ids_splits_and_sentences(corpus):
    utterances = by_id("timit", corpus)
    assert list(utterances) == [f"{speaker}_{s}" for speaker in ("fcjf0", "fpas0", "mesd0") for s in ("sa1", "sx37")]
    assert (utterances["mesd0_sa1"].speaker, utterances["mesd0_sa1"].split) == ("mesd0", "train")
    assert utterances["fpas0_sx37"].split == "test"
    assert utterances["fpas0_sx37"].text == "She had SX37 in greasy wash water."
    assert read("timit", corpus / "TEST") == [u for u in utterances.values() if u.split == "test"]


def test_lower_case_gives_the_same_ids(corpus, tmp_path):
    for path in corpus.rglob("*.*"):
        lower = tmp_path / "lower" / path.relative_to(corpus).as_posix().lower()
        lower.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, lower)
    upper, lower = ([replace(u, path=None) for u in read("timit", root)] for root in (corpus, tmp_path / "lower"))
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


def test_a_truncated_sphere_file_is_skipped(corpus):
    path = corpus / "TEST" / "DR2" / "FPAS0" / "SA1.WAV"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.warns(UserWarning, match=r"SA1\.WAV is truncated"):
        assert len(read("timit", corpus)) == 5
