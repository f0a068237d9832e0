"""Augmentation: what is drawn, for whom, and how loud."""

import numpy as np
import pytest
import torch

from speechtools import audio
from speechtools.core.errors import ConfigError
from speechtools.speaker import augmentation
from speechtools.speaker.batches import SpeakerBatch

RATE = 16000


def tones(frequencies, seconds=1.1):
    time = torch.arange(round(seconds * RATE)) / RATE
    return torch.stack([torch.sin(2 * torch.pi * f * time) for f in frequencies])


def pitch(wav):
    return float(torch.fft.rfft(wav * torch.hann_window(len(wav))).abs().argmax()) * RATE / len(wav)


def test_a_speaker_has_one_speed_in_all_its_utterances():
    torch.manual_seed(0)
    change = augmentation.VoiceSpeed([90, 100, 110])
    wavs = tones([500.0] * 60)
    changed = change(wavs, num_utterances=3)
    assert changed.shape == (60, RATE)
    heard = np.array([pitch(wav) for wav in changed]).reshape(20, 3)
    # Faster is higher: 450, 500 and 550 Hz.
    assert set(np.round(heard[:, 0] / 50) * 50) == {450.0, 500.0, 550.0}
    assert (change.voices == 0).tolist() == (np.round(heard[:, 0] / 50) == 10).tolist()
    assert (heard == heard[:, :1]).all() and np.abs(heard - np.round(heard / 50) * 50).max() < 2


def test_mixed_precision_changes_no_speed():
    """Training in bfloat16 runs the augmentation under autocast."""
    change, wavs = augmentation.VoiceSpeed([90, 110]), tones([500.0] * 6)
    torch.manual_seed(0)
    expected = change(wavs, num_utterances=3)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        changed = change(wavs, num_utterances=3)
    assert changed.dtype == torch.float32 and torch.equal(changed, expected)


def test_each_voice_has_its_own_target():
    torch.manual_seed(0)
    change, targets = augmentation.VoiceSpeed([90, 100]), torch.randn(30, 2, 4)
    assert change.distinct == [100, 90]
    batch = SpeakerBatch(tones([500.0] * 30), torch.arange(10), targets)
    feats, heard, voices = augmentation.batch_features(batch, lambda wavs: wavs[:, :1000], change, torch.neg)
    own_speed = (change.voices == 0).repeat_interleave(3)
    assert 0 < int(own_speed.sum()) < 30 and torch.equal(voices, change.voices)
    assert torch.equal(heard[own_speed], targets[own_speed, 0]) and torch.equal(
        heard[~own_speed], targets[~own_speed, 1]
    )
    assert torch.equal(feats[own_speed], -batch.wavs[own_speed, :1000]) and batch.targets is targets
    feats, heard, voices = augmentation.batch_features(batch, lambda wavs: wavs)
    assert feats is batch.wavs and torch.equal(heard, targets[:, 0]) and voices is None
    assert augmentation.batch_features(SpeakerBatch(batch.wavs, batch.speakers), lambda wavs: wavs).targets is None


def test_impossible_and_disabled_augmentation(tmp_path):
    for speeds in ([], [100, 20], [300]):
        with pytest.raises(ConfigError, match="speeds="):
            augmentation.VoiceSpeed(speeds)
    with pytest.raises(ConfigError, match="snr_low=20"):
        augmentation.augmenter(tmp_path, snr_low=20, snr_high=10)
    # Without augmentation, nothing is written.
    assert augmentation.augmenter(tmp_path, enabled=False) is None is augmentation.spec_augmenter(enabled=False)
    assert not list(tmp_path.iterdir())


def test_spec_augment_blanks_frames_and_filters_and_leaves_the_rest():
    torch.manual_seed(0)
    blank = augmentation.spec_augmenter(max_frames=10, max_filters=4)
    feats = 1 + torch.rand(5, 100, 40)
    for _ in range(20):
        changed = blank(feats)
        gone = changed == 0
        assert torch.equal(changed[~gone], feats[~gone])
        frames, filters = gone.all(dim=2), gone.all(dim=1)
        assert torch.equal(gone, frames.unsqueeze(2) | filters.unsqueeze(1)) and gone.any()
        assert frames.sum(dim=1).max() <= 30 and filters.sum(dim=1).max() <= 8


def test_noise_is_added_at_its_snr_from_files_that_are_written_once(tmp_path):
    torch.manual_seed(0)
    hiss = 0.1 * np.random.default_rng(0).standard_normal(3 * RATE)
    audio.write(tmp_path / "noises" / "hiss.wav", hiss.astype(np.float32), RATE)
    options = {"noise_folder": tmp_path / "noises", "speeds": None, "num_rooms": 2, "augment_prob": 1.0}
    times = []
    for _ in range(2):
        augment = augmentation.augmenter(tmp_path / "made", snr_low=10, snr_high=10, **options)
        times.append({path: path.stat().st_mtime_ns for path in (tmp_path / "made").rglob("*.*")})
    assert times[0] == times[1] and len(times[0]) == 5  # one cut of noise, two rooms, two manifests
    augment.others.augmentations.pop(next(k for k in augment.others.augmentations if "Reverb" in k))
    augment.others.max_augmentations = 1
    wavs = 0.3 * tones([200.0, 300.0, 400.0, 500.0])
    # SpeechBrain keeps the level of the sum, by a factor that the share of the tone tells.
    for wav, mixed in zip(wavs, augment(wavs, num_utterances=2), strict=True):
        factor = (mixed @ wav) / (wav @ wav)
        snr = 20 * torch.log10((factor * wav).norm() / (mixed - factor * wav).norm())
        assert float(snr) == pytest.approx(10, abs=1.0)


def test_prepared_noises_can_be_moved(tmp_path):
    """The manifests of SpeechBrain have absolute paths, which follow the folder."""
    options = {"noise_folder": tmp_path / "recorded", "num_rooms": 2}
    audio.write(tmp_path / "recorded" / "a.wav", np.linspace(-0.5, 0.5, 16000))
    augmentation.augmenter(tmp_path / "made", **options)
    (tmp_path / "made").rename(tmp_path / "moved")
    augmentation.augmenter(tmp_path / "moved", **options)
    for manifest in tmp_path.glob("moved/*/*.csv"):
        assert str(tmp_path / "moved") in manifest.read_text() and str(tmp_path / "made") not in manifest.read_text()
