"""Laws of every reader of folders."""

import os
import shutil
import warnings
from dataclasses import replace

import pytest

import speechtools
from speechtools import audio
from speechtools.core.errors import CorpusError
from tests.corpora.layouts import MAKERS, put, put_text, read

every_reader = pytest.mark.parametrize("name", MAKERS)


def readers_except(*names):
    return [name for name in MAKERS if name not in names]


@every_reader
def test_every_file_is_read_and_the_order_is_that_of_the_ids(name, tmp_path):
    MAKERS[name](tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        utterances = read(name, tmp_path)
    ids = [utterance.utt_id for utterance in utterances]
    assert ids == sorted(set(ids)) and not any(set(" \t") & set(utt_id) for utt_id in ids)
    files = [path for path in audio.find_audio(tmp_path) if "background" not in path.parent.name]
    assert sorted(utterance.path for utterance in utterances) == sorted(files)
    for utterance in utterances:
        assert utterance.path.is_absolute()
        assert utterance.speaker.lower() in utterance.path.as_posix().lower()
        assert utterance.duration * 16000 == pytest.approx(len(audio.read(utterance.path)))
    both = {"train", "test"}
    splits = {"audiomnist": {""}, "keyword-folder": {""}, "timit": both, "kaldi": both, "voxceleb": both}
    assert {utterance.split for utterance in utterances} == splits.get(name, {"train", "valid", "test"})


@every_reader
def test_order_and_type_of_path_change_nothing(name, tmp_path, monkeypatch):
    MAKERS[name](tmp_path / "corpus")
    first = read(name, tmp_path / "corpus")
    monkeypatch.chdir(tmp_path)
    assert read(name, "corpus") == first
    walk, glob = os.walk, type(tmp_path).glob  # a file system that lists in the opposite order

    def backward(top, **options):
        for parent, folders, names in walk(top, **options):
            folders.reverse()
            yield parent, folders, names[::-1]

    monkeypatch.setattr(os, "walk", backward)
    monkeypatch.setattr(type(tmp_path), "glob", lambda self, pattern: iter(list(glob(self, pattern))[::-1]))
    assert read(name, tmp_path / "corpus") == first


@every_reader
def test_a_corpus_can_be_moved(name, tmp_path):
    MAKERS[name](tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there" / "deep")
    here, there = (
        [replace(u, path=u.path.relative_to(tmp_path / place)) for u in read(name, tmp_path / place)]
        for place in ("here", "there/deep")
    )
    assert here == there


@pytest.mark.parametrize("name", readers_except("kaldi", "folder", "keyword-folder"))
def test_the_folder_above_a_corpus_works_too(name, tmp_path):
    MAKERS[name](tmp_path / "above" / "corpus")
    assert read(name, tmp_path) == read(name, tmp_path / "above" / "corpus")


@every_reader
def test_folders_without_a_corpus(name, tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    put_text(tmp_path / "text" / "notes" / "README.md", "nothing to hear")
    for place, token in (("no", "does not exist"), ("file", "is a file"), ("empty", "is empty"), ("text", "notes/")):
        with pytest.raises(CorpusError, match=token):
            speechtools.build(f"corpus/{name}", data_folder=tmp_path / place)


@every_reader
@pytest.mark.parametrize("layout", readers_except("voxceleb", "keyword-folder"))  # which are also folders of speakers
def test_another_layout_names_its_reader(name, layout, tmp_path):
    if name != layout and (name, layout) != ("keyword-folder", "folder"):
        MAKERS[layout](tmp_path)
        with pytest.raises(CorpusError, match=f"corpus/{name} .*corpus/{layout}: choose"):
            speechtools.build(f"corpus/{name}", data_folder=tmp_path)


@every_reader
def test_unreadable_files_are_skipped_with_one_warning(name, tmp_path):
    MAKERS[name](tmp_path)
    (bad, other), good = (utterances := read(name, tmp_path))[:2], utterances[2:]
    bad.path.write_text("no audio")
    other.path.write_bytes(b"")
    with pytest.warns(UserWarning, match=f"2 of {len(utterances)} files") as caught:
        assert read(name, tmp_path) == good
    assert len(caught) == 1 and str(bad.path) in str(caught[0].message)
    for utterance in good:
        utterance.path.write_text("no audio")
    with pytest.raises(CorpusError, match=f"None of the {len(utterances)} audio files"):
        read(name, tmp_path)


@pytest.mark.parametrize("name", readers_except("timit", "kaldi"))
def test_a_recording_in_two_formats(name, tmp_path):
    MAKERS[name](tmp_path)
    utterance = read(name, tmp_path)[0]
    put(utterance.path.with_suffix(".flac" if utterance.path.suffix == ".wav" else ".wav"))
    with pytest.raises(CorpusError, match=f"{utterance.utt_id}.*{utterance.path.stem}.*Remove or rename"):
        read(name, tmp_path)
