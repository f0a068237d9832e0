"""Each law of the kinds segment and reader catches a plugin that breaks it."""

import dataclasses
import itertools

import laws
import pytest
import torch

from speechtools.keyword.segments import EnergySegment
from speechtools.speaker.multireader import MultiReader


def quieter_end(start, wav, end=None):
    return start(torch.cat([wav[:24000], 0.01 * wav[24000:]]) if end else wav)


@pytest.mark.parametrize(
    "change, law, seen",
    [
        (lambda start, wav, end=None: start(wav, end) + 100, "lies within", "100 for 12800 samples"),
        (lambda start, wav, end=None: 0 * start(wav, end), "lies entirely within it", "for a keyword from 9000"),
        (quieter_end, "ends there or shortly after it", "for a keyword that ends at 40000"),
        (lambda start, wav, end=None: start(wav, end) if wav.any() else 0, "raise an AudioError", "0 for silence"),
    ],
)
def test_broken_segments(change, law, seen):
    laws.must_break("segment", laws.changed(EnergySegment, change, "__call__"), law, seen)


def one_speaker_twice(batches, step):
    found = batches(step)
    for batch in found.parts:
        batch.speakers[1] = batch.speakers[0]
    return found


def counts_its_steps(sources, **options):
    steps = itertools.count()
    return laws.changed(MultiReader, lambda batches, step: batches(next(steps)), "__getitem__")(sources, **options)


def ignores_weights(sources, **options):
    return MultiReader([dataclasses.replace(source, weight=1.0) for source in sources], **options)


def first_rank(init, sources, **options):
    init(sources, **(options | {"rank": 0}))


class Renames(MultiReader):
    def __getitem__(self, step):
        return dataclasses.replace(super().__getitem__(step), names=("one", "two"))


class Unnamed(MultiReader):
    def __init__(self, sources, seed=0, rank=0, world_size=1):
        self.reader = MultiReader(sources, seed, rank, world_size)

    def __getitem__(self, step):
        return self.reader[step]


def swaps_the_sources(batches, step):
    found = batches(step)
    return dataclasses.replace(found, names=found.names[::-1])


@pytest.mark.parametrize(
    "plugin, law, seen",
    [
        (
            laws.changed(MultiReader, one_speaker_twice, "__getitem__"),
            "speakers that occur once",
            "in the batch of 'small'",
        ),
        (Unnamed, "attribute sources", "no attribute sources"),
        (Renames, "attribute sources", "the name 'one' of step 0"),
        (laws.changed(MultiReader, swaps_the_sources, "__getitem__"), "attribute sources", "of 'small', which has 6"),
        (counts_its_steps, "only on the seed and its number", "another batch at step"),
        (ignores_weights, "weight 0 changes nothing", "with a source of weight 0 differs"),
        (laws.changed(MultiReader, first_rank, "__init__"), "different speakers", "both processes have the speakers"),
    ],
)
def test_broken_readers(plugin, law, seen):
    laws.must_break("reader", plugin, law, seen)
