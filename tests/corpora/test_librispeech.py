"""The reader corpus/librispeech."""

import shutil

from tests.corpora.layouts import by_id, make_librispeech, read


def test_transcripts_and_splits(tmp_path):
    make_librispeech(tmp_path)
    for utterance in read("librispeech", tmp_path):
        assert utterance.text == f"WORDS OF {utterance.utt_id}"
        kind = utterance.path.parts[-4].split("-")[0]
        assert utterance.split == {"train": "train", "dev": "valid", "test": "test"}[kind]


def test_one_kind_of_subset_is_not_divided(tmp_path):
    make_librispeech(tmp_path)
    whole = by_id("librispeech", tmp_path)
    subset = read("librispeech", tmp_path / "LibriSpeech" / "dev-clean")
    assert len(subset) == 2 and {u.split for u in subset} == {""}
    assert all(whole[u.utt_id].path == u.path for u in subset)
    for name in ("train-clean-5", "test-other"):
        shutil.rmtree(tmp_path / "LibriSpeech" / name)
    assert read("librispeech", tmp_path) == subset


def test_without_transcripts(tmp_path):
    make_librispeech(tmp_path)
    for path in tmp_path.rglob("*.trans.txt"):
        path.unlink()
    assert {u.text for u in read("librispeech", tmp_path)} == {None}
