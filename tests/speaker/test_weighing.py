"""Windows of d-vectors weighed by the quality of their speech."""

from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

from speechtools.audio import duration
from speechtools.audio.sources import AudioSource
from speechtools.core.errors import AudioError, ConfigError
from speechtools.inference import QualityNet, SpeakerEncoder
from speechtools.speaker.weighing import LIMIT, SPREAD, QualityWeights, Usable, weights_of
from tests.speaker.test_inference import RATE, load, voice, write_model


class Quality:
    """A model of quality whose frame scores are a function of the time (s) in a recording."""

    def __init__(self, function, scale="raw_nb", higher_is_better=True):
        self.function, self.scale, self.higher_is_better, self.calls = function, scale, higher_is_better, 0

    def assess_file(self, path, *, sample_rate=None, channel="mix"):
        self.calls += 1
        if isinstance(path, AudioSource):
            seconds = duration(path.path) if path.path else path.samples.shape[1] / path.sample_rate
        else:
            seconds = len(path) / sample_rate
        times = np.arange(0.008, seconds, 0.016)
        scores = np.broadcast_to(np.asarray(self.function(times), np.float32), times.shape)
        return SimpleNamespace(
            frame_scores=scores, times=times, scale=self.scale, higher_is_better=self.higher_is_better
        )


def good_until(end, good=4.0, bad=0.5):
    return Quality(lambda times: np.where(times < end, good, bad))


@pytest.fixture
def verifier(tmp_path):
    return load(write_model(tmp_path / "pretrained", zero_bias=True, window_frames=80, window_hop_frames=40))


@pytest.fixture
def two_parts(tmp_path):
    """A recording of one voice for 4 s, a pause of 3 s, and another voice for 4 s; and the first part alone."""
    paths = [tmp_path / "both.wav", tmp_path / "first.wav"]
    first = voice(4.0, 110)
    pause = 0.0005 * np.random.default_rng(5).standard_normal(3 * RATE).astype(np.float32)
    soundfile.write(paths[0], np.concatenate([first, pause, voice(4.0, 220, 1)]), RATE)
    soundfile.write(paths[1], first, RATE)
    return paths


def cosine(first, second):
    return torch.nn.functional.cosine_similarity(first, second, dim=0).item()


@pytest.mark.parametrize("score", [4.0, 0.7])
def test_equal_quality_changes_nothing(verifier, two_parts, score):
    wavs = torch.from_numpy(voice(5.0))
    plain = [verifier.encode_file(two_parts[0]), verifier.encode_batch(wavs)[0], verifier.enroll("a", two_parts)]
    plain += [dvector for _, dvector in verifier.encode_files(two_parts)]
    verifier.weigh_by_quality(Quality(lambda times: np.float32(score)))
    weighed = [verifier.encode_file(two_parts[0]), verifier.encode_batch(wavs)[0]]
    if score > LIMIT:
        weighed.append(verifier.enroll("a", two_parts))
    else:  # nothing is usable
        plain.pop(2)
    weighed += [dvector for _, dvector in verifier.encode_files(two_parts)]
    assert len(plain) == len(weighed)
    for before, after in zip(plain, weighed, strict=True):
        assert torch.equal(before, after)
    verifier.weigh_by_quality(None)
    assert verifier.encode_file_windows(two_parts[0]).weights is None


def test_windows_have_the_quality_at_their_times_in_the_recording(verifier, two_parts):
    verifier.weigh_by_quality(good_until(5.5))  # in the pause, of which the VAD leaves nothing
    windows = verifier.encode_file_windows(two_parts[0])
    early, late = windows.times[:, 1] < 5.0, windows.times[:, 0] > 6.5
    assert early.sum() > 3 and late.sum() > 3 and early.sum() + late.sum() >= len(early) - 2
    good, bad = (4.0 - LIMIT) / SPREAD, (0.5 - LIMIT) / SPREAD
    assert np.allclose(windows.margins[early], good) and np.allclose(windows.margins[late], bad)
    assert (windows.weights[early] == 1).all() and (windows.weights[late] == 0).all()
    crossing = windows.margins[~early & ~late]
    assert ((crossing > bad) & (crossing < good)).all()
    alone = verifier.encode_file(two_parts[1])  # equal quality: as without weights
    verifier.weigh_by_quality(good_until(5.5), spread=1.0)
    assert cosine(verifier.encode_file(two_parts[0]), alone) > 0.999
    verifier.weigh_by_quality(None)
    assert cosine(windows.mean(), alone) > 0.99 > cosine(verifier.encode_file(two_parts[0]), alone)


def test_what_is_usable_is_counted_in_seconds_of_speech(verifier, two_parts):
    verifier.weigh_by_quality(good_until(5.5))
    usable = verifier.encode_file_windows(two_parts[0]).usable
    verifier.weigh_by_quality(good_until(99.0))
    first = verifier.encode_file_windows(two_parts[1]).usable
    assert first.share == 1 and first.usable_seconds == first.speech_seconds
    assert usable.speech_seconds == pytest.approx(2 * first.speech_seconds, abs=0.6)
    assert usable.usable_seconds == pytest.approx(first.speech_seconds, abs=0.9)  # a window may reach into both
    assert str(Usable(2.13, 9.8)) == "2.1 of 9.8 s usable" and Usable(0.0, 0.0).share == 0


def test_all_ways_to_embed_agree_and_score_a_recording_once(verifier, two_parts):
    net = good_until(5.5)
    verifier.weigh_by_quality(net)
    dvector = verifier.encode_file(two_parts[0])
    assert net.calls == 1
    results = dict(verifier.encode_files(two_parts))
    assert net.calls == 3 and torch.allclose(results[two_parts[0]], dvector, atol=1e-6)
    samples, _ = soundfile.read(two_parts[0], dtype="float32")
    assert torch.allclose(verifier.encode_batch(torch.from_numpy(samples))[0], dvector, atol=1e-6)
    assert torch.allclose(verifier.encode_file(samples), dvector, atol=1e-6)


def test_a_long_recording_is_weighed_in_chunks(verifier, tmp_path, monkeypatch):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.concatenate([voice(20.0, 110), voice(20.0, 220)]), RATE)
    net = good_until(20.0)
    verifier.weigh_by_quality(net)
    whole = verifier.encode_file_windows(path)
    monkeypatch.setattr(SpeakerEncoder, "CHUNK_SECONDS", 7.0)
    parts = verifier.encode_file_windows(path)
    assert net.calls == 2 and len(parts.margins) == len(parts.times)
    assert (parts.weights[parts.times[:, 0] > 20.1] == 0).all() and (parts.weights[parts.times[:, 1] < 19.9] == 1).all()
    assert cosine(parts.mean(), whole.mean()) > 0.99
    assert parts.usable.usable_seconds == pytest.approx(whole.usable.usable_seconds, abs=1.0)
    ((_, of_many),) = verifier.encode_files([path])
    assert torch.allclose(of_many, parts.mean(), atol=1e-6)


def test_bad_recordings_count_less_in_an_enrollment(verifier, two_parts, tmp_path):
    quiet = tmp_path / "quiet.wav"
    soundfile.write(quiet, 0.1 * voice(4.0, 220, 1), RATE)

    def assess(path, *, sample_rate=None, channel="mix"):
        score = 4.0 if float(abs(path).max()) > 0.1 else 0.5
        return Quality(lambda times: score).assess_file(path, sample_rate=sample_rate)

    verifier.weigh_by_quality(SimpleNamespace(assess_file=assess))
    voiceprint = verifier.enroll("anna", [two_parts[1], quiet])
    assert torch.allclose(voiceprint, verifier.encode_file(two_parts[1]), atol=1e-6)
    assert cosine(voiceprint, verifier.encode_file(quiet)) < 0.999
    assert verifier.usable["anna"].share == pytest.approx(0.5, abs=0.1) and verifier.details("anna").recordings == 2


def test_little_usable_speech_is_a_warning_and_none_an_error(verifier, two_parts):
    verifier.weigh_by_quality(good_until(3.0))
    with pytest.warns(UserWarning, match=r"\d\.\d of \d\.\d s usable in the recording of 'anna'\. Record again"):
        verifier.enroll("anna", two_parts[0])
    assert 0 < verifier.usable["anna"].share < 0.5
    verifier.weigh_by_quality(good_until(0.0))
    with pytest.raises(AudioError, match=r"the 2 recordings of 'ben' is too bad to enroll: 0\.0 of \d+\.\d s usable"):
        verifier.enroll("ben", two_parts)
    assert list(verifier.voices) == ["anna"] == list(verifier.usable)
    verifier.weigh_by_quality(None)
    verifier.enroll("anna", two_parts[0])
    assert not verifier.usable


def test_decisions_tell_what_is_usable(verifier, two_parts):
    verifier.enroll("anna", two_parts[1])
    plain = verifier.verify("anna", two_parts[0])
    assert plain.usable is None and verifier.identify(two_parts[0])[0].usable is None
    verifier.weigh_by_quality(good_until(5.5))
    verdict = verifier.verify("anna", two_parts[0])
    score, accepted = verdict
    assert (score, accepted) == (verdict.score, verdict.accepted) and score > plain.score
    assert verdict.usable == verifier.encode_file_windows(two_parts[0]).usable
    assert verifier.identify(two_parts[0])[0].usable == verdict.usable
    ((_, (match,)),) = verifier.identify_files([two_parts[0]])
    assert match.usable == verdict.usable and match.score == pytest.approx(score, abs=1e-6)
    assert verifier.verify_files(*two_parts).usable == verdict.usable  # of the worse one


def test_scales(verifier, two_parts):
    verifier.weigh_by_quality(good_until(5.5))
    margins = verifier.encode_file_windows(two_parts[0]).margins
    # lower is better: the same margins from the scores with the other sign
    lower = Quality(lambda times: np.where(times < 5.5, -4.0, -0.5), "own", higher_is_better=False)
    verifier.weigh_by_quality(lower, limit=-LIMIT, spread=SPREAD)
    assert np.allclose(verifier.encode_file_windows(two_parts[0]).margins, margins)
    verifier.weigh_by_quality(Quality(lambda times: 0.9, "stoi"))
    with pytest.raises(ConfigError, match="scale stoi.*limit="):
        verifier.encode_file(two_parts[0])
    verifier.weigh_by_quality(Quality(lambda times: 3.0, "mos"), limit=2.0, spread=2.0)
    assert np.allclose(verifier.encode_file_windows(two_parts[0]).margins, 0.5)


def test_mistakes_are_refused(verifier):
    for options, message in (
        ({"model": "quality-net"}, "str does not score recordings"),
        ({"model": Quality(abs), "spread": 0.0}, "spread"),
        ({"model": Quality(abs), "limit": float("nan")}, "limit"),
    ):
        with pytest.raises(ConfigError, match=message):
            verifier.weigh_by_quality(**options)


def test_weights_keep_their_order_and_do_not_overflow():
    margins = np.array([5000.0, 4999.0, 1.0, 0.0, -1.0])
    weights = weights_of(margins)
    assert weights[0] == 1 and (np.diff(weights) <= 0).all() and weights[-1] == 0
    assert np.allclose(weights_of(margins - 6000)[:2], weights[:2])
    assert QualityWeights(Quality(abs)).spread is None


def test_quality_net_finds_the_noise_in_a_part(verifier, two_parts):
    samples, _ = soundfile.read(two_parts[0], dtype="float32")
    samples[7 * RATE :] += 0.2 * np.random.default_rng(0).standard_normal(len(samples) - 7 * RATE).astype(np.float32)
    verifier.weigh_by_quality(QualityNet.from_hparams())
    windows = verifier.encode_file_windows(samples)
    early, late = windows.times[:, 1] < 5.0, windows.times[:, 0] > 6.5
    assert early.any() and late.any() and windows.margins[early].min() > windows.margins[late].max()
