"""Laws of the corpus readers, over tiny corpora that the tests write in each layout."""

import os
import shutil
import warnings
from dataclasses import astuple

import numpy as np
import pytest
import soundfile

import speechtools
from speechtools import audio
from speechtools.core.errors import CorpusError


def put(path, samples=None):
    """Write noise of a length of its own for every path; return the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if samples is None:
        samples = 1600 + sum(path.name.encode()) % 97
    signal = 0.1 * np.random.default_rng(samples).standard_normal(samples)
    containers = {".wav": "WAV", ".flac": "FLAC"}
    soundfile.write(path, signal, 16000, format=containers[path.suffix.lower()], subtype="PCM_16")
    return path


def put_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def put_sphere(path, samples=1600):
    path.parent.mkdir(parents=True, exist_ok=True)
    header = (
        f"NIST_1A\n   1024\ndatabase_id -s5 TIMIT\nchannel_count -i 1\nsample_count -i {samples}\n"
        "sample_rate -i 16000\nsample_n_bytes -i 2\nsample_byte_format -s2 01\nsample_sig_bits -i 16\nend_head\n"
    )
    path.write_bytes(header.encode().ljust(1024) + np.arange(samples, dtype="<i2").tobytes())


def make_timit(root):
    for place in ("TRAIN/DR1/FCJF0", "TRAIN/DR4/MESD0", "TEST/DR2/FPAS0"):
        for sentence in ("SA1", "SA2", "SX37"):
            put_sphere(root / place / f"{sentence}.WAV", 1600 + len(place) + len(sentence))
            put_text(root / place / f"{sentence}.TXT", f"0 46797 She had {sentence} in greasy wash water.\n")
            put_text(root / place / f"{sentence}.PHN", "0 46797 h#\n")


def make_librispeech(root):
    for subset, speakers in {"train-clean-5": (19, 26), "dev-clean": (84, 174), "test-other": (367, 533)}.items():
        for speaker in speakers:
            chapter = root / "LibriSpeech" / subset / str(speaker) / "77"
            names = [f"{speaker}-77-{number:04d}" for number in range(2)]
            for name in names:
                put(chapter / f"{name}.flac")
            put_text(chapter / f"{speaker}-77.trans.txt", "".join(f"{name} WORDS OF {name}\n" for name in names))
    put_text(root / "LibriSpeech" / "SPEAKERS.TXT", "; 1 | F\n")


def make_kaldi(root):
    for split, speakers in {"train": ("anna", "boris"), "test": ("clara",)}.items():
        utterances = [(f"{speaker}{number}", speaker) for speaker in speakers for number in (1, 2)]
        for name, speaker in utterances:
            put(root / "wave" / speaker / f"{name}.flac")
        put_text(root / split / "wav.scp", "".join(f"{n}\twave/{s}/{n}.flac\n" for n, s in utterances))
        put_text(root / split / "utt2spk", "".join(f"{n} {s}\n" for n, s in utterances))
        put_text(root / split / "text", "".join(f"{n} WORDS OF {n}\n" for n, _ in utterances))


def make_folder(root):
    for place in ("Train/anna", "Train/boris/monday", "dev/dora", "test/clara"):
        for name in ("001.wav", "002.flac"):
            put(root / place / name)


def make_voxceleb(root):
    for place in ("dev/wav/id10001/J9lHsKG98U8", "dev/wav/id10002/-x_9uCPMKiA", "test/wav/id10270/5r0dWxy17C8"):
        for segment in ("00001", "00002"):
            put(root / place / f"{segment}.wav", 1600 + sum(place.encode()) % 97 + int(segment))


MAKERS = {
    "timit": make_timit,
    "librispeech": make_librispeech,
    "kaldi": make_kaldi,
    "folder": make_folder,
    "voxceleb": make_voxceleb,
}
every_reader = pytest.mark.parametrize("name", MAKERS)


def read_corpus(name, data_folder):
    return list(speechtools.build(f"corpus/{name}", data_folder=data_folder))


def by_id(name, data_folder):
    return {utterance.utt_id: utterance for utterance in read_corpus(name, data_folder)}


# laws of every reader


@every_reader
def test_what_every_reader_yields(name, tmp_path):
    MAKERS[name](tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        utterances = read_corpus(name, tmp_path)
    ids = [utterance.utt_id for utterance in utterances]
    assert ids == sorted(set(ids))
    written = [path for path in tmp_path.rglob("*") if path.suffix.lower() in (".wav", ".flac")]
    assert sorted(utterance.path for utterance in utterances) == sorted(written)
    for utterance in utterances:
        assert utterance.path.is_absolute() and utterance.speaker
        assert utterance.duration * 16000 == pytest.approx(len(audio.read(utterance.path))) and utterance.duration > 0
    splits = {"train", "valid", "test"} if name in ("librispeech", "folder") else {"train", "test"}
    assert {utterance.split for utterance in utterances} == splits


@every_reader
def test_order_and_type_of_path_change_nothing(name, tmp_path, monkeypatch):
    MAKERS[name](tmp_path / "corpus")
    first = read_corpus(name, tmp_path / "corpus")
    assert read_corpus(name, str(tmp_path / "corpus")) == first
    monkeypatch.chdir(tmp_path)
    assert read_corpus(name, "corpus") == first
    # a file system that lists in the opposite order
    walk, glob = os.walk, type(tmp_path).glob

    def backward(top, **options):
        for parent, folders, names in walk(top, **options):
            folders.reverse()
            yield parent, folders, names[::-1]

    monkeypatch.setattr(os, "walk", backward)
    monkeypatch.setattr(type(tmp_path), "glob", lambda self, pattern: iter(list(glob(self, pattern))[::-1]))
    assert read_corpus(name, tmp_path / "corpus") == first


@every_reader
def test_a_corpus_may_move(name, tmp_path):
    MAKERS[name](tmp_path / "here")
    shutil.copytree(tmp_path / "here", tmp_path / "there" / "deep")
    here, there = (read_corpus(name, tmp_path / place) for place in ("here", "there/deep"))
    assert [u.path.relative_to(tmp_path / "here") for u in here] == [
        u.path.relative_to(tmp_path / "there" / "deep") for u in there
    ]
    assert [astuple(u)[:3] + astuple(u)[4:] for u in here] == [astuple(u)[:3] + astuple(u)[4:] for u in there]


@every_reader
def test_a_missing_folder(name, tmp_path):
    with pytest.raises(
        CorpusError, match=rf"{tmp_path}/no/such does not exist; the nearest one that does is {tmp_path}"
    ):
        speechtools.build(f"corpus/{name}", data_folder=tmp_path / "no" / "such")
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="is a file, but a folder is needed"):
        speechtools.build(f"corpus/{name}", data_folder=tmp_path / "file")


@every_reader
def test_an_empty_folder(name, tmp_path):
    with pytest.raises(CorpusError, match=r"is empty\. Give the folder that holds the corpus"):
        speechtools.build(f"corpus/{name}", data_folder=tmp_path)


@every_reader
def test_a_folder_without_a_corpus(name, tmp_path):
    put_text(tmp_path / "notes" / "README.md", "nothing to hear")
    with pytest.raises(CorpusError, match=rf"corpus/{name} reads it: looked for .*; found notes/\. Give the folder"):
        speechtools.build(f"corpus/{name}", data_folder=tmp_path)


@every_reader
@pytest.mark.parametrize("layout", [layout for layout in MAKERS if layout != "voxceleb"])  # which is also a folder's
def test_another_layout_names_its_reader(name, layout, tmp_path):
    if name == layout:
        return
    MAKERS[layout](tmp_path)
    with pytest.raises(
        CorpusError, match=rf"looked for .*; found .* It looks like the layout of corpus/{layout}: choose"
    ):
        speechtools.build(f"corpus/{name}", data_folder=tmp_path)


@every_reader
def test_an_unreadable_file_is_left_out_with_one_warning(name, tmp_path):
    MAKERS[name](tmp_path)
    before = read_corpus(name, tmp_path)
    (bad, other), good = before[:2], before[2:]
    bad.path.write_text("no audio")
    other.path.write_bytes(b"")
    with pytest.warns(UserWarning, match="were left out") as caught:
        assert read_corpus(name, tmp_path) == good
    assert len(caught) == 1
    message = str(caught[0].message)
    assert f"2 of {len(before)} files" in message and str(bad.path) in message and "holds 0 bytes" in message


@every_reader
def test_only_unreadable_files(name, tmp_path):
    MAKERS[name](tmp_path)
    for utterance in read_corpus(name, tmp_path):
        utterance.path.write_text("no audio")
    with pytest.raises(CorpusError, match=r"None of the \d+ audio files .* can be read"):
        read_corpus(name, tmp_path)


# TIMIT


def test_timit_ids_splits_and_sentences(tmp_path):
    make_timit(tmp_path)
    utterances = by_id("timit", tmp_path)
    assert len(utterances) == 9 and {"fcjf0_sa1", "fcjf0_sa2", "fcjf0_sx37"} < set(utterances)
    assert (utterances["mesd0_sa1"].speaker, utterances["mesd0_sa1"].split) == ("mesd0", "train")
    assert (utterances["fpas0_sx37"].speaker, utterances["fpas0_sx37"].split) == ("fpas0", "test")
    assert utterances["fpas0_sx37"].text == "She had SX37 in greasy wash water."


def test_timit_in_lower_case_gives_the_same_ids(tmp_path):
    make_timit(tmp_path / "upper")
    for path in (tmp_path / "upper").rglob("*.*"):
        lower = tmp_path / "lower" / path.relative_to(tmp_path / "upper").as_posix().lower()
        lower.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, lower)
    upper, lower = by_id("timit", tmp_path / "upper"), by_id("timit", tmp_path / "lower")
    assert [(u.utt_id, u.speaker, u.split, u.duration, u.text) for u in upper.values()] == [
        (u.utt_id, u.speaker, u.split, u.duration, u.text) for u in lower.values()
    ]


def test_timit_below_other_folders_and_in_part(tmp_path):
    make_timit(tmp_path / "LDC93S1" / "TIMIT")
    whole = read_corpus("timit", tmp_path / "LDC93S1" / "TIMIT")
    assert read_corpus("timit", tmp_path) == whole
    part = read_corpus("timit", tmp_path / "LDC93S1" / "TIMIT" / "TEST")
    assert part == [utterance for utterance in whole if utterance.split == "test"]


def test_timit_with_converted_copies_beside_the_originals(tmp_path):
    make_timit(tmp_path)
    put(tmp_path / "TRAIN" / "DR1" / "FCJF0" / "SA1.WAV.wav", 3200)
    (tmp_path / "TRAIN" / "DR1" / "FCJF0" / "SA2.TXT").unlink()
    utterances = by_id("timit", tmp_path)
    assert len(utterances) == 9
    assert utterances["fcjf0_sa1"].path.name == "SA1.WAV.wav" and utterances["fcjf0_sa1"].duration == 0.2
    assert utterances["fcjf0_sa1"].text == "She had SA1 in greasy wash water."
    assert utterances["fcjf0_sa2"].text is None


def test_two_copies_of_timit(tmp_path):
    make_timit(tmp_path / "one")
    make_timit(tmp_path / "two")
    with pytest.raises(
        CorpusError, match=r"the utterance id 'fcjf0_sa1': .*SA1\.WAV and .*SA1\.WAV\. Remove or rename"
    ):
        speechtools.build("corpus/timit", data_folder=tmp_path)


def test_a_cut_sphere_file_is_left_out(tmp_path):
    make_timit(tmp_path)
    path = tmp_path / "TEST" / "DR2" / "FPAS0" / "SA1.WAV"
    path.write_bytes(path.read_bytes()[:2000])
    with pytest.warns(
        UserWarning, match=r"SA1\.WAV is truncated: its header promises \d+ samples and the file holds 488"
    ):
        assert len(read_corpus("timit", tmp_path)) == 8


# LibriSpeech


def test_librispeech_transcripts_and_splits(tmp_path):
    make_librispeech(tmp_path)
    for utterance in read_corpus("librispeech", tmp_path):
        assert utterance.text == f"WORDS OF {utterance.utt_id}"
        assert utterance.utt_id.startswith(f"{utterance.speaker}-77-")
        kind = utterance.path.parts[-4].split("-")[0]
        assert utterance.split == {"train": "train", "dev": "valid", "test": "test"}[kind]
    assert read_corpus("librispeech", tmp_path / "LibriSpeech") == read_corpus("librispeech", tmp_path)


def test_one_kind_of_subset_is_no_division(tmp_path):
    make_librispeech(tmp_path)
    whole = by_id("librispeech", tmp_path)
    part = read_corpus("librispeech", tmp_path / "LibriSpeech" / "dev-clean")
    assert len(part) == 4 and {u.split for u in part} == {""}
    assert all(whole[u.utt_id].path == u.path for u in part)
    for subset in ("train-clean-5", "test-other"):
        shutil.rmtree(tmp_path / "LibriSpeech" / subset)
    assert read_corpus("librispeech", tmp_path) == part


def test_librispeech_without_transcripts(tmp_path):
    make_librispeech(tmp_path)
    for path in tmp_path.rglob("*.trans.txt"):
        path.unlink()
    assert {u.text for u in read_corpus("librispeech", tmp_path)} == {None}


# VoxCeleb


def test_voxceleb_ids_are_those_of_the_published_lists(tmp_path):
    from speechtools.speaker.trials import read_trials

    make_voxceleb(tmp_path / "voxceleb1")
    utterances = by_id("voxceleb", tmp_path)
    assert {(u.speaker, u.split) for u in utterances.values()} == {
        ("id10001", "train"),
        ("id10002", "train"),
        ("id10270", "test"),
    }
    assert "id10270-5r0dWxy17C8-00001" in utterances and {u.text for u in utterances.values()} == {None}
    (tmp_path / "veri.txt").write_text(
        "1 id10270/5r0dWxy17C8/00001.wav id10270/5r0dWxy17C8/00002.wav\n"
        "0 id10270/5r0dWxy17C8/00001.wav id10002/-x_9uCPMKiA/00002.wav\n"
    )
    trials = read_trials(tmp_path / "veri.txt", list(utterances))
    speakers = [u.speaker for u in utterances.values()]
    assert [speakers[test] for test in trials.tests] == ["id10270", "id10002"]


@pytest.mark.parametrize("level", ["", "wav/"])
@pytest.mark.parametrize("train, test", [("dev", "test"), ("train", "Test"), ("vox1_dev_wav", "vox1_test_wav")])
def test_levels_and_names_of_voxceleb_halves(level, train, test, tmp_path):
    put(tmp_path / f"{train}/{level}id10001/aB/00001.wav")
    put(tmp_path / f"{test}/{level}id10270/Ab/00001.wav")
    found = {(u.utt_id, u.split) for u in read_corpus("voxceleb", tmp_path)}
    assert found == {("id10001-aB-00001", "train"), ("id10270-Ab-00001", "test")}


@pytest.mark.parametrize("part", ["dev", "dev/wav", "test", "test/wav/id10270"])
def test_a_part_of_voxceleb_is_not_divided(part, tmp_path):
    make_voxceleb(tmp_path)
    found = read_corpus("voxceleb", tmp_path / part)
    assert {u.path for u in found} == set((tmp_path / part).rglob("*.wav")) and {u.split for u in found} == {""}
    whole = by_id("voxceleb", tmp_path)
    assert all(whole[u.utt_id].speaker == u.speaker for u in found)


def test_videos_that_differ_in_case_alone(tmp_path):
    put(tmp_path / "id10001" / "aBc" / "00001.wav")
    put(tmp_path / "id10001" / "AbC" / "00001.wav")
    assert list(by_id("voxceleb", tmp_path)) == ["id10001-AbC-00001", "id10001-aBc-00001"]


def test_voxceleb2_must_be_converted_whole(tmp_path):
    original = tmp_path / "dev" / "aac" / "id00012" / "21Uxsk56VDQ"
    put_text(original / "00001.m4a", "no audio")
    put_text(original / "00002.m4a", "no audio")
    with pytest.raises(CorpusError, match=r"2 of 2 \.m4a files .* the first is .*00001\.m4a\. Convert each"):
        speechtools.build("corpus/voxceleb", data_folder=tmp_path)
    put(original / "00001.wav")
    with pytest.raises(CorpusError, match=r"1 of 2 \.m4a files .* the first is .*00002\.m4a\. Convert each"):
        speechtools.build("corpus/voxceleb", data_folder=tmp_path)
    put(tmp_path / "dev" / "wav" / "id00012" / "21Uxsk56VDQ" / "00002.flac")
    assert list(by_id("voxceleb", tmp_path)) == ["id00012-21Uxsk56VDQ-00001", "id00012-21Uxsk56VDQ-00002"]


def test_a_voxceleb_recording_twice(tmp_path):
    put(tmp_path / "dev" / "wav" / "id10001" / "aB" / "00001.wav")
    put(tmp_path / "dev" / "aac" / "id10001" / "aB" / "00001.flac")
    with pytest.raises(CorpusError, match=r"the utterance id 'id10001-aB-00001': .* Remove or rename"):
        speechtools.build("corpus/voxceleb", data_folder=tmp_path)


# Kaldi


def test_kaldi_lists_are_what_counts(tmp_path):
    make_kaldi(tmp_path)
    utterances = by_id("kaldi", tmp_path)
    assert list(utterances) == ["anna1", "anna2", "boris1", "boris2", "clara1", "clara2"]
    assert all(u.text == f"WORDS OF {u.utt_id}" and u.utt_id.startswith(u.speaker) for u in utterances.values())
    assert {u.speaker for u in utterances.values() if u.split == "test"} == {"clara"}
    part = read_corpus("kaldi", tmp_path / "train")  # its paths start at the folder above
    assert [u.utt_id for u in part] == ["anna1", "anna2", "boris1", "boris2"] and {u.split for u in part} == {""}
    assert {u.path for u in part} < {u.path for u in utterances.values()}


def make_one_list(root, entry, **lists):
    put(root / "a.wav")
    put_text(root / "wav.scp", f"utt1 {entry}\n")
    put_text(root / "utt2spk", lists.get("utt2spk", "utt1 anna\n"))


@pytest.mark.parametrize("start", ["absolute", "data_folder", "above", "list"])
def test_where_paths_of_wav_scp_start(start, tmp_path):
    root = tmp_path / "corpus"
    put(tmp_path / "corpus" / "train" / "in" / "list.wav")
    put(tmp_path / "corpus" / "in" / "data_folder.wav")
    put(tmp_path / "in" / "above.wav")
    entry = str(tmp_path / "in" / "above.wav") if start == "absolute" else f"in/{start}.wav"
    put_text(root / "train" / "wav.scp", f"utt1 {entry}\n")
    put_text(root / "train" / "utt2spk", "utt1 anna\n")
    (utterance,) = read_corpus("kaldi", root)
    assert utterance.path.is_file() and utterance.split == "train" and utterance.text is None
    assert utterance.path.stem == ("above" if start == "absolute" else start)


@pytest.mark.parametrize(("name", "split"), [("dev", "valid"), ("valid", "valid"), ("val", "valid"), ("eval", "test")])
def test_names_of_kaldi_splits(name, split, tmp_path):
    make_one_list(tmp_path / name, "a.wav")
    (utterance,) = read_corpus("kaldi", tmp_path)
    assert utterance.split == split


def test_a_path_with_spaces_and_a_blank_transcript(tmp_path):
    make_one_list(tmp_path, "two  words.wav")
    put(tmp_path / "two  words.wav")
    put_text(tmp_path / "text", "utt1\n")
    (utterance,) = read_corpus("kaldi", tmp_path)
    assert utterance.path.name == "two  words.wav" and utterance.text == ""


@pytest.mark.parametrize(
    ("entry", "utt2spk", "match"),
    [
        (
            "sox a.wav -t wav - |",
            "utt1 anna\n",
            r"wav\.scp gives for 'utt1' the command 'sox a\.wav -t wav - \|'.*Convert",
        ),
        (
            "gone.wav",
            "utt1 anna\n",
            r"names 1 of 1 files that do not exist, the first for 'utt1': gone\.wav from .*Mend",
        ),
        ("/no/gone.wav", "utt1 anna\n", r"the first for 'utt1': /no/gone\.wav\. Mend"),
        ("x" * 5000, "utt1 anna\n", "names 1 of 1 files that do not exist"),
        ("a.wav", "utt2 anna\n", "utt2spk lacks 1 of the 1 utterances of wav.scp, the first 'utt1'"),
        ("a.wav", "utt1 anna\nutt1 boris\n", "Line 2 of .*utt2spk names 'utt1' a second time"),
        ("a.wav\nutt1 a.wav", "utt1 anna\n", "Line 2 of .*wav.scp names 'utt1' a second time"),
        ("a.wav", "utt1\n", "Line 1 of .*utt2spk is 'utt1': an id with nothing behind it"),
        ("", "utt1 anna\n", "Line 1 of .*wav.scp is 'utt1 ': an id with nothing behind it"),
    ],
)
def test_faulty_kaldi_lists(entry, utt2spk, match, tmp_path):
    make_one_list(tmp_path, entry, utt2spk=utt2spk)
    with pytest.raises(CorpusError, match=match):
        speechtools.build("corpus/kaldi", data_folder=tmp_path)


def test_kaldi_lists_that_are_missing_empty_or_no_text(tmp_path):
    make_one_list(tmp_path, "a.wav")
    put_text(tmp_path / "segments", "utt1 rec1 0.0 1.0\n")
    with pytest.raises(
        CorpusError, match="segments cuts the recordings into utterances, which this reader does not do"
    ):
        speechtools.build("corpus/kaldi", data_folder=tmp_path)
    (tmp_path / "segments").unlink()
    (tmp_path / "utt2spk").write_bytes(b"utt1 \xe4nna\n")
    with pytest.raises(CorpusError, match=r"utt2spk is no UTF-8 text \(.* at byte 5\)"):
        speechtools.build("corpus/kaldi", data_folder=tmp_path)
    (tmp_path / "utt2spk").unlink()
    with pytest.raises(CorpusError, match="has a wav.scp but no utt2spk"):
        speechtools.build("corpus/kaldi", data_folder=tmp_path)
    put_text(tmp_path / "wav.scp", "\n")
    put_text(tmp_path / "utt2spk", "\n")
    with pytest.raises(CorpusError, match="wav.scp is empty"):
        speechtools.build("corpus/kaldi", data_folder=tmp_path)


def test_one_id_in_two_kaldi_splits(tmp_path):
    make_one_list(tmp_path / "train", "a.wav")
    make_one_list(tmp_path / "test", "a.wav")
    with pytest.raises(CorpusError, match="give the utterance id 'utt1'"):
        speechtools.build("corpus/kaldi", data_folder=tmp_path)


# one folder a speaker


def test_folder_speakers_and_splits(tmp_path):
    make_folder(tmp_path)
    found = {(u.utt_id, u.speaker, u.split) for u in read_corpus("folder", tmp_path)}
    assert len(found) == 8 and found > {
        ("Train-anna-001", "anna", "train"),
        ("Train-boris-monday-002", "boris", "train"),
        ("dev-dora-001", "dora", "valid"),
        ("test-clara-002", "clara", "test"),
    }


def test_folder_without_splits(tmp_path):
    for name in ("anna/001.wav", "boris/001.wav", "boris/x/001.wav"):
        put(tmp_path / name)
    put_text(tmp_path / "docs" / "notes.txt", "not a speaker")
    found = {(u.utt_id, u.speaker, u.split) for u in read_corpus("folder", tmp_path)}
    assert found == {("anna-001", "anna", ""), ("boris-001", "boris", ""), ("boris-x-001", "boris", "")}


def test_files_that_belong_to_nobody(tmp_path):
    put(tmp_path / "stray.wav")
    with pytest.raises(
        CorpusError, match=r"looked for <speaker>/<utterance>\.wav .*; found stray\.wav\. Give the folder"
    ):
        speechtools.build("corpus/folder", data_folder=tmp_path)
    put(tmp_path / "anna" / "001.wav")
    with pytest.raises(CorpusError, match=r"stray\.wav lies in no speaker's folder"):
        speechtools.build("corpus/folder", data_folder=tmp_path)
    (tmp_path / "stray.wav").unlink()
    put(tmp_path / "test" / "clara" / "001.wav")
    with pytest.raises(CorpusError, match=r"anna/001\.wav lies outside of them"):
        speechtools.build("corpus/folder", data_folder=tmp_path)
    shutil.rmtree(tmp_path / "anna")
    put(tmp_path / "test" / "001.wav")
    with pytest.raises(CorpusError, match=r"test/001\.wav lies in no speaker's folder"):
        speechtools.build("corpus/folder", data_folder=tmp_path)


def test_one_utterance_in_two_formats(tmp_path):
    put(tmp_path / "anna" / "001.wav")
    put(tmp_path / "anna" / "001.flac")
    with pytest.raises(CorpusError, match=r"give the utterance id 'anna-001': .*001\.\w+ and .*001\.\w+\. Remove"):
        speechtools.build("corpus/folder", data_folder=tmp_path)
