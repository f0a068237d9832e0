"""The reader corpus/kaldi."""

import pytest

from speechtools.core.errors import CorpusError
from tests.corpora.layouts import make_kaldi, put, put_text, read


def make_one_list(root, entry, utt2spk="utt1 anna\n"):
    put(root / "a.wav")
    put_text(root / "wav.scp", f"utt1 {entry}\n")
    put_text(root / "utt2spk", utt2spk)


def test_a_folder_of_lists_is_not_divided(tmp_path):
    make_kaldi(tmp_path)
    whole = read("kaldi", tmp_path)
    train = read("kaldi", tmp_path / "train")  # its paths start at the folder above
    assert [(u.path, u.split) for u in train] == [(u.path, "") for u in whole if u.split == "train"]


@pytest.mark.parametrize(
    "entry, place",
    [("in/a.wav", "corpus/val/in/a.wav"), ("in/b.wav", "corpus/in/b.wav"), ("in/c.wav", "in/c.wav"), ("", "in/d.wav")],
)
def test_where_paths_start(entry, place, tmp_path):
    path = put(tmp_path / place)
    make_one_list(tmp_path / "corpus" / "val", entry or path)
    (utterance,) = read("kaldi", tmp_path / "corpus")
    assert (utterance.path, utterance.split, utterance.text) == (path, "valid", None)


def test_a_path_with_spaces_and_a_blank_transcript(tmp_path):
    make_one_list(tmp_path, "two  words.wav")
    put(tmp_path / "two  words.wav")
    put_text(tmp_path / "text", "utt1\n")
    (utterance,) = read("kaldi", tmp_path)
    assert utterance.path.name == "two  words.wav" and utterance.text == ""


@pytest.mark.parametrize(
    "entry, utt2spk, message",
    [
        ("sox a.wav -t wav - |", "utt1 anna\n", r"command 'sox a\.wav -t wav - \|'"),
        ("gone.wav", "utt1 anna\n", r"1 of 1 files .*'utt1': gone\.wav in "),
        ("x" * 5000, "utt1 anna\n", "1 of 1 files"),
        ("a.wav", "utt2 anna\n", "utt2spk lacks 1 of the 1 .*'utt1'"),
        ("a.wav", "utt1 anna\nutt1 boris\n", "Line 2 of .*utt2spk names 'utt1' a second time"),
        ("a.wav", "utt1\n", "Line 1 of .*utt2spk is 'utt1'"),
    ],
)
def test_faulty_lists(entry, utt2spk, message, tmp_path):
    make_one_list(tmp_path, entry, utt2spk)
    with pytest.raises(CorpusError, match=message):
        read("kaldi", tmp_path)


def test_lists_that_are_missing_empty_or_unsupported(tmp_path):
    make_one_list(tmp_path, "a.wav")
    put_text(tmp_path / "segments", "utt1 rec1 0.0 1.0\n")
    with pytest.raises(CorpusError, match="segments is not supported"):
        read("kaldi", tmp_path)
    (tmp_path / "segments").unlink()
    (tmp_path / "utt2spk").unlink()
    with pytest.raises(CorpusError, match="no utt2spk"):
        read("kaldi", tmp_path)
    put_text(tmp_path / "utt2spk", "\n")
    put_text(tmp_path / "wav.scp", "\n")
    with pytest.raises(CorpusError, match="wav.scp is empty"):
        read("kaldi", tmp_path)
