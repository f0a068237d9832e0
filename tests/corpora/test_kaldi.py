"""The reader corpus/kaldi."""

import pytest

from speechtools.core.errors import CorpusError
from tests.corpora.layouts import by_id, make_kaldi, put, put_text, read


def make_one_list(root, entry, utt2spk="utt1 anna\n"):
    put(root / "a.wav")
    put_text(root / "wav.scp", f"utt1 {entry}\n")
    put_text(root / "utt2spk", utt2spk)


def test_ids_speakers_texts_and_splits_are_those_of_the_lists(tmp_path):
    make_kaldi(tmp_path)
    utterances = by_id("kaldi", tmp_path)
    assert list(utterances) == ["anna1", "anna2", "boris1", "boris2", "clara1", "clara2"]
    assert all(u.text == f"WORDS OF {u.utt_id}" and u.utt_id.startswith(u.speaker) for u in utterances.values())
    assert {u.speaker for u in utterances.values() if u.split == "test"} == {"clara"}
    train = read("kaldi", tmp_path / "train")  # its paths start at the folder above
    assert [(u.path, u.split) for u in train] == [(u.path, "") for u in utterances.values() if u.split == "train"]


@pytest.mark.parametrize("start", ["absolute", "data_folder", "above", "list"])
def test_where_paths_start(start, tmp_path):
    root = tmp_path / "corpus"
    put(root / "train" / "in" / "list.wav")
    put(root / "in" / "data_folder.wav")
    put(tmp_path / "in" / "above.wav")
    entry = str(tmp_path / "in" / "above.wav") if start == "absolute" else f"in/{start}.wav"
    put_text(root / "train" / "wav.scp", f"utt1 {entry}\n")
    put_text(root / "train" / "utt2spk", "utt1 anna\n")
    (utterance,) = read("kaldi", root)
    assert utterance.path.is_file() and utterance.split == "train" and utterance.text is None
    assert utterance.path.stem == ("above" if start == "absolute" else start)


@pytest.mark.parametrize(("name", "split"), [("dev", "valid"), ("valid", "valid"), ("val", "valid"), ("eval", "test")])
def test_names_of_splits(name, split, tmp_path):
    make_one_list(tmp_path / name, "a.wav")
    assert [u.split for u in read("kaldi", tmp_path)] == [split]


def test_a_path_with_spaces_and_a_blank_transcript(tmp_path):
    make_one_list(tmp_path, "two  words.wav")
    put(tmp_path / "two  words.wav")
    put_text(tmp_path / "text", "utt1\n")
    (utterance,) = read("kaldi", tmp_path)
    assert utterance.path.name == "two  words.wav" and utterance.text == ""


@pytest.mark.parametrize(
    ("entry", "utt2spk", "message"),
    [
        ("sox a.wav -t wav - |", "utt1 anna\n", r"command 'sox a\.wav -t wav - \|'"),
        ("gone.wav", "utt1 anna\n", r"1 of 1 files .*'utt1': gone\.wav in "),
        ("/no/gone.wav", "utt1 anna\n", r"'utt1': /no/gone\.wav\."),
        ("x" * 5000, "utt1 anna\n", "1 of 1 files"),
        ("a.wav", "utt2 anna\n", "utt2spk lacks 1 of the 1 .*'utt1'"),
        ("a.wav", "utt1 anna\nutt1 boris\n", "Line 2 of .*utt2spk names 'utt1' a second time"),
        ("a.wav", "utt1\n", "Line 1 of .*utt2spk is 'utt1'"),
        ("", "utt1 anna\n", "Line 1 of .*wav.scp is 'utt1 '"),
    ],
)
def test_faulty_lists(entry, utt2spk, message, tmp_path):
    make_one_list(tmp_path, entry, utt2spk)
    with pytest.raises(CorpusError, match=message):
        read("kaldi", tmp_path)


def test_lists_that_are_missing_empty_binary_or_unsupported(tmp_path):
    make_one_list(tmp_path, "a.wav")
    put_text(tmp_path / "segments", "utt1 rec1 0.0 1.0\n")
    with pytest.raises(CorpusError, match="segments is not supported"):
        read("kaldi", tmp_path)
    (tmp_path / "segments").unlink()
    (tmp_path / "utt2spk").write_bytes(b"utt1 \xe4nna\n")
    with pytest.raises(CorpusError, match="utt2spk is not UTF-8 .*byte 5"):
        read("kaldi", tmp_path)
    (tmp_path / "utt2spk").unlink()
    with pytest.raises(CorpusError, match="no utt2spk"):
        read("kaldi", tmp_path)
    put_text(tmp_path / "wav.scp", "\n")
    put_text(tmp_path / "utt2spk", "\n")
    with pytest.raises(CorpusError, match="wav.scp is empty"):
        read("kaldi", tmp_path)


def test_one_id_in_two_splits(tmp_path):
    make_one_list(tmp_path / "train", "a.wav")
    make_one_list(tmp_path / "test", "a.wav")
    with pytest.raises(CorpusError, match="'utt1'"):
        read("kaldi", tmp_path)
