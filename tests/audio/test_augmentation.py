"""Augmentation of batches: the bounds of an equalizer, and other noise at the same SNR."""

import pytest
import torch

from speechtools.audio.augmentation import equalize, other_noise
from speechtools.core.errors import ConfigError


def test_an_equalizer_is_the_same_over_time_smooth_in_frequency_and_within_its_bounds():
    magnitudes = torch.rand(50, 7, 257) + 0.1
    torch.manual_seed(0)
    equalized = equalize(magnitudes, 4.0, level_db=2.0)
    gains = 20 * torch.log10(equalized / magnitudes)
    assert gains.std(dim=1).max() < 1e-4
    gains = gains[:, 0]
    assert 4.0 < gains.abs().max() <= 6.0
    assert gains.std(dim=0).min() > 1.0, "every bin of every item has its own"
    assert gains.diff(dim=1).abs()[:, 8:].max() < 0.6, "dB from bin to bin"
    torch.manual_seed(0)
    torch.testing.assert_close(equalize(magnitudes.log1p(), 4.0, level_db=2.0, log1p=True), equalized.log1p())
    torch.testing.assert_close(equalize(magnitudes, 0.0), magnitudes)


@pytest.mark.parametrize("max_coefficient", [0.0, 0.375])
def test_other_noise_keeps_the_clean_speech_the_power_and_the_padding(max_coefficient):
    torch.manual_seed(0)
    clean, noise, lens = torch.randn(3, 4000), torch.randn(3, 4000), torch.tensor([1.0, 0.5, 0.8])
    noise *= torch.arange(4000) < (4000 * lens).unsqueeze(1)
    other = other_noise(clean + noise, clean, lens, max_coefficient) - clean
    torch.testing.assert_close(other.square().sum(dim=1), noise.square().sum(dim=1), rtol=1e-4, atol=0)
    assert not other[1, 2000:].any()
    assert not torch.allclose(other, noise, atol=0.1)
    assert other_noise(noise, clean, lens, None) is noise
    with pytest.raises(ConfigError, match="max_coefficient=0.5"):
        other_noise(noise, clean, lens, 0.5)
