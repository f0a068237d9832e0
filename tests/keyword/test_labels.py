"""Sources grouped by speaker, keyword, or both."""

import numpy as np
import pytest

from speechtools.core.errors import ConfigError
from speechtools.core.rows import write_rows
from speechtools.keyword.data import training_sources
from speechtools.keyword.evaluation import word_eer
from speechtools.keyword.labels import RelabelledStore, relabelled
from speechtools.speaker.index import SpeakerRow
from speechtools.speaker.multireader import MultiReader
from speechtools.speaker.store import SpeakerStore

WORDS = ("no", "yes")


def row(number, speaker, keyword):
    return SpeakerRow(
        utt_id=f"u{number:02d}",
        speaker=speaker,
        path="recording.wav",
        duration=0.025,
        shard="train-0.npy",
        start=400 * number,
        samples=400,
        keyword=keyword,
    )


@pytest.fixture
def store(tmp_path):
    """Six speakers who say two words three times; the samples of an utterance are 100 * speaker + 10 * word."""
    rows, samples = [], []
    for speaker in range(6):
        for word, keyword in enumerate(WORDS):
            for _ in range(3):
                number = len(rows)
                rows.append(row(number, f"s{speaker}", keyword))
                samples.append(np.full(400, 100 * speaker + 10 * word, np.int16))
    np.save(tmp_path / "train-0.npy", np.concatenate(samples))
    write_rows(tmp_path / "train.csv", SpeakerRow, rows)
    return SpeakerStore(tmp_path / "train.csv")


def test_groups_are_the_keywords(store):
    words = RelabelledStore(store, "keyword")
    assert words.speakers == list(WORDS) and words.first.tolist() == [0, 18, 36]
    for number in range(36):
        assert words.read(number)[0] % 100 == 10 * (number >= 18)
    assert words.num_samples.tolist() == [400] * 36 and len(words) == 36


def test_groups_are_the_keywords_of_each_speaker(store):
    both = RelabelledStore(store, "both")
    assert both.speakers[:3] == ["s0: no", "s0: yes", "s1: no"] and both.first.tolist() == list(range(0, 37, 3))
    for group, (first, end) in enumerate(zip(both.first, both.first[1:], strict=False)):
        values = {int(both.read(int(number))[0]) for number in range(first, end)}
        assert values == {100 * (group // 2) + 10 * (group % 2)}


def test_parts_and_repetitions_are_those_of_the_store(store):
    both = RelabelledStore(store, "keyword")
    assert np.array_equal(both.read(20, 100, 50), store.read(int(both.order[20]), 100, 50))
    assert len(both.read(0, 0, 1000)) == 1000


def test_a_reader_takes_sources_of_several_kinds(store):
    entry = {"num_speakers": 2, "num_utterances": 3, "weight": 1.0}
    settings = {"voices": entry, "words": entry | {"labels": "keyword"}, "both": entry | {"labels": "both"}}
    step = MultiReader(training_sources(settings, {name: {"train": store} for name in settings}))[0]
    assert step.names == ("voices", "words", "both")
    voices, words, both = (part.wavs[:, 0].numpy().reshape(2, 3) for part in step.parts)
    assert all(len(set(group // 100)) == 1 for group in voices)
    assert all(len(set(group % 100)) == 1 for group in words)
    assert all(len(set(group)) == 1 for group in both)


def test_unknown_labels(store):
    assert relabelled(store, "speaker") is store
    with pytest.raises(ConfigError, match="'word' is not one of"):
        relabelled(store, "word")


def test_word_eer_of_words_that_differ_is_0_and_of_equal_ones_half(store):
    word = store.keyword
    apart = np.stack([word == 0, word == 1], axis=1) + 0.1 * np.random.default_rng(0).standard_normal((36, 2))
    assert word_eer(apart, store) == 0
    assert word_eer(np.ones((36, 2)), store) == pytest.approx(0.5)
    speaker = np.repeat(np.eye(6), 6, axis=0)
    assert word_eer(speaker, store) == pytest.approx(0.5)


def test_word_eer_needs_two_words(store, tmp_path):
    rows = [row(number, f"s{number // 2}", "no") for number in range(6)]
    write_rows(tmp_path / "one.csv", SpeakerRow, rows)
    assert word_eer(np.ones((6, 2)), SpeakerStore(tmp_path / "one.csv")) is None
