"""Lengths of padded batches."""

import pytest
import torch

from speechtools.audio.features import LogMel, Magnitude
from speechtools.audio.frames import num_samples
from speechtools.audio.spectrum import Spectrum


@pytest.mark.parametrize("framing", [Magnitude(), LogMel(), Spectrum(), Spectrum(9, 3)])
def test_frame_lens_are_exact(framing):
    """Every number of samples gives its number of frames, through two relative lengths in float32."""
    samples = 2999
    counts = torch.arange(1, samples + 1)
    lens = framing.frame_lens(counts / samples, samples)
    assert lens.dtype == torch.float32 and lens.max() == 1
    assert torch.equal(num_samples(lens, framing.num_frames(samples)), framing.num_frames(counts))
    assert framing.num_frames(counts).tolist() == [framing.num_frames(count) for count in counts.tolist()]


def test_frame_lens_are_exact_for_a_long_recording():
    spectrum, samples = Spectrum(), 60 * 16000
    counts = torch.tensor([1, 256, 257, samples // 3, samples - 1, samples])
    lens = spectrum.frame_lens(counts.double() / samples, samples)
    assert torch.equal(num_samples(lens, spectrum.num_frames(samples)), spectrum.num_frames(counts))
