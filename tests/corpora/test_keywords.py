"""Laws of the readers of keyword corpora; those of all readers are in test_layout.py."""

import warnings

import pytest

from speechtools.core.errors import ConfigError, CorpusError
from tests.corpora.layouts import make, put, put_text, read, read_with_warning

KEYWORDS = {
    "speech-commands": {"yes", "no", "bird"},
    "arabic-speech-commands": {"enter", "send"},
    "audiomnist": {"0", "1", "2"},
    "keyword-folder": {"OK Google", "Hey Google", "مرحبا"},
}
every_reader = pytest.mark.parametrize("name", KEYWORDS)
with_lists = pytest.mark.parametrize("name", ["speech-commands", "arabic-speech-commands"])


@pytest.fixture
def corpus(name, tmp_path):
    make(name, tmp_path)
    return tmp_path


def lists_of(corpus):
    """The lists of a corpus, by split."""
    files = [*corpus.glob("*_list.txt"), *corpus.glob("*.csv")]
    return {next(s for s in ("train", "val", "test") if file.name.startswith(s)): file for file in files}


@every_reader
def test_chosen_keywords_are_a_subset_of_the_corpus(name, corpus):
    whole = read(name, corpus)
    assert {utterance.text for utterance in whole} == KEYWORDS[name]
    assert all(utterance.text in utterance.path.as_posix() for utterance in whole)
    chosen = sorted(KEYWORDS[name])[:2]
    subset = [utterance for utterance in whole if utterance.text in chosen]
    with warnings.catch_warnings():  # listed files of other keywords are not missing
        warnings.simplefilter("error")
        assert read(name, corpus, keywords=chosen) == subset
    if name == "audiomnist":
        assert read(name, corpus, keywords=[0, 1]) == subset


@pytest.mark.parametrize("name, near, nearest", [("audiomnist", 11, "1"), ("keyword-folder", "ok gogle", "OK Google")])
def test_impossible_keywords(name, near, nearest, corpus):
    with pytest.raises(CorpusError, match=f"'{near}'.* Did you mean '{nearest}'.* {', '.join(sorted(KEYWORDS[name]))}"):
        read(name, corpus, keywords=[nearest, near])
    for keywords in (nearest, []):
        with pytest.raises(ConfigError, match="keywords="):
            read(name, corpus, keywords=keywords)


@pytest.mark.parametrize("name", ["speech-commands", "audiomnist"])
def test_audio_with_other_names_is_skipped_with_a_warning(name, corpus):
    before = read(name, corpus)
    put(corpus / "extra" / "hello.wav")
    assert read_with_warning(r"extra/hello\.wav", name, corpus) == before


def test_a_file_at_another_depth(tmp_path):
    make("keyword-folder", tmp_path)
    put(tmp_path / "no" / "1.wav")
    with pytest.raises(CorpusError, match=r"no/1\.wav"):
        read("keyword-folder", tmp_path)


@with_lists
def test_lists_divide_the_speakers_whatever_suffix_they_have(name, corpus):
    utterances = read(name, corpus)
    split_of = {utterance.speaker: utterance.split for utterance in utterances}
    assert {(u.speaker, u.split) for u in utterances} == set(split_of.items())
    assert sorted(split_of.values()) == ["test", "train", "train", "valid"]
    for file in lists_of(corpus).values():
        put_text(file, file.read_text().replace(".wav", ".mp3"))
    assert read(name, corpus) == utterances
    for file in lists_of(corpus).values():
        file.unlink()
    undivided = read(name, corpus)
    assert {u.split for u in undivided} == {""} and [u.path for u in undivided] == [u.path for u in utterances]


@with_lists
def test_listed_files_that_do_not_exist_are_counted_and_named(name, corpus):
    whole = read(name, corpus)
    missing = [u for u in whole if u.split in ("test", "valid") and u.text == min(KEYWORDS[name])]
    for utterance in missing:
        utterance.path.unlink()
    expected = rf"4 of \d+ files that do not exist.*/{missing[0].path.stem}\."
    assert read_with_warning(expected, name, corpus) == [u for u in whole if u not in missing]


@with_lists
def test_a_speaker_in_two_splits_is_named_in_a_warning(name, corpus):
    before, lists = read(name, corpus), lists_of(corpus)
    (shared,) = {u.speaker for u in before if u.split == "valid"}
    *rest, moved = lists["val"].read_text().splitlines()
    put_text(lists["val"], "\n".join(rest) + "\n")
    if "train" in lists:  # here, files that no list names are skipped
        put_text(lists["train"], lists["train"].read_text() + moved + "\n")
    assert len(read_with_warning(rf"1 of 4 speakers .*{shared}", name, corpus)) == len(before)


@with_lists
def test_malformed_lists(name, corpus):
    test, valid = lists_of(corpus)["test"], lists_of(corpus)["val"]
    put_text(test, test.read_text() + valid.read_text().splitlines()[-1] + "\n")
    with pytest.raises(CorpusError, match=f"two splits, .*{valid.name}"):
        read(name, corpus)
    test.write_bytes(b"\xff\xfe\x00yes")
    with pytest.raises(CorpusError, match=f"{test.name} is not UTF-8"):
        read(name, corpus)


def test_files_that_no_list_names(tmp_path):
    make("arabic-speech-commands", tmp_path)
    before = read("arabic-speech-commands", tmp_path)
    put(tmp_path / "dataset" / "enter" / "00000001_NO_11.flac")
    assert read_with_warning(r"dataset/enter/00000001_NO_11\.flac", "arabic-speech-commands", tmp_path) == before
    for file in lists_of(tmp_path).values():
        put_text(file, "file,class\n")
    with pytest.raises(CorpusError, match="none of its 17 files"):
        read("arabic-speech-commands", tmp_path)


def test_a_list_of_another_form(tmp_path):
    make("arabic-speech-commands", tmp_path)
    row = "dataset/enter/00000004_NO_01.wav,send"
    for text, message in {"path,label\n": "header 'path,label'", f"file,class\n{row}\n": f"row '{row}'"}.items():
        put_text(tmp_path / "test.csv", text)
        with pytest.raises(CorpusError, match=message):
            read("arabic-speech-commands", tmp_path)
