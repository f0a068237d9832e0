"""KeywordDetector: phrases in files and streams, and what cannot be searched for."""

import numpy as np
import pytest
import soundfile
import soxr
import torch

import speechtools
from speechtools.core.errors import AudioError, ConfigError
from speechtools.inference import KeywordDetector
from speechtools.keyword.confusions import count_confusions, heard_events
from speechtools.keyword.tokens import train_tokens
from tests.keyword.tones import RATE, silence, spoken, tokens, write_detector


@pytest.fixture(scope="module")
def detector(tmp_path_factory):
    folder = write_detector(tmp_path_factory.mktemp("detector") / "pretrained")
    return KeywordDetector.from_hparams(folder, run_opts={"device": "cpu"})


@pytest.fixture(scope="module")
def recording():
    return np.concatenate([silence(1.0), spoken("ok google"), silence(0.8), spoken("snow"), silence(1.0)])


def test_phrases_are_found_where_they_are(detector, recording):
    hits = detector.spot(recording, ["ok google", "hey computer", "snow"], sample_rate=RATE)
    assert [hit.keyword for hit in hits] == ["ok google", "snow"] and all(hit.score > 0.9 for hit in hits)
    first, second = hits
    length = len(spoken("ok google")) / RATE
    assert first.start == pytest.approx(1.0, abs=0.1) and first.end == pytest.approx(1.0 + length, abs=0.15)
    assert second.start == pytest.approx(1.8 + length, abs=0.1)
    assert detector.transcribe(recording) == "ok google snow"
    assert detector.spot(recording, "hey computer") == []


def test_a_file_of_another_rate_and_channels(detector, recording, tmp_path):
    path = tmp_path / "x.wav"
    soundfile.write(path, np.stack([soxr.resample(recording, RATE, 44100)] * 2, axis=1), 44100)
    expected = detector.spot(recording, ["snow"])
    hits = detector.spot_file(path, ["snow"])
    assert [hit.keyword for hit in hits] == ["snow"]
    assert hits[0].start == pytest.approx(expected[0].start, abs=0.05)
    integers = (recording * 2**15).astype(np.int16)
    assert detector.spot(integers, ["snow"])[0].keyword == "snow"


@pytest.mark.parametrize("rate", [16000, 22050])
def test_a_stream_equals_the_file_in_blocks_of_any_size(rate):
    """With a trained kind of network, whose scores depend on everything before."""
    torch.manual_seed(0)
    token_model = tokens()
    net = speechtools.build("detector/lstm", num_tokens=len(token_model), hidden_size=12, channels=8)
    entries = {"features": speechtools.build("features/log-mel"), "sample_rate": RATE, "tokens": token_model}
    detector = KeywordDetector({"detector": net}, entries | {"threshold": 0.0}, {"device": "cpu"})
    rng = np.random.default_rng(0)
    samples = (0.1 * rng.standard_normal(3 * rate) * (np.arange(3 * rate) % 7000 > 3000)).astype(np.float32)
    phrases = ["snow", "hey computer"]
    whole = detector.spot(samples, phrases, sample_rate=rate)
    assert len(whole) > 1
    for sizes in ([1, 159, 161, 4001], [10**6], [333]):
        stream, hits, first, number = detector.stream(phrases, sample_rate=rate), [], 0, 0
        while first < len(samples):
            size = sizes[number % len(sizes)]
            hits += stream.feed(samples[first : first + size])
            first, number = first + size, number + 1
        hits += stream.finish()
        assert [(h.keyword, h.start, h.end) for h in hits] == [(h.keyword, h.start, h.end) for h in whole]
        assert [h.score for h in hits] == pytest.approx([h.score for h in whole], abs=1e-5)


def test_thresholds(detector, recording):
    assert detector.phrases(["ok google:0.6", "snow"])[0].threshold == 0.6
    assert detector.phrases("snow", threshold=0.25)[0].threshold == 0.25
    assert len(detector.spot(recording, ["hey computer"], threshold=0.0)) > 0
    for keyword in ("snow:1.5", "snow:-1", "snow:0.x1", "snow:nan", "snow:high", "snow:"):
        with pytest.raises(ConfigError, match=r"threshold .*'snow'"):
            detector.phrases([keyword])
    with pytest.raises(ConfigError, match="threshold"):
        detector.spot(recording, ["snow"], threshold=2)


def test_impossible_keywords(detector):
    for keywords, reason in (
        ([], "No keyword"),
        ([""], "fewer than 3"),
        (["o"], "fewer than 3"),
        (["snöw"], "'o' instead of 'ö'"),
        (["snow", "Snow!"], "the same"),
    ):
        with pytest.raises(ConfigError, match=reason):
            detector.phrases(keywords)


def test_impossible_blocks_and_files(detector, tmp_path):
    stream = detector.stream(["snow"])
    with pytest.raises(AudioError, match="NaN"):
        stream.feed(np.array([0.0, np.nan], np.float32))
    assert stream.feed(np.zeros(0, np.float32)) == []
    stream.finish()
    assert stream.finish() == []
    with pytest.raises(AudioError, match="finished"):
        stream.feed(silence(0.1))
    with pytest.raises(AudioError, match="gone.wav"):
        detector.spot_file(tmp_path / "gone.wav", ["snow"])
    assert detector.spot(silence(0.01), ["snow"]) == []


def test_features_of_a_whole_recording_are_refused():
    net = speechtools.build("detector/lstm", num_tokens=8, hidden_size=4, channels=4)
    features = speechtools.build("features/log-mel", mean_norm=True)
    entries = {"features": features, "sample_rate": RATE, "tokens": train_tokens(["snow"]), "threshold": 0.5}
    with pytest.raises(ConfigError, match="mean_norm"):
        KeywordDetector({"detector": net}, entries, {"device": "cpu"})


def test_a_constant_offset_changes_nothing(detector, recording):
    expected = detector.spot(recording, ["ok google"])
    hits = detector.spot(recording + 0.2, ["ok google"])
    assert [(hit.start, hit.end) for hit in hits] == [(hit.start, hit.end) for hit in expected]


def test_confusions_travel_with_a_model(recording, tmp_path):
    detector = KeywordDetector.from_hparams(write_detector(tmp_path / "a"), run_opts={"device": "cpu"})
    without = detector.spot(recording, ["ok google", "snow"])
    events = heard_events(detector.all_log_probs(recording))
    counted, _ = count_confusions([(events, detector.tokens.encode("ok google snow"))], len(detector.tokens))
    detector.set_confusions(counted)
    hits = detector.spot(recording, ["ok google", "snow"])
    assert [hit.keyword for hit in hits] == ["ok google", "snow"] and hits != without
    for hit, former in zip(hits, without, strict=True):
        assert hit.start == pytest.approx(former.start, abs=0.07) and hit.end == pytest.approx(former.end, abs=0.07)
    stream = detector.stream(["ok google", "snow"])
    found = [hit for first in range(0, len(recording), 777) for hit in stream.feed(recording[first : first + 777])]
    found += stream.finish()
    assert [hit[::2] for hit in found] == [hit[::2] for hit in hits]
    assert [hit.score for hit in found] == pytest.approx([hit.score for hit in hits], abs=1e-5)
    again = KeywordDetector.from_hparams(detector.save(tmp_path / "b"), run_opts={"device": "cpu"})
    assert again.spot(recording, ["ok google", "snow"]) == hits and again.model_id == detector.model_id
    with pytest.raises(ConfigError, match="do not fit"):
        KeywordDetector.from_hparams(write_detector(tmp_path / "c", confusions="AAAA"), run_opts={"device": "cpu"})
