"""Laws of finding, reading and writing audio files."""

import errno
import os
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr

from speechtools import audio
from speechtools.audio.io import chunks
from speechtools.core.errors import AudioError, ConfigError, CorpusError

#: Suffix, container, sample type, least SNR (dB) of what is read, and whether the header shows a truncation.
FORMATS = [
    row.split()
    for row in """\
.wav  WAV   PCM_16   80  header
.wav  WAV   GSM610   10  header
.flac FLAC  PCM_16   80  decoding
.ogg  OGG   VORBIS   10  header
.opus OGG   OPUS     10  header
.mp3  MP3   MPEG_LAYER_III 10 decoding
.aiff AIFF  PCM_16   80  header
.au   AU    PCM_16   80  header
.sph  NIST  PCM_16   80  header
.w64  W64   PCM_16   80  header
.rf64 RF64  PCM_16   80  header
.voc  VOC   PCM_16   80  header
.caf  CAF   PCM_16   80  none""".splitlines()
]


def tone(seconds=0.5, rate=16000, amplitude=0.3):
    """Return a sine (samples,), float32."""
    return (amplitude * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(samples, seed=0):
    """Return noise (samples,), float32, which a codec cannot shorten."""
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def edit(path, function):
    """Replace the bytes of a file by ``function(bytearray)``."""
    path.write_bytes(function(bytearray(path.read_bytes())))
    return path


def assert_refused(path, match, by_header=True):
    """All functions raise the same message, which names the file; ``duration`` only if the header shows it."""
    readers = [audio.read, lambda path: list(audio.blocks(path)), *([audio.duration] if by_header else [])]
    for reader in readers:
        with pytest.raises(AudioError, match=match) as error:
            reader(path)
        assert str(path) in str(error.value)


# -------------------------------------------------------------------------------------------------------------- finding


def test_finds_every_suffix_in_any_case_sorted_and_nothing_hidden(tmp_path, monkeypatch):
    names = ["b/SA1.WAV", "b/a.flac", "c/d/e.Mp3", "c/x.sph"]
    for name in [*names, "b/SA1.TXT", ".hidden.wav", "._a.wav", ".git/a.wav"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert audio.find_audio(str(tmp_path)) == [tmp_path / name for name in names]
    monkeypatch.chdir(tmp_path.parent)
    assert audio.find_audio(tmp_path.name)[0].parts == (tmp_path.name, "b", "SA1.WAV")


def test_finding_follows_a_link_but_not_in_circles(tmp_path):
    for folder in ("elsewhere", "corpus"):
        (tmp_path / folder).mkdir()
    (tmp_path / "elsewhere" / "a.wav").touch()
    (tmp_path / "corpus" / "link").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "corpus" / "circle").symlink_to(tmp_path / "corpus")
    assert audio.find_audio(tmp_path / "corpus") == [tmp_path / "corpus" / "link" / "a.wav"]


def test_finding_in_a_missing_folder_names_the_nearest_one(tmp_path):
    with pytest.raises(CorpusError, match=rf"does not exist; .* parent is {tmp_path}\."):
        audio.find_audio(tmp_path / "not" / "here")
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="is a file, but a folder is needed"):
        audio.find_audio(tmp_path / "file")


# -------------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize(("suffix", "container", "subtype", "snr_db", "shown_by"), FORMATS)
def test_formats_are_read_whole_or_refused_if_truncated(tmp_path, suffix, container, subtype, snr_db, shown_by):
    samples, path = tone(1.0), tmp_path / f"a{suffix}"
    rate = 8000 if subtype == "GSM610" else 16000
    soundfile.write(path, samples, rate, format=container, subtype=subtype)
    read = audio.read(str(path), rate)[: len(samples)]
    assert read.dtype == np.float32 and read.shape == samples.shape
    assert -10 * np.log10(np.square(read - samples).mean() / np.square(samples).mean() + 1e-30) > float(snr_db)
    assert audio.find_audio(tmp_path) == [path]
    soundfile.write(path, noise(48000), 16000, format=container, subtype=subtype)
    assert audio.duration(path) == pytest.approx(3.0, abs=0.02)
    content = path.read_bytes()
    for length in (len(content) // 2, len(content) - 200):
        path.write_bytes(content[:length])
        if shown_by != "none":
            assert_refused(path, "truncated", shown_by == "header")


@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_resampling_is_that_of_soxr_and_blocks_join_to_the_whole(tmp_path, rate):
    channels = np.stack([noise(12 * rate + 17, seed) for seed in range(3)], axis=1)  # (samples, channels)
    soundfile.write(tmp_path / "a.wav", channels, rate, subtype="FLOAT")
    expected = soxr.resample(channels.mean(axis=1), rate, 16000, quality="HQ")
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav"), expected, atol=1e-4)
    for seconds in (0.1, 5.0, 30.0):
        blocks = list(audio.blocks(tmp_path / "a.wav", seconds=seconds))
        assert {len(block) for block in blocks[:-1]} <= {round(16000 * seconds)}
        assert 0 < len(blocks[-1]) <= round(16000 * seconds)
        np.testing.assert_allclose(np.concatenate(blocks), expected, atol=1e-4)


def test_blocks_stay_in_bounded_memory(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(600 * 8000, np.int16), 8000)
    tracemalloc.start()
    total = sum(len(block) for block in audio.blocks(path, seconds=10.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 600 * 16000  # 38 MB as a whole
    assert peak < 10e6
    with pytest.raises(ConfigError, match="has no sample"):
        next(audio.blocks(path, seconds=0.0))


@pytest.mark.parametrize("samples", [1, 999, 1000, 1200, 1201, 5201])
@pytest.mark.parametrize(("before", "after"), [(0, 0), (300, 200)])
def test_chunks_join_to_the_recording(tmp_path, monkeypatch, samples, before, after):
    monkeypatch.setattr("speechtools.audio.decoding._DECODED_FRAMES", 700)
    wav = noise(samples)
    soundfile.write(tmp_path / "a.wav", wav, 16000, subtype="FLOAT")
    parts = list(chunks(tmp_path / "a.wav", 16000, 1000, before, after))
    assert [chunk.is_last for chunk in parts] == [False] * (len(parts) - 1) + [True]
    for chunk in parts:
        stop = samples if chunk.is_last else chunk.first + 1000 + after
        assert chunk.start == max(chunk.first - before, 0)
        np.testing.assert_array_equal(chunk.samples, wav[chunk.start : stop])
    assert [chunk.first for chunk in parts] == list(range(0, 1000 * len(parts), 1000))
    assert 0 < samples - parts[-1].first <= 1000 + after


def test_silence_is_read_and_refused_on_request(tmp_path):
    audio.write(tmp_path / "a.wav", np.zeros(61 * 16000))
    assert not audio.read(tmp_path / "a.wav").any()
    with pytest.raises(AudioError, match=r"a\.wav is silent: all of its 976000 samples are zero"):
        list(chunks(tmp_path / "a.wav", 16000, 16000))


# ------------------------------------------------------------------------------------------------------------ bad files


def test_what_is_not_an_audio_file(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "zero.wav").touch()
    (tmp_path / "text.wav").write_text("Dear diary,\n" * 50)
    (tmp_path / "a.raw").write_bytes(bytes(100))
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    for name, message in {
        "gone.wav": "does not exist",
        "folder.wav": "is a folder",
        "zero.wav": "0 bytes",
        "text.wav": "cannot be read as audio",
        "a.raw": "no header",
        "empty.wav": "0 samples",
    }.items():
        assert_refused(tmp_path / name, message)
    soundfile.write(tmp_path / "a.wav", np.ones(1) / 2, 48000)
    assert_refused(tmp_path / "a.wav", "less than one at 16000 Hz", by_header=False)


@pytest.mark.parametrize("bad", [np.nan, -np.inf])
def test_samples_that_are_not_finite(tmp_path, bad):
    samples = tone(rate=48000)
    samples[12000] = bad
    soundfile.write(tmp_path / "a.wav", np.stack([samples, tone(rate=48000)], axis=1), 48000, subtype="FLOAT")
    assert_refused(tmp_path / "a.wav", r"NaN or infinite samples, the first at 0\.250 s", by_header=False)


def test_blocks_before_the_damage_are_read(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(60 * 16000), 16000)
    edit(path, lambda content: content[: len(content) * 3 // 4])
    blocks = audio.blocks(path, seconds=1.0)
    assert sum(len(next(blocks)) for _ in range(16)) == 16 * 16000
    with pytest.raises(AudioError, match="truncated or damaged"):
        list(blocks)


def test_a_sphere_header_that_declares_more(tmp_path):
    """A file as in TIMIT."""
    header = (
        "NIST_1A\n   1024\nchannel_count -i 1\nsample_count -i {}\nsample_rate -i 16000\nsample_n_bytes -i 2\n"
        "sample_byte_format -s2 01\nsample_sig_bits -i 16\nend_head\n"
    )
    path, pcm = tmp_path / "a.wav", (tone() * 32768).astype("<i2").tobytes()
    path.write_bytes(header.format(8000).encode().ljust(1024) + pcm)
    np.testing.assert_allclose(audio.read(path), tone(), atol=1 / 32768)
    path.write_bytes(header.format(8001).encode().ljust(1024) + pcm)
    assert_refused(path, "8000 of the 8001 samples")


def test_a_wav_from_a_pipe_is_whole_and_a_flac_has_no_length(tmp_path):
    wav, flac = tmp_path / "a.wav", tmp_path / "a.flac"
    audio.write(wav, tone())
    edit(wav, lambda content: content[:4] + b"\xff" * 4 + content[8:40] + b"\xff" * 4 + content[44:])
    np.testing.assert_allclose(audio.read(wav), tone(), atol=1 / 32768)
    audio.write(flac, tone())
    fields = int.from_bytes(flac.read_bytes()[18:26], "big") >> 36 << 36  # the lowest 36 bits are the length
    edit(flac, lambda content: content[:18] + fields.to_bytes(8, "big") + content[26:])
    assert_refused(flac, "does not state its length")


# -------------------------------------------------------------------------------------------------------------- writing


def test_sixteen_bit_audio_comes_back_bit_by_bit(tmp_path):
    pcm = np.arange(-32768, 32768, dtype=np.int16)  # full scale does not clip
    path = tmp_path / "sub" / "a.WAV"
    audio.write(path, pcm / 32768, 8000)
    stored, rate = soundfile.read(path, dtype="int16")
    np.testing.assert_array_equal(stored, pcm)
    assert rate == 8000 and soundfile.info(path).subtype == "PCM_16" and list(path.parent.iterdir()) == [path]
    np.testing.assert_array_equal(audio.read(path, 8000) * 32768, pcm)


@pytest.mark.parametrize(
    ("name", "samples", "rate", "message"),
    [
        ("a.wav", np.array([0.0, 1.25]), 16000, r"peak is 1\.25, .* at most 0\.8"),
        ("a.wav", np.array([0.0, np.nan]), 16000, "NaN or infinity"),
        ("a.wav", np.zeros((2, 100)), 16000, r"shape \(2, 100\)"),
        ("a.mp3", tone(), 16000, r"suffix '\.mp3' is neither \.wav nor \.flac"),
        ("a.flac", tone(), 3_000_000, "Use another rate"),
    ],
)
def test_what_cannot_be_written_replaces_nothing(tmp_path, name, samples, rate, message):
    (tmp_path / name).write_text("earlier")
    with pytest.raises(AudioError, match=message):
        audio.write(tmp_path / name, samples, rate)
    assert (tmp_path / name).read_text() == "earlier" and len(list(tmp_path.iterdir())) == 1


def test_a_file_with_the_same_content_is_left_alone(tmp_path):
    path = tmp_path / "a.flac"
    for samples, is_kept in ((tone(), False), (tone(), True), (0.5 * tone(), False)):
        if path.exists():
            os.utime(path, (0, 0))
        audio.write(path, samples)
        assert (path.stat().st_mtime_ns == 0) == is_kept


def test_a_full_disk_leaves_the_earlier_file(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    audio.write(path, tone())
    before = path.read_bytes()

    def write_bytes(self, content):
        with open(self, "wb") as stream:
            stream.write(content[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", write_bytes)
    with pytest.raises(CorpusError, match="the disk is full. Free some space"):
        audio.write(path, tone(1.0))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
    with pytest.raises(CorpusError, match="Choose another folder"):
        audio.write(path / "a.wav", tone())


@pytest.mark.parametrize("rate", [16000, 15872])
def test_samples_that_resampling_turns_into_infinity_are_refused(tmp_path, rate):
    samples = noise(1600)
    samples[800] = 3e38
    soundfile.write(tmp_path / "a.wav", samples, rate, subtype="FLOAT")
    assert_refused(tmp_path / "a.wav", r"samples of 3e\+38", by_header=False)
    soundfile.write(tmp_path / "a.wav", noise(300_000) * 2**31, rate, subtype="FLOAT")
    assert np.isfinite(audio.read(tmp_path / "a.wav")).all()
