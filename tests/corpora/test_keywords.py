"""Laws of the readers of keyword corpora; those of all readers are in test_layout.py."""

import itertools
import os
import shutil
import warnings
from collections import defaultdict
from pathlib import Path

import pytest
import soundfile

from speechtools import audio
from speechtools.core import contract as contracts
from speechtools.core.errors import ConfigError, CorpusError
from tests.corpora.layouts import MAKERS, make_arabic, make_audiomnist, make_keyword_folder, put, put_text, read
from tests.corpora.layouts import make_speech_commands as make_commands

DATA = Path(os.environ.get("SPEECHTOOLS_DATA", "/nonexistent"))
KEYWORDS = {
    "speech-commands": {"yes", "no", "bird"},
    "arabic-speech-commands": {"enter", "send"},
    "audiomnist": {"0", "1", "2"},
    "keyword-folder": {"OK Google", "Hey Google", "مرحبا"},
}
every_reader = pytest.mark.parametrize("name", KEYWORDS)
by_names = pytest.mark.parametrize("name", ["speech-commands", "arabic-speech-commands", "audiomnist"])
with_lists = pytest.mark.parametrize("name", ["speech-commands", "arabic-speech-commands"])


@pytest.fixture
def corpus(name, tmp_path):
    MAKERS[name](tmp_path)
    return tmp_path


def lists_of(corpus):
    """The lists of a corpus, by split."""
    files = sorted([*corpus.glob("*_list.txt"), *corpus.glob("*.csv")])
    return {next(s for s in ("train", "val", "test") if file.name.startswith(s)): file for file in files}


def read_without_warnings(*arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return read(*arguments, **options)


@every_reader
def test_the_contract_holds(name, corpus):
    assert len(contracts.check(f"corpus/{name}", corpus)) == len(contracts.contract("corpus").laws)


@every_reader
def test_chosen_keywords_are_a_subset_of_the_corpus(name, corpus):
    whole = read(name, corpus)
    assert {utterance.text for utterance in whole} == KEYWORDS[name]
    assert all(utterance.text in utterance.path.as_posix() for utterance in whole)
    for chosen in itertools.combinations(sorted(KEYWORDS[name]), 2):
        assert read_without_warnings(name, corpus, keywords=list(chosen)) == [u for u in whole if u.text in chosen]


@every_reader
def test_impossible_keywords(name, corpus):
    with pytest.raises(CorpusError, match=f"'zyx'.* {', '.join(sorted(KEYWORDS[name]))}"):
        read(name, corpus, keywords=[min(KEYWORDS[name]), "zyx"])
    for keywords in ("yes", []):
        with pytest.raises(ConfigError, match="keywords="):
            read(name, corpus, keywords=keywords)


def test_the_nearest_keyword_is_suggested(tmp_path):
    make_keyword_folder(tmp_path)
    with pytest.raises(CorpusError, match="Did you mean 'OK Google'"):
        read("keyword-folder", tmp_path, keywords=["ok gogle"])


def test_digits_may_be_numbers(tmp_path):
    make_audiomnist(tmp_path)
    digits = read("audiomnist", tmp_path, keywords=[0, 2])
    assert digits == read("audiomnist", tmp_path, keywords=["0", "2"])


@by_names
def test_audio_with_other_names_is_skipped_with_a_warning(name, corpus):
    before = read(name, corpus)
    put(corpus / "extra" / "hello.wav")
    with pytest.warns(UserWarning, match=r"extra/hello\.wav") as caught:
        assert read(name, corpus) == before
    assert len(caught) == 1


@pytest.mark.parametrize("place", ["loose.wav", "no/1.wav", "a/b/c/1.wav"])
def test_a_file_at_another_depth(place, tmp_path):
    make_keyword_folder(tmp_path)
    put(tmp_path / place)
    with pytest.raises(CorpusError, match=place):
        read("keyword-folder", tmp_path)


@with_lists
def test_lists_divide_the_speakers(name, corpus):
    utterances, speakers = read(name, corpus), defaultdict(set)
    for utterance in utterances:
        speakers[utterance.split].add(utterance.speaker)
    assert {split: len(names) for split, names in speakers.items()} == {"train": 2, "valid": 1, "test": 1}
    assert len(set.union(*speakers.values())) == 4
    for split, key in {"valid": "val", "test": "test"}.items():
        assert all(speaker in lists_of(corpus)[key].read_text() for speaker in speakers[split])
    for file in lists_of(corpus).values():
        file.unlink()
    undivided = read(name, corpus)
    assert {u.split for u in undivided} == {""} and [u.path for u in undivided] == [u.path for u in utterances]


@with_lists
def test_the_suffix_in_the_lists_does_not_matter(name, corpus):
    before = {u.utt_id: u.split for u in read(name, corpus)}
    for path in audio.find_audio(corpus):
        samples, rate = soundfile.read(path)
        path.unlink()
        soundfile.write(path.with_suffix(".flac" if path.suffix == ".wav" else ".wav"), samples, rate)
    assert {u.utt_id: u.split for u in read_without_warnings(name, corpus)} == before


@with_lists
@pytest.mark.parametrize("count", [1, 6])
def test_listed_files_that_do_not_exist_are_counted_and_named(name, count, corpus):
    whole = read(name, corpus)
    gone = [u for u in whole if u.split in ("test", "valid")][:count]
    for utterance in gone:
        utterance.path.unlink()
    with pytest.warns(UserWarning, match=rf"{count} of \d+ files that do not exist") as caught:
        assert read(name, corpus) == [u for u in whole if u not in gone]
    message = str(caught[0].message)
    assert len(caught) == 1 and sum(f"/{u.path.stem}." in message for u in gone) >= min(count, 4)
    if present := sorted({u.text for u in whole} - {u.text for u in gone}):
        read_without_warnings(name, corpus, keywords=present)  # keywords that are not chosen are not missing


def test_a_keyword_that_only_the_lists_have(tmp_path):
    make_commands(tmp_path)
    shutil.rmtree(tmp_path / "bird")
    with pytest.warns(UserWarning, match=r"4 of 12 .*bird/1b4c9b89_nohash_0\.wav"):
        assert {u.text for u in read("speech-commands", tmp_path)} == {"yes", "no"}


@with_lists
def test_a_speaker_in_two_splits_is_named_in_a_warning(name, corpus):
    before, lists = read(name, corpus), lists_of(corpus)
    (shared,) = {u.speaker for u in before if u.split == "valid"}
    *rest, moved = lists["val"].read_text().splitlines()
    put_text(lists["val"], "\n".join(rest) + "\n")
    if "train" in lists:  # here, files that no list names are skipped
        put_text(lists["train"], lists["train"].read_text() + moved + "\n")
    with pytest.warns(UserWarning, match=rf"1 of 4 speakers .*{shared}"):
        assert len(read(name, corpus)) == len(before)


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
    make_arabic(tmp_path)
    before = read("arabic-speech-commands", tmp_path)
    put(tmp_path / "dataset" / "enter" / "00000001_NO_11.flac")
    with pytest.warns(UserWarning, match=r"dataset/enter/00000001_NO_11\.flac"):
        assert read("arabic-speech-commands", tmp_path) == before
    for file in lists_of(tmp_path).values():
        put_text(file, "file,class\n")
    with pytest.raises(CorpusError, match="none of its 17 files"):
        read("arabic-speech-commands", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "header ''"),
        ("path,label\n", "header 'path,label'"),
        ("file,class\ndataset/enter/00000004_NO_01.wav,send\n", "row 'dataset/enter/00000004_NO_01.wav,send'"),
        ("file,class\ndataset/enter/00000004_NO_01.wav\n", "row 'dataset/enter/00000004_NO_01.wav'"),
    ],
)
def test_a_list_of_another_form(text, message, tmp_path):
    make_arabic(tmp_path)
    put_text(tmp_path / "test.csv", text)
    with pytest.raises(CorpusError, match=message):
        read("arabic-speech-commands", tmp_path)


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="SPEECHTOOLS_DATA names no folder")
def test_real_arabic_speech_commands():
    folder = DATA / "arabic-speech-commands"
    utterances = read_without_warnings("arabic-speech-commands", folder)
    assert len(utterances) == 1920 and len({u.text for u in utterances}) == 8
    speakers = {split: {u.speaker for u in utterances if u.split == split} for split in ("train", "valid", "test")}
    assert {split: len(names) for split, names in speakers.items()} == {"train": 18, "valid": 3, "test": 3}
    assert len(set.union(*speakers.values())) == 24
    assert all(u.duration == 1.0 for u in utterances)
    pair = read("arabic-speech-commands", folder, keywords=["receive", "next"])
    assert pair == [u for u in utterances if u.text in ("receive", "next")] and len(pair) == 480
