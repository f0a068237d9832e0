"""The binding to espeak-ng."""

import ctypes
import re
import subprocess
import sys

import numpy as np
import pytest

from speechtools.core.errors import SpeechtoolsError
from speechtools.corpora import espeak

loader = pytest.importorskip("espeakng_loader")
TEXT = "The gardener watered seven yellow tulips before breakfast."


@pytest.fixture
def speak():
    return espeak.Synthesizer().speak


@pytest.mark.parametrize("voice", ["en-us+f3", "en-gb-scotland+m1", "en-us+klatt3"])
def test_speech_does_not_depend_on_earlier_speech_or_the_process(speak, voice):
    first = speak(TEXT, voice, seed=5)
    for other in ("en-us+f1", "en+klatt4", "en-us-nyc+croak"):
        speak("Something else entirely", other, pitch=80, pitch_range=10, rate=240, seed=9)
    np.testing.assert_array_equal(speak(TEXT, voice, seed=5), first)
    code = (
        "import sys; from speechtools.corpora.espeak import Synthesizer; "
        f"sys.stdout.buffer.write(Synthesizer().speak({TEXT!r}, {voice!r}, seed=5).tobytes())"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60).stdout
    assert output == first.tobytes()


def test_another_user_of_the_library_in_this_process_is_not_disturbed(speak):
    expected = speak(TEXT)
    library = ctypes.CDLL(loader.get_library_path())
    assert library.espeak_Initialize(2, 0, loader.get_data_path().encode(), 0x8000) == 22050
    try:
        np.testing.assert_array_equal(speak(TEXT), expected)
        assert library.espeak_ng_GetSampleRate() == 22050  # still initialized
    finally:
        library.espeak_Terminate()
        espeak._unload(library)


def test_a_data_path_too_long_for_espeak(tmp_path, speak):
    synthesizer = espeak.Synthesizer()
    far = tmp_path / ("x" * 100) / ("y" * 100)
    far.mkdir(parents=True)
    (far / "espeak-ng-data").symlink_to(synthesizer._data_path)
    synthesizer._data_path = far / "espeak-ng-data"
    np.testing.assert_array_equal(synthesizer.speak(TEXT), speak(TEXT))


def test_pitch_rate_and_voice_have_their_effect(speak):
    assert len(speak(TEXT, rate=120)) > 1.4 * len(speak(TEXT, rate=240))

    def fundamental(pitch):  # Hz, from the lag of the highest autocorrelation
        samples = speak("aaaaah", pitch=pitch, pitch_range=0)
        spectrum = np.fft.rfft(samples, 2 * len(samples))
        lags = np.arange(22050 // 300, 22050 // 60)
        return 22050 / lags[np.fft.irfft(np.abs(spectrum) ** 2)[lags].argmax()]

    assert fundamental(75) == pytest.approx(2**0.5 * fundamental(50), rel=0.1)
    assert not np.array_equal(speak("hello", "en-us+f1"), speak("hello", "en-us+m1"))


def test_impossible_arguments(speak):
    for arguments in ({"voice": "en-nowhere"}, {"voice": "en-us+nobody"}, {"rate": 10}):
        ((name, value),) = arguments.items()
        with pytest.raises(SpeechtoolsError, match=f"{name}.*{re.escape(str(value))}"):
            speak("hello", **arguments)


def test_an_exception_in_the_callback_is_raised(monkeypatch, speak):
    monkeypatch.setattr(espeak.ctypes, "string_at", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        speak(TEXT)
