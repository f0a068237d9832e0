"""VoiceStream: windows of a stream are those of the same samples in a recording."""

import numpy as np
import pytest

from speechtools.core.errors import AudioError, ConfigError
from speechtools.inference import VoiceStream
from tests.speaker.test_inference import RATE, load, voice, write_model

WINDOW, HOP = 1.0, 0.3


@pytest.fixture(scope="module")
def verifier(tmp_path_factory):
    loaded = load(write_model(tmp_path_factory.mktemp("model") / "pretrained"))
    loaded.enroll("anna", [voice(3.0)])
    loaded.enroll("bert", [voice(3.0, 200.0)])
    return loaded


@pytest.fixture(scope="module")
def samples():
    return np.concatenate([voice(2.0), np.zeros(2 * RATE, np.float32), voice(1.45, 200.0, 1)])


def windows_of(stream, samples, size):
    found = [window for start in range(0, len(samples), size) for window in stream.feed(samples[start : start + size])]
    return found + stream.finish()


@pytest.mark.parametrize("size", [160, 1600, 7001, 10**6])
def test_verdicts_are_those_of_the_windows(verifier, samples, size):
    found = windows_of(verifier.stream("anna", window=WINDOW, hop=HOP), samples, size)
    assert [window.end for window in found] == pytest.approx([*(HOP * np.arange(1, 19)), 5.45])
    assert [window.start for window in found] == pytest.approx([max(0, w.end - WINDOW) for w in found])
    for window in found:
        part = samples[round(window.start * RATE) : round(window.end * RATE)]
        if window.result is None:
            with pytest.raises(AudioError, match="speech|silent"):
                verifier.verify("anna", part)
            assert window.dvector is None and window.reason
        else:
            assert window.result == verifier.verify("anna", part)
            assert window.dvector.tolist() == verifier.encode_file(part).tolist()
    assert sum(window.result is None for window in found) in range(2, 8)


def test_without_a_name_voices_are_identified(verifier, samples):
    found = windows_of(verifier.stream(window=WINDOW, hop=HOP), samples, 1600)
    last = found[-1]
    assert last.result == verifier.identify(samples[-round(WINDOW * RATE) :])[0]
    assert {window.result.name for window in found if window.result} <= {"anna", "bert"}


def test_dvectors_alone(verifier, samples):
    found = windows_of(VoiceStream(verifier, window=WINDOW, hop=HOP), samples[:RATE], 1600)
    assert all(window.result is None and window.dvector is not None for window in found[1:])


def test_another_rate_and_channels(verifier, samples):
    stream = verifier.stream("anna", sample_rate=32000, window=WINDOW, hop=HOP)
    doubled = np.repeat(samples[: 2 * RATE], 2)
    found = windows_of(stream, np.stack([doubled, doubled]).T.reshape(-1, 2).T, len(doubled))
    assert found[-1].end == pytest.approx(2.0)
    assert found[-1].result.score == pytest.approx(verifier.verify("anna", samples[RATE : 2 * RATE]).score, abs=0.05)


def test_memory_is_bounded(verifier):
    stream = verifier.stream("anna", window=WINDOW, hop=HOP)
    for _ in range(20):
        stream.feed(voice(1.0))
    assert len(stream.memory) == round(WINDOW * RATE)


def test_mistakes(verifier):
    with pytest.raises(ConfigError, match="carl"):
        verifier.stream("carl")
    with pytest.raises(ConfigError, match="window"):
        verifier.stream("anna", window=0.1)
    with pytest.raises(ConfigError, match="hop"):
        verifier.stream("anna", hop=4.0)
    stream = verifier.stream("anna")
    with pytest.raises(AudioError, match="NaN"):
        stream.feed(np.array([0.0, np.nan], np.float32))
    assert stream.feed(np.zeros(0)) == [] and stream.finish() == [] and stream.finish() == []
    with pytest.raises(AudioError, match="finished"):
        stream.feed(np.zeros(10))
