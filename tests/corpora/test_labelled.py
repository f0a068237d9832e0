"""Recordings with a list of scores."""

import pytest

from speechtools.core.contract import check
from speechtools.core.errors import CorpusError
from tests.corpora.layouts import put, put_text, read


@pytest.fixture
def corpus(tmp_path):
    for name in ("anna/b.wav", "a.wav"):
        put(tmp_path / name, 8000)
    put_text(tmp_path / "labels.csv", "path,score,speaker,split,measure\nanna/b.wav,4.2,anna,dev,mos\na.wav,1,,,\n")
    return tmp_path


def test_scores_speakers_and_splits_are_read(corpus):
    one, other = read("labelled", corpus)
    assert (one.utt_id, one.speaker, one.split, one.duration, one.score, one.measure) == ("a", "a", "", 0.5, 1.0, None)
    assert (other.utt_id, other.speaker, other.split) == ("anna-b", "anna", "valid")
    assert (other.score, other.measure) == (4.2, "mos")
    assert check("corpus/labelled", corpus)


def test_several_rows_of_a_recording_are_averaged(corpus, caplog):
    put_text(corpus / "labels.csv", "path,score\na.wav,1\nanna/b.wav,2\na.wav,4\n")
    with caplog.at_level("INFO"):
        assert [utterance.score for utterance in read("labelled", corpus)] == [2.5, 2.0]
    assert "1 of 2 recordings" in caplog.text


def test_a_listed_file_that_is_missing_is_skipped_with_a_warning_that_names_the_list(corpus):
    (corpus / "a.wav").unlink()
    with pytest.warns(UserWarning, match=r"1 of 2 files listed in .*labels.csv were skipped. .*a.wav does not exist"):
        assert len(read("labelled", corpus)) == 1


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "has no labels.csv.* columns path and score"),
        ("file,rating\na.wav,1\n", "Rename file to path, rating to score"),
        ("path,score,measure\na.wav,1,mos\nanna/b.wav,6,mos\n", r"labels.csv, row 3: score=6 .* 1 to 5"),
        ("path,score\na.wav,good\n", "row 2: score='good'"),
        ("path,score,measure\na.wav,1,mos\nanna/b.wav,9.9,mos\n", r"labels.csv, row 3: score=9\.9 .* 1 to 5"),
        ("path,score,split\na.wav,1,both\n", "split='both'"),
        ("path,score,measure\na.wav,1,mos\na.wav,3,dmos\n", "rows of a.wav differ"),
    ],
)
def test_wrong_lists(corpus, text, message):
    (corpus / "labels.csv").unlink()
    if text is not None:
        put_text(corpus / "labels.csv", text)
    with pytest.raises(CorpusError, match=message):
        read("labelled", corpus)


def test_a_list_of_another_name_is_named_instead_of_another_reader(corpus):
    (corpus / "labels.csv").rename(corpus / "ratings.csv")
    with pytest.raises(CorpusError, match=r"ratings\.csv, rename it") as caught:
        read("labelled", corpus)
    assert "corpus/folder" not in str(caught.value)


def test_the_rows_of_a_score_are_known(corpus):
    put_text(corpus / "labels.csv", "path,score\na.wav,1\nanna/b.wav,2\na.wav,4\n")
    places = [utterance.score_place for utterance in read("labelled", corpus)]
    assert places == [f"{corpus / 'labels.csv'}, row 2 and 4", f"{corpus / 'labels.csv'}, row 3"]
