"""Laws of finding, reading and writing audio files."""

import errno
import os
import struct
import tracemalloc

import numpy as np
import pytest
import soundfile
import soxr

from speechtools import audio
from speechtools.core.errors import AudioError, ConfigError, CorpusError

#: Suffix, container, sample type, least SNR (dB) of what is read, and whether the header shows a truncation.
FORMATS = [
    row.split()
    for row in """\
.wav  WAV   PCM_U8   30  header
.wav  WAV   PCM_16   80  header
.wav  WAV   PCM_24   120 header
.wav  WAV   FLOAT    120 header
.wav  WAV   ULAW     25  header
.wav  WAV   GSM610   10  header
.wav  WAVEX PCM_16   80  header
.flac FLAC  PCM_16   80  decoding
.flac FLAC  PCM_24   120 decoding
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


# -------------------------------------------------------------------------------------------------------------- finding


def test_finds_every_suffix_in_any_case_sorted_and_nothing_hidden(tmp_path, monkeypatch):
    names = ["b/SA1.WAV", "b/a.flac", "a.ogg", "c/d/e.Mp3", "c/x.sph", "z.aiff"]
    for name in [*names, "b/SA1.TXT", ".hidden.wav", "._a.wav", ".git/a.wav", "notes.md"]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    paths = audio.find_audio(str(tmp_path))
    assert paths == sorted(tmp_path / name for name in names)
    monkeypatch.chdir(tmp_path.parent)
    assert audio.find_audio(tmp_path.name) == [path.relative_to(tmp_path.parent) for path in paths]


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
        if shown_by == "header":
            assert_refused_by_header(path, "truncated")
        elif shown_by == "decoding":
            assert_refused(path, "truncated or damaged")


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
def test_resampling_is_that_of_soxr_and_blocks_join_to_the_whole(tmp_path, rate):
    samples, path = noise(12 * rate + 17, seed=rate), tmp_path / "a.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    expected = soxr.resample(samples, rate, 16000, quality="HQ")
    np.testing.assert_allclose(audio.read(path), expected, atol=1e-4)
    for seconds in (0.1, 5.0, 30.0):
        blocks = list(audio.blocks(path, seconds=seconds))
        assert {len(block) for block in blocks[:-1]} <= {round(16000 * seconds)}
        assert 0 < len(blocks[-1]) <= round(16000 * seconds)
        np.testing.assert_allclose(np.concatenate(blocks), expected, atol=1e-4)


def test_channels_are_averaged(tmp_path):
    channels = np.stack([noise(4000, seed) for seed in range(6)], axis=1)  # (samples, channels)
    soundfile.write(tmp_path / "a.wav", channels, 16000, subtype="FLOAT")
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav"), channels.mean(axis=1), atol=1e-6)


def test_blocks_stay_in_bounded_memory(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(600 * 8000, np.int16), 8000)
    tracemalloc.start()
    total = sum(len(block) for block in audio.blocks(path, seconds=10.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 600 * 16000  # 38 MB as a whole
    assert peak < 10e6


def test_a_block_has_at_least_one_sample(tmp_path):
    with pytest.raises(ConfigError, match="has no sample"):
        next(audio.blocks(tmp_path / "a.wav", seconds=0.0))


def test_silence_is_read_and_refused_on_request(tmp_path):
    path = tmp_path / "a.wav"
    audio.write(path, np.zeros(160))
    assert not audio.read(path).any()
    with pytest.raises(AudioError, match=r"a\.wav is silent: all of its 160 samples are zero"):
        audio.read(path, refuse_silence=True)


# ------------------------------------------------------------------------------------------------------------ bad files


def assert_refused(path, match):
    """``read`` and ``blocks`` raise the same message, which names the file."""
    with pytest.raises(AudioError, match=match) as error:
        audio.read(path)
    assert str(path) in str(error.value)
    with pytest.raises(AudioError, match=match):
        list(audio.blocks(path))


def assert_refused_by_header(path, match):
    assert_refused(path, match)
    with pytest.raises(AudioError, match=match):
        audio.duration(path)


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
        assert_refused_by_header(tmp_path / name, message)


def test_less_than_one_sample_at_the_requested_rate(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.ones(1) / 2, 48000)
    assert_refused(tmp_path / "a.wav", "less than one at 16000 Hz")


@pytest.mark.parametrize(("bad", "rate"), [(np.nan, 16000), (np.nan, 48000), (np.inf, 16000), (-np.inf, 16000)])
def test_samples_that_are_not_finite(tmp_path, bad, rate):
    samples = tone(rate=rate)
    samples[rate // 4] = bad
    soundfile.write(tmp_path / "a.wav", np.stack([samples, tone(rate=rate)], axis=1), rate, subtype="FLOAT")
    assert_refused(tmp_path / "a.wav", r"NaN or infinite samples, the first at 0\.250 s")


def test_blocks_before_the_damage_are_read(tmp_path):
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(60 * 16000), 16000)
    edit(path, lambda content: content[: len(content) * 3 // 4])
    samples = 0
    with pytest.raises(AudioError, match="truncated or damaged"):
        for block in audio.blocks(path, seconds=1.0):
            samples += len(block)
    assert 16 * 16000 <= samples <= 45 * 16000


@pytest.mark.parametrize("suffix", [".flac", ".ogg"])
def test_damage_in_the_middle(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, noise(48000), 16000)
    middle = path.stat().st_size // 2
    assert_refused(edit(path, lambda content: content[:middle] + bytes(200) + content[middle + 200 :]), "damaged")


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
    assert_refused_by_header(path, "8000 of the 8001 samples")


def test_a_wav_from_a_pipe_is_whole(tmp_path):
    path = tmp_path / "a.wav"
    audio.write(path, tone())
    unknown = struct.pack("<I", 0xFFFFFFFF)
    edit(path, lambda content: content[:4] + unknown + content[8:40] + unknown + content[44:])
    np.testing.assert_allclose(audio.read(path), tone(), atol=1 / 32768)


def test_a_flac_from_a_pipe_has_no_length(tmp_path):
    path = tmp_path / "a.flac"
    audio.write(path, tone())
    fields = int.from_bytes(path.read_bytes()[18:26], "big") >> 36 << 36  # the lowest 36 bits are the length
    edit(path, lambda content: content[:18] + fields.to_bytes(8, "big") + content[26:])
    assert_refused_by_header(path, "does not state its length")


# -------------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("suffix", [".flac", ".WAV"])
def test_sixteen_bit_audio_comes_back_bit_by_bit(tmp_path, suffix):
    pcm = np.arange(-32768, 32768, dtype=np.int16)  # full scale does not clip
    path = tmp_path / "sub" / f"a{suffix}"
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
        ("a.wav", np.zeros(0), 16000, r"shape \(0,\)"),
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


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match=r"Cannot write .*a\.wav: .* Choose another folder"):
        audio.write(tmp_path / "file" / "a.wav", tone())
