"""Laws of the readers of keyword corpora, and of the keywords that the toolkit speaks itself."""

import collections
import itertools
import os
import shutil
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import soundfile

import speechtools
from speechtools import audio
from speechtools.core import contract as contracts
from speechtools.core.errors import ConfigError, CorpusError, SpeechtoolsError
from speechtools.core.rows import read_rows
from speechtools.corpora import builtin_keywords as module
from speechtools.corpora.builtin_keywords import builtin_keywords

DATA = Path(os.environ.get("SPEECHTOOLS_DATA", "/nonexistent"))


def put(path):
    """Write noise of a length of its own for every name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = 0.1 * np.random.default_rng(0).standard_normal(1600 + sum(path.name.encode()) % 97)
    soundfile.write(path, samples, 16000, format={".wav": "WAV", ".flac": "FLAC"}[path.suffix], subtype="PCM_16")


def put_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def make_speech_commands(root):
    for word in ("yes", "no", "bird"):
        for speaker in ("0a7c2a8d", "1b4c9b89", "c1d39ce8", "ffd2ba2f"):
            for number in (0, 1):
                put(root / word / f"{speaker}_nohash_{number}.wav")
    for name, speaker in {"validation": "1b4c9b89", "testing": "c1d39ce8"}.items():
        listed = [f"{word}/{speaker}_nohash_{number}.wav" for word in ("bird", "no", "yes") for number in (0, 1)]
        put_text(root / f"{name}_list.txt", "\n".join(listed) + "\n")
    put(root / "_background_noise_" / "running_tap.wav")
    put_text(root / "README.md", "about")


def make_arabic(root):
    for split, speakers in {"train": (1, 2), "val": (3,), "test": (4,)}.items():
        rows = ["file,class"]
        for keyword, speaker, number in itertools.product(("enter", "send"), speakers, (1, 2)):
            name = f"dataset/{keyword}/{speaker:08d}_NO_{number:02d}"
            put(root / f"{name}.flac")
            rows.append(f"{name}.wav,{keyword}")
        put_text(root / f"{split}.csv", "\n".join(rows) + "\n")
    put(root / "background_noise" / "boiler.flac")


def make_audiomnist(root):
    for speaker, digit, number in itertools.product(("01", "02", "60"), range(4), (0, 49)):
        put(root / "data" / speaker / f"{digit}_{speaker}_{number}.wav")
    put_text(root / "data" / "audioMNIST_meta.txt", "{}")


def make_keyword_folder(root):
    for keyword, speaker, name in itertools.product(
        ("OK Google", "Hey Google", "مرحبا"), ("anna", "boris"), ("1.wav", "2.flac")
    ):
        put(root / keyword / speaker / name)


MAKERS = {
    "speech-commands": make_speech_commands,
    "arabic-speech-commands": make_arabic,
    "audiomnist": make_audiomnist,
    "keyword-folder": make_keyword_folder,
}
KEYWORDS = {
    "speech-commands": {"yes", "no", "bird"},
    "arabic-speech-commands": {"enter", "send"},
    "audiomnist": {"0", "1", "2", "3"},
    "keyword-folder": {"OK Google", "Hey Google", "مرحبا"},
}
every_reader = pytest.mark.parametrize("name", MAKERS)


def read_corpus(name, data_folder, **arguments):
    return list(speechtools.build(f"corpus/{name}", data_folder=data_folder, **arguments))


# Laws of every reader -----------------------------------------------------------------------------------------------


@every_reader
def test_the_contract_holds(name, tmp_path):
    MAKERS[name](tmp_path)
    assert len(contracts.check(f"corpus/{name}", tmp_path)) == len(contracts.contract("corpus").laws)


@every_reader
def test_what_every_reader_yields(name, tmp_path):
    MAKERS[name](tmp_path)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        utterances = read_corpus(name, tmp_path)
    ids = [utterance.utt_id for utterance in utterances]
    assert ids == sorted(set(ids)) and not any(set(" \t") & set(utt_id) for utt_id in ids)
    files = [path for path in audio.find_audio(tmp_path) if "background" not in path.parent.name]
    assert sorted(utterance.path for utterance in utterances) == sorted(files)
    assert {utterance.text for utterance in utterances} == KEYWORDS[name]
    for utterance in utterances:
        inside = utterance.path.relative_to(tmp_path).as_posix()
        assert utterance.text in inside and utterance.speaker in inside
        assert utterance.duration * 16000 == pytest.approx(len(audio.read(utterance.path)))


@every_reader
def test_keywords_are_a_choice_of_the_whole(name, tmp_path):
    MAKERS[name](tmp_path)
    whole = read_corpus(name, tmp_path)
    for wanted in itertools.combinations(sorted(KEYWORDS[name]), 2):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert read_corpus(name, tmp_path, keywords=list(wanted)) == [u for u in whole if u.text in wanted]
    assert read_corpus(name, tmp_path, keywords=sorted(KEYWORDS[name])) == whole


@every_reader
def test_a_keyword_that_no_file_holds(name, tmp_path):
    MAKERS[name](tmp_path)
    known = sorted(KEYWORDS[name])
    with pytest.raises(CorpusError, match=rf"{tmp_path} holds the keyword 'zyx'\. It has: {', '.join(known)}\."):
        read_corpus(name, tmp_path, keywords=[known[0], "zyx"])


def test_the_nearest_keyword_is_named(tmp_path):
    make_keyword_folder(tmp_path)
    with pytest.raises(CorpusError, match=r"the keyword 'ok gogle'\. Did you mean 'OK Google'\?"):
        read_corpus("keyword-folder", tmp_path, keywords=["ok gogle"])


@every_reader
@pytest.mark.parametrize("keywords", ["yes", []])
def test_keywords_that_are_no_list(name, keywords, tmp_path):
    MAKERS[name](tmp_path)
    with pytest.raises(ConfigError, match="is no list of keywords. Give a list, as in"):
        read_corpus(name, tmp_path, keywords=keywords)


@every_reader
def test_a_missing_and_an_empty_folder(name, tmp_path):
    with pytest.raises(CorpusError, match=rf"{tmp_path}/nowhere does not exist"):
        read_corpus(name, tmp_path / "nowhere")
    with pytest.raises(CorpusError, match=r"is empty\. Give the folder that holds the corpus"):
        read_corpus(name, tmp_path)


@pytest.mark.parametrize("name", [*MAKERS, "folder"])
@pytest.mark.parametrize("layout", [layout for layout in MAKERS if layout != "keyword-folder"])
def test_another_layout_names_its_reader(name, layout, tmp_path):
    if name == layout:
        return
    MAKERS[layout](tmp_path)
    with pytest.raises(
        CorpusError, match=rf"looked for .*; found .* the layout of corpus/{layout}: choose that reader"
    ):
        read_corpus(name, tmp_path)


@every_reader
def test_unreadable_files_are_left_out_with_one_warning(name, tmp_path):
    MAKERS[name](tmp_path)
    bad, *good = read_corpus(name, tmp_path)
    bad.path.write_text("no audio")
    with pytest.warns(UserWarning, match=rf"1 of {len(good) + 1} files .* were left out\. .*{bad.path.name}") as caught:
        assert read_corpus(name, tmp_path) == good
    assert len(caught) == 1


@every_reader
def test_a_recording_in_two_formats(name, tmp_path):
    MAKERS[name](tmp_path)
    path = read_corpus(name, tmp_path)[0].path
    put(path.with_suffix(".flac" if path.suffix == ".wav" else ".wav"))
    with pytest.raises(CorpusError, match=r"Two files of the corpus .* give the utterance id .*Remove or rename"):
        read_corpus(name, tmp_path)


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "keyword-folder"])
def test_a_corpus_one_folder_deeper_is_found(name, tmp_path):
    MAKERS[name](tmp_path / "above" / "corpus")
    assert read_corpus(name, tmp_path / "above") == read_corpus(name, tmp_path / "above" / "corpus")


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "keyword-folder"])
def test_audio_of_other_names_is_told(name, tmp_path):
    MAKERS[name](tmp_path)
    before = read_corpus(name, tmp_path)
    put(tmp_path / "extra" / "hello.wav")
    with pytest.warns(UserWarning, match=r"1 of \d+ audio files .* are not named .*: extra/hello\.wav\.") as caught:
        assert read_corpus(name, tmp_path) == before
    assert len(caught) == 1


# Lists --------------------------------------------------------------------------------------------------------------

with_lists = pytest.mark.parametrize("name", ["speech-commands", "arabic-speech-commands"])


@with_lists
def test_lists_divide_the_speakers(name, tmp_path):
    MAKERS[name](tmp_path)
    splits = collections.defaultdict(set)
    for utterance in read_corpus(name, tmp_path):
        splits[utterance.split].add(utterance.speaker)
    assert {split: len(speakers) for split, speakers in splits.items()} == {"train": 2, "valid": 1, "test": 1}
    assert sum(map(len, splits.values())) == len(set.union(*splits.values()))
    for split, prefix in {"valid": "val", "test": "test"}.items():
        (path,) = [path for path in tmp_path.iterdir() if path.name.startswith(prefix)]
        assert all(speaker in path.read_text() for speaker in splits[split])


@with_lists
def test_without_lists_nothing_is_divided(name, tmp_path):
    MAKERS[name](tmp_path)
    whole = read_corpus(name, tmp_path)
    for path in [*tmp_path.glob("*.txt"), *tmp_path.glob("*.csv")]:
        path.unlink()
    bare = read_corpus(name, tmp_path)
    assert {u.split for u in bare} == {""} and [u.path for u in bare] == [u.path for u in whole]


@with_lists
def test_the_suffix_in_the_lists_does_not_matter(name, tmp_path):
    MAKERS[name](tmp_path)
    before = {u.utt_id: u.split for u in read_corpus(name, tmp_path)}
    for path in audio.find_audio(tmp_path):
        other = path.with_suffix(".flac" if path.suffix == ".wav" else ".wav")
        samples, rate = soundfile.read(path)
        soundfile.write(other, samples, rate)
        path.unlink()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert {u.utt_id: u.split for u in read_corpus(name, tmp_path)} == before


@with_lists
@pytest.mark.parametrize("count", [1, 6])
def test_listed_files_that_are_missing_are_counted_and_named(name, count, tmp_path):
    MAKERS[name](tmp_path)
    whole = read_corpus(name, tmp_path)
    gone = [u for u in whole if u.split in ("test", "valid")][:count]
    for utterance in gone:
        utterance.path.unlink()
    with pytest.warns(UserWarning, match=rf"name {count} of \d+ files that do not exist: ") as caught:
        assert read_corpus(name, tmp_path) == [u for u in whole if u not in gone]
    assert len(caught) == 1
    message = str(caught[0].message)
    assert sum(u.path.stem in message and f"/{u.path.stem}." in message for u in gone) >= min(count, 4)
    assert ("and 1 more" in message) == (count == 6)
    present = sorted({u.text for u in whole} - {u.text for u in gone})
    if present:  # of keywords that nobody asked for, nothing is missed
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read_corpus(name, tmp_path, keywords=present)


def test_a_keyword_in_the_lists_alone_is_missed(tmp_path):
    make_speech_commands(tmp_path)
    shutil.rmtree(tmp_path / "bird")
    with pytest.warns(UserWarning, match=r"name 4 of 12 files that do not exist: bird/1b4c9b89_nohash_0\.wav"):
        utterances = read_corpus("speech-commands", tmp_path)
    assert {u.text for u in utterances} == {"yes", "no"}


@with_lists
def test_a_speaker_in_two_splits_is_told(name, tmp_path):
    MAKERS[name](tmp_path)
    before = read_corpus(name, tmp_path)
    (torn,) = {u.speaker for u in before if u.split == "valid"}
    (path,) = [*tmp_path.glob("val*.txt"), *tmp_path.glob("val*.csv")]
    lines = path.read_text().splitlines()
    moved = lines.pop()
    put_text(path, "\n".join(lines) + "\n")
    if name == "arabic-speech-commands":  # what no list names is left out, so it goes to another list
        put_text(tmp_path / "train.csv", (tmp_path / "train.csv").read_text() + moved + "\n")
    with pytest.warns(UserWarning, match=rf"1 of 4 speakers .* in more than one split: {torn}\. .*mend the lists"):
        after = read_corpus(name, tmp_path)
    assert len(after) == len(before)


@with_lists
def test_a_file_in_two_lists(name, tmp_path):
    MAKERS[name](tmp_path)
    lists = sorted([*tmp_path.glob("*_list.txt"), *tmp_path.glob("*.csv")])
    put_text(lists[0], lists[0].read_text() + lists[1].read_text().splitlines()[-1] + "\n")
    with pytest.raises(CorpusError, match=r"is named by two lists, .* and .*, so it would be in two splits"):
        read_corpus(name, tmp_path)


@with_lists
def test_a_list_that_is_no_text(name, tmp_path):
    MAKERS[name](tmp_path)
    (path,) = [*tmp_path.glob("testing_list.txt"), *tmp_path.glob("test.csv")]
    path.write_bytes(b"\xff\xfe\x00yes")
    with pytest.raises(CorpusError, match=rf"{path.name} is no UTF-8 text"):
        read_corpus(name, tmp_path)


def test_files_that_no_list_names(tmp_path):
    make_arabic(tmp_path)
    before = read_corpus("arabic-speech-commands", tmp_path)
    put(tmp_path / "dataset" / "enter" / "00000001_NO_11.flac")
    with pytest.warns(UserWarning, match=r"do not name 1 files that are there: dataset/enter/00000001_NO_11\.flac"):
        assert read_corpus("arabic-speech-commands", tmp_path) == before
    for name in ("train", "val", "test"):
        put_text(tmp_path / f"{name}.csv", "file,class\n")
    with pytest.raises(CorpusError, match=r"name none of the 17 files that are there, .* Mend the lists"):
        read_corpus("arabic-speech-commands", tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has the header '' instead of 'file,class'"),
        ("path,label\n", "has the header 'path,label' instead of 'file,class'"),
        ("file,class\ndataset/enter/00000004_NO_01.wav,send\n", "has the row 'dataset/enter/00000004_NO_01.wav,send'"),
        ("file,class\ndataset/enter/00000004_NO_01.wav\n", "where dataset/<keyword>/<file>,<keyword> belongs"),
    ],
)
def test_a_damaged_list(text, message, tmp_path):
    make_arabic(tmp_path)
    put_text(tmp_path / "test.csv", text)
    with pytest.raises(CorpusError, match=message):
        read_corpus("arabic-speech-commands", tmp_path)


# One reader each ----------------------------------------------------------------------------------------------------


def test_digits_may_be_numbers(tmp_path):
    make_audiomnist(tmp_path)
    assert read_corpus("audiomnist", tmp_path, keywords=[1, 3]) == read_corpus(
        "audiomnist", tmp_path, keywords=["1", "3"]
    )


@pytest.mark.parametrize(
    ("place", "where"), [("loose.wav", "higher"), ("no/1.wav", "higher"), ("a/b/c/1.wav", "deeper")]
)
def test_a_file_at_another_depth(place, where, tmp_path):
    make_keyword_folder(tmp_path)
    put(tmp_path / place)
    with pytest.raises(CorpusError, match=rf"{place} lies {where} in the corpus {tmp_path} than <keyword>/<speaker>"):
        read_corpus("keyword-folder", tmp_path)


@pytest.mark.real_data
@pytest.mark.skipif(not DATA.is_dir(), reason="SPEECHTOOLS_DATA names no folder")
def test_the_arabic_speech_commands_at_hand():
    folder = DATA / "arabic-speech-commands"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        utterances = read_corpus("arabic-speech-commands", folder)
    assert len(utterances) == 1920 and len({u.text for u in utterances}) == 8
    speakers = {split: {u.speaker for u in utterances if u.split == split} for split in ("train", "valid", "test")}
    assert {split: len(names) for split, names in speakers.items()} == {"train": 18, "valid": 3, "test": 3}
    assert len(set.union(*speakers.values())) == 24
    assert all(u.duration == 1.0 for u in utterances)
    pair = read_corpus("arabic-speech-commands", folder, keywords=["receive", "next"])
    assert pair == [u for u in utterances if u.text in ("receive", "next")] and len(pair) == 480


# Spoken by the toolkit ----------------------------------------------------------------------------------------------

FEW = {"num_speakers": 3, "num_test_speakers": 2, "renditions": 3, "num_workers": 1}


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


@pytest.fixture(scope="module")
def spoken(tmp_path_factory):
    """A small corpus: its folder and its utterances."""
    pytest.importorskip("espeakng_loader")
    folder = tmp_path_factory.mktemp("keywords")
    utterances = list(builtin_keywords(folder, **FEW))
    return next(folder.iterdir()), utterances


def test_everyone_says_every_keyword_as_often(spoken):
    _, utterances = spoken
    counts = collections.Counter((u.text, u.split, u.speaker) for u in utterances)
    assert set(counts.values()) == {3} and len(counts) == 2 * 5
    assert {text for text, _, _ in counts} == {"OK Google", "Hey Google"}
    speakers = {split: {s for _, of, s in counts if of == split} for split in ("train", "test")}
    assert (len(speakers["train"]), len(speakers["test"])) == (3, 2) and not speakers["train"] & speakers["test"]


def test_the_keyword_folder_reader_finds_the_same(spoken):
    folder, utterances = spoken
    found = read_corpus("keyword-folder", folder)
    assert [(u.utt_id, u.speaker, u.path, u.duration, u.text) for u in found] == [
        (u.utt_id, u.speaker, u.path, u.duration, u.text) for u in utterances
    ]


def test_the_keyword_lies_somewhere_in_a_short_recording(spoken):
    _, utterances = spoken
    starts = []
    for utterance in utterances:
        samples = audio.read(utterance.path).astype(float)
        assert 0.8 < utterance.duration < 2.6 and np.abs(samples).max() <= 0.951
        energy = np.mean(samples[: len(samples) // 160 * 160].reshape(-1, 160) ** 2, axis=1)  # (frames,) of 10 ms
        assert energy.min() > 10**-9.5  # nowhere digital silence
        loud = np.flatnonzero(energy > energy.max() / 16)
        # the edges, 0.08 s each, hold background alone
        assert 10 * np.log10(energy.max() / max(energy[:8].max(), energy[-8:].max())) > 14
        assert 0.1 < (loud[-1] - loud[0]) / 100 < 1.6
        starts.append(loud[0])
    assert np.std(starts) > 5


def test_renditions_differ(spoken):
    _, utterances = spoken
    groups = collections.defaultdict(list)
    for utterance in utterances:
        groups[utterance.text, utterance.speaker].append(audio.read(utterance.path))
    for recordings in groups.values():
        assert len({len(samples) for samples in recordings}) == len(recordings)
        levels = [10 * np.log10(np.mean(samples.astype(float) ** 2)) for samples in recordings]
        assert np.ptp(levels) > 0.1


def test_same_options_same_bytes_for_any_number_of_workers(spoken, tmp_path):
    folder, _ = spoken
    list(builtin_keywords(tmp_path, **{**FEW, "num_workers": 2}))
    assert contents(next(tmp_path.iterdir())) == contents(folder)


def test_a_larger_corpus_holds_the_smaller_and_tests_on_the_same_voices(spoken, tmp_path):
    _, utterances = spoken
    options = {**FEW, "num_speakers": 4, "renditions": 2, "test_renditions": 3}
    others = {u.utt_id: u for u in builtin_keywords(tmp_path, ["Hey Google", "Hello there"], **options)}
    shared = [u for u in utterances if u.utt_id in others]
    assert {u.text for u in shared} == {"Hey Google"} and len(shared) == 3 * 2 + 2 * 3
    assert all(u.path.read_bytes() == others[u.utt_id].path.read_bytes() for u in shared)


@pytest.mark.parametrize("change", [{"seed": 1}, {"source": "large"}])
def test_another_seed_or_source_gives_other_voices_and_bytes(spoken, tmp_path, change):
    folder, utterances = spoken
    others = list(builtin_keywords(tmp_path, **{**FEW, **change}))
    assert len(others) == len(utterances) and next(tmp_path.iterdir()).name != folder.name
    assert not {u.path.read_bytes() for u in others} & {u.path.read_bytes() for u in utterances}
    if "source" in change:
        assert not {u.speaker for u in others} & {u.speaker for u in utterances}


def test_no_voice_comes_twice_in_or_between_sources():
    speakers = [
        speaker
        for source, split, count in [("large", "train", 2000), ("small", "train", 100), ("small", "test", 100)]
        for speaker in module._speakers(split, count, 0, source)
    ]
    assert len({speaker.name for speaker in speakers}) == len(speakers)
    assert len({(s.warp, s.pitch, s.pitch_range, s.words_per_minute, s.tilt_db) for s in speakers}) == len(speakers)
    counts = collections.Counter((s.name.split("-")[0], s.variant) for s in speakers)
    assert len(counts) == 2 * len(module.VARIANTS)  # every variant in both
    by_variant = collections.defaultdict(list)
    for speaker in speakers[:2000]:
        by_variant[speaker.variant].append(speaker)
    for group in by_variant.values():  # the voices of one variant lie apart
        for one, other in itertools.combinations(group, 2):
            heights = [s.pitch / 50 + np.log2(s.warp) for s in (one, other)]
            assert abs(np.log2(one.warp / other.warp)) > 0.003 or abs(heights[0] - heights[1]) > 0.01


def test_speakers_do_not_depend_on_how_many_there_are():
    assert module._speakers("train", 500, 3, "x")[:7] == module._speakers("train", 7, 3, "x")


def test_only_what_is_missing_is_made_again(tmp_path, monkeypatch):
    pytest.importorskip("espeakng_loader")
    utterances = list(builtin_keywords(tmp_path, **FEW))
    folder = next(tmp_path.iterdir())
    before = contents(folder)
    gone, cut, *_ = [utterance.path for utterance in utterances]
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:5000])
    (folder / "manifest.csv").unlink()
    made = []
    render = module._render
    monkeypatch.setattr(module, "_render", lambda item: made.append(folder / item.relative) or render(item))
    assert list(builtin_keywords(tmp_path, **FEW)) == utterances
    assert sorted(made) == sorted([gone, cut]) and contents(folder) == before
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)  # what is there needs no voice
    assert list(builtin_keywords(tmp_path, **FEW)) == utterances


def test_manifest_lists_every_file_and_the_readme_says_synthetic(spoken):
    folder, utterances = spoken
    rows = read_rows(folder / "manifest.csv", ["utt_id", "speaker", "split", "path", "duration", "text"])
    assert [(row["utt_id"], row["speaker"], row["split"], folder / row["path"], row["text"]) for row in rows] == [
        (u.utt_id, u.speaker, u.split, u.path, u.text) for u in utterances
    ]
    assert "SYNTHETIC" in (folder / "README.txt").read_text()


def test_without_test_speakers(tmp_path):
    pytest.importorskip("espeakng_loader")
    said = builtin_keywords(tmp_path, ["Hello"], 1, 0, renditions=1, num_workers=1)
    assert [u.split for u in said] == ["train"]


def test_without_espeakng_loader_the_message_names_the_extra(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SpeechtoolsError, match=r'pip install "speechtools\[recipes\]"'):
        builtin_keywords(tmp_path, **FEW)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_speakers": 0}, "num_speakers must be a whole number of at least 1"),
        ({"num_test_speakers": -1}, "num_test_speakers must be a whole number of at least 0"),
        ({"renditions": 0}, "renditions must be a whole number of at least 1"),
        ({"test_renditions": 0}, "test_renditions must be a whole number of at least 1"),
        ({"seed": 0.5}, "seed must be a whole number of at least 0"),
        ({"num_workers": 0}, "num_workers must be a whole number of at least 1"),
        ({"keywords": "OK Google"}, "keywords='OK Google' is no list of keywords"),
        ({"keywords": []}, "is no list of keywords"),
        ({"keywords": ["a/b"]}, "'a/b' can be no folder's name"),
        ({"keywords": [" ok"]}, "' ok' can be no folder's name"),
        ({"keywords": [".."]}, r"'\.\.' can be no folder's name, or holds nothing to say"),
        ({"keywords": ["!"]}, "holds nothing to say"),
        ({"keywords": ["OK Google", "ok google"]}, "'ok google' comes twice"),
        ({"keywords": ["OK Google", "OK_Google"]}, "'OK_Google' comes twice"),
        ({"source": "a/b"}, "source='a/b' becomes a part of names of files"),
    ],
)
def test_impossible_options_are_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        builtin_keywords(tmp_path, **{**FEW, **options})
    assert not list(tmp_path.iterdir())
