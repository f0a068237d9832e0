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
from tests.keyword.tones import spoken, write_detector

RATE = 16000
WORDS = ("hey", "ok")


def put(path, place=0.3, seconds=1.4):
    """A recording whose keyword, half a second of noise, begins at ``place`` (s)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(sum(str(path).encode()))
    samples = 1e-4 * rng.standard_normal(round(seconds * RATE))
    keyword = samples[round(place * RATE) : round((place + 0.5) * RATE)]
    keyword += 0.2 * rng.standard_normal(len(keyword))
    soundfile.write(path, samples, RATE)


def put_speakers(folder, count=10, words=WORDS, form="{word}/s{speaker}/{number}.wav", first=0, **options):
    """Two recordings of each word by each speaker."""
    for word in words:
        for speaker in range(first, first + count):
            for number in range(2):
                put(folder / form.format(word=word, speaker=speaker, number=number), **options)
    return folder


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Ten speakers, who say two keywords twice each."""
    return put_speakers(tmp_path_factory.mktemp("corpus"))


def source(folder, corpus="keyword-folder", **options):
    return {"corpus": corpus, "data_folder": folder, "options": options}


def prepare(save_folder, *sources, **options):
    """The first source is called main, the others other and other2."""
    named = dict(zip(("main", "other", "other2"), sources, strict=False))
    return prepare_sources(named, save_folder, **{"valid_share": 0.25, "num_workers": 1, **options})


def speakers_of(sets):
    return {split: set(store.speakers) for split, store in sets.open().items()}


def names(*numbers):
    return {f"s{number}" for number in numbers}


# Laws ---------------------------------------------------------------------------------------------------------------


def test_segments_contain_their_keyword_and_no_speaker_is_in_two_sets(corpus, tmp_path):
    sets = prepare(tmp_path, source(corpus), segment_seconds=0.7)["main"]
    assert sum(map(len, sets.open().values())) == 10 * 2 * 2
    for store in sets.open().values():
        for number, row in enumerate(read_rows(store.manifest, SpeakerRow)):
            samples = store.read(number)
            assert len(samples) == row.samples == round(0.7 * RATE)
            assert Path(row.path).parts[-3:-1] == (row.keyword, row.speaker)
            assert np.sum((samples / 32768.0) ** 2) > 0.95 * np.sum(soundfile.read(row.path)[0] ** 2)
    speakers = speakers_of(sets).values()
    assert set.union(*speakers) == names(*range(10)) and sum(map(len, speakers)) == 10 and min(map(len, speakers)) >= 2


def test_another_source_of_the_same_corpus_skips_the_heldout_speakers(corpus, tmp_path):
    (tmp_path / "link").symlink_to(corpus)
    elsewhere = put_speakers(tmp_path / "elsewhere")
    main = source(corpus, keywords=["hey"])
    same = source(corpus, keywords=["ok"]), source(tmp_path / "link", keywords=["hey"])
    sets = prepare(tmp_path / "made", main, *same)
    for name in ("other", "other2"):
        assert speakers_of(sets[name]) == {"train": speakers_of(sets["main"])["train"]}
    namesakes = prepare(tmp_path / "made", main, source(elsewhere))["other"]
    assert speakers_of(namesakes)["train"] == names(*range(10))


def test_verified_speakers_never_train_even_when_the_corpus_has_grown(tmp_path):
    root = put_speakers(tmp_path / "corpus")
    before = speakers_of(prepare(tmp_path / "made", source(root, keywords=["hey"]))["main"])
    put_speakers(root, first=10)
    sets = prepare(tmp_path / "made", source(root, keywords=["hey"]), source(root, keywords=["ok"]))
    assert speakers_of(sets["main"]) == before
    assert speakers_of(sets["other"]) == {"train": names(*range(20)) - before["valid"] - before["test"]}


def test_a_source_of_weight_0_is_not_even_looked_for(corpus, tmp_path):
    silent = source(tmp_path / "nowhere") | {"weight": 0.0}
    assert list(prepare(tmp_path, source(corpus), silent)) == ["main"]
    assert list(prepare(tmp_path, source(corpus) | {"weight": 0}, source(corpus))) == ["main", "other"]


def test_missing_stores_are_made_and_finished_ones_used(corpus, tmp_path, monkeypatch):
    sources = source(corpus), source(corpus, keywords=["ok"])
    sets = prepare(tmp_path, *sources)
    before = {path: path.read_bytes() for path in sets["main"].manifests.values()}
    sets["main"].manifests["train"].unlink()  # as after a kill
    assert prepare(tmp_path, *sources) == sets and before == {path: path.read_bytes() for path in before}
    monkeypatch.setattr(keyword_data, "make_stores", None)  # nothing is made again
    assert prepare(tmp_path, *sources) == sets


def test_another_option_makes_another_folder(corpus, tmp_path):
    changes = [{}, {"segment_seconds": 0.7}, {"seed": 1}, {"heldout_share": 0.4}, {"test_splits": ["valid"]}]
    made = [prepare(tmp_path, source(corpus), **change) for change in changes]
    made.append(prepare(tmp_path, source(corpus, keywords=["ok"])))
    assert len({sets["main"].manifests["train"] for sets in made}) == 6
    assert [sets["main"].open()["test"].keywords for sets in (made[0], made[-1])] == [["hey", "ok"], ["ok"]]


def test_where_the_keyword_ends_is_used_if_the_corpus_tells(tmp_path):
    put(tmp_path / "a.wav", place=0.2, seconds=3.0)
    cutter, whole = SegmentCutter("energy", 0.8, RATE), soundfile.read(tmp_path / "a.wav")[0].astype(np.float32)
    for end in (None, 0.7, 3.0):
        start = build("segment/energy")(torch.from_numpy(whole), end and round(end * RATE))
        samples = cutter(Utterance("a", "s", "", tmp_path / "a.wav", 3.0, "ok", end))
        assert np.array_equal(samples, whole[start : start + 12800])
    whole[:20000] = 0
    soundfile.write(tmp_path / "a.wav", whole, RATE)
    with pytest.raises(AudioError, match=r"silent .*\(0.9 s\)"):
        cutter(Utterance("a", "s", "", tmp_path / "a.wav", 3.0, "ok", 0.9))


@pytest.mark.parametrize("test_splits, test", [(["valid", "test"], {2, 3, 4, 5}), ("valid", {2, 3}), ("test", {4, 5})])
def test_the_splits_of_the_corpus_that_are_verified(tmp_path, test_splits, test):
    form = "{word}/0000000{speaker}_nohash_{number}.wav"
    root = put_speakers(tmp_path / "corpus", 8, form=form)
    for name, speakers in (("validation", (2, 3)), ("testing", (4, 5))):
        listed = [form.format(word=w, speaker=s, number=n) for w in WORDS for s in speakers for n in range(2)]
        (root / f"{name}_list.txt").write_text("\n".join(listed))
    sets = speakers_of(prepare(tmp_path, source(root, "speech-commands"), test_splits=test_splits)["main"])
    assert {int(speaker) for speaker in sets["test"]} == test
    assert len(set.union(*sets.values())) == sum(map(len, sets.values())) == 8


def test_without_speakers_for_validation_the_training_speakers_validate(corpus, tmp_path, caplog):
    sets = prepare(tmp_path, source(corpus), valid_share=0)["main"]
    assert sets.manifests["valid"] == sets.manifests["train"]
    assert "Source main has no speakers for validation" in caplog.text


# Bad input ----------------------------------------------------------------------------------------------------------


def test_recordings_that_hold_no_keyword_are_rejected_and_the_rest_goes_on(tmp_path, caplog):
    root = put_speakers(tmp_path / "corpus")
    put(root / "hey" / "s0" / "short.wav", place=0.1, seconds=0.7)
    soundfile.write(root / "ok" / "s1" / "silent.wav", np.full(20000, 0.1), RATE)
    soundfile.write(root / "ok" / "s3" / "nan.wav", np.full(20000, np.nan), RATE, "FLOAT")
    sets = prepare(tmp_path, source(root))["main"]
    rejected = read_rows(sets.manifests["train"].parent / "rejected.csv", RejectedRow)
    reasons = {row.utt_id: row.reason for row in rejected}
    assert "0.700 s is shorter than the segment of 0.8 s" in reasons.pop("hey-s0-short")
    assert "no speech" in reasons.pop("ok-s1-silent") and "NaN" in reasons.pop("ok-s3-nan") and not reasons
    assert sum(map(len, sets.open().values())) == 40 and "3 utterances were rejected" in caplog.text


@pytest.mark.parametrize(
    "count, form, corpus, message",
    [
        (3, "s{speaker}/{number}.wav", "folder", "'main': corpus/folder .*keyword-folder"),
        (6, "it is {speaker} {number}/s{speaker}/0.wav", "keyword-folder", "'main': no speaker repeats"),
        (3, "ok/s{speaker}/{number}.wav", "keyword-folder", "'main' .*none remains for training.*more speakers"),
        (5, "ok/s{speaker}/{number}.wav", "keyword-folder", "main.* has 1 speaker.*Use a corpus of more speakers"),
    ],
)
def test_corpora_that_cannot_be_verified(tmp_path, count, form, corpus, message):
    root = put_speakers(tmp_path / "corpus", count, ["ok"], form)
    with pytest.raises(CorpusError, match=message):
        prepare(tmp_path, source(root, corpus))


@pytest.mark.parametrize(
    "sources, options, error, message",
    [
        ({}, {}, ConfigError, "no sources to train on"),
        ({"main": {"data_folder": "x"}}, {}, ConfigError, "The source 'main' has no corpus"),
        ({"main": source("", "keyword-folders")}, {}, PluginError, "Did you mean 'corpus/keyword-folder'"),
        ({"main": source("")}, {}, PluginError, "The source 'main': .*data_folder"),
        ({"main": source("x")}, {"segment": "enregy"}, PluginError, "Did you mean 'segment/energy'"),
        ({"main": source("x")}, {"heldout_share": 1.0}, ConfigError, "heldout_share=1.0"),
        ({"main": source("x")}, {"test_splits": ["tset"]}, ConfigError, "'tset'.*Did you mean 'test'"),
    ],
)
def test_impossible_options(tmp_path, sources, options, error, message):
    with pytest.raises(error, match=message):
        prepare_sources(sources, tmp_path, **options)
    assert not list(tmp_path.iterdir())


def test_sources_for_a_reader(corpus, tmp_path):
    shape = {"num_speakers": 2, "num_utterances": 2, "weight": 1.0}
    settings = {"main": source(corpus) | shape, "other": source(corpus) | shape | {"segment_seconds": 0.5}}
    stores = {name: sets.open() for name, sets in prepare(tmp_path, *settings.values()).items()}
    parts = build("reader/multireader", sources=training_sources(settings, stores))[0].parts
    assert [batch.wavs.shape for batch in parts] == [(4, 12800), (4, 8000)]
    assert training_sources(settings, {}) == []  # left out
    del settings["other"]["weight"]
    with pytest.raises(ConfigError, match="The source 'other' has no weight. Set"):
        training_sources(settings, stores)


def test_a_detector_finds_the_keywords_and_rejects_recordings_without(tmp_path):
    detector = write_detector(tmp_path / "detector")
    for speaker in range(10):
        for number in range(2):
            said = "snow" if (speaker, number) == (3, 1) else "ok google"
            path = tmp_path / f"corpus/ok google/s{speaker}/{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            # The loudest place is elsewhere: a burst of noise after the keyword.
            burst = 0.9 * np.random.default_rng(number).uniform(-1, 1, RATE // 2)
            samples = np.concatenate([np.zeros(RATE), spoken(said), np.zeros(RATE), burst])
            soundfile.write(path, samples, RATE)
    options = {"segment_seconds": len(spoken("ok google")) / RATE, "detector": str(detector)}
    sets = prepare(tmp_path / "prepared", source(tmp_path / "corpus"), **options)["main"]
    assert sum(len(store) for store in sets.open().values()) == 19
    for store in sets.open().values():
        for utterance in range(len(store)):
            assert np.abs(store.read(utterance)).max() < 0.5 * 2**15  # the keyword, and not the burst
    rejected = read_rows(sets.manifests["train"].parent / "rejected.csv", RejectedRow)
    assert [row.path.endswith("s3/1.wav") and "did not hear" in row.reason for row in rejected] == [True]
    with pytest.raises(ConfigError, match="/gone"):
        prepare(tmp_path / "prepared", source(tmp_path / "corpus"), detector="/gone")
    # Which does not know the tones.
    with pytest.raises(CorpusError, match="keyword"):
        prepare(tmp_path / "bundled", source(tmp_path / "corpus"), detector="keyword-detector")
