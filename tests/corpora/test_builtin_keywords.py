"""The built-in corpus of keywords."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest

from speechtools import audio
from speechtools.core.errors import ConfigError
from speechtools.corpora import builtin_keywords as module
from speechtools.corpora._spoken import VARIANTS
from speechtools.corpora.builtin_keywords import builtin_keywords
from tests.corpora.layouts import read

pytest.importorskip("espeakng_loader")
FEW = {"num_speakers": 3, "num_test_speakers": 2, "renditions": 3, "num_workers": 1}


@pytest.fixture(scope="module")
def utterances(tmp_path_factory):
    """A small corpus."""
    return list(builtin_keywords(tmp_path_factory.mktemp("keywords"), **FEW))


def test_everyone_says_every_keyword_equally_often(utterances):
    counts = Counter((u.text, u.split, u.speaker) for u in utterances)
    assert set(counts.values()) == {3} and len(counts) == 2 * 5
    assert {text for text, _, _ in counts} == {"OK Google", "Hey Google"}
    train, test = ({s for _, of, s in counts if of == split} for split in ("train", "test"))
    assert (len(train), len(test)) == (3, 2) and not train & test


def test_the_keyword_folder_reader_finds_the_same(utterances):
    again = read("keyword-folder", utterances[0].path.parents[2])
    assert [(u.utt_id, u.speaker, u.path, u.duration, u.text) for u in again] == [
        (u.utt_id, u.speaker, u.path, u.duration, u.text) for u in utterances
    ]


def test_the_keyword_lies_somewhere_in_a_short_recording(utterances):
    starts = []
    for utterance in utterances:
        samples = audio.read(utterance.path).astype(float)
        assert 0.8 < utterance.duration < 2.6 and np.abs(samples).max() <= 0.951
        energy = np.mean(samples[: len(samples) // 160 * 160].reshape(-1, 160) ** 2, axis=1)  # (frames,) of 10 ms
        assert energy.min() > 10**-9.5  # never digital silence
        loud = np.flatnonzero(energy > energy.max() / 16)
        # the edges, 0.08 s each, hold only background
        assert 10 * np.log10(energy.max() / max(energy[:8].max(), energy[-8:].max())) > 14
        assert 0.1 < (loud[-1] - loud[0]) / 100 < 1.6
        starts.append(loud[0])
    assert np.std(starts) > 5


def test_renditions_differ(utterances):
    groups = defaultdict(list)
    for utterance in utterances:
        groups[utterance.text, utterance.speaker].append(audio.read(utterance.path))
    for recordings in groups.values():
        assert len({len(samples) for samples in recordings}) == len(recordings)
        assert np.ptp([10 * np.log10(np.mean(samples.astype(float) ** 2)) for samples in recordings]) > 0.1


def test_a_larger_corpus_contains_the_smaller_and_tests_on_the_same_voices(utterances, tmp_path):
    options = {**FEW, "num_speakers": 4, "renditions": 2, "test_renditions": 3}
    others = {u.utt_id: u for u in builtin_keywords(tmp_path, ["Hey Google", "Hello there"], **options)}
    shared = [u for u in utterances if u.utt_id in others]
    assert {u.text for u in shared} == {"Hey Google"} and len(shared) == 3 * 2 + 2 * 3
    assert all(u.path.read_bytes() == others[u.utt_id].path.read_bytes() for u in shared)


def test_another_source_has_other_speakers(utterances, tmp_path):
    others = list(builtin_keywords(tmp_path, source="large", **FEW))
    assert not {u.path.read_bytes() for u in others} & {u.path.read_bytes() for u in utterances}
    assert not {u.speaker for u in others} & {u.speaker for u in utterances}


def test_no_voice_is_repeated_within_or_between_sources():
    sources = [("large", "train", 2000), ("small", "train", 100), ("small", "test", 100)]
    voices = [voice for source, split, count in sources for voice in module._voices(split, count, 0, source)]
    assert len({voice.name for voice in voices}) == len(voices)
    assert len({(v.warp, v.pitch, v.pitch_range, v.words_per_minute, v.tilt_db) for v in voices}) == len(voices)
    assert len({(v.name.split("-")[0], v.variant) for v in voices}) == 2 * len(VARIANTS)
    for one, other in itertools.combinations(voices[:1000], 2):
        if one.variant == other.variant:
            heights = [voice.pitch / 50 + np.log2(voice.warp) for voice in (one, other)]
            assert abs(np.log2(one.warp / other.warp)) > 0.003 or abs(heights[0] - heights[1]) > 0.01
    assert module._voices("train", 500, 3, "x")[:7] == module._voices("train", 7, 3, "x")


def test_without_test_speakers(tmp_path):
    utterances = builtin_keywords(tmp_path, ["Hello"], 1, 0, renditions=1, num_workers=1)
    assert [u.split for u in utterances] == ["train"]


@pytest.mark.parametrize(
    "keywords", [["a/b"], [" ok"], [".."], ["!"], ["OK Google", "ok google"], ["OK Google", "OK_Google"]]
)
def test_impossible_keywords(keywords, tmp_path):
    with pytest.raises(ConfigError, match=rf"The keyword '{keywords[-1]}'"):
        builtin_keywords(tmp_path, keywords, **FEW)
