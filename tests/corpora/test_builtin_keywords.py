"""The built-in corpus of keywords."""

from collections import Counter, defaultdict
from dataclasses import replace

import numpy as np
import pytest

from speechtools import audio
from speechtools.core.errors import ConfigError
from speechtools.corpora import builtin_keywords
from speechtools.corpora._spoken import VARIANTS
from tests.corpora.layouts import generate, read

pytest.importorskip("espeakng_loader")


@pytest.fixture(scope="module")
def utterances(builtin_cache):
    return generate("builtin-keywords")


def test_everyone_says_every_keyword_equally_often(utterances):
    counts = Counter((u.text, u.split, u.speaker) for u in utterances)
    assert set(counts.values()) == {3} and {text for text, _, _ in counts} == {"OK Google", "Hey Google"}
    train, test = ({s for _, of, s in counts if of == split} for split in ("train", "test"))
    assert (len(train), len(test)) == (3, 2) and not train & test
    again = read("keyword-folder", utterances[0].path.parents[2])
    assert again == [replace(utterance, split="") for utterance in utterances]


def test_the_keyword_lies_somewhere_in_a_recording_and_every_rendition_differs(utterances):
    starts, levels = [], defaultdict(list)
    for utterance in utterances:
        samples = audio.read(utterance.path).astype(float)
        assert 0.8 < utterance.duration < 2.6 and np.abs(samples).max() <= 0.951
        energy = np.mean(samples[: len(samples) // 160 * 160].reshape(-1, 160) ** 2, axis=1)  # (frames,) of 10 ms
        assert energy.min() > 10**-9.5  # never digital silence
        # the edges, 0.08 s each, contain only background
        assert 10 * np.log10(energy.max() / max(energy[:8].max(), energy[-8:].max())) > 14
        loud = np.flatnonzero(energy > energy.max() / 16)
        assert 0.1 < (loud[-1] - loud[0]) / 100 < 1.6
        starts.append(loud[0])
        levels[utterance.text, utterance.speaker].append(10 * np.log10(np.mean(samples**2)))
    assert np.std(starts) > 5
    assert all(np.ptp(rendered) > 0.1 for rendered in levels.values())


def test_a_larger_corpus_contains_the_smaller_and_tests_on_the_same_voices(utterances, tmp_path):
    options = {"keywords": ["Hey Google", "Hello there"], "num_speakers": 4, "renditions": 2, "test_renditions": 3}
    others = {u.utt_id: u for u in generate("builtin-keywords", tmp_path, **options)}
    shared = [u for u in utterances if u.utt_id in others]
    assert {u.text for u in shared} == {"Hey Google"} and len(shared) == 3 * 2 + 2 * 3
    assert all(u.path.read_bytes() == others[u.utt_id].path.read_bytes() for u in shared)


def test_no_voice_is_repeated_within_or_between_sources():
    sources = [("large", "train", 500), ("small", "train", 100), ("small", "test", 100)]
    voices = [voice for source, *size in sources for voice in builtin_keywords.rendition_voices(*size, 0, source)]
    assert len({voice.name for voice in voices}) == len(voices)
    assert len({(v.warp, v.pitch, v.pitch_range, v.words_per_minute, v.tilt_db) for v in voices}) == len(voices)
    assert {voice.variant for voice in voices[:100]} == set(VARIANTS)
    assert builtin_keywords.rendition_voices("train", 500, 3, "x")[:7] == builtin_keywords.rendition_voices(
        "train", 7, 3, "x"
    )


@pytest.mark.parametrize("keywords", [["a/b"], [" ok"], ["!"], ["OK Google", "ok_google"]])
def test_impossible_keywords(keywords, tmp_path):
    with pytest.raises(ConfigError, match=rf"The keyword '{keywords[-1]}'"):
        generate("builtin-keywords", tmp_path, keywords=keywords)
