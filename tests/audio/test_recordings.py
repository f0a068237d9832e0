"""Laws of what the pretrained interfaces share: checking and padding recordings, processing many of them."""

import io
import itertools
import os
import threading

import numpy as np
import pytest
import soundfile
import torch

from speechtools import audio
from speechtools.audio.recordings import find_recordings, map_recordings
from speechtools.audio.waveforms import check_lens, check_waveforms, pad, remove_offset
from speechtools.core.errors import AudioError, ConfigError, CorpusError


def test_files_and_folders_are_listed_once(tmp_path):
    (tmp_path / "calls" / "empty").mkdir(parents=True)
    paths = [tmp_path / "calls" / name for name in ("a.wav", "b.flac")]
    for path in paths:
        path.touch()
    assert find_recordings([paths[1], tmp_path / "calls", "gone.wav"])[:2] == [paths[1], paths[0]]
    with pytest.raises(ConfigError, match="empty contains no audio file"):
        find_recordings([tmp_path / "calls" / "empty"])


@pytest.mark.parametrize(
    ("wavs", "message"),
    [
        (torch.zeros(2, 3, 4), r"shape \(2, 3, 4\)"),
        (torch.zeros(1, 0), "at least one sample"),
        (torch.zeros(8000, 2), "Transpose"),
        (torch.zeros(1, 100, dtype=torch.int16), "torch.int16"),
        (torch.full((1, 100), float("nan")), "NaN or infinite samples"),
    ],
)
def test_bad_waveforms_are_refused(wavs, message):
    with pytest.raises(AudioError, match=message):
        check_waveforms(wavs)


def test_waveforms_become_a_float32_batch_and_keep_their_gradients():
    wav = torch.zeros(100, dtype=torch.float64, requires_grad=True)
    wavs = check_waveforms(wav)
    assert wavs.shape == (1, 100) and wavs.dtype == torch.float32
    wavs.sum().backward()
    assert (wav.grad == 1).all()
    assert check_waveforms(np.zeros((2, 100))).shape == (2, 100)


def test_padding_is_zero_and_lengths_are_exact():
    counts = [20_000_001, 20_000_000]
    wavs, lens = pad([np.ones(count, np.float32) for count in counts])
    assert wavs.count_nonzero(dim=1).tolist() == counts
    assert (lens * wavs.shape[1]).round().long().tolist() == counts


# --------------------------------------------------------------------------------------------------------- many files


@pytest.fixture
def recordings(tmp_path):
    """Eleven recordings of 0.1 to 1.1 s in no order; the third is missing, the fifth longer than all others."""
    paths = []
    for number in range(11):
        paths.append(tmp_path / f"{number}.wav")
        soundfile.write(paths[-1], np.tile([0.1, -0.1], 800 * (1 + 7 * number % 11)), 16000)
    paths[2].unlink()
    soundfile.write(paths[4], np.tile([0.1, -0.1], 5 * 8000), 16000)
    return paths


def process_long(path):
    raise AudioError(f"{path} has no speech.")


def test_every_recording_yields_its_result_in_order(recordings):
    batches = []

    def process(items):
        batches.append(sorted(map(len, items)))
        return [len(item) for item in items]

    results = list(map_recordings(map(str, recordings), 16000, process, process_long, 4.0, 3))
    assert [path for path, _ in results] == recordings
    assert "2.wav does not exist" in str(results.pop(2)[1]) and "4.wav has no speech" in str(results.pop(3)[1])
    assert all(result == len(audio.read(path)) for path, result in results)
    assert sum(map(len, batches)) == 9 and max(map(len, batches)) == 3
    assert batches[0][-1] <= batches[1][0], "recordings of similar length are together"


def test_only_the_next_group_is_read_ahead_and_closing_stops_it(recordings):
    read = []
    endless = itertools.cycle(recordings[5:])
    results = map_recordings(endless, 16000, list, len, 4.0, 2, lambda samples, path: read.append(path) or samples)
    next(results)
    results.close()
    assert len(read) <= 8
    with pytest.raises(ConfigError, match="batch_size=0"):
        next(map_recordings(recordings, 16000, len, len, 4.0, batch_size=0))


@pytest.mark.parametrize("lens", [[1.0], [1.0, float("nan")], [1.0, 0.0], [100, 50], [[1.0, 1.0]]])
def test_lengths_that_are_not_relative_are_refused(lens):
    with pytest.raises(AudioError, match=r"2 relative lengths in \(0, 1\]"):
        check_lens(lens, torch.zeros(2, 100))


# ------------------------------------------------------------------------------------------------------------- folders


def test_what_is_left_out_of_a_folder_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))  # without ffmpeg
    for name in ("a.wav", "b.m4a", "deep/c.AAC", "d.raw", "notes.txt", "table.csv", "e.json", "f.png", "._g.m4a"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    with pytest.warns(
        UserWarning, match=r"3 files were not read.*b\.m4a, d\.raw, deep/c\.AAC\. Install ffmpeg"
    ) as caught:
        assert find_recordings([tmp_path]) == [tmp_path / "a.wav"]
    assert len(caught) == 1 and "notes" not in str(caught[0].message)
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    with pytest.warns(UserWarning, match=r"1 file was not read.*d\.raw"):
        assert [path.name for path in find_recordings([tmp_path])] == ["a.wav", "b.m4a", "c.AAC"]


def test_what_is_no_file_in_a_folder_is_an_error_among_the_results(tmp_path, monkeypatch):
    """No pipe is waited for."""
    folder = tmp_path / "calls"
    (folder / "locked").mkdir(parents=True)
    (folder / "folder.wav").mkdir()
    soundfile.write(folder / "a.wav", np.tile([0.1, -0.1], 8000), 16000)
    os.mkfifo(folder / "pipe.wav")
    (folder / "link.wav").symlink_to(folder / "pipe.wav")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    (folder / "null.wav").symlink_to("/dev/zero")
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", os.fspath(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    paths = find_recordings([folder])
    results = {path.name: result for path, result in map_recordings(paths, 16000, list, len, 4.0)}
    assert len(results.pop("a.wav")) == 16000
    for name, message in {
        "pipe.wav": "not a regular file but a named pipe",
        "link.wav": "not a regular file but a named pipe",
        "loop.wav": "leads back to itself",
        "null.wav": "a device",
        "locked": "cannot be listed: Permission denied",
    }.items():
        assert message in str(results.pop(name))
    assert not results
    with pytest.raises(CorpusError, match="locked cannot be listed"):
        audio.find_audio(folder)


def test_a_named_pipe_is_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    soundfile.write(tmp_path / "a.wav", np.tile([0.1, -0.1], 8000), 16000)
    content = (tmp_path / "a.wav").read_bytes()
    thread = threading.Thread(target=lambda: (tmp_path / "pipe").write_bytes(content), daemon=True)
    thread.start()
    ((path, samples),) = map_recordings(find_recordings([tmp_path / "pipe"]), 16000, list, len, 4.0)
    thread.join(10)
    assert path == tmp_path / "pipe" and len(samples) == 16000


# ------------------------------------------------------------------------------------------------- whatever goes wrong


def test_every_kind_of_recording_and_one_alone(recordings):
    content = recordings[0].read_bytes()
    kinds = [recordings[0], str(recordings[0]), os.fsencode(recordings[0]), content, io.BytesIO(content)]
    kinds += [np.tile([0.1, -0.1], 800), torch.zeros(2, 100), None, np.zeros(10, bool)]
    results = list(map_recordings(kinds, 16000, list, len, 4.0))
    assert [key for key, _ in results[:3]] == [recordings[0]] * 3
    assert all(key is kind for (key, _), kind in zip(results[3:], kinds[3:], strict=True))
    assert all(len(result) == 1600 for _, result in results[:6])
    assert ["silent" in str(results[6][1]), "NoneType" in str(results[7][1]), "bool" in str(results[8][1])] == [
        True
    ] * 3
    for one in (str(recordings[0]), recordings[0], content, np.tile([0.1, -0.1], 800), io.BytesIO(content)):
        ((_, samples),) = map_recordings(one, 16000, list, len, 4.0)
        assert len(samples) == 1600
    assert list(map_recordings([], 16000, list, len, 4.0)) == []
    with pytest.raises(AudioError, match="Pass a list"):
        list(map_recordings(3, 16000, list, len, 4.0))


@pytest.mark.parametrize("error", [OSError("gone"), RuntimeError("crash"), MemoryError("full"), ZeroDivisionError("0")])
def test_any_exception_is_the_result_of_its_recording(recordings, monkeypatch, error):
    def prepare(samples, source):
        if source.name.endswith("7.wav"):
            raise error
        return samples

    def process(items):
        if any(len(item) == 1600 * 8 for item in items):  # the second recording
            raise error
        return [len(item) for item in items]

    def process_long(source):
        raise error

    results = {
        path.name: result for path, result in map_recordings(recordings, 16000, process, process_long, 4.0, 3, prepare)
    }
    for name in ("7.wav", "4.wav", "1.wav"):
        result = results.pop(name)
        assert isinstance(result, AudioError) and name in str(result)
        assert f"{type(error).__name__}: {error}" in str(result) and result.__cause__ is error
    assert "does not exist" in str(results.pop("2.wav"))
    assert len(results) == 7 and all(isinstance(result, int) for result in results.values())


def test_a_batch_that_needs_too_much_memory_is_processed_one_by_one(recordings):
    sizes = []

    def process(items):
        sizes.append(len(items))
        if len(items) > 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return [len(item) for item in items]

    results = list(map_recordings(recordings[5:], 16000, process, len, 4.0, 6))
    assert [result for _, result in results] == [len(audio.read(path)) for path in recordings[5:]]
    assert sizes == [6, 1, 1, 1, 1, 1, 1]


def test_an_interrupt_ends_the_batch(recordings):
    def process(items):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(map_recordings(recordings, 16000, process, len, 4.0))


def test_short_recordings_are_refused_or_give_a_warning():
    sounds = [np.resize([0.1, -0.1], samples) for samples in (1, 511, 1600, 4000)]
    with pytest.warns(UserWarning, match=r"only 0\.10 s of sound") as caught:
        results = [result for _, result in map_recordings(sounds, 16000, list, len, 4.0, min_samples=512)]
    assert "at least one window of 32 ms" in str(results[0]) and "at least one window" in str(results[1])
    assert len(results[2]) == 1600 and len(caught) == 1


# -------------------------------------------------------------------------------------------------------------- offset


def test_the_offset_of_each_waveform_is_removed():
    wavs, lens = pad([np.array([1.0, 2, 3, 6]), np.array([5.0, 7])])
    wavs[1, 2:] = 9
    wavs.requires_grad_()
    centered = remove_offset(wavs, lens)
    torch.testing.assert_close(centered, torch.tensor([[-2.0, -1, 0, 3], [-1, 1, 0, 0]]))
    centered.square().sum().backward()
    assert (wavs.grad[1, 2:] == 0).all()
    torch.testing.assert_close(remove_offset(centered, lens), centered)
