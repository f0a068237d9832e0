"""The reader corpus/kaldi."""

import pytest

from speechtools.core.errors import CorpusError
from tests.corpora.layouts import make, put, put_text, read


def make_one_list(root, entry, utt2spk="utt1 anna\n"):
    put(root / "a.wav")
    put_text(root / "wav.scp", f"utt1 {entry}\n")
    put_text(root / "utt2spk", utt2spk)


def test_a_folder_of_lists_is_not_divided(tmp_path):
    make("kaldi", tmp_path)
    whole = read("kaldi", tmp_path)
    train = read("kaldi", tmp_path / "train")  # its paths start at the folder above
    assert [(u.path, u.split) for u in train] == [(u.path, "") for u in whole if u.split == "train"]


@pytest.mark.parametrize(
    "entry, place",
    [("b.wav", "corpus/val/b.wav"), ("in/c  c.wav", "corpus/in/c  c.wav"), ("in/d.wav", "in/d.wav"), ("", "e.wav")],
)
def test_where_paths_start(entry, place, tmp_path):
    path = put(tmp_path / place)
    make_one_list(tmp_path / "corpus" / "val", entry or path)
    (utterance,) = read("kaldi", tmp_path / "corpus")
    assert (utterance.path, utterance.split, utterance.text) == (path, "valid", None)
    put_text(tmp_path / "corpus" / "val" / "text", "utt1\n")
    assert read("kaldi", tmp_path / "corpus")[0].text == ""


@pytest.mark.parametrize(
    "entry, utt2spk, message",
    [
        ("sox a.wav -t wav - |", "utt1 anna\n", r"command 'sox a\.wav -t wav - \|'"),
        ("gone.wav", "utt1 anna\n", r"1 of 1 files .*'utt1': gone\.wav in "),
        ("a.wav", "utt2 anna\n", "utt2spk lacks 1 of the 1 .*'utt1'"),
        ("a.wav", "utt1 anna\nutt1 boris\n", "Line 2 of .*utt2spk names 'utt1' a second time"),
        ("a.wav", "utt1\n", "Line 1 of .*utt2spk is 'utt1'"),
    ],
)
def test_faulty_lists(entry, utt2spk, message, tmp_path):
    make_one_list(tmp_path, entry, utt2spk)
    with pytest.raises(CorpusError, match=message):
        read("kaldi", tmp_path)


def test_lists_that_are_missing_or_empty_or_of_segments(tmp_path):
    make_one_list(tmp_path, "a.wav")
    for file, text, message in (
        ("wav.scp", "\n", "wav.scp is empty"),
        ("utt2spk", None, "no utt2spk"),
        ("segments", "utt1 rec1 0.0 1.0\n", "segments is not supported"),
    ):
        if text is None:
            (tmp_path / file).unlink()
        else:
            put_text(tmp_path / file, text)
        with pytest.raises(CorpusError, match=message):
            read("kaldi", tmp_path)
