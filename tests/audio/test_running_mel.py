"""`features/running-mel`: the level of what came before alone."""

import math

import numpy as np
import pytest
import torch

from speechtools.audio.features import LevelledLogMel
from speechtools.audio.running_mel import RunningLogMel
from speechtools.core.errors import ConfigError

RATE, HOP = 16000, 256


@pytest.fixture(scope="module")
def wav():
    time = np.arange(3 * RATE) / RATE
    words = 0.1 * np.random.default_rng(1).standard_normal(3 * RATE) * (np.sin(2 * np.pi * 1.5 * time) > 0)
    return torch.from_numpy((words + 0.001 * np.sin(900 * time)).astype(np.float32)).unsqueeze(0)


def levels_by_the_book(wav, fall_db, least_db):
    """The level of each frame in float64: its definition, frame by frame."""
    window = torch.hamming_window(512).double().numpy()
    frames = wav[0].double().numpy()[: (wav.shape[1] - 512) // HOP * HOP + 512]
    powers = [0.0, 0.0]
    for start in range(0, len(frames) - 511, HOP):
        powers.append(np.square(frames[start : start + 512] * window).sum() / np.square(window).sum())
    means = [sum(powers[k : k + 3]) / 3 for k in range(len(powers) - 2)]
    fall = fall_db * HOP / RATE / 10
    return [
        max(10 ** (-least_db / 10), *(means[k] * 10 ** (-fall * (t - k)) for k in range(t + 1))) / 0.16
        for t in range(len(means))
    ]


@pytest.mark.parametrize(("fall_db", "least_db"), [(1.0, 50.0), (20.0, 35.0), (0.0, 0.0)])
def test_levels_are_those_of_the_definition(wav, fall_db, least_db):
    features = RunningLogMel(fall_db=fall_db, least_db=least_db)
    plain = LevelledLogMel(level="none", floor=1e-30)
    levels = torch.tensor(levels_by_the_book(wav, fall_db, least_db))
    energies = (5 * plain.of_waveform(wav)[0].double()).exp()
    expected = torch.log(energies / levels.unsqueeze(1) + features.floor) / 5
    assert features.of_waveform(wav)[0].double().numpy() == pytest.approx(expected.numpy(), abs=2e-4)


def test_no_frame_depends_on_what_comes_after(wav):
    features = RunningLogMel(parts=8)
    changed = wav.clone()
    changed[:, RATE:] = 1.0
    frames = (RATE - 512) // HOP + 1
    assert torch.equal(features(wav)[:, :frames], features(changed)[:, :frames])


def test_the_gain_has_no_effect_above_the_least_level(wav):
    features, loud = RunningLogMel(parts=8), 40
    assert features(wav)[0, loud:].numpy() == pytest.approx(features(0.1 * wav)[0, loud:].numpy(), abs=1e-3)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_blocks_give_the_frames_of_the_whole(wav, size):
    features = RunningLogMel(parts=8, fall_db=5.0)
    whole, state, parts = features.of_waveform(wav), features.start(), []
    for first in range(0, whole.shape[1], size):
        count = min(size, whole.shape[1] - first)
        frames, state = features.stream(wav[:, first * HOP : (first + count - 1) * HOP + 512], state)
        parts.append(frames)
    assert torch.cat(parts, dim=1).numpy() == pytest.approx(whole.numpy(), abs=1e-4)


def test_silence_and_its_magnitudes(wav):
    features = RunningLogMel(parts=8)
    silent = features(torch.zeros(1, 4000))
    assert silent.isfinite().all() and (features.mean_magnitudes(silent) < 1e-5).all()
    alike = LevelledLogMel(parts=8)
    loud = features.mean_magnitudes(features(wav))[0, -60:] / alike.mean_magnitudes(alike(wav))[0, -60:]
    assert math.log2(loud.median().item()) == pytest.approx(0, abs=0.5)  # one threshold of silence for both


def test_mistakes():
    for options in ({"fall_db": -1.0}, {"least_db": 200.0}):
        with pytest.raises(ConfigError, match="_db"):
            RunningLogMel(**options)
