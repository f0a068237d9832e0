"""The built-in corpus of sentences, and the noise files."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest

from speechtools import audio
from speechtools.audio import noises
from speechtools.core.errors import CorpusError
from speechtools.corpora import builtin, sentences
from speechtools.corpora._spoken import VARIANTS
from tests.corpora.layouts import generate, read

pytest.importorskip("espeakng_loader")


def test_layout_and_split_of_timit():
    utterances, sentences_of = generate("builtin"), defaultdict(list)
    for utterance in utterances:
        assert utterance.path.parts[-4].lower() == utterance.split
        sentences_of[utterance.split, utterance.speaker].append(utterance.utt_id.split("_")[1][:2])
    assert Counter(split for split, _ in sentences_of) == {"train": 2, "test": 1}
    assert all(Counter(kinds) == {"sa": 2, "sx": 5, "si": 3} for kinds in sentences_of.values())
    assert read("timit", utterances[0].path.parents[3]) == utterances


def test_speech_has_natural_length_and_level():
    levels = []
    for utterance in generate("builtin"):
        samples = audio.read(utterance.path).astype(float)
        assert len(samples) / 16000 == utterance.duration and 1.5 < utterance.duration < 6.5
        assert np.abs(samples).max() < 0.95
        frames = np.mean(samples[: len(samples) // 160 * 160].reshape(-1, 160) ** 2, axis=1)
        assert frames.min() > 10**-8.5  # never digital silence
        assert max(*frames[:9], *frames[-9:]) < 10**-7  # at least 0.1 s of silence at the edges
        levels.append(10 * np.log10(np.mean(samples**2)))
    assert min(levels) > -36 and max(levels) < -17 and np.std(levels) > 0.5


def test_recordings_vary_in_level_and_colour_on_demand(tmp_path):
    sizes = {"data_folder": tmp_path, "num_train_speakers": 1, "num_test_speakers": 1, "num_workers": 1}
    plain, varied = (list(builtin.builtin(**sizes, vary_recordings=vary)) for vary in (False, True))
    assert [(u.utt_id, u.speaker, u.text) for u in plain] == [(u.utt_id, u.speaker, u.text) for u in varied]
    assert plain[0].path.parents[3] != varied[0].path.parents[3]
    spreads = []
    for utterances in (plain, varied):
        spectra = []
        for utterance in utterances:
            if utterance.speaker == plain[0].speaker:
                power = np.abs(np.fft.rfft(audio.read(utterance.path))) ** 2
                bands = np.array([band.sum() for band in np.array_split(power[: len(power) // 2], 4)])
                spectra.append(10 * np.log10([power.sum(), *bands / bands.sum()]))
        spreads.append(np.std(spectra, axis=0))
    assert spreads[0][0] < 2 < 3 < spreads[1][0]  # level, dB
    assert (spreads[1][1:] > spreads[0][1:]).all() and spreads[1][1:].mean() > 2 * spreads[0][1:].mean()


@pytest.mark.parametrize(("seed", "num_train", "num_test"), [(0, 126, 48), (5, 1, 300)])
def test_splits_share_no_speakers_and_no_sentences_except_sa(seed, num_train, num_test):
    plan = builtin._plan(seed, num_train, num_test)
    speakers, texts = defaultdict(set), defaultdict(set)
    for item in plan:
        speakers[item.voice.split].add(item.speaker)
        texts[item.voice.split].add(item.text)
    assert (len(speakers["train"]), len(speakers["test"])) == (num_train, num_test)
    assert not speakers["train"] & speakers["test"] and texts["train"] & texts["test"] == set(sentences.SA)
    assert len({item.utt_id for item in plan}) == len({item.relative for item in plan}) == 10 * (num_train + num_test)
    own = [item.text for item in plan if "_si" in item.utt_id]
    assert len(set(own)) == len(own) and not set(own) & {item.text for item in plan if "_si" not in item.utt_id}


def test_speakers_differ_from_each_other():
    voices = builtin._voices(0, 300, 100)
    assert {voice.variant for voice in voices} == set(VARIANTS)
    assert {voice.accent for voice in voices} == set(range(8))
    assert 0.2 < np.mean([voice.name[0] == "F" for voice in voices]) < 0.6
    for one, other in itertools.combinations(voices, 2):
        if one.variant == other.variant:  # then 1 % in vocal-tract length or a third of a semitone in pitch
            heights = [voice.pitch / 50 + np.log2(voice.warp) for voice in (one, other)]
            assert abs(np.log2(one.warp / other.warp)) > 0.014 or abs(heights[0] - heights[1]) > 1 / 36


def test_noise_files_are_written_and_completed(tmp_path, monkeypatch):
    monkeypatch.setattr(noises, "training_noises", lambda: ["rain-01", "clicks-02"])
    made = []
    monkeypatch.setattr(noises, "make_noise", lambda name, seed: made.append(name) or np.full(1600, 0.1, np.float32))
    folder = builtin.builtin_noises(tmp_path, seed=1)
    assert sorted(path.stem for path in folder.glob("*.wav")) == sorted(made)
    (folder / "rain-01.wav").unlink()
    (folder / "white.wav").write_bytes((folder / "white.wav").read_bytes()[:-100])
    assert builtin.builtin_noises(tmp_path, seed=1) == folder != builtin.builtin_noises(tmp_path, seed=2)
    assert made[6:8] == ["rain-01", "white"]
    audio.write(folder / "street.wav", np.zeros(1600))  # replaced by silence
    assert builtin.builtin_noises(tmp_path, seed=1) == folder and made[-1] == "street"
    assert audio.read(folder / "street.wav").any()
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match=r"noises in .*file/noises-\w+: Not a directory.* data_folder"):
        builtin.builtin_noises(tmp_path / "file")
