"""Each law of the kinds features and vad catches a plugin that breaks it."""

import laws
import pytest
import torch
from torch import nn

from speechtools.audio.vad import EnergyVAD


class Bands(nn.Module):
    """Mean power in eight stretches of each window, with no padding at either end: correct."""

    size, win_length, hop_length = 8, 400, 160

    def num_samples(self, frames):
        return 400 + (frames - 1) * 160

    def num_frames(self, samples):
        return 1 + (samples - 400) // 160

    def frame_lens(self, lens, num_samples):
        return self.num_frames((lens * num_samples).round()) / self.num_frames(num_samples)

    def forward(self, wavs, lens=None):
        return wavs.unfold(1, 400, 160).unflatten(2, (8, 50)).square().mean(3)


def changed(plugin, change):
    """A subclass of a plugin whose forward is ``change(forward, wavs, lens)``."""

    class Changed(plugin):
        def forward(self, wavs, lens=None):
            return change(super().forward, wavs, lens)

    return Changed


def half_by_default(features, wavs, lens):
    kept = wavs.shape[1] // 2 if lens is None else wavs.shape[1]
    return features(wavs * (torch.arange(wavs.shape[1]) < kept))


class LensOfSamples(Bands):
    def frame_lens(self, lens, num_samples):
        return lens


class WrongSize(Bands):
    size = 9


def test_correct_features_keep_all_laws():
    assert len(laws.keeps("features", Bands)) == 7


@pytest.mark.parametrize(
    "plugin, law, seen",
    [
        (changed(Bands, lambda features, wavs, lens: features(wavs).transpose(1, 2)), "frames (batch, time", "sizes"),
        (changed(Bands, lambda features, wavs, lens: features(wavs)[0]), "frames (batch, time", r"gave \(98, 8\)"),
        (changed(Bands, lambda features, wavs, lens: features(wavs).log()), "are finite", "784 of 784 values"),
        (changed(Bands, lambda features, wavs, lens: features(wavs - wavs.mean(0))), "other rows", "row 0 in a batch"),
        (changed(Bands, half_by_default), "lens=None", "without lens"),
        (LensOfSamples, "frame_lens(lens", "11203 samples have 68 frames, .* counts 69"),
        (
            changed(Bands, lambda features, wavs, lens: features(wavs + wavs.flip(1))),
            "padding with zeros",
            "the frames of 11203 samples",
        ),
        (WrongSize, "size, win_length, hop_length", "with size=9"),
    ],
)
def test_broken_features(plugin, law, seen):
    laws.must_break("features", plugin, law, seen)


@pytest.mark.parametrize(
    "change, law, seen",
    [
        (lambda vad, wavs, lens: vad(wavs, lens)[:, :-1], "give booleans", "3 waveforms of 16000 samples"),
        (lambda vad, wavs, lens: torch.ones_like(vad(wavs)), "digital silence", "speech in digital silence"),
        (lambda vad, wavs, lens: torch.zeros_like(vad(wavs)), "recording of a voice", "speech in 0% of the frames"),
        (lambda vad, wavs, lens: vad(wavs, lens).roll(int(lens is not None), 1), "padding changes no", "other frames"),
    ],
)
def test_broken_vads(change, law, seen):
    laws.must_break("vad", changed(EnergyVAD, change), law, seen)
