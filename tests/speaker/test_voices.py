"""The file of enrolled voices."""

import io
import os
import signal
import subprocess
import sys
import time
import zipfile

import numpy as np
import pytest

from speechtools.core.errors import ConfigError
from speechtools.speaker import voices
from speechtools.speaker.voices import Voice, Voices, edit_voices, read_voices, write_voices


def prints(count, size=8, dtype=np.float32):
    vectors = np.random.default_rng(0).standard_normal((count, size))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(dtype)


def former(names=("anna", "ben"), voiceprints=None, model="abc", **more):
    """The arrays of a file of voices of the first form."""
    return {
        "names": np.array(names, dtype=str),
        "voiceprints": prints(len(names)) if voiceprints is None else voiceprints,
        "model": np.array(model),
    } | more


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "voices.npz"
    stored = {name: Voice(row, 3, 4.5, "2026-01-02 03:04") for name, row in zip("ab", prints(2), strict=True)}
    write_voices(path, Voices("abc", stored))
    return path


@pytest.mark.parametrize("name", ["Zoë", "a b", "a\nb", "nobody in particular", "日本語", "\udcff", "💬"])
def test_voices_are_read_as_they_were_written(tmp_path, name):
    path = tmp_path / "deep" / "voices.npz"
    stored = {name: Voice(prints(1)[0], 2, 3.25, "2026-01-02 03:04"), "b": Voice(prints(2)[1])}
    write_voices(path, Voices("abc", stored))
    again = read_voices(path, "abc", 8)
    assert sorted(again.voices) == sorted([name, "b"]) and os.listdir(path.parent) == ["voices.npz"]
    voice = again.find(name)
    assert (voice.recordings, voice.seconds, voice.date) == (2, 3.25, "2026-01-02 03:04")
    assert np.array_equal(voice.voiceprint, prints(1)[0]) and voice.voiceprint.dtype == np.float32
    with pytest.raises(ConfigError, match="another model"):
        read_voices(path, "def")


def test_the_quality_of_voices_is_stored_where_it_is_known(path):
    assert read_voices(path).find("a").quality is None
    with edit_voices(path) as content:
        content.enroll("a", Voice(prints(1)[0], 1, 2.0, "", 3.5), overwrite=True)
    again = read_voices(path)
    assert again.find("a").quality == 3.5 and again.find("b").quality is None
    assert again.find("a").plus(Voice(prints(1)[0], 3, 2.0, "", 1.5)).quality == 2.0
    assert again.find("a").plus(again.find("b")).quality is None
    with pytest.raises(ConfigError, match="qualities"):
        write_voices(path, Voices("abc", {"a": Voice(prints(1)[0], quality=np.inf)}))


def test_no_voices_and_files_of_the_first_form_are_read(tmp_path):
    write_voices(tmp_path / "none.npz", Voices("abc"))
    assert read_voices(tmp_path / "none.npz").voices == {}
    np.savez(tmp_path / "old.npz", **former())
    old = read_voices(tmp_path / "old.npz", "abc", 8)
    assert list(old.voices) == ["anna", "ben"] and old.voices["anna"].recordings == 0
    np.savez(tmp_path / "old_none.npz", **former((), np.zeros((0, 0))))
    assert read_voices(tmp_path / "old_none.npz").voices == {}


NAN, ZERO, LONG = prints(2), prints(2), prints(2)
NAN[1, 3], ZERO[0], LONG[0] = np.nan, 0, 2 * LONG[0]


@pytest.mark.parametrize(
    "arrays, reason",
    [
        (former(voiceprints=prints(2, dtype=np.float64)), "float64 instead of float32"),
        (former(voiceprints=prints(2).astype(np.int32)), "int32"),
        (former(voiceprints=prints(2)[None]), r"shape \(1, 2, 8\)"),
        (former(voiceprints=prints(3)), "2 names"),
        (former(voiceprints=prints(2, 4)), "have size 4"),
        (former(voiceprints=NAN), "NaN"),
        (former(voiceprints=ZERO), "zero or longer"),
        (former(voiceprints=LONG), "zero or longer"),
        (former(["anna", "anna"]), "twice"),
        (former(["anna", ""]), "blank"),
        (former(["anna", " \n"]), "blank"),
        (former() | {"names": np.array([1, 2])}, "not text"),
        (former() | {"names": np.array(["anna", "ben"], dtype=object)}, "names cannot be read"),
        (former(voiceprints=prints(2).astype(object)), "voiceprints cannot be read"),
        (former(model=7), "not text"),
        ({"names": np.array(["anna"])}, "has no voiceprints, model"),
        (former(recordings=np.array([1, 2])), "has no seconds, dates, checksum"),
        (former(recordings=[1, 2], seconds=[1.0, 2.0], dates=["", ""], checksum="0"), "checksum"),
    ],
)
def test_a_file_with_other_content_is_refused(tmp_path, arrays, reason):
    np.savez(tmp_path / "v.npz", **arrays)
    with pytest.raises(ConfigError, match=reason) as error:
        read_voices(tmp_path / "v.npz", "abc", 8)
    assert "v.npz" in str(error.value) and "\n" not in str(error.value)


def test_invalid_details_are_refused_though_the_checksum_fits(tmp_path):
    details = {"recordings": np.array([1, -1]), "seconds": np.array([1.0, 2.0]), "dates": np.array(["", ""])}
    arrays = former(**details)
    np.savez(tmp_path / "v.npz", checksum=np.array(voices._checksum(arrays)), **arrays)
    with pytest.raises(ConfigError, match="recordings"):
        read_voices(tmp_path / "v.npz")


@pytest.mark.parametrize(
    "voiceprint",
    [NAN[1], ZERO[0], LONG[0], prints(1, 4)[0], prints(1), np.float32(1)],
    ids=lambda array: str(array.shape),
)
def test_what_would_be_refused_is_not_written(path, voiceprint):
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="stored in"), edit_voices(path) as content:
        content.voices["c"] = Voice(voiceprint)
    assert path.read_bytes() == before


def bytes_of(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_compressed_and_inflated_arrays_are_refused_without_reading_them(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("names.npy", "w") as stream:
        for _ in range(64):
            stream.write(bytes(2**20))
    with pytest.raises(ConfigError, match="compressed"):
        read_voices(path)
    header = bytes_of(prints(2)).replace(b"(2, 8), }" + b" " * 20, b"(200000000000000000, 8), }  ")
    for data in (header, bytes_of(prints(2)) + b"more"):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("names.npy", bytes_of(np.array(["a", "b"])))
            archive.writestr("model.npy", bytes_of(np.array("abc")))
            archive.writestr("voiceprints.npy", data)
        with pytest.raises(ConfigError, match="array voiceprints"):
            read_voices(path)


@pytest.mark.parametrize("content", [b"", b"text", b"PK\x03\x04", b"RIFF" + bytes(100), b"PK\x05\x06" + bytes(18)])
def test_a_file_of_another_kind_is_refused_and_not_replaced(tmp_path, content):
    path = tmp_path / "v.npz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match="empty|not an .npz|has no names"):
        read_voices(path)
    with pytest.raises(ConfigError, match="not a file of voices"), edit_voices(path, "abc"):
        pass
    assert path.read_bytes() == content


def test_arrays_of_another_kind_are_not_replaced(tmp_path):
    path = tmp_path / "dvectors.npz"
    np.savez(path, files=np.array(["a.wav"]), dvectors=np.ones((1, 8), np.float32), model="abc")
    content = path.read_bytes()
    with pytest.raises(ConfigError, match="not a file of voices"):
        write_voices(path, Voices("abc"))
    assert path.read_bytes() == content


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ConfigError, match="speechtools enroll NAME"):
        read_voices(tmp_path / "gone.npz")
    with pytest.raises(ConfigError, match="speechtools enroll NAME"), edit_voices(tmp_path / "gone.npz"):
        pass
    with pytest.raises(ConfigError, match="regular"):
        read_voices(tmp_path)
    assert os.listdir(tmp_path) == []
    wav = tmp_path / "a.wav"
    wav.write_bytes(b"RIFF")
    with pytest.raises(ConfigError, match="not replaced"):
        write_voices(wav, Voices("abc"))


def test_cut_and_flipped_files_are_refused_or_unchanged(path):
    """A bit that neither arrays nor checksum contain, such as one of the archive's dates, may be flipped."""
    whole = path.read_bytes()
    before = read_voices(path).voices
    rng = np.random.default_rng(0)
    refused = 0
    for number in range(400):
        damaged = bytearray(whole)
        if number % 4 == 0:
            damaged = damaged[: rng.integers(len(whole))]
        else:
            damaged[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        path.write_bytes(damaged)
        try:
            again = read_voices(path, "abc", 8).voices
        except ConfigError as error:
            refused += "voices.npz" in str(error)
        else:
            assert list(again) == list(before)
            for name, voice in again.items():
                assert np.array_equal(voice.voiceprint, before[name].voiceprint)
                assert voice.recordings == 3 and voice.date == "2026-01-02 03:04"
    assert refused > 300


def test_enrolling_a_name_again(path):
    new = Voice(prints(3)[2], 1, 1.5)
    with edit_voices(path, "abc", 8) as content:
        with pytest.raises(ConfigError, match="--overwrite"):
            content.enroll("a", new)
        content.enroll("a", new, overwrite=True)
        content.enroll("b", new, add=True)
        content.enroll("c", new)
    again = read_voices(path)
    assert [again.voices[name].recordings for name in "abc"] == [1, 4, 1]
    with pytest.raises(ConfigError, match="Did you mean 'a'|Enrolled voices: a, b, c"):
        again.find("aa")
    again.voices["a"] = Voice(prints(1)[0])
    with pytest.raises(ConfigError, match="again with --overwrite"):
        again.enroll("a", new, add=True)
    for name in ("", " ", "a\0b", 300 * "a", 7):
        with pytest.raises(ConfigError, match="name"):
            again.enroll(name, new)


def test_a_failure_while_editing_changes_nothing(path):
    before = path.read_bytes()
    with pytest.raises(ZeroDivisionError), edit_voices(path) as content:
        content.voices.clear()
        raise ZeroDivisionError
    assert path.read_bytes() == before and os.listdir(path.parent) == ["voices.npz"]


PROGRAM = """
import sys, numpy as np
from speechtools.speaker.voices import Voice, edit_voices
path, name, times = sys.argv[1], sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
for number in range(times):
    with edit_voices(path, "abc", 8) as content:
        content.enroll(f"{name}{number}", Voice(np.float32([1] + 7 * [0]), 1, 1.0))
    print(number, flush=True)
"""


def start(path, name, times):
    command = [sys.executable, "-c", PROGRAM, path, name, str(times)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def test_voices_enrolled_at_the_same_time_are_all_stored(path):
    processes = [start(path, name, 10) for name in ("c", "d", "e", "f")]
    for process in processes:
        process.communicate(timeout=120)
        assert process.returncode == 0
    assert len(read_voices(path).voices) == 2 + 40 and os.listdir(path.parent) == ["voices.npz"]


@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_kill_loses_no_voice(path, number):
    delays = np.random.default_rng(int(number)).uniform(0, 0.3, 2)
    for attempt, delay in enumerate(delays):
        process = start(path, f"k{attempt}-", 100000)
        assert process.stdout.readline() == "ready\n"
        time.sleep(delay)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
        stored = read_voices(path, "abc", 8).voices
        # Every voice that was reported is stored.
        assert {"a", "b", *(f"k{attempt}-{line}" for line in output.split())} <= set(stored)
    with edit_voices(path, timeout=10) as content:
        del content.voices["b"]
