"""MultiReader and mixing: one batch from every source, passes, and invalid sources; see also the contract."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import speechtools
from speechtools.core.errors import ConfigError
from speechtools.speaker.batches import SpeakerBatches
from speechtools.speaker.multireader import JoinedStore, Source
from tests.speaker.stores import write_store

SHAPE = {"min_samples": 800, "max_samples": 800}


@pytest.fixture
def sources(tmp_path):
    """A small source of 4 speakers and a large one of 40."""
    small, large = write_store(tmp_path / "small", [6] * 4), write_store(tmp_path / "large", [3] * 40)
    return [Source("small", small, 2, 3, 1.0, **SHAPE), Source("large", large, 8, 3, 0.5, **SHAPE)]


def test_a_source_that_ends_starts_again_in_a_new_order_independently_of_the_others(sources):
    reader, alone = (speechtools.build("reader/multireader", sources=members) for members in (sources, sources[:1]))
    passes = []
    for first in range(0, 40, 2):  # 4 speakers, 2 a step
        passes.append([s for step in (first, first + 1) for s in reader[step].parts[0].speakers.tolist()])
    assert all(sorted(speakers) == [0, 1, 2, 3] for speakers in passes) and len(set(map(tuple, passes))) > 5
    assert all(torch.equal(reader[step].parts[0].wavs, alone[step].parts[0].wavs) for step in range(40))
    assert sorted(s for step in range(5) for s in reader[step].parts[1].speakers.tolist()) == list(range(40))
    assert reader[0].names == ("small", "large") and reader[0].weights == (1.0, 0.5)
    assert [len(part.wavs) for part in reader[0].parts] == [6, 24]


def test_one_source_gives_the_plain_batches(sources):
    one = replace(sources[1], weight=1.0)
    reader = speechtools.build("reader/multireader", sources=[one], seed=5)
    plain = SpeakerBatches(one.store, 8, 3, seed=5, **SHAPE)
    for step in range(12):
        (part,), batch = reader[step].parts, plain[step]
        assert torch.equal(part.wavs, batch.wavs) and torch.equal(part.speakers, batch.speakers)


def test_mixing_draws_a_source_by_its_share_of_the_speakers(sources):
    reader = speechtools.build("reader/mixed", sources=sources)
    speakers = torch.cat([reader[step].parts[0].speakers for step in range(100)])
    assert len(reader[0].parts[0].speakers) == 10 and reader[0].weights == (1.0,)
    assert float((speakers < 4).float().mean()) == pytest.approx(4 / 44, abs=0.02)


def test_a_joined_store_reads_what_its_stores_hold(sources):
    joined = JoinedStore(sources)
    small, large = (source.store for source in sources)
    assert len(joined) == 24 + 120 and joined.speakers[3:5] == ["small/s3", "large/s0"]
    for utterance, (store, place) in {0: (small, 0), 23: (small, 23), 24: (large, 0), 143: (large, 119)}.items():
        assert np.array_equal(joined.read(utterance, 3, 50), store.read(place, 3, 50))
    assert joined.first.tolist()[:6] == [0, 6, 12, 18, 24, 27] and joined.first[-1] == 144


def test_mixing_needs_sources_of_one_shape(sources):
    other = replace(sources[1], num_utterances=2, min_samples=400, max_samples=400)
    with pytest.raises(ConfigError, match="small: .* use reader/multireader"):
        speechtools.build("reader/mixed", sources=[sources[0], other])


@pytest.mark.parametrize("name", ["reader/multireader", "reader/mixed"])
@pytest.mark.parametrize(
    "change, message",
    [
        (lambda a, b: [], "got none"),
        (lambda a, b: [a, replace(b, name="small")], "name 'small'"),
        (lambda a, b: [a, replace(b, weight=float("nan"))], "'large' has the weight nan"),
        (lambda a, b: [replace(a, weight=0.0), replace(b, weight=0.0)], r"\(small, large\) have the weight 0"),
        (lambda a, b: [replace(a, num_speakers=50), b], "small.*': .*Lower speakers_per_batch"),
    ],
)
def test_impossible_sources(sources, name, change, message):
    with pytest.raises(ConfigError, match=message):
        speechtools.build(name, sources=change(*sources))


def test_mixing_warns_of_speakers_of_the_same_name_in_two_sources(sources, caplog):
    speechtools.build("reader/mixed", sources=[sources[0], replace(sources[0], name="again")])
    assert "4 speakers of the sources small and again" in caplog.text
