"""Laws of what the pretrained interfaces share: checking and padding recordings, processing many of them."""

import itertools

import numpy as np
import pytest
import soundfile
import torch

from speechtools import audio
from speechtools.audio.recordings import check_lens, check_waveforms, find_recordings, map_recordings, pad
from speechtools.core.errors import AudioError, ConfigError


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
