"""Laws of recordings: paths, open files, bytes and samples give the same sound."""

import io
import os
import socket
import sys
import threading
import warnings

import numpy as np
import pytest
import soundfile
import soxr
import torch

from speechtools import audio
from speechtools.audio.finding import UnusablePath
from speechtools.audio.recordings import open_source, read_short
from speechtools.audio.sources import AudioSource, check_samples
from speechtools.core.errors import AudioError, ConfigError


def sound(samples=8000, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.fixture
def path(tmp_path):
    """A recording of half a second."""
    audio.write(tmp_path / "a.wav", sound())
    return tmp_path / "a.wav"


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
def test_every_kind_of_file_gives_the_same_sound(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, sound(), 16000)
    content = path.read_bytes()
    expected = audio.read(path)
    with open(path, "rb") as file, open(path, "rb") as unseekable, io.BytesIO(content) as memory:
        memory.seek(100)
        unseekable.seekable = lambda: False
        for recording in (str(path), os.fsencode(path), file, memory, content, bytearray(content), unseekable):
            np.testing.assert_array_equal(audio.read(recording), expected)
            assert audio.duration(recording) == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("name", [b"bad\xff.wav", b"-.wav", b"http:a.wav", "é ü.wav".encode()])
def test_every_name_is_read(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with open(name, "wb") as file:
        soundfile.write(file, sound(), 16000, format="WAV")
    assert len(audio.read(name)) == len(audio.read(os.fsdecode(name))) == 8000
    assert len(audio.find_audio(tmp_path)) == 1


@pytest.mark.parametrize(
    "samples",
    [
        sound().astype(np.float64),
        torch.from_numpy(sound()),
        torch.from_numpy(sound()).requires_grad_(),
        torch.from_numpy(sound()).double(),
        sound()[None],
        np.stack([sound(), sound()]),
        sound().tolist(),
    ],
)
def test_samples_of_every_type(samples):
    np.testing.assert_allclose(audio.read(samples), sound(), atol=1e-6)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_signed_integers_are_scaled(dtype):
    largest = 2.0 ** (8 * np.dtype(dtype).itemsize - 1)
    integers = np.round(sound().astype(np.float64) * largest).astype(dtype)
    np.testing.assert_allclose(audio.read(integers), sound(), atol=1 / largest)
    np.testing.assert_allclose(audio.read(torch.from_numpy(integers)), sound(), atol=1 / largest)


def test_samples_of_another_rate_are_resampled():
    source = AudioSource(sound(22050), 44100)
    np.testing.assert_allclose(audio.read(source), soxr.resample(sound(22050), 44100, 16000), atol=1e-4)
    assert audio.duration(source) == 0.5
    assert len(read_short(open_source(sound(), 16000, 8000), 16000, 60.0)) == 16000


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((8000, 2)), r"shape \(8000, 2\).*Transpose"),
        (np.zeros((1, 2, 8000)), r"shape \(1, 2, 8000\)"),
        (np.zeros(0), r"shape \(0,\)"),
        (np.float32(1), r"got float32|shape \(\)"),
        (np.zeros(100, np.uint8), "uint8"),
        (np.zeros(100, np.int64), "int64"),
        (np.zeros(100, bool), "bool"),
        (np.zeros(100, np.complex64), "complex64"),
        (np.array(["a", "b"]), "U1"),
        (torch.zeros(100, dtype=torch.uint8), "uint8"),
        (np.array([0.1, np.nan]), "NaN"),
        (torch.tensor([0.1, float("inf")]), "NaN or infinite"),
        ([[0.1], [0.1, 0.2]], "different lengths"),
        (None, "got NoneType"),
        (3, "got int"),
        ({"a": 1}, "got dict"),
    ],
)
def test_other_samples_are_refused(samples, message):
    with pytest.raises(AudioError, match=message):
        check_samples(samples)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), "16000", True, None])
def test_an_invalid_rate_is_refused(rate):
    with pytest.raises(ConfigError, match="sample_rate="):
        AudioSource(sound(), rate)


def test_files_that_are_no_audio_files(path):
    closed = open(path, "rb")
    closed.close()
    with open(path) as text:
        for recording, message in {
            b"": "0 bytes",
            b"RIFF\0": "cannot be read as audio|damaged",
            io.BytesIO(): "0 bytes",
            io.StringIO("text"): "binary mode",
            text: "cannot be read|binary mode",
            closed: "closed",
        }.items():
            with pytest.raises(AudioError, match=message):
                audio.read(recording)


def test_paths_that_cannot_be_opened(tmp_path):
    (tmp_path / "loop.wav").symlink_to(tmp_path / "loop.wav")
    (tmp_path / "broken.wav").symlink_to(tmp_path / "gone.wav")
    unusable = UnusablePath.because(tmp_path / "x.wav", "is a device.")
    for path, message in {
        tmp_path / "loop.wav": "leads back to itself",
        tmp_path / "broken.wav": "is a link to .*gone.wav, which does not exist",
        "a" * 300 + ".wav": "too long",
        "a\0b.wav": "null",
        tmp_path: "is a folder",
        unusable: "is a device",
    }.items():
        with pytest.raises(AudioError, match=message):
            audio.read(path)


def test_a_file_without_permission(path, monkeypatch):
    def refuse(*arguments, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("speechtools.audio.sources.open", refuse, raising=False)
    with pytest.raises(AudioError, match="not readable by this user"):
        audio.read(path)


# ------------------------------------------------------------------------------------------------------------- channels


@pytest.fixture
def stereo(tmp_path):
    left, right = sound(seed=1), sound(seed=2)
    soundfile.write(tmp_path / "two.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    return tmp_path / "two.wav", left, right


def test_a_channel_or_the_mix(stereo):
    path, left, right = stereo
    for recording in (path, np.stack([left, right])):
        np.testing.assert_allclose(audio.read(recording), (left + right) / 2, atol=1e-6)
        np.testing.assert_array_equal(audio.read(recording, channel=0), left)
        np.testing.assert_array_equal(audio.read(recording, channel=1), right)
        with pytest.raises(AudioError, match=r"2 channels, numbers 0 to 1.*channel=2"):
            audio.read(recording, channel=2)
    with pytest.raises(AudioError, match="has 1 channel"):
        audio.read(left, channel=1)


@pytest.mark.parametrize("channel", [-1, 1.5, "left", True, None])
def test_an_invalid_channel(channel):
    with pytest.raises(ConfigError, match="channel="):
        audio.read(sound(), channel=channel)


def test_channels_that_cancel_give_one_warning(tmp_path):
    speech, hiss = sound(), 1e-3 * sound(seed=5)
    soundfile.write(tmp_path / "inverted.wav", np.stack([speech, hiss - speech], axis=1), 16000, subtype="FLOAT")
    source = AudioSource(tmp_path / "inverted.wav", 16000)
    with pytest.warns(UserWarning, match=r"inverted.wav.*2 channels cancel.*--channel") as caught:
        [audio.read(source) for _ in range(2)]
    assert len(caught) == 1
    for silent in (0 * speech, speech):  # a silent channel, and twice the same
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            audio.read(np.stack([speech, silent]))
            audio.read(tmp_path / "inverted.wav", channel=0)
    with pytest.raises(AudioError, match="cancel.*channel=0"):
        audio.read(np.stack([speech, -speech]), refuse_silence=True)


def test_a_constant_is_silence():
    with pytest.raises(AudioError, match="silent: all of its 100 samples are the same"):
        audio.read(np.full(100, 0.3), refuse_silence=True)


# ---------------------------------------------------------------------------------------------------- pipes and devices


def feed(path, content):
    """Write into a named pipe in a thread."""
    thread = threading.Thread(target=lambda: path.write_bytes(content), daemon=True)
    thread.start()
    return thread


def test_a_pipe_that_is_named_is_read_twice(tmp_path, path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(AudioError, match="not a regular file but a named pipe"):
        audio.read(tmp_path / "pipe")
    thread = feed(tmp_path / "pipe", path.read_bytes())
    source = open_source(tmp_path / "pipe", 16000)
    np.testing.assert_array_equal(audio.read(source), audio.read(path))
    np.testing.assert_array_equal(audio.read(source), audio.read(path))
    thread.join(10)


def test_standard_input(path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert len(audio.read(open_source("-", 16000))) == 8000
    with pytest.raises(AudioError, match=r"standard input is empty"):
        audio.read(open_source("-", 16000))
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(AudioError, match="closed"):
        audio.read(open_source("-", 16000))
    with pytest.raises(AudioError, match="- does not exist"):
        audio.read("-")


def test_devices_and_sockets_are_refused(tmp_path):
    with pytest.raises(AudioError, match="a device"):
        audio.read(open_source("/dev/zero", 16000))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s.wav"))
        with pytest.raises(AudioError, match="a socket"):
            audio.read(open_source(tmp_path / "s.wav", 16000))


def test_copies_of_pipes_are_removed(path, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    with open(path, "rb") as file:
        source = AudioSource(file, 16000)
        audio.read(source)
        assert len(list((tmp_path / "temporary").iterdir())) == 1
    del source
    assert not list((tmp_path / "temporary").iterdir())


@pytest.mark.parametrize("rate", [0, 1, 999, 1_000_001, 2**31])
def test_a_rate_that_no_recording_has_is_refused(path, rate):
    content = bytearray(path.read_bytes())
    content[24:28] = rate.to_bytes(4, "little")
    path.write_bytes(content)
    for reader in (audio.read, audio.duration):
        with pytest.raises(AudioError, match="Hz|cannot be read as audio"):
            reader(path)


def attempt(recording):
    """The samples of a recording, or None if it is refused."""
    try:
        return audio.read(recording).tolist()
    except AudioError:
        return None


@pytest.mark.parametrize(
    "container, place, field",
    [("AIFF", 38, b"JUNK"), ("RF64", 28, (2**63 - 1).to_bytes(8, "little"))],
    ids=["before", "behind"],
)
def test_seeking_outside_of_bytes_is_no_error_in_a_callback(tmp_path, monkeypatch, container, place, field):
    file, hidden = io.BytesIO(), []
    soundfile.write(file, sound(), 16000, format=container, subtype="PCM_16")
    content = bytearray(file.getvalue())
    content[place : place + len(field)] = field
    monkeypatch.setattr(sys, "unraisablehook", hidden.append)
    (tmp_path / "a").write_bytes(content)
    assert attempt(bytes(content)) == attempt(tmp_path / "a") and not hidden


@pytest.mark.parametrize("sample_rate", [1, 999, 10**7])
def test_impossible_rates_of_samples_are_refused(sample_rate):
    with pytest.raises(ConfigError, match="sample_rate="):
        AudioSource(np.ones(100, dtype=np.float32), sample_rate)


def test_samples_that_are_masked_or_not_stored_are_refused():
    masked = np.ma.array(np.ones(100), mask=np.arange(100) < 5)
    for samples in (masked, torch.ones(100).to_sparse(), torch.ones(100, device="meta")):
        with pytest.raises(AudioError):
            AudioSource(samples, 16000)


def test_a_folder_is_reported_once(tmp_path):
    with pytest.raises(AudioError, match="is a folder") as error:
        audio.read(tmp_path)
    assert str(error.value).count(str(tmp_path)) == 1
