"""Augmentation of batches: the bounds of an equalizer, and other noise at the same SNR."""

import pytest
import torch

from speechtools.audio.augmentation import equalize, other_noise
from speechtools.core.errors import ConfigError


def test_an_equalizer_is_the_same_over_time_smooth_in_frequency_and_within_its_bounds():
    torch.manual_seed(0)
    magnitudes = torch.rand(50, 7, 257) + 0.1
    gains = 20 * torch.log10(equalize(magnitudes, 4.0, level_db=2.0) / magnitudes)
    assert gains.std(dim=1).max() < 1e-4
    gains = gains[:, 0]
    assert gains.abs().max() <= 6.0 and gains.abs().max() > 4.0
    assert gains.std(dim=0).min() > 1.0, "every bin of every item has its own"
    assert gains.diff(dim=1).abs()[:, 8:].max() < 0.6, "dB from bin to bin"


def test_an_equalizer_of_logarithms_is_that_of_the_magnitudes():
    magnitudes = 100 * torch.rand(3, 5, 257)
    equalized = []
    for log1p in (False, True):
        torch.manual_seed(0)
        spectra = magnitudes.log1p() if log1p else magnitudes
        equalized.append(equalize(spectra, 4.0, level_db=2.0, log1p=log1p))
    torch.testing.assert_close(equalized[1], equalized[0].log1p())


def test_an_equalizer_of_no_decibels_changes_nothing():
    magnitudes = torch.rand(2, 5, 257)
    torch.testing.assert_close(equalize(magnitudes, 0.0), magnitudes)
    level = equalize(magnitudes, 0.0, level_db=3.0) / magnitudes
    torch.testing.assert_close(level, level[:, :1, :1].expand_as(level), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("max_coefficient", [0.0, 0.375])
def test_other_noise_keeps_the_clean_speech_the_power_and_the_padding(max_coefficient):
    torch.manual_seed(0)
    clean, noise, lens = torch.randn(3, 4000), torch.randn(3, 4000), torch.tensor([1.0, 0.5, 0.8])
    noise *= torch.arange(4000) < (4000 * lens).unsqueeze(1)
    other = other_noise(clean + noise, clean, lens, max_coefficient) - clean
    torch.testing.assert_close(other.square().sum(dim=1), noise.square().sum(dim=1), rtol=1e-4, atol=0)
    assert not other[1, 2000:].any()
    assert not torch.allclose(other, noise, atol=0.1)


def test_other_noise_can_be_switched_off_and_refuses_unstable_filters():
    noisy, clean, lens = torch.randn(2, 100), torch.randn(2, 100), torch.ones(2)
    assert other_noise(noisy, clean, lens, None) is noisy
    with pytest.raises(ConfigError, match="max_coefficient=0.5"):
        other_noise(noisy, clean, lens, 0.5)
