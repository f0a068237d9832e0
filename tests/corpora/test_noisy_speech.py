"""Division of speech and noises: no speaker and no noise is in two splits, for either recipe."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hyperpyyaml import load_hyperpyyaml

import speechtools
from speechtools import audio
from speechtools.audio.noises import TEST_NOISES
from speechtools.core import registry
from speechtools.core.errors import ConfigError
from speechtools.corpora import noisy_speech
from speechtools.corpora.noisy_speech import NoisySpeech
from speechtools.corpora.utterance import Utterance
from speechtools.training import options

TIMIT = Path(__file__).parents[2] / "recipes" / "TIMIT"


def listed(data_folder, num_train=20, num_test=12, num_each=3):
    """Utterances without files."""
    return [
        Utterance(f"{split}{s}-{u}", f"{split}{s}", split, Path(data_folder, f"{split}{s}-{u}.wav"), seconds)
        for split, count in (("train", num_train), ("test", num_test))
        for s in range(count)
        for u, seconds in zip(range(num_each), (2.0, 0.1, 100.0, 3.0)[:num_each], strict=True)
    ]


@pytest.fixture(autouse=True)
def corpus(monkeypatch):
    speechtools.available()  # everything is imported before the copy, so that restoring loses nothing
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))
    speechtools.plugin("corpus/listed")(listed)


@pytest.fixture(autouse=True)
def noises(tmp_path, monkeypatch):
    """Empty files for generated ones: 30 types, three of them with two recordings, and those of the test."""
    for name in [*(f"n{i:02d}x" for i in range(30)), *TEST_NOISES, "n00x-1", "n01x-1", "n02x-1"]:
        (tmp_path / "noises" / f"{name}.wav").parent.mkdir(exist_ok=True)
        (tmp_path / "noises" / f"{name}.wav").touch()
    monkeypatch.setattr(noisy_speech, "builtin_noises", lambda: tmp_path / "noises")


@pytest.fixture
def sources():
    def make(**options):
        return NoisySpeech(**{"corpus": "listed", "data_folder": "/nowhere", "num_train_noises": None} | options)

    return make


WITH_ENHANCER = {"enhancer_share": 0.5, "enhancer_noises": 10}


def speakers(groups):
    return {split: {u.speaker for u in members} for split, members in groups.items()}


def files(types):
    return {split: {path for group in members.values() for path in group} for split, members in types.items()}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_speaker_and_no_noise_is_in_two_splits(sources, seed):
    divided = sources(**WITH_ENHANCER, seed=seed)
    for splits in (speakers(divided.speech(1)), files(divided.noises())):
        assert set(splits) == {"train", "valid", "test", "enhancer"} and all(splits.values())
        assert sum(map(len, splits.values())) == len(set.union(*splits.values()))
    names = [set(types) for types in divided.noises().values()]
    assert sum(map(len, names)) == len(set.union(*names)) == 34, "nor is a type with several files"


@pytest.mark.parametrize("share, count", [(0.25, 2), (0.5, 4), (0.75, 6)])
def test_shares_are_of_the_speakers_that_the_validation_leaves(sources, share, count):
    splits = speakers(sources(enhancer_share=share, enhancer_noises=3, valid_share=0.35).speech(1))
    sizes = {split: len(names) for split, names in splits.items()}
    assert sizes == {"train": 20, "valid": 4, "test": 8 - count, "enhancer": count}
    assert all(name.startswith("test") for name in splits["enhancer"])


def test_the_enhancer_takes_nothing_from_training_and_validation(sources):
    without, enhancer = sources(), sources(**WITH_ENHANCER)
    speech, all_speech = enhancer.speech(1), without.speech(1)
    assert (speech["train"], speech["valid"]) == (all_speech["train"], all_speech["valid"])
    assert speakers(speech)["test"] | speakers(speech)["enhancer"] == speakers(all_speech)["test"]
    noises, all_noises = enhancer.noises(), without.noises()
    assert set(all_speech) == set(all_noises) == {"train", "valid", "test"}
    assert (noises["valid"], noises["test"]) == (all_noises["valid"], all_noises["test"])
    assert noises["train"].items() < all_noises["train"].items()


def test_the_same_options_give_the_same_division(sources):
    one, other = sources(**WITH_ENHANCER), sources(**WITH_ENHANCER)
    assert one == other and one.options() == other.options()
    assert one.speech(1) == other.speech(2) and one.noises() == other.noises()
    another = sources(**WITH_ENHANCER, seed=1)
    assert speakers(another.speech(1)) != speakers(one.speech(1)) and another.noises() != one.noises()


def test_the_number_of_training_noises_changes_no_other_split(sources):
    all_noises, some = sources(**WITH_ENHANCER).noises(), sources(**WITH_ENHANCER | {"num_train_noises": 5}).noises()
    assert len(files(some)["train"]) == 5 and files(some)["train"] < files(all_noises)["train"]
    assert all(some[split] == all_noises[split] for split in ("valid", "test", "enhancer"))


def sources_of(recipe, yaml, **values):
    """The division of a recipe's yaml, without the options of corpora that it does not read."""
    words = [f"--{key}={json.dumps(value)}" for key, value in values.items()]
    command_line = options.parse([str(TIMIT / recipe / "hparams" / yaml), *words])
    sources = load_hyperpyyaml(options.resolve(options.merge(command_line), command_line))["sources"]
    used = {name: arguments for name, arguments in sources.corpus_options.items() if name in sources.corpus}
    return replace(sources, corpus_options=used)


@pytest.mark.parametrize(
    "quality_yaml, enhancer_yaml, folders",
    [
        ("paper.yaml", "blstm.yaml", {}),
        ("autoencoder_nn.yaml", "perceptual.yaml", {}),
        (
            "paper_real_speech.yaml",
            "real_speech.yaml",
            {"data_folder": ["/a", "/b"], "noise_folder": ["builtin", "/noises"]},
        ),
    ],
)
def test_both_recipes_divide_alike(quality_yaml, enhancer_yaml, folders):
    quality, enhancer = (
        sources_of(recipe, yaml, **folders)
        for recipe, yaml in (("quality", quality_yaml), ("enhancement", enhancer_yaml))
    )
    assert quality.enhancer_share > 0 and quality.enhancer_noises
    assert quality == enhancer


def test_utterances_that_pesq_cannot_score_are_left_out(sources):
    kept = sources().speech(1)
    assert {u.duration for members in kept.values() for u in members} == {2.0}


def test_several_corpora_have_enhancer_speakers_each(sources):
    divided = speakers(sources(corpus=["listed", "listed"], data_folder=["/a", "/b"], **WITH_ENHANCER).speech(1))
    assert {name.split("-")[0] for name in divided["enhancer"]} == {"listed0", "listed1"}
    assert sum(map(len, divided.values())) == len(set.union(*divided.values())) == 64


def test_loud_background_is_left_out_and_the_rest_divided(sources, tmp_path):
    rng = np.random.default_rng(0)
    bursts = np.repeat([1.0, 0.0] * 4, 4000) * rng.uniform(-0.5, 0.5, 32000)
    for utterance in listed(tmp_path, num_each=1):
        background = 0.05 if utterance.speaker in ("train3", "test5") else 0.0005
        noisy = bursts + background * rng.standard_normal(32000)
        audio.write(utterance.path, noisy.clip(-1, 1).astype(np.float32), 16000)
    groups = sources(data_folder=tmp_path, corpus_options={"listed": {"num_each": 1}}, min_range_db=30).speech(2)
    assert len(set.union(*speakers(groups).values())) == 30
    assert not {"train3", "test5"} & set.union(*speakers(groups).values())


@pytest.mark.parametrize(
    "options, method, message",
    [
        ({"enhancer_share": 0.99}, "speech", "enhancer_share=0.99"),
        ({"enhancer_noises": 26}, "noises", "enhancer_noises=26"),
        ({"enhancer_noises": ["n0?x"], "valid_noises": ["n05x"]}, "noises", "'n05x'"),
        ({"enhancer_noises": ["volcano"]}, "noises", "'volcano'"),
    ],
)
def test_impossible_divisions_are_refused(sources, options, method, message):
    with pytest.raises(ConfigError, match=message):
        getattr(sources(**options), method)()


def test_relative_folders_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    made = NoisySpeech(data_folder=["a", Path("b")], noise_folder=["builtin", "c"], test_noise_folder="")
    assert made.data_folder == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert made.noise_folder == ["builtin", str(tmp_path / "c")] and made.test_noise_folder == ""
