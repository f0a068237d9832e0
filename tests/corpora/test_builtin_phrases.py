"""The built-in corpus of phrases."""

import re

import numpy as np
import pytest

from speechtools import audio
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.corpora import builtin_phrases
from tests.corpora.layouts import read

pytest.importorskip("espeakng_loader")
SIZES = {"num_phrases": 6, "num_test_phrases": 3, "num_speakers": 2, "num_test_speakers": 1, "num_workers": 1}


def test_phrases_are_spoken_and_transcribed(tmp_path):
    utterances = list(builtin_phrases.builtin_phrases(tmp_path, **SIZES))
    assert [u.split for u in utterances].count("test") == 3 and len({u.utt_id for u in utterances}) == 9
    speakers = {split: {u.speaker for u in utterances if u.split == split} for split in ("train", "test")}
    assert (len(speakers["train"]), len(speakers["test"])) == (2, 1) and not speakers["train"] & speakers["test"]
    assert len({u.text for u in utterances}) == 9
    for utterance in utterances:
        samples = audio.read(utterance.path)
        assert np.abs(samples).max() > 0.01 and utterance.duration == pytest.approx(len(samples) / 16000)
    before = {u.path: u.path.stat().st_mtime_ns for u in utterances}
    again = list(builtin_phrases.builtin_phrases(tmp_path, **SIZES))
    assert again == utterances and all(path.stat().st_mtime_ns == time for path, time in before.items())
    other = list(builtin_phrases.builtin_phrases(tmp_path, **(SIZES | {"seed": 1})))
    assert {u.text for u in other} != {u.text for u in utterances}


def test_invented_words_have_the_letters_of_real_ones():
    words = builtin_phrases.vocabulary()
    assert len(words) > 500 and words == sorted(words) and all(re.fullmatch("[a-z']+", word) for word in words)
    rng, followers = np.random.default_rng(0), builtin_phrases._followers(words)
    triples = {f"^^{word}$"[k : k + 3] for word in words for k in range(len(word) + 1)}
    invented = [builtin_phrases.invented_word(rng, followers) for _ in range(200)]
    assert all(3 <= len(word) <= 12 for word in invented)
    assert {f"^^{word}$"[k : k + 3] for word in invented for k in range(len(word) + 1)} <= triples
    assert len(set(invented) - set(words)) > 100


def test_words_of_a_file(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("Zyzzyva, and 7 QUOKKAS\n", encoding="utf-8")
    assert {"zyzzyva", "quokkas"} <= set(builtin_phrases.vocabulary(path))
    with pytest.raises(CorpusError, match="gone.txt"):
        builtin_phrases.vocabulary(tmp_path / "gone.txt")


@pytest.mark.parametrize("options", [{"num_phrases": 0}, {"seed": -1}, {"sentence_share": 2}, {"invented_share": -0.1}])
def test_impossible_options(options, tmp_path):
    with pytest.raises(ConfigError, match=next(iter(options))):
        list(read("builtin-phrases", tmp_path, **options))
