"""Real recordings, from the folder that the environment variable SPEECHTOOLS_DATA names."""

import csv
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import speechtools
from speechtools import audio
from speechtools.corpora.noisy_speech import level_range_db
from speechtools.degradations.noise import cut_noise, mix_at_snr, partly_noisy, read_noise_types
from speechtools.inference import QualityNet, SpeakerEncoder, SpeechEnhancer
from speechtools.measures.pesq import pesq_score
from speechtools.speaker.trials import make_trials

DATA = Path(os.environ.get("SPEECHTOOLS_DATA", "none"))
pytestmark = [pytest.mark.real_data, pytest.mark.skipif(not DATA.is_dir(), reason="SPEECHTOOLS_DATA names no folder")]


def test_speechocean762_as_kaldi_lists():
    utterances = list(speechtools.build("corpus/kaldi", data_folder=DATA / "speechocean762"))
    assert Counter(u.split for u in utterances) == {"train": 1000, "test": 600}
    assert len({u.speaker for u in utterances}) == 200
    with open(DATA / "speechocean762" / "utt2info.tsv") as file:
        listed = {row["utt"]: row for row in csv.DictReader(file, delimiter="\t")}
    assert {u.utt_id for u in utterances} == set(listed)
    for utterance in utterances[::40]:
        row = listed[utterance.utt_id]
        assert utterance.duration == pytest.approx(float(row["seconds"]), abs=1e-3)
        assert level_range_db(audio.read(utterance.path), 16000) == pytest.approx(float(row["range_db"]), abs=1.0)


@pytest.mark.parametrize(
    "reader, folder, utterances, speakers, texts",
    [
        ("librispeech", "LibriSpeech-dev-clean-15", 225, 15, 225),
        ("arabic-speech-commands", "arabic-speech-commands", 1920, 24, 8),
    ],
)
def test_corpora_with_texts(reader, folder, utterances, speakers, texts):
    members = list(speechtools.build(f"corpus/{reader}", data_folder=DATA / folder))
    assert len(members) == utterances and len({member.speaker for member in members}) == speakers
    assert len({member.text for member in members}) == texts


def test_noise_types_are_the_classes():
    types = read_noise_types(DATA / "ESC-10")
    assert len(types) == 10 and all(len(files) == 20 for files in types.values())


def test_the_bundled_model_localizes_real_noise():
    net = QualityNet.from_hparams()
    utterances = list(speechtools.build("corpus/librispeech", data_folder=DATA / "LibriSpeech-dev-clean-15"))
    noise = audio.read(DATA / "noise-misc/max-audio-classifier/car_engine.flac")
    lower = []
    for utterance in utterances[::25]:
        speech = audio.read(utterance.path)
        start, end = len(speech) // 3, 2 * len(speech) // 3
        partly = net.assess_samples(partly_noisy(speech, noise, 0.0, start, end))
        inside = (partly.times > start / 16000) & (partly.times < end / 16000)
        lower.append(partly.frame_scores[inside].mean() < partly.frame_scores[~inside].mean() - 0.3)
        assert net.assess_samples(speech).score > partly.score
    assert np.mean(lower) >= 0.8


def test_the_bundled_enhancer_raises_pesq_of_new_voices_and_noise():
    bundled = SpeechEnhancer.from_hparams(run_opts={"device": "cpu"})
    utterances = speechtools.build("corpus/librispeech", data_folder=DATA / "LibriSpeech-dev-clean-15")
    unheard = [u for u in utterances if f"librispeech-{u.speaker}" not in bundled.facts["heard"]["speakers"]]
    noise = audio.read(DATA / "noise-misc/max-audio-classifier/car_engine.flac")
    gains = []
    for utterance in unheard[::40]:
        clean = audio.read(utterance.path)
        noisy = mix_at_snr(clean, cut_noise(noise, len(clean), seed=0), 5.0).astype(np.float32)
        (enhanced,) = bundled.enhance_waveforms([noisy])
        gains.append(pesq_score(clean, enhanced, 16000) - pesq_score(clean, noisy, 16000))
    assert np.mean(gains) > 0.2


@pytest.mark.parametrize(
    "reader, folder, split, bound",
    [
        ("corpus/kaldi", "speechocean762", "test", 0.04),  # 2.6 % when it was exported
        ("corpus/librispeech", "LibriSpeech-dev-clean-15", None, 0.06),  # 4.2 %
    ],
)
def test_the_bundled_speaker_encoder_separates_new_speakers(reader, folder, split, bound):
    utterances = speechtools.build(reader, data_folder=DATA / folder)
    utterances = [utterance for utterance in utterances if split in (None, utterance.split)]
    names, speakers = np.unique([utterance.speaker for utterance in utterances], return_inverse=True)
    encoder = SpeakerEncoder.from_hparams(run_opts={"device": "cpu"})
    dvectors = np.stack([dvector.numpy() for _, dvector in encoder.encode_files(u.path for u in utterances)])
    trials = make_trials(speakers, list(names), num_enrolment=4)
    scores = trials.scores(dvectors)
    rate, _ = speechtools.core.metrics.eer(scores[trials.targets], scores[~trials.targets])
    assert rate < bound
