"""Laws of every reader of folders."""

import shutil
import warnings
from dataclasses import replace

import pytest

from speechtools import audio
from speechtools.core import contract
from speechtools.core.errors import CorpusError
from tests.corpora.layouts import FILES, make, put, put_text, read, read_with_warning

#: One utterance of each corpus: id, speaker, split and text.
EXAMPLES = {
    "timit": ("fpas0_sx37", "fpas0", "test", "She had SX37 in greasy wash water."),
    "librispeech": ("84-77-0001", "84", "valid", "WORDS OF 84-77-0001"),
    "kaldi": ("clara2", "clara", "test", "WORDS OF clara2"),
    "folder": ("Train-boris-monday-002", "boris", "train", None),
    "voxceleb": ("id10270-5r0dWxy17C8-00002", "id10270", "test", None),
    "speech-commands": ("bird-c1d39ce8-1", "c1d39ce8", "test", "bird"),
    "arabic-speech-commands": ("enter-00000003-02", "00000003", "valid", "enter"),
    "audiomnist": ("0-60-49", "60", "", "0"),
    "keyword-folder": ("OK_Google-anna-2", "anna", "", "OK Google"),
}
every_reader = pytest.mark.parametrize("name", FILES)


@every_reader
def test_every_file_is_read_in_the_order_of_the_ids(name, tmp_path):
    make(name, tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        utterances = read(name, tmp_path)
    ids = [utterance.utt_id for utterance in utterances]
    assert ids == sorted(ids) and not any(set(" \t") & set(utt_id) for utt_id in ids)
    files = [path for path in audio.find_audio(tmp_path) if "background" not in path.parent.name]
    assert sorted(utterance.path for utterance in utterances) == sorted(files)
    example = next(u for u in utterances if u.utt_id == EXAMPLES[name][0])
    assert (example.utt_id, example.speaker, example.split, example.text) == EXAMPLES[name]
    assert contract.check(f"corpus/{name}", tmp_path) == [law.sentence for law in contract.contract("corpus").laws]


@every_reader
def test_order_place_and_type_of_path_change_nothing(name, tmp_path, monkeypatch):
    make(name, tmp_path / "corpus")
    first = read(name, tmp_path / "corpus")
    monkeypatch.chdir(tmp_path)
    assert read(name, "corpus") == first
    shutil.copytree("corpus", "there/deep")
    moved = [
        replace(u, path=tmp_path / "corpus" / u.path.relative_to(tmp_path / "there/deep"))
        for u in read(name, "there/deep")
    ]
    assert moved == first
    if name not in ("kaldi", "folder", "keyword-folder"):
        assert [u.utt_id for u in read(name, "there")] == [u.utt_id for u in first], "the folder above works too"


@every_reader
def test_folders_without_a_corpus(name, tmp_path):
    (tmp_path / "file").touch()
    put_text(tmp_path / "text" / "notes" / "README.md", "nothing to hear")
    for place, token in (("file", "is a file"), ("text", "notes/")):
        with pytest.raises(CorpusError, match=token):
            read(name, tmp_path / place)


@every_reader
@pytest.mark.parametrize("layout", ["timit", "kaldi", "folder"])
def test_another_layout_names_its_reader(name, layout, tmp_path):
    if name != layout and (name, layout) != ("keyword-folder", "folder"):
        make(layout, tmp_path)
        with pytest.raises(CorpusError, match=f"corpus/{name} .*corpus/{layout}: choose"):
            read(name, tmp_path)


@every_reader
def test_unreadable_files_are_skipped_with_one_warning(name, tmp_path):
    make(name, tmp_path)
    (bad, other), good = (utterances := read(name, tmp_path))[:2], utterances[2:]
    bad.path.write_text("no audio")
    other.path.write_bytes(b"")
    assert read_with_warning(f"2 of {len(utterances)} files.*{bad.path}", name, tmp_path) == good
    for utterance in good:
        utterance.path.write_text("no audio")
    with pytest.raises(CorpusError, match=f"None of the {len(utterances)} audio files"):
        read(name, tmp_path)


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"timit", "kaldi"}))
def test_a_recording_in_two_formats(name, tmp_path):
    make(name, tmp_path)
    utterance = read(name, tmp_path)[0]
    put(utterance.path.with_suffix(".flac" if utterance.path.suffix == ".wav" else ".wav"))
    with pytest.raises(CorpusError, match=f"{utterance.utt_id}.*{utterance.path.stem}.*Remove or rename"):
        read(name, tmp_path)
