"""The teacher: its targets, where they are kept, and its loss."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from speechtools.core.errors import ConfigError
from speechtools.speaker import teacher
from speechtools.speaker.augmentation import VoiceSpeed
from speechtools.speaker.batches import SpeakerBatches
from speechtools.speaker.conversion import convert
from speechtools.speaker.inference import SpeakerEncoder
from speechtools.speaker.store import store_of
from tests.speaker.test_conversion import Linear, make, save_state


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A converted encoder of small size."""
    path = tmp_path_factory.mktemp("teacher")
    save_state(make(Linear), path / "weights.pt")
    return convert("resemblyzer", path / "weights.pt", path / "converted", vad="energy")


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(0)
    voices = {name: [rng.integers(-3000, 3000, 20000 + 900 * k).astype(np.int16) for k in range(3)] for name in "ab"}
    return store_of(tmp_path / "store", voices)


def test_targets_are_the_d_vectors_of_whole_utterances_and_are_kept(folder, store, monkeypatch):
    trained = teacher.load_teacher(folder, 16000)
    teacher.add_targets(trained, store)
    assert store.targets.shape == (6, 1, trained.embedding_size)
    feats = trained.features(torch.from_numpy(store.read(4).astype(np.float32) / 2**15).unsqueeze(0))
    expected = trained.encoder(feats[:, :160])
    assert np.linalg.norm(store.targets, axis=2).max() < 1 + 1e-6
    assert float(torch.nn.functional.cosine_similarity(expected, torch.from_numpy(store.targets[4]))) > 0.9
    batch = SpeakerBatches(store, 2, 2, 8000, 8000)
    plan = batch.plan(7)
    assert np.array_equal(batch[7].targets, store.targets[plan.utterances])
    assert batch[7].to("cpu").targets.dtype == torch.float32
    monkeypatch.setattr(SpeakerEncoder, "encode_speech", None)  # the second time they are read
    before, store.targets = store.targets, None
    teacher.add_targets(trained, store)
    assert np.array_equal(before, store.targets)


def test_the_teacher_hears_every_voice(folder, store):
    trained, speed = teacher.load_teacher(folder, 16000), VoiceSpeed([90, 100, 100, 110])
    teacher.add_targets(trained, store, speed)
    assert speed.distinct == [100, 90, 110] and store.targets.shape == (6, 3, trained.embedding_size)
    wav = torch.from_numpy(store.read(4).astype(np.float32) / 2**15)
    for voice in range(3):
        changed = speed.change(wav.unsqueeze(0), voice)[0]
        assert len(changed) == pytest.approx(len(wav) * 100 / speed.distinct[voice], abs=20)
        assert np.allclose(trained.encode_speech([changed])[0], store.targets[4, voice], atol=1e-5)
    together = store.targets
    teacher.add_targets(trained, store, speed, precision="bf16")
    assert np.abs(store.targets - together).max() < 0.05 and not np.array_equal(store.targets, together)
    teacher.add_targets(trained, store)
    assert np.array_equal(together[:, :1], store.targets)


def test_the_loss_is_one_minus_the_mean_cosine():
    loss = teacher.TeacherLoss(3, 2)
    student, target = torch.randn(5, 3, dtype=torch.float64), torch.randn(5, 2, dtype=torch.float64)
    mapped = student.float() @ loss.linear.weight.T + loss.linear.bias
    cosines = [float((m @ t / m.norm() / t.norm()).detach()) for m, t in zip(mapped, target.float(), strict=True)]
    assert loss(student.float(), target).item() == pytest.approx(1 - np.mean(cosines), abs=1e-6)


def test_mistakes(folder):
    with pytest.raises(ConfigError, match="sample_rate=8000"):
        teacher.load_teacher(folder, 8000)
    with pytest.raises(Exception, match="/gone"):
        teacher.load_teacher("/gone", 16000)


def test_targets_are_centred_and_drawn_to_the_means_of_their_speakers():
    store = SimpleNamespace(first=np.array([0, 3, 5]), targets=np.random.default_rng(0).random((5, 2, 4), np.float32))
    speakers = [0, 0, 0, 1, 1]
    none, half, whole = (teacher.training_targets(store, share)[:, 1] for share in (0.0, 0.5, 1.0))
    assert none == pytest.approx(teacher.centred(store.targets[:, 1]))
    assert np.linalg.norm(half, axis=1) == pytest.approx(np.ones(5), abs=1e-6)
    means = np.stack([none[:3].sum(axis=0), none[3:].sum(axis=0)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    assert whole == pytest.approx(means[speakers], abs=1e-6)
    sums = none + means[speakers]
    assert half == pytest.approx(sums / np.linalg.norm(sums, axis=1, keepdims=True), abs=1e-6)
    with pytest.raises(ConfigError, match="teacher_speaker_share: 1.5"):
        teacher.training_targets(store, 1.5)
