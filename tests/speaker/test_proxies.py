"""The classifier of all training speakers beside GE2E."""

import numpy as np
import pytest
import torch

from speechtools.core.errors import ConfigError
from speechtools.speaker.augmentation import VoiceSpeed
from speechtools.speaker.multireader import MixedReader, MultiReader, Source
from speechtools.speaker.proxies import ProxyLoss
from speechtools.speaker.store import store_of

RATE = 16000


def test_the_loss_is_the_cross_entropy_of_cosines_with_a_margin():
    torch.manual_seed(0)
    loss = ProxyLoss(5, [2, 4], num_voices=3, scale=7.0, margin=0.1)
    dvectors, speakers, voices = torch.randn(6, 5), torch.tensor([3, 0, 2]), torch.tensor([2, 0, 1])
    labels = np.repeat([(2 + 3) * 3 + 2, (2 + 0) * 3, (2 + 2) * 3 + 1], 2)
    x = dvectors.double().numpy() / np.linalg.norm(dvectors.double().numpy(), axis=1, keepdims=True)
    proxies = loss.proxies.detach().double().numpy()
    cosines = x @ (proxies / np.linalg.norm(proxies, axis=1, keepdims=True)).T
    cosines[np.arange(6), labels] -= 0.1
    expected = np.log(np.exp(7 * cosines).sum(axis=1)) - 7 * cosines[np.arange(6), labels]
    assert loss(dvectors, 1, speakers, voices).item() == pytest.approx(expected.mean(), abs=1e-5)
    assert len(loss.proxies) == 18


def test_without_changed_voices_a_speaker_has_one_proxy():
    loss = ProxyLoss(4, [3])
    assert len(loss.proxies) == 3 and loss.labels(0, torch.tensor([2, 1])).tolist() == [2, 1]


@pytest.mark.parametrize("options", [{"scale": 0.0}, {"margin": -0.1}, {"margin": 1.0}])
def test_impossible_options(options):
    with pytest.raises(ConfigError, match="proxy_scale=.*proxy_margin="):
        ProxyLoss(4, [3], **options)


class Level(torch.nn.Module):
    """Two-dimensional d-vectors: the angle is the level of the waveform, the number of samples counts nothing."""

    def forward(self, wavs):
        angle = wavs.mean(dim=1)
        return torch.stack([angle.cos(), angle.sin()], dim=1)


@pytest.mark.parametrize("reader", [MultiReader, MixedReader])
def test_training_starts_at_the_centroids_of_all_sources(tmp_path, reader):
    levels = {"a": {"anna": 0.1, "bert": 0.2, "carl": 0.3}, "b": {"dora": 0.4, "emil": 0.5}}
    sources = []
    for name, speakers in levels.items():
        # Of three lengths: shorter and longer than what is embedded.
        wavs = {
            speaker: [np.full(size, round(level * 2**15), np.int16) for size in (5000, RATE, 3 * RATE)]
            for speaker, level in speakers.items()
        }
        sources.append(Source(name, store_of(tmp_path / name, wavs), 2, 2))
    parts = reader(sources).sources
    loss = ProxyLoss(2, [len(part.store.speakers) for part in parts], num_voices=2)
    encoder = Level().train()
    loss.start_at_centroids(encoder, torch.nn.Identity(), parts, VoiceSpeed([90, 100]), RATE)
    angles = torch.atan2(loss.proxies[:, 1], loss.proxies[:, 0]).tolist()
    expected = np.repeat([0.1, 0.2, 0.3, 0.4, 0.5], 2)
    assert angles == pytest.approx(expected, abs=2e-3) and encoder.training and loss.proxies.requires_grad
