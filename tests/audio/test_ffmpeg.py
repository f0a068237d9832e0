"""Laws of what ffmpeg decodes. A small program takes its place where errors are tested."""

import io
import os
import shutil
import stat
import subprocess
import sys
import threading

import numpy as np
import pytest
import soundfile

from speechtools import audio
from speechtools.audio import ffmpeg
from speechtools.audio.recordings import find_recordings, open_source, read_short
from speechtools.core.errors import AudioError

needs_ffmpeg = pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
#: Suffix, encoder, rate.
FORMATS = [
    ("m4a", "aac", 16000),
    ("mp4", "aac", 44100),
    ("aac", "aac", 16000),
    ("webm", "libopus", 48000),
    ("mkv", "flac", 16000),
    ("wma", "wmav2", 16000),
    ("wv", "wavpack", 16000),
    ("amr", "libopencore_amrnb", 8000),
]


def sound(seconds=2.0, rate=16000):
    time = np.arange(round(seconds * rate)) / rate
    return 0.3 * np.sin(2 * np.pi * 440 * time)


def encode(path, encoder, rate, samples, *options):
    wav = path.with_name("source.wav")
    soundfile.write(wav, samples, rate)
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-y", "-i", f"file:{wav}", "-c:a", encoder, *options]
    if subprocess.run([*command, f"file:{path}"], capture_output=True).returncode:
        pytest.skip(f"this ffmpeg has no {encoder}")
    wav.unlink()
    return path


@needs_ffmpeg
@pytest.mark.parametrize(("suffix", "encoder", "rate"), FORMATS)
def test_formats_are_read_at_any_rate(tmp_path, suffix, encoder, rate):
    path = encode(tmp_path / f"a.{suffix}", encoder, rate, sound(2.0, rate))
    samples = audio.read(path)
    assert len(samples) / 16000 == pytest.approx(2.0, abs=0.15)
    assert audio.duration(path) == pytest.approx(len(samples) / 16000, abs=0.01)
    spectrum = np.abs(np.fft.rfft(samples[8000:24000]))
    assert np.argmax(spectrum) == pytest.approx(440, abs=2)
    for recording in (path.read_bytes(), io.BytesIO(path.read_bytes())):
        np.testing.assert_array_equal(audio.read(recording), samples)
    assert find_recordings([tmp_path]) == [path]
    assert read_short(open_source(path, 16000), 16000, 1.0) is None


@needs_ffmpeg
def test_channels_are_kept(tmp_path):
    stereo = np.stack([sound(), 0 * sound()], axis=1)
    path = encode(tmp_path / "a.wv", "wavpack", 16000, stereo)
    np.testing.assert_allclose(audio.read(path, channel=0), sound(), atol=1e-3)
    assert not audio.read(path, channel=1).any()


@needs_ffmpeg
@pytest.mark.parametrize("name", ["-x.m4a", "http:x.m4a", "concat:a|b.m4a", "a b\n'%d.m4a", b"bad\xff.m4a"])
def test_no_name_is_an_option_or_an_address(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    path = encode(tmp_path / "plain.m4a", "aac", 16000, sound())
    os.rename(path, name)
    assert len(audio.read(name)) / 16000 == pytest.approx(2.0, abs=0.15)


@needs_ffmpeg
def test_damaged_files_are_refused(tmp_path):
    for suffix, encoder in (("m4a", "aac"), ("webm", "libopus"), ("aac", "aac")):
        path = encode(tmp_path / f"a.{suffix}", encoder, 48000, np.random.default_rng(0).uniform(-0.5, 0.5, 96000))
        path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
        with pytest.raises(AudioError, match="ffmpeg: "):
            audio.read(path)
    (tmp_path / "text.m4a").write_text("Dear diary,\n" * 100)
    with pytest.raises(AudioError, match=r"text.m4a cannot be read as audio"):
        audio.read(tmp_path / "text.m4a")


@needs_ffmpeg
def test_playlists_and_scripts_open_no_other_file(tmp_path):
    soundfile.write(tmp_path / "secret.wav", sound(), 16000)
    (tmp_path / "a.m4a").write_text("ffconcat version 1.0\nfile secret.wav\n")
    (tmp_path / "b.m4a").write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:2,\n{tmp_path}/secret.wav\n#EXT-X-ENDLIST\n"
    )
    for name in ("a.m4a", "b.m4a"):
        with pytest.raises(AudioError, match="cannot be read as audio"):
            audio.read(tmp_path / name)


# -------------------------------------------------------------------------------------------------------- a fake ffmpeg


@pytest.fixture
def fake(tmp_path, monkeypatch):
    """Put a program ``ffmpeg`` of some lines of Python on PATH; returns a file to read."""

    def make(*lines):
        folder = tmp_path / "bin"
        folder.mkdir()
        script = folder / "ffmpeg"
        script.write_text(
            f"#!{sys.executable} -S\nimport struct, sys, time\nout = sys.stdout.buffer\n" + "\n".join(lines)
        )
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(folder))
        (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x10ftypM4A \0\0\0\0")
        return tmp_path / "a.m4a"

    return make


HEADER = "out.write(struct.pack('>4s5I', b'.snd', 24, 0xffffffff, 6, 8000, 2)); out.flush()"
FRAMES = "out.write(struct.pack('>4f', 0.5, 0.25, 0.5, 0.25) * 4000); out.flush()"


def test_frames_and_rate_come_from_its_header(fake):
    path = fake(HEADER, FRAMES)
    assert audio.duration(path) == 1.0
    np.testing.assert_allclose(audio.read(path, 8000), np.full(8000, 0.375))
    np.testing.assert_allclose(audio.read(path, 8000, channel=1), np.full(8000, 0.25))


def test_arguments_are_safe(fake, tmp_path):
    path = fake(f"open({str(tmp_path / 'arguments')!r}, 'w').write('\\n'.join(sys.argv[1:]))", HEADER, FRAMES)
    audio.read(path)
    arguments = (tmp_path / "arguments").read_text().split("\n")
    assert arguments[arguments.index("-i") + 1] == f"file:{path}" and "-nostdin" in arguments
    assert arguments[arguments.index("-protocol_whitelist") + 1] == "file,pipe"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["sys.exit('[mov @ 0x1] moov atom not found')"], r"ffmpeg: moov atom not found"),
        (["sys.exit(3)"], "exit status 3"),
        ([""], "contains no sound"),
        ([HEADER, FRAMES, "sys.exit('Error while decoding')"], "Error while decoding"),
        ([HEADER, FRAMES, "print('[aac @ 0x1] Input buffer exhausted', file=sys.stderr)"], "Input buffer exhausted"),
        (["out.write(b'x' * 24)"], "returned no audio"),
        ([HEADER], "is empty"),
    ],
)
def test_what_it_reports_is_an_error(fake, lines, message):
    path = fake(*lines)
    with pytest.raises(AudioError, match=message) as error:
        audio.read(path)
    assert "a.m4a" in str(error.value)


@pytest.mark.parametrize("lines", [["time.sleep(60)"], [HEADER, FRAMES, "time.sleep(60)"]])
def test_a_program_that_hangs_is_ended(fake, monkeypatch, lines):
    path = fake(*lines)
    monkeypatch.setattr(ffmpeg, "TIME_LIMIT_SECONDS", 1.0)
    with pytest.raises(AudioError, match="wrote nothing for 1 s"):
        audio.read(path)


def test_a_reader_that_stops_ends_the_program(fake):
    path = fake(HEADER, "while True:", "    " + FRAMES)
    blocks = audio.blocks(path, seconds=1.0)
    assert len(next(blocks)) == 16000
    blocks.close()
    assert read_short(open_source(path, 16000), 16000, 2.0) is None
    assert threading.active_count() < 20


def test_without_ffmpeg_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x10ftypM4A \0\0\0\0")
    with pytest.raises(AudioError, match=r"a\.m4a cannot be read as audio.*Install ffmpeg"):
        audio.read(tmp_path / "a.m4a")
    (tmp_path / "a.wav").write_text("text")
    with pytest.raises(AudioError, match=r"Convert it to WAV or FLAC, or leave it out"):
        audio.read(tmp_path / "a.wav")


def test_a_program_that_does_not_start(fake):
    path = fake("")
    (path.parent / "bin" / "ffmpeg").write_bytes(b"\x7fELF no program")
    with pytest.raises(AudioError, match="ffmpeg does not start"):
        audio.read(path)
