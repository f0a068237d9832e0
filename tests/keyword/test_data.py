"""The preparation of sources of keywords: segments, division of the speakers, bad input."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from speechtools.core.errors import AudioError, ConfigError, CorpusError, PluginError
from speechtools.core.registry import build
from speechtools.core.rows import read_rows
from speechtools.corpora.utterance import Utterance
from speechtools.keyword import data as keyword_data
from speechtools.keyword.data import SegmentCutter, prepare_sources, training_sources
from speechtools.speaker.index import SpeakerRow
from speechtools.speaker.shards import RejectedRow

RATE = 16000
WORDS = ("hey", "ok")


def put(path, place=0.3, seconds=1.4, loudness=0.2):
    """A recording whose keyword, half a second of noise, begins at ``place`` (s)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(str(path).encode()))
    samples = 1e-4 * rng.standard_normal(round(seconds * RATE))
    keyword = samples[round(place * RATE) : round((place + 0.5) * RATE)]
    keyword += loudness * rng.standard_normal(len(keyword))
    soundfile.write(path, samples, RATE)


def put_speakers(folder, speakers, words=WORDS, count=2):
    for word in words:
        for speaker in speakers:
            for number in range(count):
                put(folder / word / f"{speaker}" / f"{number}.wav")
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Ten speakers, who say two keywords twice each."""
    return put_speakers(tmp_path_factory.mktemp("corpus"), [f"s{k}" for k in range(10)])


def source(folder, corpus="keyword-folder", **options):
    return {"corpus": corpus, "data_folder": folder, "options": options}


def prepare(save_folder, *sources, **options):
    """The first source is called main, the others other, other2, …"""
    names = ["main", "other", *(f"other{k}" for k in range(2, 9))]
    return prepare_sources(
        dict(zip(names, sources, strict=False)), save_folder, **{"valid_share": 0.25, "num_workers": 1, **options}
    )


def speakers_of(sets):
    return {split: set(store.speakers) for split, store in sets.open().items()}


def rejected(sets):
    return read_rows(sets.manifests["train"].parent / "rejected.csv", RejectedRow)


# Laws ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.8, 0.6])
def test_every_segment_has_the_length_and_contains_the_keyword(corpus, tmp_path, seconds):
    sets = prepare(tmp_path, source(corpus), segment_seconds=seconds)["main"]
    found = 0
    for store in sets.open().values():
        rows = read_rows(store.manifest, SpeakerRow)
        assert len(rows) == len(store)
        for number, row in enumerate(rows):
            samples = store.read(number)
            assert len(samples) == row.samples == round(seconds * RATE)
            assert Path(row.path).parts[-3:-1] == (row.keyword, row.speaker)
            whole = soundfile.read(row.path)[0]
            assert np.mean((samples / 32768.0) ** 2) * len(samples) > 0.95 * np.sum(whole**2)
            found += 1
    assert found == 10 * 2 * 2


def test_no_speaker_is_in_two_sets_and_none_is_lost(corpus, tmp_path):
    sets = speakers_of(prepare(tmp_path, source(corpus))["main"])
    assert set.union(*sets.values()) == {f"s{k}" for k in range(10)}
    assert sum(map(len, sets.values())) == 10 and all(len(each) >= 2 for each in sets.values())


def test_another_source_of_the_same_corpus_skips_the_heldout_speakers(corpus, tmp_path):
    (tmp_path / "link").symlink_to(corpus)
    others = source(corpus, keywords=["ok"]), source(tmp_path / "link", keywords=["hey"])
    sets = prepare(tmp_path / "made", source(corpus, keywords=["hey"]), *others)
    main = speakers_of(sets["main"])
    for name in ("other", "other2"):
        assert speakers_of(sets[name]) == {"train": main["train"]}
    elsewhere = put_speakers(tmp_path / "elsewhere", [f"s{k}" for k in range(10)])
    sets = prepare(tmp_path / "made", source(corpus, keywords=["hey"]), source(elsewhere))
    assert len(speakers_of(sets["other"])["train"]) == 10  # namesakes


def test_verified_speakers_never_train_even_when_the_corpus_has_grown(tmp_path):
    root = put_speakers(tmp_path / "corpus", [f"s{k}" for k in range(10)])
    before = speakers_of(prepare(tmp_path / "made", source(root, keywords=["hey"]))["main"])
    put_speakers(root, [f"t{k}" for k in range(10)])
    sets = prepare(tmp_path / "made", source(root, keywords=["hey"]), source(root, keywords=["ok"]))
    assert speakers_of(sets["main"]) == before
    everyone = {f"{letter}{k}" for letter in "st" for k in range(10)}
    assert speakers_of(sets["other"]) == {"train": everyone - before["valid"] - before["test"]}


def test_a_source_of_weight_0_is_not_even_looked_for(corpus, tmp_path):
    silent = source(tmp_path / "nowhere") | {"weight": 0.0}
    assert list(prepare(tmp_path, source(corpus), silent)) == ["main"]
    assert list(prepare(tmp_path, source(corpus) | {"weight": 0}, source(corpus))) == ["main", "other"]


def test_finished_stores_are_found(corpus, tmp_path, monkeypatch):
    sources = source(corpus), source(corpus, keywords=["ok"])
    first = prepare(tmp_path, *sources)
    monkeypatch.setattr(keyword_data, "make_stores", None)  # nothing is made again
    assert prepare(tmp_path, *sources) == first


def test_after_a_kill_only_missing_stores_are_made(corpus, tmp_path):
    sets = prepare(tmp_path, source(corpus))["main"]
    before = {split: path.read_bytes() for split, path in sets.manifests.items()}
    sets.manifests["train"].unlink()
    again = prepare(tmp_path, source(corpus))["main"]
    assert {split: path.read_bytes() for split, path in again.manifests.items()} == before


@pytest.mark.parametrize(
    "change",
    [{"segment_seconds": 0.7}, {"sample_rate": 8000}, {"seed": 1}, {"heldout_share": 0.4}, {"test_splits": ["valid"]}],
)
def test_another_option_makes_another_folder(corpus, tmp_path, change):
    folders = {prepare(tmp_path, source(corpus), **each)["main"].manifests["train"] for each in ({}, change)}
    assert len(folders) == 2 and all(path.is_file() for path in folders)


def test_another_option_of_the_corpus_makes_another_folder(corpus, tmp_path):
    sets = [prepare(tmp_path, source(corpus, **each))["main"] for each in ({}, {"keywords": ["ok"]})]
    assert sets[0].manifests["train"] != sets[1].manifests["train"]
    assert [each.open()["test"].keywords for each in sets] == [["hey", "ok"], ["ok"]]


def test_where_the_keyword_ends_is_used_if_the_corpus_tells(tmp_path):
    put(tmp_path / "a.wav", place=0.2, seconds=3.0)
    cutter, whole = SegmentCutter("energy", 0.8, RATE), soundfile.read(tmp_path / "a.wav")[0].astype(np.float32)
    segment = build("segment/energy")
    for end in (None, 0.7, 1.9, 3.0):
        start = segment(torch.from_numpy(whole), None if end is None else round(end * RATE))
        found = cutter(Utterance("a", "s", "", tmp_path / "a.wav", 3.0, "ok", end))
        assert np.array_equal(found, whole[start : start + 12800])
    with pytest.raises(AudioError, match="64000.* 48000"):
        cutter(Utterance("a", "s", "", tmp_path / "a.wav", 3.0, "ok", 4.0))
    whole[:20000] = 0
    soundfile.write(tmp_path / "a.wav", whole, RATE)
    with pytest.raises(AudioError, match=r"silent .*\(0.9 s\)"):
        cutter(Utterance("a", "s", "", tmp_path / "a.wav", 3.0, "ok", 0.9))


def speech_commands(folder, valid, test):
    """Eight speakers; the lists name those of ``valid`` and ``test``."""
    for word in WORDS:
        for speaker in range(8):
            for number in range(2):
                put(folder / word / f"{speaker:08x}_nohash_{number}.wav")
    for name, chosen in (("validation", valid), ("testing", test)):
        names = [
            f"{word}/{speaker:08x}_nohash_{number}.wav" for word in WORDS for speaker in chosen for number in (0, 1)
        ]
        (folder / f"{name}_list.txt").write_text("".join(f"{each}\n" for each in names))
    return folder


@pytest.mark.parametrize(
    "test_splits, test", [(["test"], {4, 5}), (["valid", "test"], {2, 3, 4, 5}), (["valid"], {2, 3}), ("test", {4, 5})]
)
def test_the_splits_of_the_corpus_that_are_verified(tmp_path, test_splits, test):
    root = speech_commands(tmp_path / "corpus", (2, 3), (4, 5))
    sets = speakers_of(prepare(tmp_path, source(root, "speech-commands"), test_splits=test_splits)["main"])
    assert {int(speaker, 16) for speaker in sets["test"]} == test
    assert not sets["test"] & (sets["train"] | sets["valid"]) and not sets["train"] & sets["valid"]
    assert len(set.union(*sets.values())) == 8


def test_without_speakers_for_validation_the_training_speakers_validate(corpus, tmp_path, caplog):
    sets = prepare(tmp_path, source(corpus), valid_share=0)["main"]
    assert sets.manifests["valid"] == sets.manifests["train"]
    assert not speakers_of(sets)["test"] & speakers_of(sets)["valid"]
    assert "Source main has no speakers for validation" in caplog.text


# Bad input ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["main", "other"])
def test_a_keyword_that_no_file_holds(corpus, tmp_path, name):
    sources = {"main": source(corpus), "other": source(corpus)} | {name: source(corpus, keywords=["okk"])}
    with pytest.raises(CorpusError, match=rf"The source '{name}': No file .* keyword 'okk'\. Did you mean 'ok'"):
        prepare_sources(sources, tmp_path)


def test_recordings_that_hold_no_keyword_are_rejected_and_the_rest_goes_on(tmp_path, caplog):
    root = put_speakers(tmp_path / "corpus", [f"s{k}" for k in range(10)])
    put(root / "hey" / "s0" / "short.wav", place=0.1, seconds=0.7)
    soundfile.write(root / "ok" / "s1" / "silent.wav", np.full(20000, 0.1), RATE)
    soundfile.write(root / "ok" / "s2" / "zeros.wav", np.zeros(20000), RATE)
    soundfile.write(root / "ok" / "s3" / "nan.wav", np.full(20000, np.nan), RATE, "FLOAT")
    sets = prepare(tmp_path, source(root))["main"]
    reasons = {row.utt_id: row.reason for row in rejected(sets)}
    assert reasons.keys() == {"hey-s0-short", "ok-s1-silent", "ok-s2-zeros", "ok-s3-nan"}
    for utt_id, reason in {
        "hey-s0-short": "0.700 s is shorter than the segment of 0.8 s",
        "ok-s1-silent": "no speech",
        "ok-s2-zeros": "all of its 20000 samples are zero",
        "ok-s3-nan": "NaN",
    }.items():
        assert reason in reasons[utt_id]
    assert {Path(row.path).name for row in rejected(sets)} == {"short.wav", "silent.wav", "zeros.wav", "nan.wav"}
    assert sum(map(len, sets.open().values())) == 40
    assert "4 utterances were rejected" in caplog.text and "rejected.csv gives the reasons" in caplog.text


def test_recordings_that_are_all_too_short(tmp_path):
    for speaker in range(8):
        for number in range(2):
            put(tmp_path / "corpus" / "ok" / f"s{speaker}" / f"{number}.wav", place=0.05, seconds=0.6)
    with pytest.raises(
        CorpusError, match=r"keyword-folder \(main\) has 0 .*16 utterances were .*lower segment_seconds"
    ):
        prepare(tmp_path, source(tmp_path / "corpus"))
    sets = prepare(tmp_path, source(tmp_path / "corpus"), segment_seconds=0.5)["main"]
    assert sum(map(len, sets.open().values())) == 16


def test_a_corpus_without_keywords(tmp_path):
    put_speakers(tmp_path / "plain", ["a", "b", "c"], words=("",))
    with pytest.raises(CorpusError, match="'main': corpus/folder .*keyword-folder"):
        prepare(tmp_path, source(tmp_path / "plain", "folder"))


def test_a_corpus_of_sentences(tmp_path):
    for speaker in "abcdef":
        for number in range(3):
            put(tmp_path / "corpus" / f"it is {speaker} {number}" / speaker / "0.wav")
    with pytest.raises(CorpusError, match="'main': no speaker repeats"):
        prepare(tmp_path, source(tmp_path / "corpus"))


@pytest.mark.parametrize("count, message", [(3, "none remains for training"), (5, r"train set .* 1 speaker")])
def test_a_main_source_of_few_speakers(tmp_path, count, message):
    root = put_speakers(tmp_path / "corpus", [f"s{k}" for k in range(count)])
    with pytest.raises(CorpusError, match=rf"{message}.*Use a corpus of more speakers") as caught:
        prepare(tmp_path, source(root))
    assert "main" in str(caught.value)


@pytest.mark.parametrize(
    "sources, options, error, message",
    [
        ({}, {}, ConfigError, "no sources to train on"),
        ({"main": None}, {}, ConfigError, "The source 'main' has no corpus"),
        ({"main": {"data_folder": "x"}}, {}, ConfigError, "The source 'main' has no corpus"),
        ({"main": source("", "keyword-folders")}, {}, PluginError, "Did you mean 'corpus/keyword-folder'"),
        ({"main": source("")}, {}, PluginError, "The source 'main': .*data_folder"),
        ({"main": source("/nowhere")}, {}, CorpusError, "The source 'main': The folder /nowhere does not exist"),
        ({"main": source("x")}, {"segment": "enregy"}, PluginError, "Did you mean 'segment/energy'"),
        ({"main": source("x")}, {"segment_seconds": -1}, ConfigError, "seconds=-1"),
        ({"main": source("x")}, {"heldout_share": 1.0}, ConfigError, "heldout_share=1.0"),
        ({"main": source("x")}, {"valid_share": -0.1}, ConfigError, "valid_share=-0.1"),
        ({"main": source("x")}, {"test_splits": ["tset"]}, ConfigError, "'tset'.*Did you mean 'test'"),
    ],
)
def test_impossible_options(tmp_path, sources, options, error, message):
    with pytest.raises(error, match=message):
        prepare_sources(sources, tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_sources_may_have_segments_of_other_lengths(corpus, tmp_path):
    shape = {"num_speakers": 2, "num_utterances": 2, "weight": 1.0}
    settings = {"main": source(corpus) | shape, "other": source(corpus) | shape | {"segment_seconds": 0.5}}
    made = prepare_sources(settings, tmp_path, valid_share=0.25, num_workers=1)
    sources = training_sources(settings, {name: each.open() for name, each in made.items()})
    assert [(each.min_samples, each.max_samples) for each in sources] == [(12800, 12800), (8000, 8000)]
    parts = build("reader/multireader", sources=sources)[0].parts
    assert [each.wavs.shape[1] for each in parts] == [12800, 8000]


@pytest.mark.parametrize("key", ["num_speakers", "num_utterances", "weight"])
def test_a_source_without_a_shape(corpus, tmp_path, key):
    settings = {"third": source(corpus) | {"num_speakers": 4, "num_utterances": 2, "weight": 1.0}}
    stores = {name: each.open() for name, each in prepare_sources(settings, tmp_path, num_workers=1).items()}
    assert training_sources(settings, stores)[0].num_speakers == 4
    assert training_sources(settings, {}) == []  # left out
    del settings["third"][key]
    with pytest.raises(ConfigError, match=f"The source 'third' has no {key}. Give"):
        training_sources(settings, stores)
