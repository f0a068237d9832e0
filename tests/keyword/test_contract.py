"""Each law of the kinds segment and reader catches a plugin that breaks it."""

import dataclasses

import laws
import pytest
import torch

from speechtools.core.errors import AudioError
from speechtools.keyword.multireader import MultiReader
from speechtools.keyword.segments import EnergySegment


class FirstSamples:
    num_samples = 12800

    def __init__(self, sample_rate=16000, seconds=0.8):
        pass

    def __call__(self, wav, end=None):
        if len(wav) < self.num_samples or not wav.any():
            raise AudioError("nothing here")
        return 0 if end is None else max(0, end - self.num_samples)


class Beyond(FirstSamples):
    def __call__(self, wav, end=None):
        return super().__call__(wav, end) + 100


class IgnoresTheEnd(EnergySegment):
    def __call__(self, wav, end=None):
        return super().__call__(torch.cat([wav[:24000], 0.01 * wav[24000:]]) if end else wav)


class AcceptsSilence(EnergySegment):
    def __call__(self, wav, end=None):
        return super().__call__(wav, end) if wav.any() else 0


@pytest.mark.parametrize(
    "plugin, law, seen",
    [
        (Beyond, "lies within", "100 for 12800 samples"),
        (FirstSamples, "lies in it whole", "samples 0 to 12800 for a keyword from 9000"),
        (IgnoresTheEnd, "ends there or shortly after it", "for a keyword that ends at 40000"),
        (AcceptsSilence, "raise an AudioError", "0 for silence"),
    ],
)
def test_broken_segments(plugin, law, seen):
    laws.must_break("segment", plugin, law, seen)


class CountsItsSteps(MultiReader):
    calls = 0

    def __getitem__(self, step):
        self.calls += 1
        return super().__getitem__(self.calls)


class OneSpeakerTwice(MultiReader):
    def __getitem__(self, step):
        batches = super().__getitem__(step)
        for batch in batches.parts:
            batch.speakers[1] = batch.speakers[0]
        return batches


def ignores_weights(sources, seed=0, rank=0, world_size=1):
    return MultiReader([dataclasses.replace(source, weight=1.0) for source in sources], seed, rank, world_size)


def ignores_ranks(sources, seed=0, rank=0, world_size=1):
    return MultiReader(sources, seed)


@pytest.mark.parametrize(
    "plugin, law, seen",
    [
        (OneSpeakerTwice, "speakers that occur once", "in the batch of 'small'"),
        (CountsItsSteps, "the seed and its number alone", "another batch at step"),
        (ignores_weights, "weight 0 changes nothing", "with a source of weight 0 differs"),
        (ignores_ranks, "different speakers", "both processes have the speakers"),
    ],
)
def test_broken_readers(plugin, law, seen):
    laws.must_break("reader", plugin, law, seen)
