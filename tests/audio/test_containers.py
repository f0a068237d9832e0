"""Laws of files that contain more than one recording, or more than their header declares."""

import io

import numpy as np
import pytest
import soundfile

from speechtools import audio
from speechtools.audio.containers import _mpeg_header
from speechtools.core.errors import AudioError

ID3 = b"ID3\x03\0\0\0\0\x02\0" + bytes(256)
FORMATS = {
    "wav": "WAV",
    "flac": "FLAC",
    "aiff": "AIFF",
    "au": "AU",
    "caf": "CAF",
    "rf64": "RF64",
    "w64": "W64",
    "sph": "NIST",
    "voc": "VOC",
    "mp3": "MP3",
    "ogg": "OGG",
    "avr": "AVR",
    "svx": "SVX",
    "mat4": "MAT4",
    "mat5": "MAT5",
    "mpc2k": "MPC2K",
    "wve": "WVE",
}


def encoded(suffix, rate=16000, seconds=2.0, seed=0, channels=1, **options):
    """The bytes of an audio file with noise."""
    samples = 0.1 * np.random.default_rng(seed).standard_normal((round(seconds * rate), channels))
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=FORMATS.get(suffix, "OGG"), **options)
    return file.getvalue()


def without_xing(content):
    """An MP3 file without the frame that declares its length."""
    return content[_mpeg_header(content[:4]).size :]


def write(tmp_path, suffix, content):
    path = tmp_path / f"joined.{suffix}"
    path.write_bytes(content)
    return path


def power(samples):
    """Mean square of each quarter of a second."""
    return np.square(samples[: len(samples) // 4000 * 4000]).reshape(-1, 4000).mean(axis=1)


# ------------------------------------------------------------------------------------------------------------ cut short


@pytest.mark.parametrize("suffix", ["wav", "aiff", "avr", "svx", "mat4", "mat5", "mpc2k", "wve"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_file_that_is_cut_short_is_refused_in_any_format(tmp_path, suffix, channels):
    """Of most of these formats, libsndfile reads what is left without a word."""
    if channels == 2 and suffix in ("svx", "wve"):
        channels = 1  # they have no more
    content = encoded(suffix, channels=channels, rate=8000, seconds=1.0001)  # an odd number of samples
    frames = len(audio.read(content, 8000))
    assert frames == 8001 and len(audio.read(content + bytes(64), 8000)) >= frames
    for size in (len(content) - 4, len(content) // 2):
        path = write(tmp_path, suffix, content[:size])
        for reader in (audio.read, audio.duration):
            with pytest.raises(
                AudioError, match=r"joined\.\w+ is truncated: it has \d+ of the \d+ bytes in its header"
            ):
                reader(path)


@pytest.mark.parametrize("subtype", ["PCM_16", "PCM_32", "FLOAT", "DOUBLE"])
@pytest.mark.parametrize("endian", ["LITTLE", "BIG"])
@pytest.mark.parametrize("suffix", ["mat4", "mat5"])
def test_matlab_files_of_any_type_are_read_whole(suffix, subtype, endian):
    content = encoded(suffix, subtype=subtype, endian=endian, seconds=0.1)
    assert len(audio.read(content)) == 1600
    with pytest.raises(AudioError, match="truncated"):
        audio.read(content[:-9])


def test_compressed_aiff_that_is_cut_short_is_refused():
    content = encoded("aiff", subtype="IMA_ADPCM")
    assert len(audio.read(content)) >= 32000
    with pytest.raises(AudioError, match="truncated"):
        audio.read(content[: len(content) // 2])


# --------------------------------------------------------------------------------------------------------------- joined


@pytest.mark.parametrize("suffix", ["mp3", "ogg", "opus"])
@pytest.mark.parametrize("rate", [16000, 48000])
def test_joined_mp3_and_ogg_are_read_whole(tmp_path, suffix, rate):
    options = {"subtype": "OPUS"} if suffix == "opus" else {}
    one, two = encoded(suffix, **options), encoded(suffix, rate, seed=1, **options)
    between = ID3 if suffix == "mp3" else b""
    for content, seconds in ((one + two, 4), (one + one, 4), (between + one + between + two + one, 6)):
        path = write(tmp_path, suffix, content)
        samples = audio.read(path)
        assert audio.duration(path) == pytest.approx(seconds) and len(samples) == seconds * 16000
        assert (power(samples) > 1e-3).all(), "no silence where the files meet"
        np.testing.assert_array_equal(audio.read(content), samples)
        assert sum(map(len, audio.blocks(path, seconds=0.7))) == len(samples)


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
@pytest.mark.parametrize("rate", [16000, 44100])
@pytest.mark.parametrize("channels", [1, 2])
def test_mp3_without_a_header_is_read_whole(tmp_path, mode, rate, channels):
    """The length of such files is estimated from their first frame."""
    content = without_xing(encoded("mp3", rate, 5.0, channels=channels, bitrate_mode=mode))
    quiet = without_xing(encoded("mp3", rate, 5.0, seed=1, channels=channels, bitrate_mode=mode))
    for file, seconds in ((content, 5), (ID3 + content, 5), (content + quiet, 10), (content + b"TAG" + bytes(125), 5)):
        path = write(tmp_path, "mp3", file)
        assert audio.duration(path) == pytest.approx(seconds, abs=0.2)
        assert len(audio.read(path)) / 16000 == pytest.approx(audio.duration(path), abs=1e-3)


def test_an_mp3_whose_header_declares_less_than_it_has(tmp_path):
    content = encoded("mp3") + without_xing(encoded("mp3", seed=1))
    assert len(audio.read(write(tmp_path, "mp3", content))) / 16000 == pytest.approx(4, abs=0.2)


def test_joined_mp3_is_refused_if_one_is_cut(tmp_path):
    one = encoded("mp3")
    with pytest.raises(AudioError, match="truncated or damaged"):
        audio.read(write(tmp_path, "mp3", one + one[: len(one) // 2]))


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "au", "caf", "rf64", "w64", "sph", "voc"])
@pytest.mark.parametrize("rate", [16000, 8000])
def test_other_joined_files_are_refused(tmp_path, suffix, rate):
    path = write(tmp_path, suffix, encoded(suffix) + encoded(suffix, rate, seed=1))
    for reader in (audio.read, audio.duration, lambda path: list(audio.blocks(path))):
        with pytest.raises(AudioError, match=r"joined\.\w+ is several files joined into one"):
            reader(path)


def test_joined_wav_from_pipes_is_refused(tmp_path):
    content = bytearray(encoded("wav"))
    content[4:8] = content[40:44] = b"\xff" * 4
    assert audio.duration(write(tmp_path, "wav", bytes(content))) == pytest.approx(2)
    with pytest.raises(AudioError, match="several files"):
        audio.read(write(tmp_path, "wav", bytes(content + content)))


@pytest.mark.parametrize("suffix", ["m4a", "tta", "wma"])
def test_joined_files_for_ffmpeg_are_refused(tmp_path, suffix):
    content = {
        "m4a": b"\0\0\0\x10ftypM4A \0\0\0\0" + b"\0\0\0\x20mdat" + bytes(24),
        "tta": b"TTA1\x01\0\x01\0" + bytes(100),
        "wma": b"\x30\x26\xb2\x75\x8e\x66\xcf\x11\xa6\xd9" + bytes(100),
    }[suffix]
    with pytest.raises(AudioError, match="several files"):
        audio.read(write(tmp_path, suffix, content + content))


# ---------------------------------------------------------------------------------------------- behind the declared end


@pytest.mark.parametrize("declared", [0, 20000])
@pytest.mark.parametrize("is_riff_stale", [True, False])
def test_a_wav_with_samples_behind_its_declared_end(tmp_path, declared, is_riff_stale):
    content = bytearray(encoded("wav"))
    content[40:44] = declared.to_bytes(4, "little")
    if is_riff_stale:
        content[4:8] = (36 + declared).to_bytes(4, "little")
    with pytest.raises(AudioError, match=f"has {64000 - declared} bytes behind the {declared} bytes of samples"):
        audio.read(write(tmp_path, "wav", bytes(content)))


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "au", "caf", "rf64", "w64", "mp3"])
@pytest.mark.parametrize(
    "rest", [bytes(5000), b"a note " * 1000, ID3 * 20, b"TAG" + bytes(125), b"LIST\x08\0\0\0abcdefgh"]
)
def test_fillings_and_tags_behind_the_end_are_ignored(tmp_path, suffix, rest):
    expected = audio.read(encoded(suffix))
    np.testing.assert_array_equal(audio.read(write(tmp_path, suffix, encoded(suffix) + rest)), expected)


@pytest.mark.parametrize("suffix", ["wav", "flac", "aiff", "au", "caf", "rf64", "w64"])
def test_unknown_bytes_behind_the_end_are_refused(tmp_path, suffix):
    rest = np.random.default_rng(0).bytes(50000) + b"\xff\xf8"  # as a frame of FLAC
    with pytest.raises(AudioError, match=r"bytes (behind|follow)"):
        audio.read(write(tmp_path, suffix, encoded(suffix) + rest))


def test_chunks_around_the_samples_are_skipped(tmp_path):
    content, note = encoded("wav"), b"LIST\x05\0\0\0abcde\0"
    for edited in (content + note, content + note[:-1] + note, content[:12] + note + content[12:], content + note[:9]):
        np.testing.assert_array_equal(audio.read(write(tmp_path, "wav", edited)), audio.read(content))


def test_a_sphere_file_that_has_more_than_it_declares(tmp_path):
    content = encoded("sph").replace(b"sample_count -i 32000", b"sample_count -i 12000")
    with pytest.raises(AudioError, match="32000 samples, but its header declares 12000"):
        audio.read(write(tmp_path, "sph", content))


@pytest.mark.parametrize("size", [b"   9024", b"    100", b"  x1024"])
def test_a_sphere_header_with_another_size_is_refused(tmp_path, size):
    content = encoded("sph").replace(b"   1024", size, 1).replace(b"sample_count", b"sample_comnt", 1)
    with pytest.raises(AudioError, match="damaged header"):
        audio.read(write(tmp_path, "sph", content))


def test_an_rf64_file_with_another_size_of_samples_than_in_ds64(tmp_path):
    content = encoded("rf64").replace(b"data\xff\xff\xff\xff", b"data\xff\x7f\xff\xff", 1)
    assert len(audio.read(content)) == 32000
    with pytest.raises(AudioError, match="behind the 64000 bytes of samples"):
        audio.read(write(tmp_path, "rf64", content + np.random.default_rng(0).bytes(5000)))


@pytest.mark.parametrize("samples", [3999, 4000])
@pytest.mark.parametrize("chunks", [0, 3])
def test_w64_samples_end_where_their_chunk_ends(tmp_path, samples, chunks):
    content, identifier = encoded("w64", seconds=samples / 16000, subtype="PCM_16"), b"\xf3\xac\xd3\x11" + bytes(12)
    content = (
        content.ljust(-(-len(content) // 8) * 8, b"\0") + (identifier + (31).to_bytes(8, "little") + bytes(8)) * chunks
    )
    assert len(audio.read(content)) == len(audio.read(write(tmp_path, "w64", content))) == samples


@pytest.mark.parametrize(
    "place, size, reason",
    [(96, 2**64 - 2**45, "declares -"), (96, 64024 + 8, "truncated"), (96, 24, "behind"), (56, 2**63 + 40, "byte 40")],
)
def test_a_w64_file_with_a_wrong_size_of_a_chunk_is_refused(tmp_path, place, size, reason):
    content = bytearray(encoded("w64", subtype="PCM_16"))
    content[place : place + 8] = size.to_bytes(8, "little")
    for recording in (bytes(content), write(tmp_path, "w64", bytes(content))):
        with pytest.raises(AudioError, match=reason):
            audio.read(recording)


def test_a_w64_file_from_a_pipe_is_whole(tmp_path):
    content = bytearray(encoded("w64", subtype="PCM_16"))
    expected = audio.read(bytes(content))
    content[16:24], content[96:104] = b"\xff" * 8, (2**63 - 1).to_bytes(8, "little")
    for recording in (bytes(content), write(tmp_path, "w64", bytes(content))):
        np.testing.assert_array_equal(audio.read(recording), expected)


@pytest.mark.parametrize("seed", range(3))
def test_what_only_looks_like_a_header_is_audio(tmp_path, seed):
    """Samples may contain the first bytes of every format."""
    marks = [b"RIFF", b"fLaC", b"OggS", b"ID3\x03\0\0\0\0\x0f\x76", b"\xff\xfb\x90\x44" * 3, b".snd", b"FORM"]
    pcm = bytearray((0.1 * np.random.default_rng(seed).standard_normal(32000) * 32768).astype("<i2").tobytes())
    for number, mark in enumerate(marks):
        pcm[1000 * number : 1000 * number + len(mark)] = mark
    for suffix in ("wav", "flac", "aiff", "w64", "sph", "au"):
        file = io.BytesIO()
        soundfile.write(file, np.frombuffer(pcm, "<i2"), 16000, format=FORMATS[suffix], subtype="PCM_16")
        samples = audio.read(write(tmp_path, suffix, file.getvalue()))
        np.testing.assert_array_equal(samples * 32768, np.frombuffer(pcm, "<i2"))


@pytest.mark.parametrize("size", [16000, 2**32 - 1])
def test_an_au_file_whose_header_skips_samples_is_refused(tmp_path, size):
    content = bytearray(encoded("au", seconds=1.0))
    samples = bytes(content[24:])
    content[4:8], content[8:12] = (24 + 4096).to_bytes(4, "big"), size.to_bytes(4, "big")
    text = content[:24] + (b"a note " * 1000)[:4096] + samples[:16000]
    assert len(audio.read(write(tmp_path, "au", bytes(text)))) == 8000
    with pytest.raises(AudioError, match="4096 unknown bytes before its samples"):
        audio.read(write(tmp_path, "au", bytes(content)))


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "aiff"])
@pytest.mark.parametrize("tag", [b"", b"TAG" + bytes(125), ID3])
def test_another_format_behind_mp3_is_refused(suffix, tag):
    with pytest.raises(AudioError, match="joined"):
        audio.read(encoded("mp3") + tag + encoded(suffix))


@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_cut_ogg_file_before_another_is_refused(share):
    content = encoded("ogg")
    with pytest.raises(AudioError, match="joined"):
        audio.read(content[: int(share * len(content))] + content)


@pytest.mark.parametrize("suffix", ["wav", "aiff", "au", "caf"])
def test_a_tag_before_a_format_without_tags(suffix):
    content = encoded(suffix)
    try:
        samples = audio.read(ID3 + content)
    except AudioError:  # libsndfile does not skip tags in front of this format
        return
    np.testing.assert_array_equal(samples, audio.read(content))
    with pytest.raises(AudioError, match="joined"):
        audio.read(ID3 + content + content)
