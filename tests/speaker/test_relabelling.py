"""Noisy labels: speakers that are one person, utterances of somebody else."""

import numpy as np
import pytest

from speechtools.core.errors import ConfigError, CorpusError
from speechtools.speaker.batches import SpeakerBatches
from speechtools.speaker.relabelling import relabelled
from tests.speaker.stores import write_store

#: Persons by speaker and utterance: s1 and s3 are one, and the last utterance of s2 is another's.
PERSONS = [[0, 0, 0], [1, 1, 1, 1], [2, 2, 2, 2, 5], [1, 1, 1], [4, 4]]


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path, list(map(len, PERSONS)))


@pytest.fixture
def dvectors():
    rng = np.random.default_rng(0)
    persons = [person for speaker in PERSONS for person in speaker]
    return np.eye(6)[persons] + 0.05 * rng.standard_normal((len(persons), 6))


def test_speakers_of_one_person_are_joined_and_strangers_left_out(store, dvectors):
    found = relabelled(store, dvectors)
    utterances = {
        name: [int(found.read(number)[0]) for number in range(*found.first[k : k + 2])]
        for k, name in enumerate(found.speakers)
    }
    expected = {
        "s0": [0, 1, 2],
        "s1": [100, 101, 102, 103, 300, 301, 302],
        "s2": [200, 201, 202, 203],
        "s4": [400, 401],
    }
    assert utterances == expected and len(found) == 16 and found.num_versions == 1
    batch = SpeakerBatches(found, 4, 3, 800, 800)[2]
    persons = {0: {0}, 1: {1, 3}, 2: {2}, 3: {4}}
    for label, wavs in zip(batch.speakers.tolist(), batch.wavs.view(4, 3, 800), strict=True):
        assert {int(wav[0]) // 100 for wav in wavs} <= persons[label]


def test_targets_follow_their_utterances(store, dvectors):
    store.targets = dvectors.astype(np.float32)
    found = relabelled(store, dvectors)
    assert np.array_equal(found.targets[7:10], store.targets[12:15])


def test_labels_that_are_right_stay(store):
    speakers = np.repeat(np.arange(5), np.diff(store.first))
    found = relabelled(store, np.eye(5)[speakers])
    assert found.speakers == store.speakers and np.array_equal(found.order, np.arange(len(store)))


def test_mistakes(store, dvectors):
    with pytest.raises(CorpusError, match=r"leave 1 speaker\(s\).* Raise the first"):
        relabelled(store, dvectors, merge_above=-1)
    with pytest.raises(ConfigError, match="drop_below"):
        relabelled(store, dvectors, drop_below=2)
