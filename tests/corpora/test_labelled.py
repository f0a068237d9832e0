"""Recordings with a list of scores."""

import numpy as np
import pytest
import soundfile

from speechtools.core.contract import check
from speechtools.core.errors import CorpusError
from speechtools.corpora.labelled import labelled


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "anna").mkdir()
    for name in ("anna/b.wav", "a.wav"):
        soundfile.write(tmp_path / name, np.full(8000, 0.1), 16000)
    (tmp_path / "labels.csv").write_text("path,score,speaker,split,measure\nanna/b.wav,4.2,anna,dev,mos\na.wav,1,,,\n")
    return tmp_path


def test_scores_speakers_and_splits_are_read(corpus):
    one, other = labelled(corpus)
    assert (one.utt_id, one.speaker, one.split, one.duration, one.score, one.measure) == ("a", "a", "", 0.5, 1.0, None)
    assert (other.utt_id, other.speaker, other.split, other.score, other.measure) == (
        "anna-b",
        "anna",
        "valid",
        4.2,
        "mos",
    )
    assert check("corpus/labelled", corpus)


@pytest.mark.parametrize(
    "text, message",
    [
        (None, "labels.csv"),
        ("path,label\na.wav,1\n", "no column score"),
        ("path,score\na.wav,good\n", "row 2: score='good'"),
        ("path,score,split\na.wav,1,both\n", "split='both'"),
        ("path,score\na.wav,1\na.wav,2\n", "'a'"),
    ],
)
def test_wrong_lists(corpus, text, message):
    (corpus / "labels.csv").unlink()
    if text is not None:
        (corpus / "labels.csv").write_text(text)
    with pytest.raises(CorpusError, match=message):
        list(labelled(corpus))
