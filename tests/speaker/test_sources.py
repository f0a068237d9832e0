"""Several sources of speech: held-out ids, caps, degraded copies, and mistakes in their entries."""

import numpy as np
import pytest
import soundfile

from speechtools import build
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.speaker import shards
from speechtools.speaker.batches import SpeakerBatches
from speechtools.speaker.sources import prepare_sources, training_sources
from tests.speaker.test_data import write_corpus

ENTRY = {"corpus": "folder", "weight": 1.0, "num_speakers": 2, "num_utterances": 2}


@pytest.fixture
def corpus(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_UTTERANCES", 5)
    return write_corpus(tmp_path / "corpus", speakers=8, utterances=4)


@pytest.fixture
def other(tmp_path):
    return write_corpus(tmp_path / "other", speakers=6, utterances=1)


def prepare(tmp_path, sources, **options):
    defaults = {"heldout_share": 0.0, "valid_share": 0.3, "num_workers": 1}
    return prepare_sources(sources, tmp_path / "prepared", **{**defaults, **options})


def opened(sets):
    return {name: source_sets.open() for name, source_sets in sets.items()}


def test_sources_have_stores_of_their_own_and_a_test_only_where_they_are_given_one(corpus, other, tmp_path):
    lengths = {"min_frames": 50, "max_frames": 60}
    sources = {
        "main": None,
        "read": ENTRY | {"data_folder": [str(corpus), str(other)], "heldout": ["spk[12]-*"], "max_utterances": 3},
        "single": ENTRY | {"data_folder": str(other), "min_utterances": 1, "verified": False, "weight": 0.5} | lengths,
        "absent": ENTRY | {"data_folder": ""},
        "silenced": ENTRY | {"data_folder": "/gone", "weight": 0},
    }
    stores = opened(prepare(tmp_path, sources))
    assert list(stores) == ["read", "single"]
    assert set(stores["read"]) == {"train", "valid", "test"} and set(stores["single"]) == {"train"}
    assert set(stores["read"]["test"].speakers) == {f"folder{k}-spk{n}" for k in (0, 1) for n in (1, 2)}
    assert max(np.diff(stores["read"]["train"].first)) == 3
    features = build("features/log-mel")
    read, single = training_sources(sources, stores, features, 20, 30, degraded_share=0.25)
    assert (read.min_samples, read.max_samples) == (features.num_samples(20), features.num_samples(30))
    assert (single.min_samples, single.weight, single.min_utterances) == (features.num_samples(50), 0.5, 1)
    step = build("reader/multireader", sources=[read, single])[3]
    assert step.names == ("read", "single") and step.weights == (1.0, 0.5)


def test_a_single_source_keeps_the_place_that_it_has_without_sources(corpus, tmp_path):
    (sets,) = prepare(tmp_path, {"main": ENTRY | {"data_folder": str(corpus)}}, heldout_share=0.3).values()
    assert sets.manifests["train"].parent.name.count("-") == 1 and set(sets.manifests) == {"train", "valid", "test"}


def test_degraded_copies_lie_beside_the_recordings_and_are_drawn_at_their_share(corpus, tmp_path):
    for name in ("fan", "rain"):
        (tmp_path / "noises" / name).mkdir(parents=True)
        soundfile.write(
            tmp_path / "noises" / name / "1.wav", 0.1 * np.random.default_rng(1).standard_normal(8000), 16000
        )
    options = {"degradations": ["clipping(level=0.1)", "noise(snr_db=0)"], "degraded_copies": 2}
    options |= {"noise_folder": tmp_path / "noises", "noises_left_out": ["rain"]}
    sources = {"main": ENTRY | {"data_folder": str(corpus)}}
    stores = opened(prepare(tmp_path, sources, **options, heldout_share=0.3))["main"]
    train = stores["train"]
    assert (train.num_versions, stores["valid"].num_versions) == (3, 1)
    versions = [[train.read(utterance, version=version) for version in range(3)] for utterance in range(len(train))]
    for samples, *copies in versions:
        assert all(len(copy) == len(samples) and not np.array_equal(copy, samples) for copy in copies)
    assert any(not np.array_equal(*copies) for _, *copies in versions)
    again = opened(prepare(tmp_path / "again", sources, **options, heldout_share=0.3))["main"]["train"]
    assert all(
        np.array_equal(again.read(utterance, version=version), copies[version])
        for utterance, copies in enumerate(versions)
        for version in range(3)
    )
    for share, least, most in ((0.0, 0, 0), (1.0, 1, 1), (0.5, 0.3, 0.7)):
        batches = SpeakerBatches(train, 2, 2, 4000, 4000, degraded_share=share)
        plans = [batches.plan(step) for step in range(40)]
        drawn = np.concatenate([plan.versions for plan in plans])
        assert least <= np.mean(drawn > 0) <= most and set(drawn) <= {0, 1, 2}
    plan = plans[0]
    expected = train.read(int(plan.utterances[0]), int(plan.starts[0]), 4000, int(plan.versions[0]))
    assert np.array_equal(batches[0].wavs[0], expected)


def test_a_missing_copy_is_reported(corpus, tmp_path):
    options = {"degradations": ["clipping"], "degraded_copies": 1, "heldout_share": 0.3}
    (sets,) = prepare(tmp_path, {"main": ENTRY | {"data_folder": str(corpus)}}, **options).values()
    (sets.manifests["train"].parent / "shards" / "train-1.1.npy").unlink()
    with pytest.raises(CorpusError, match="train-1.1.npy"):
        sets.open()


@pytest.mark.parametrize(
    "change, error, message",
    [
        ({"num_speakers": None, "weight": None}, ConfigError, "'one' has no num_speakers and no weight"),
        ({"num_speeches": 4}, ConfigError, "unknown key 'num_speeches'. Did you mean 'num_speakers'"),
        ({"corpus": "kaldy"}, Exception, "kaldi"),
        ({"data_folder": "/gone"}, CorpusError, "The source 'one': .*/gone"),
        ({"heldout": ["pt_*"]}, ConfigError, "heldout=.*no utterance has such an id"),
        ({"num_speakers": 50}, ConfigError, "needs 50 speakers"),
        ({"max_utterances": 0}, ConfigError, "max_utterances"),
    ],
)
def test_mistakes_name_the_source(corpus, other, tmp_path, change, error, message):
    entry = ENTRY | {"data_folder": str(corpus)} | change
    entry = {key: value for key, value in entry.items() if value is not None}
    with pytest.raises(error, match=message):
        prepare(tmp_path, {"one": entry, "two": ENTRY | {"data_folder": str(other)}})


def test_mistakes_of_all_sources(corpus, tmp_path):
    with pytest.raises(ConfigError, match="no sources to train on"):
        prepare(tmp_path, {"main": None})
    entry = {"main": ENTRY | {"data_folder": str(corpus)}}
    with pytest.raises(ConfigError, match="degraded_copies=2, but degradations is empty"):
        prepare(tmp_path, entry, degraded_copies=2, heldout_share=0.3)
    with pytest.raises(Exception, match="clipping"):
        prepare(tmp_path, entry, degraded_copies=2, degradations=["clippings"], heldout_share=0.3)
    with pytest.raises(ConfigError, match="noises_left_out"):
        options = {"degraded_copies": 1, "degradations": ["noise"], "noises_left_out": ["whale"], "heldout_share": 0.3}
        options["noise_folder"] = corpus
        prepare(tmp_path, entry, **options)
