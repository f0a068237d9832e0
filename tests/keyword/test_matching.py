"""VoiceMatch: the detector passes the samples of a keyword to the verification."""

import types

import numpy as np
import pytest
import soundfile

from speechtools.core.errors import AudioError, ConfigError
from speechtools.inference import Hit, KeywordDetector, SpeakerVerification, VoiceMatch
from speechtools.keyword.matching import keyword_samples, spoken_keyword
from tests.keyword.tones import RATE, silence, spoken, write_detector
from tests.speaker.test_inference import voice, write_model


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    return KeywordDetector.from_hparams(write_detector(tmp_path_factory.mktemp("d") / "p"), run_opts={"device": "cpu"})


@pytest.fixture
def verifier(tmp_path):
    loaded = SpeakerVerification.from_hparams(write_model(tmp_path / "voice"), run_opts={"device": "cpu"})
    loaded.enroll("anna", [voice(3.0)])
    return loaded


@pytest.fixture
def recording():
    parts = [silence(1.0), spoken("ok google"), silence(0.8), spoken("snow"), silence(1.0)]
    return np.concatenate(parts) + 1e-4 * np.random.default_rng(0).standard_normal(sum(map(len, parts))).astype("f")


def heard(match, samples, size):
    found = [hit for first in range(0, len(samples), size) for hit in match.feed(samples[first : first + size])]
    return found + match.finish()


def test_the_samples_of_the_keyword_and_no_others_are_verified(detector, verifier, recording, monkeypatch):
    passed = []
    identify = verifier.identify

    def record(samples, **options):
        passed.append(samples)
        return identify(voice(1.0), **options)

    monkeypatch.setattr(verifier, "identify", record)
    match = VoiceMatch(detector, verifier, ["ok google", "snow"], voice_threshold=-1.0)
    found = heard(match, recording, 1600)
    hits = detector.spot(recording, ["ok google", "snow"])
    assert [result.hit.keyword for result in found] == ["ok google", "snow"]
    assert [result.speaker for result in found] == ["anna", "anna"]
    for samples, hit in zip(passed, hits, strict=True):
        first = round((hit.start - 0.2) * RATE)
        assert len(samples) == pytest.approx((hit.end - hit.start + 0.3) * RATE, abs=2)
        assert np.array_equal(samples, recording[first : first + len(samples)])


def test_blocks_of_any_size_give_the_same_and_far_voices_are_unknown(detector, verifier, recording, monkeypatch):
    identify, results = verifier.identify, []
    monkeypatch.setattr(
        verifier, "identify", lambda samples, **options: identify(voice(len(samples) / RATE), **options)
    )
    for size in (777, len(recording)):
        found = heard(VoiceMatch(detector, verifier, ["ok google"], voice_threshold=2.0), recording, size)
        results.append([(result.hit.start, result.speaker, round(result.match.score, 4)) for result in found])
    assert results[0] == results[1] and [speaker for _, speaker, _ in results[0]] == ["unknown"]


def test_a_stream_longer_than_the_memory(detector, verifier, monkeypatch):
    monkeypatch.setattr(VoiceMatch, "MEMORY_SECONDS", 6.0)
    samples = np.concatenate([silence(9.3), spoken("ok google"), silence(1.0)])
    match = VoiceMatch(detector, verifier, "ok google", voice_threshold=-1.0)
    found = heard(match, samples, 500)
    assert [result.hit.keyword for result in found] == ["ok google"] and found[0].hit.start > 9
    assert len(match.memory) <= 6.0 * RATE


def test_a_keyword_whose_voice_cannot_be_compared(detector, verifier, recording, monkeypatch):
    def refuse(*_, **__):
        raise AudioError("too little speech")

    monkeypatch.setattr(verifier, "identify", refuse)
    found = heard(VoiceMatch(detector, verifier, ["snow"]), recording, 4000)
    assert found[0].speaker == "unknown" and found[0].match is None and "too little" in found[0].reason


def test_another_rate_and_nobody_enrolled(detector, verifier, tmp_path):
    slow = SpeakerVerification.from_hparams(
        write_model(tmp_path / "other", sample_rate=8000), run_opts={"device": "cpu"}
    )
    with pytest.raises(ConfigError, match="16000 Hz .* 8000 Hz"):
        VoiceMatch(detector, slow, ["snow"])
    nobody = SpeakerVerification.from_hparams(tmp_path / "voice", run_opts={"device": "cpu"})
    with pytest.raises(ConfigError, match="enroll"):
        VoiceMatch(detector, nobody, ["snow"])


def test_an_enrollment_takes_the_keyword_alone(detector, verifier, recording, monkeypatch):
    monkeypatch.setattr(SpeakerVerification, "REFUSES_NOISE", False)  # these keywords are tones
    samples = spoken_keyword(detector, verifier, recording, "ok google")
    (hit,) = detector.spot(recording, ["ok google"])
    assert len(samples) == pytest.approx((hit.end - hit.start + 0.3) * RATE, abs=2)
    first = round((hit.start - 0.2) * RATE)
    assert np.array_equal(samples, recording[first : first + len(samples)])
    with pytest.raises(AudioError, match="'hey computer' was not heard"):
        spoken_keyword(detector, verifier, recording, "hey computer")
    with pytest.raises(ConfigError, match="fewer than 3"):
        spoken_keyword(detector, verifier, recording, "x")


def test_a_keyword_whose_voice_cannot_be_used_names_its_recording(detector, verifier, recording, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AudioError("The samples contain no speech.")

    soundfile.write(tmp_path / "anna.wav", recording, RATE)
    monkeypatch.setattr(verifier, "encode_file_windows", refuse)
    with pytest.raises(AudioError, match=r"anna\.wav cannot be used: .* no speech"):
        spoken_keyword(detector, verifier, tmp_path / "anna.wav", "ok google")


@pytest.mark.parametrize(("start", "end"), [(0.0, 0.1), (1.0, 1.5), (4.9, 5.0)])
def test_a_model_of_keywords_gets_its_segment(verifier, recording, monkeypatch, start, end):
    monkeypatch.setattr(verifier, "segment", types.SimpleNamespace(num_samples=12800))
    samples = keyword_samples(verifier, Hit("x", 1.0, start, end), recording)
    assert len(samples) == 12800
    last = min(max(round((end + 0.1) * RATE), 12800), len(recording))
    assert np.array_equal(samples, recording[last - 12800 : last])


@pytest.mark.parametrize("sample_rate", [RATE, 8000])
def test_a_finished_stream_takes_no_more_blocks(detector, verifier, recording, sample_rate):
    match = VoiceMatch(detector, verifier, ["ok google"], sample_rate=sample_rate)
    match.feed(recording[:RATE])
    match.finish()
    assert match.finish() == []
    with pytest.raises(AudioError, match="finished"):
        match.feed(recording[:RATE])


def test_a_hit_that_waits_long_still_has_all_samples(detector, verifier, recording, monkeypatch):
    counts = []

    def record(samples, **options):
        counts.append(len(samples))
        raise AudioError("too little speech")

    monkeypatch.setattr(verifier, "identify", record)
    samples = np.concatenate([recording, silence(20.0)])
    for debounce in (0.5, 15.0):
        heard(VoiceMatch(detector, verifier, ["ok google"], debounce=debounce), samples, 1600)
    assert counts[0] == counts[1] > RATE
