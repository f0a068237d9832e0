"""Codecs: aligned speech of the same length, level and rate, at bit rates that are heard."""

import subprocess
import sys

import numpy as np
import pytest

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.degradations import codecs, coding, ffmpeg_codecs
from speechtools.degradations.codecs import AAC, ADPCM, GSM, MP3, Codec, Vorbis, available_codecs

PLAIN = ["mp3", "vorbis", "opus", "gsm", "g711", "g721", "adpcm"]
#: Vocoders follow the level of a voice less closely than codecs of the waveform.
LEVEL_DB = {"opus": 2.0, "amr-nb": 2.0, "amr-wb": 2.0, "speex": 2.0, "gsm": 1.0}


def voice(rate, seconds=1.0):
    speech = 0.3 * np.tile(coding._voice(rate), 2)
    return speech[: round(seconds * rate)].astype(np.float32)


def low_band(samples, rate):
    """Samples between 200 and 2500 Hz, which every codec transmits."""
    spectrum = np.fft.rfft(samples)
    frequencies = np.fft.rfftfreq(len(samples), 1 / rate)
    spectrum[(frequencies < 200) | (frequencies > 2500)] = 0
    return np.fft.irfft(spectrum, len(samples))


def lag_seconds(one, other, rate):
    size = 2 * len(one)
    product = np.conj(np.fft.rfft(one, size)) * np.fft.rfft(other, size)
    peak = int(np.fft.irfft(product, size).argmax())
    return (peak if peak < len(one) else peak - size) / rate


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
@pytest.mark.parametrize("name", available_codecs())
def test_the_result_is_aligned_and_keeps_length_and_level(name, rate):
    degrade, clean = codecs._CODECS[name](sample_rate=rate), voice(rate)
    for seed in range(4):
        coded = degrade(clean, np.random.default_rng(seed))
        assert coded.shape == clean.shape and coded.dtype == np.float32
        assert abs(lag_seconds(clean, coded, rate)) <= 0.001
        levels = [np.linalg.norm(low_band(samples, rate)) for samples in (clean, coded)]
        assert abs(20 * np.log10(levels[1] / levels[0])) < LEVEL_DB.get(name, 0.5)


@pytest.mark.parametrize("name", available_codecs())
def test_short_and_silent_speech(name):
    degrade = codecs._CODECS[name]()
    for samples in (4800, 50):
        coded = degrade(voice(16000)[1000 : 1000 + samples], np.random.default_rng(0))
        assert coded.shape == (samples,) and np.isfinite(coded).all()
    for samples in (4800, 0):
        silence = np.zeros(samples, dtype=np.float32)
        np.testing.assert_array_equal(degrade(silence, np.random.default_rng(0)), silence)


@pytest.mark.parametrize("level", [1e-4, 10.0])
@pytest.mark.parametrize("name", ["mp3", "g711", "gsm"])
def test_the_level_of_the_speech_does_not_matter(name, level):
    degrade, clean = codecs._CODECS[name](), voice(16000)
    coded, scaled = (degrade(gain * clean, np.random.default_rng(0)) for gain in (1.0, np.float32(level)))
    assert np.linalg.norm(scaled / level - coded) < 0.05 * np.linalg.norm(coded)


def test_lower_bit_rates_are_further_from_the_speech():
    clean = voice(16000)

    def error(degrade):
        return float(np.linalg.norm(degrade(clean, np.random.default_rng(0)) - clean))

    assert error(MP3(kbps=8)) > error(MP3(kbps=24)) > error(MP3(kbps=96))
    assert error(Vorbis(quality=0)) > error(Vorbis(quality=8))


@pytest.mark.parametrize("kbps", [4, 24])
@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("name", ["speex", "aac", "amr-nb", "amr-wb"])
def test_the_program_ffmpeg_codes_speech(name, rate, kbps, monkeypatch):
    """The real program, not PyAV: in time with the speech at every bit rate, and the same for the same seed."""
    codec = codecs._CODECS[name]
    if not coding.program_has(codec.coders.encoder):
        pytest.skip(f"no program ffmpeg with the encoder {codec.coders.encoder}")
    monkeypatch.setattr(coding, "av_has", lambda encoder: False)
    degrade, clean = codec(kbps=float(np.clip(kbps, *codec.limits)), sample_rate=rate), voice(rate)
    assert isinstance(degrade.draw_coding(np.random.default_rng(0)), coding.ProgramCoding)
    coded, again = (degrade(clean, np.random.default_rng(0)) for _ in range(2))
    np.testing.assert_array_equal(coded, again)
    # The level over time: the correlation of waveforms says little about a vocoder.
    frame = rate // 1000
    levels = [
        np.square(samples[: len(samples) // frame * frame]).reshape(-1, frame).sum(1) for samples in (clean, coded)
    ]
    smooth = [np.convolve(np.sqrt(level), np.hanning(25), "same") for level in levels]
    assert abs(lag_seconds(*(level - level.mean() for level in smooth), 1000)) <= 0.005


def test_a_delay_is_measured_once(monkeypatch):
    calls = []

    class Delayed:
        rate = 16000

        def round_trip(self, samples):
            calls.append(len(samples))
            return np.concatenate([np.zeros(333, np.float32), samples])

    delayed, clean = Delayed(), voice(16000)
    for _ in range(3):
        np.testing.assert_allclose(coding.code(clean, 16000, delayed), clean, atol=1e-5)
    assert coding.delay(delayed) == 333 and len(calls) == 4


def test_a_list_of_codecs_and_what_the_drawn_one_leaves():
    clean, degrade = voice(16000), Codec(["gsm", "mp3"])
    causes = set()
    for seed in range(8):
        degrade(clean, np.random.default_rng(seed))
        causes.add(degrade.causes)
    assert causes == {("processing", "band-limit"), ("processing",)}
    assert Codec("gsm").causes == GSM.causes and ADPCM(rate=16000).causes == ("processing",)


def test_codecs_without_packages_are_left_out_and_named(monkeypatch):
    monkeypatch.setattr(coding, "av_has", lambda encoder: False)
    monkeypatch.setattr(ffmpeg_codecs, "av_has", lambda encoder: False)
    monkeypatch.setattr(coding, "program_has", lambda encoder: False)
    assert available_codecs() == PLAIN
    with pytest.raises(SpeechtoolsError, match="ffmpeg.*libvo_amrwbenc"):
        Codec(["mp3", "amr-wb"])
    clean = voice(16000)
    assert abs(lag_seconds(clean, Codec("opus")(clean, np.random.default_rng(0)), 16000)) <= 0.001


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    for function in ("av_has", "program_has"):
        monkeypatch.setattr(coding, function, lambda encoder: False)
    with pytest.raises(SpeechtoolsError, match=r"'av'.*speechtools\[degradations\]"):
        AAC()


def test_the_program_is_used_through_pipes_and_its_failure_is_named(monkeypatch):
    commands = []

    def run(command, input, **options):
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, input, b"")

    monkeypatch.setattr(subprocess, "run", run)
    program = coding.ProgramCoding(16000, coding.Coders("libspeex", "speex", "ogg"), 8000)
    np.testing.assert_array_equal(program.round_trip(voice(16000)), voice(16000))
    assert [command[-1] for command in commands] == ["pipe:1", "pipe:1"]

    def fail(command, **options):
        raise subprocess.CalledProcessError(1, command, stderr=b"no such bit rate")

    monkeypatch.setattr(subprocess, "run", fail)
    with pytest.raises(SpeechtoolsError, match="libspeex: no such bit rate"):
        program.round_trip(voice(16000))


@pytest.mark.parametrize(
    "build, token",
    [
        (lambda: MP3(kbps=(4, 8)), "kbps"),
        (lambda: MP3(sample_rate=4000), "sample_rate=4000"),
        (lambda: codecs.G711(law="b-law"), "law='b-law'"),
        (lambda: codecs.G721(kbps=16), "kbps=16"),
        (lambda: Codec(["mp3", "mp4"]), "mp4"),
    ],
)
def test_impossible_arguments(build, token):
    with pytest.raises(ConfigError, match=token):
        build()
