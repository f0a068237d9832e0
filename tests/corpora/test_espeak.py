"""The binding to espeak-ng."""

import ctypes
import subprocess
import sys

import numpy as np
import pytest

from speechtools.core.errors import SpeechtoolsError
from speechtools.corpora import espeak

pytest.importorskip("espeakng_loader")
TEXT = "The gardener watered seven yellow tulips before breakfast."


@pytest.mark.parametrize("voice", ["en-us+f3", "en-gb-scotland+m1", "en-us+klatt3", "en-029+adam", "en+sandro"])
def test_speech_does_not_depend_on_earlier_speech(voice):
    synthesizer = espeak.Synthesizer()
    first = synthesizer.speak(TEXT, voice, seed=5)
    for other in ("en-us+f1", "en+klatt4", "en-us-nyc+croak"):
        synthesizer.speak("Something else entirely", other, pitch=80, pitch_range=10, rate=240, seed=9)
    np.testing.assert_array_equal(synthesizer.speak(TEXT, voice, seed=5), first)


def test_speech_is_the_same_in_another_process():
    code = (
        "import sys; from speechtools.corpora.espeak import Synthesizer; "
        f"sys.stdout.buffer.write(Synthesizer().speak({TEXT!r}, 'en-us+f3', seed=5).tobytes())"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout
    assert output == espeak.Synthesizer().speak(TEXT, "en-us+f3", seed=5).tobytes()


def test_another_user_of_the_library_in_this_process_is_not_disturbed():
    import espeakng_loader

    expected = espeak.Synthesizer().speak(TEXT)
    library = ctypes.CDLL(espeakng_loader.get_library_path())
    assert library.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0x8000) == 22050
    try:
        np.testing.assert_array_equal(espeak.Synthesizer().speak(TEXT), expected)
        assert library.espeak_ng_GetSampleRate() == 22050  # still initialized
    finally:
        library.espeak_Terminate()
        espeak._unload(library)


def test_a_data_path_too_long_for_espeak(tmp_path):
    synthesizer = espeak.Synthesizer()
    expected = synthesizer.speak(TEXT)
    far = tmp_path / ("x" * 100) / ("y" * 100)
    far.mkdir(parents=True)
    (far / "espeak-ng-data").symlink_to(synthesizer._data_path)
    synthesizer._data_path = far / "espeak-ng-data"
    np.testing.assert_array_equal(synthesizer.speak(TEXT), expected)


def test_pitch_rate_and_voice_have_their_effect():
    synthesizer = espeak.Synthesizer()
    durations = [len(synthesizer.speak(TEXT, rate=rate)) for rate in (120, 170, 240)]
    assert durations[0] > 1.2 * durations[1] > 1.2 * 1.2 * durations[2]

    def fundamental(pitch):  # Hz, from the lag of the highest autocorrelation
        samples = synthesizer.speak("aaaaah", pitch=pitch, pitch_range=0)
        spectrum = np.fft.rfft(samples, 2 * len(samples))
        lags = np.arange(synthesizer.sample_rate // 300, synthesizer.sample_rate // 60)
        return synthesizer.sample_rate / lags[np.fft.irfft(np.abs(spectrum) ** 2)[lags].argmax()]

    assert fundamental(75) == pytest.approx(2**0.5 * fundamental(50), rel=0.1)
    assert not np.array_equal(synthesizer.speak("hello", "en-us+f1"), synthesizer.speak("hello", "en-us+m1"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"voice": "en-nowhere"}, "'en-nowhere'"),
        ({"voice": "en-us+nobody"}, r"'en-us\+nobody'"),
        ({"rate": 10}, "rate=10 .* 80 to 450"),
        ({"pitch_range": -1}, "pitch_range=-1 .* 0 to 99"),
    ],
)
def test_impossible_arguments(arguments, message):
    with pytest.raises(SpeechtoolsError, match=message):
        espeak.Synthesizer().speak("hello", **arguments)


def test_an_exception_in_the_callback_is_raised(monkeypatch):
    def broken(*_):
        raise MemoryError("no room for samples")

    monkeypatch.setattr(espeak.ctypes, "string_at", broken)
    with pytest.raises(MemoryError, match="no room"):
        espeak.Synthesizer().speak(TEXT)


def test_without_espeakng_loader_the_message_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    with pytest.raises(SpeechtoolsError, match=r'pip install "speechtools\[recipes\]"'):
        espeak.Synthesizer()
