"""Laws of reading and writing audio files."""

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


def tone(seconds=0.5, rate=16000, frequency=440.0, amplitude=0.3):
    """Return a sine (samples,), float32."""
    return (amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def noise(samples, seed=0):
    """Return noise (samples,), float32, which a codec cannot shorten."""
    return (0.1 * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def sphere(samples, rate=16000, declared=None):
    """Return the bytes of a SPHERE file, as in TIMIT."""
    pcm = (samples * 32768).astype("<i2")
    header = (
        f"NIST_1A\n   1024\nchannel_count -i 1\nsample_count -i {declared or len(pcm)}\nsample_rate -i {rate}\n"
        "sample_n_bytes -i 2\nsample_byte_format -s2 01\nsample_sig_bits -i 16\nend_head\n"
    )
    return header.encode().ljust(1024) + pcm.tobytes()


# -------------------------------------------------------------------------------------------------------------- finding


def test_finds_every_suffix_in_any_case_sorted_and_nothing_hidden(tmp_path, monkeypatch):
    names = ["b/SA1.WAV", "b/a.flac", "a.ogg", "c/d/e.Mp3", "c/x.sph", "z.aiff"]
    others = ["b/SA1.TXT", ".hidden.wav", "._a.wav", ".git/a.wav", "notes.md"]
    for name in names + others:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = audio.find_audio(tmp_path)
    assert found == sorted(tmp_path / name for name in names)
    assert audio.find_audio(str(tmp_path)) == found
    monkeypatch.chdir(tmp_path.parent)
    assert audio.find_audio(tmp_path.name) == [path.relative_to(tmp_path.parent) for path in found]


def test_finding_follows_a_link_but_not_in_circles(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    corpus = tmp_path / "corpus"
    elsewhere.mkdir()
    corpus.mkdir()
    (elsewhere / "a.wav").touch()
    (corpus / "link").symlink_to(elsewhere)
    (corpus / "circle").symlink_to(corpus)
    assert audio.find_audio(corpus) == [corpus / "link" / "a.wav"]


def test_finding_in_a_missing_folder_names_the_nearest_one(tmp_path):
    with pytest.raises(CorpusError, match=rf"does not exist; .* parent is {tmp_path}\."):
        audio.find_audio(tmp_path / "not" / "here")
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match="is a file, but a folder is needed"):
        audio.find_audio(tmp_path / "file")


# -------------------------------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize(
    ("suffix", "container", "subtype", "snr_db"),
    [
        (".wav", "WAV", "PCM_U8", 30),
        (".wav", "WAV", "PCM_16", 80),
        (".wav", "WAV", "PCM_24", 120),
        (".wav", "WAV", "PCM_32", 120),
        (".wav", "WAV", "FLOAT", 120),
        (".wav", "WAV", "DOUBLE", 120),
        (".wav", "WAV", "ULAW", 25),
        (".wav", "WAV", "ALAW", 25),
        (".wav", "WAVEX", "PCM_16", 80),
        (".flac", "FLAC", "PCM_16", 80),
        (".flac", "FLAC", "PCM_24", 120),
        (".ogg", "OGG", "VORBIS", 10),
        (".opus", "OGG", "OPUS", 10),
        (".mp3", "MP3", "MPEG_LAYER_III", 10),
        (".aiff", "AIFF", "PCM_16", 80),
        (".au", "AU", "PCM_16", 80),
        (".sph", "NIST", "PCM_16", 80),
        (".w64", "W64", "PCM_16", 80),
        (".rf64", "RF64", "PCM_16", 80),
        (".caf", "CAF", "PCM_16", 80),
    ],
)
def test_reads_every_format_and_sample_type(tmp_path, suffix, container, subtype, snr_db):
    samples = tone(1.0)
    path = tmp_path / f"a{suffix}"
    soundfile.write(path, samples, 16000, format=container, subtype=subtype)
    got = audio.read(path)
    assert got.dtype == np.float32 and got.shape == samples.shape
    error = np.square(got - samples).mean() / np.square(samples).mean()
    assert -10 * np.log10(error + 1e-30) > snr_db
    assert audio.duration(path) == 1.0
    assert audio.find_audio(tmp_path) == [path]


@pytest.mark.parametrize("rate", [8000, 16000, 44100, 96000])
def test_resampling_is_that_of_soxr_and_blocks_are_the_whole(tmp_path, rate):
    samples = noise(12 * rate + 17, seed=rate)
    path = tmp_path / "a.wav"
    soundfile.write(path, samples, rate, subtype="FLOAT")
    expected = soxr.resample(samples, rate, 16000, quality="HQ")
    whole = audio.read(path)
    assert whole.shape == expected.shape
    np.testing.assert_allclose(whole, expected, atol=1e-4)
    for seconds in (0.1, 5.0, 30.0):
        parts = list(audio.blocks(path, seconds=seconds))
        assert {len(part) for part in parts[:-1]} <= {round(16000 * seconds)}
        assert 0 < len(parts[-1]) <= round(16000 * seconds)
        np.testing.assert_allclose(np.concatenate(parts), expected, atol=1e-4)


def test_channels_are_averaged(tmp_path):
    channels = np.stack([noise(4000, seed) for seed in range(6)], axis=1)  # (samples, channels)
    soundfile.write(tmp_path / "a.wav", channels, 16000, subtype="FLOAT")
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav"), channels.mean(axis=1), atol=1e-6)
    opposed = np.stack([tone(), -tone()], axis=1)
    soundfile.write(tmp_path / "b.wav", opposed, 16000, subtype="FLOAT")
    assert not audio.read(tmp_path / "b.wav").any()


def test_blocks_stay_in_bounded_memory(tmp_path):
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(600 * 8000, np.int16), 8000)
    tracemalloc.start()
    total = sum(len(block) for block in audio.blocks(path, seconds=10.0))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == 600 * 16000  # 38 MB as a whole
    assert peak < 10e6


def test_a_block_holds_at_least_one_sample(tmp_path):
    audio.write(tmp_path / "a.wav", tone())
    with pytest.raises(ConfigError, match="has no sample"):
        next(audio.blocks(tmp_path / "a.wav", seconds=0.0))


def test_silence_is_read_and_refused_on_request(tmp_path):
    audio.write(tmp_path / "a.wav", np.zeros(160))
    assert not audio.read(tmp_path / "a.wav").any()
    for refuse in (
        lambda path: audio.read(path, refuse_silence=True),
        lambda path: audio.check_signal(np.zeros(160), path),
    ):
        with pytest.raises(AudioError, match=r"a\.wav is silent: all of its 160 samples are zero"):
            refuse(tmp_path / "a.wav")


# ------------------------------------------------------------------------------------------------------------ bad files


def assert_refused(path, match):
    """``read`` and ``blocks`` give the same message, which names the file."""
    with pytest.raises(AudioError, match=match) as error:
        audio.read(path)
    assert str(path) in str(error.value)
    with pytest.raises(AudioError, match=match):
        list(audio.blocks(path))


def assert_refused_by_header(path, match):
    assert_refused(path, match)
    with pytest.raises(AudioError, match=match):
        audio.duration(path)


def test_what_is_no_audio_file(tmp_path):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "zero.wav").touch()
    (tmp_path / "text.wav").write_text("Dear diary,\n" * 50)
    (tmp_path / "a.raw").write_bytes(bytes(100))
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), 16000)
    assert_refused_by_header(tmp_path / "gone.wav", "does not exist")
    assert_refused_by_header(tmp_path / "folder.wav", "is a folder")
    assert_refused_by_header(tmp_path / "zero.wav", "0 bytes")
    assert_refused_by_header(tmp_path / "text.wav", "cannot be read as audio")
    assert_refused_by_header(tmp_path / "a.raw", "no header")
    assert_refused_by_header(tmp_path / "empty.wav", "0 samples")


def test_less_than_one_sample_at_the_requested_rate(tmp_path):
    soundfile.write(tmp_path / "b.wav", np.ones(1) / 2, 48000)
    assert_refused(tmp_path / "b.wav", "less than one at 16000 Hz")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("rate", [16000, 48000])
def test_samples_that_are_no_numbers(tmp_path, bad, rate):
    samples = tone(rate=rate)
    samples[rate // 4] = bad
    soundfile.write(tmp_path / "a.wav", np.stack([samples, tone(rate=rate)], axis=1), rate, subtype="FLOAT")
    assert_refused(tmp_path / "a.wav", r"NaN or infinite samples, the first at 0\.250 s")


@pytest.mark.parametrize("suffix", [".flac", ".mp3"])
def test_a_cut_that_only_decoding_shows(tmp_path, suffix):
    whole = tmp_path / f"whole{suffix}"
    cut = tmp_path / f"cut{suffix}"
    soundfile.write(whole, noise(48000), 16000)
    content = whole.read_bytes()
    for length in (len(content) // 2, len(content) - 200):
        cut.write_bytes(content[:length])
        assert audio.duration(cut) == 3.0
        assert_refused(cut, "truncated or damaged")


def test_blocks_before_the_damage_are_read(tmp_path):
    soundfile.write(tmp_path / "a.flac", noise(60 * 16000), 16000)
    content = (tmp_path / "a.flac").read_bytes()
    (tmp_path / "a.flac").write_bytes(content[: len(content) * 3 // 4])
    samples = 0
    with pytest.raises(AudioError, match="truncated or damaged"):
        for block in audio.blocks(tmp_path / "a.flac", seconds=1.0):
            samples += len(block)
    assert 16 * 16000 <= samples <= 45 * 16000


@pytest.mark.parametrize(
    ("suffix", "container", "subtype"),
    [
        (".wav", "WAV", "PCM_16"),
        (".wav", "WAV", "FLOAT"),
        (".wav", "WAV", "ULAW"),
        (".wav", "WAVEX", "PCM_16"),
        (".wav", "WAV", "GSM610"),
        (".aiff", "AIFF", "PCM_16"),
        (".au", "AU", "PCM_16"),
        (".w64", "W64", "PCM_16"),
        (".rf64", "RF64", "PCM_16"),
        (".voc", "VOC", "PCM_16"),
        (".sph", "NIST", "PCM_16"),
        (".ogg", "OGG", "VORBIS"),
        (".opus", "OGG", "OPUS"),
    ],
)
def test_a_cut_that_the_header_shows(tmp_path, suffix, container, subtype):
    whole = tmp_path / f"whole{suffix}"
    cut = tmp_path / f"cut{suffix}"
    soundfile.write(whole, noise(48000), 16000, format=container, subtype=subtype)
    assert len(audio.read(whole)) == 48000
    content = whole.read_bytes()
    for length in (len(content) // 2, len(content) - 100):
        cut.write_bytes(content[:length])
        assert_refused_by_header(cut, "truncated")


def test_damage_in_the_middle(tmp_path):
    for suffix in (".flac", ".ogg"):
        path = tmp_path / f"a{suffix}"
        soundfile.write(path, noise(48000), 16000)
        content = bytearray(path.read_bytes())
        content[len(content) // 2 : len(content) // 2 + 200] = bytes(200)
        path.write_bytes(content)
        assert_refused(path, "truncated or damaged")


def test_a_sphere_header_that_declares_more(tmp_path):
    (tmp_path / "a.wav").write_bytes(sphere(tone()))
    np.testing.assert_allclose(audio.read(tmp_path / "a.wav"), tone(), atol=1 / 32768)
    (tmp_path / "a.wav").write_bytes(sphere(tone(), declared=8001))
    assert_refused_by_header(tmp_path / "a.wav", "8000 of the 8001 samples")


def test_a_wav_from_a_pipe_is_whole(tmp_path):
    path = tmp_path / "a.wav"
    audio.write(path, tone())
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = struct.pack("<I", 0xFFFFFFFF)
    path.write_bytes(content)
    np.testing.assert_allclose(audio.read(path), tone(), atol=1 / 32768)


def test_a_flac_from_a_pipe_has_no_length(tmp_path):
    path = tmp_path / "a.flac"
    audio.write(path, tone())
    content = bytearray(path.read_bytes())
    fields = int.from_bytes(content[18:26], "big") >> 36 << 36  # the lowest 36 bits are the number of samples
    content[18:26] = fields.to_bytes(8, "big")
    path.write_bytes(content)
    assert_refused_by_header(path, "does not state its length")


# -------------------------------------------------------------------------------------------------------------- writing


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".WAV"])
def test_sixteen_bit_audio_comes_back_bit_by_bit(tmp_path, suffix):
    pcm = np.arange(-32768, 32768, dtype=np.int16)  # full scale does not clip
    path = tmp_path / "sub" / f"a{suffix}"
    audio.write(path, pcm / 32768, 8000)
    stored, rate = soundfile.read(path, dtype="int16")
    np.testing.assert_array_equal(stored, pcm)
    assert rate == 8000 and soundfile.info(path).subtype == "PCM_16"
    assert [item.name for item in path.parent.iterdir()] == [path.name]
    np.testing.assert_array_equal(audio.read(path, 8000) * 32768, pcm)


@pytest.mark.parametrize(
    ("samples", "match"),
    [
        (np.array([0.0, 1.25]), r"peak is 1\.25, .* at most 0\.8"),
        (np.array([0.0, np.nan]), "NaN or infinity"),
        (np.array([0.0, -np.inf]), "NaN or infinity"),
        (np.zeros((2, 100)), r"shape \(2, 100\)"),
        (np.zeros(0), r"shape \(0,\)"),
    ],
)
def test_what_cannot_be_written(tmp_path, samples, match):
    audio.write(tmp_path / "a.wav", tone())
    before = (tmp_path / "a.wav").read_bytes()
    with pytest.raises(AudioError, match=match):
        audio.write(tmp_path / "a.wav", samples)
    assert (tmp_path / "a.wav").read_bytes() == before


@pytest.mark.parametrize("suffix", [".wav", ".flac"])
def test_a_file_with_the_same_content_is_left_alone(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    for samples, kept in ((tone(), False), (tone(), True), (0.5 * tone(), False)):
        if path.exists():
            os.utime(path, (0, 0))
        audio.write(path, samples)
        assert (path.stat().st_mtime_ns == 0) == kept


def test_other_suffixes_and_rates_are_refused(tmp_path):
    with pytest.raises(AudioError, match=r"suffix '\.mp3' is neither \.wav nor \.flac"):
        audio.write(tmp_path / "a.mp3", tone())
    with pytest.raises(AudioError, match="Use another rate"):
        audio.write(tmp_path / "a.flac", tone(), 3_000_000)
    assert not list(tmp_path.iterdir())


def test_a_full_disk_is_called_so_and_leaves_what_was_there(tmp_path, monkeypatch):
    path = tmp_path / "a.wav"
    audio.write(path, tone())
    before = path.read_bytes()

    def full(self, data):
        with open(self, "wb") as file:
            file.write(data[:100])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(CorpusError, match="the disk is full. Free some space"):
        audio.write(path, tone(1.0))
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_place_that_takes_no_files(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(CorpusError, match=r"Cannot write .*a\.wav: .* Choose another folder"):
        audio.write(tmp_path / "file" / "a.wav", tone())
