"""Laws of the division of speech and noise: no voice and no noise of one split is in another, whichever recipe asks."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hyperpyyaml import load_hyperpyyaml

import speechtools
from speechtools import audio, training
from speechtools.audio.noises import TEST_NOISES
from speechtools.core import registry
from speechtools.core.errors import ConfigError
from speechtools.corpora import noisy_speech
from speechtools.corpora.noisy_speech import NoisySpeech
from speechtools.corpora.utterance import Utterance

TIMIT = Path(__file__).parents[2] / "recipes" / "TIMIT"


def listed(data_folder, num_train=20, num_test=12, num_each=3):
    """Utterances that are only listed."""
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
    """Files that nobody opens, as if generated: 30 types, three of them with two recordings, and those of the test."""
    for name in [*(f"n{i:02d}x" for i in range(30)), *TEST_NOISES, "n00x-1", "n01x-1", "n02x-1"]:
        (tmp_path / "noises" / f"{name}.wav").parent.mkdir(exist_ok=True)
        (tmp_path / "noises" / f"{name}.wav").touch()
    monkeypatch.setattr(noisy_speech, "builtin_noises", lambda: tmp_path / "noises")


@pytest.fixture
def sources():
    def make(**options):
        given = {"corpus": "listed", "data_folder": "/nowhere", "num_train_noises": None}
        return NoisySpeech(**given | options)

    return make


WITH_ENHANCER = {"enhancer_share": 0.5, "enhancer_noises": 10}


def speakers(groups):
    return {split: {u.speaker for u in members} for split, members in groups.items()}


def files(types):
    return {split: {path for group in members.values() for path in group} for split, members in types.items()}


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_speaker_and_no_noise_is_in_two_splits(sources, seed):
    divided = sources(**WITH_ENHANCER, seed=seed)
    for found in (speakers(divided.speech(1)), files(divided.noises())):
        assert set(found) == {"train", "valid", "test", "enhancer"} and all(found.values())
        assert sum(map(len, found.values())) == len(set.union(*found.values()))
    names = [set(types) for types in divided.noises().values()]
    assert sum(map(len, names)) == len(set.union(*names)) == 34, "nor is a type, of which there may be several files"


@pytest.mark.parametrize("share, count", [(0.25, 2), (0.5, 4), (0.75, 6)])
def test_shares_are_of_the_speakers_that_the_validation_leaves(sources, share, count):
    found = speakers(sources(enhancer_share=share, enhancer_noises=3, valid_share=0.35).speech(1))
    assert {split: len(each) for split, each in found.items()} == {
        "train": 20,
        "valid": 4,
        "test": 8 - count,
        "enhancer": count,
    }
    assert all(name.startswith("test") for name in found["enhancer"]), "the test speakers' part of the corpus"


def test_the_enhancer_takes_nothing_from_training_and_validation(sources):
    without, enhancer = sources(), sources(**WITH_ENHANCER)
    ours, theirs = enhancer.speech(1), without.speech(1)
    assert set(theirs) == set(without.noises()) == {"train", "valid", "test"}
    assert (ours["train"], ours["valid"]) == (theirs["train"], theirs["valid"])
    assert speakers(ours)["test"] | speakers(ours)["enhancer"] == speakers(theirs)["test"]
    ours, theirs = enhancer.noises(), without.noises()
    assert (ours["valid"], ours["test"]) == (theirs["valid"], theirs["test"])
    assert ours["train"].items() < theirs["train"].items()


def test_who_asks_twice_gets_the_same(sources):
    one, other = sources(**WITH_ENHANCER), sources(**WITH_ENHANCER)
    assert one == other and one.options() == other.options()
    assert one.speech(1) == other.speech(2) and one.noises() == other.noises()
    another = sources(**WITH_ENHANCER, seed=1)
    assert speakers(another.speech(1)) != speakers(one.speech(1)) and another.noises() != one.noises()


def test_how_much_a_recipe_trains_on_moves_nobody(sources):
    """Quality-Net's recipe and the enhancer's may differ in it."""
    all_noises, some = sources(**WITH_ENHANCER).noises(), sources(**WITH_ENHANCER | {"num_train_noises": 5}).noises()
    assert len(files(some)["train"]) == 5 and files(some)["train"] < files(all_noises)["train"]
    assert all(some[split] == all_noises[split] for split in ("valid", "test", "enhancer"))


def sources_of(recipe, yaml, **options):
    """The division that a recipe's yaml asks for, without the options of corpora that it does not read."""
    text, overrides = training.read_variant(TIMIT / recipe / "hparams" / yaml, options)
    asked = load_hyperpyyaml(text, overrides)["sources"]
    read = {name: given for name, given in asked.corpus_options.items() if name in asked.corpus}
    return replace(asked, corpus_options=read)


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


def test_utterances_that_pesq_cannot_judge_are_left_out(sources):
    kept = sources().speech(1)
    assert {u.duration for members in kept.values() for u in members} == {2.0}


def test_several_corpora_have_enhancer_speakers_each(sources):
    found = speakers(sources(corpus=["listed", "listed"], data_folder=["/a", "/b"], **WITH_ENHANCER).speech(1))
    assert {name.split("-")[0] for name in found["enhancer"]} == {"listed0", "listed1"}
    assert sum(map(len, found.values())) == len(set.union(*found.values())) == 64


def test_loud_background_is_left_out_and_the_rest_divided(sources, tmp_path):
    rng = np.random.default_rng(0)
    bursts = np.repeat([1.0, 0.0] * 4, 4000) * rng.uniform(-0.5, 0.5, 32000)
    for utterance in listed(tmp_path, num_each=1):
        background = 0.05 if utterance.speaker in ("train3", "test5") else 0.0005
        noisy = bursts + background * rng.standard_normal(32000)
        audio.write(utterance.path, noisy.clip(-1, 1).astype(np.float32), 16000)
    found = sources(data_folder=tmp_path, corpus_options={"listed": {"num_each": 1}}, min_range_db=30).speech(2)
    assert len(set.union(*speakers(found).values())) == 30
    assert not {"train3", "test5"} & set.union(*speakers(found).values())


@pytest.mark.parametrize(
    "options, asked, message",
    [
        ({"enhancer_share": 0.99}, "speech", "enhancer_share=0.99 of the 8 test speakers is 8 of them, but the enh"),
        ({"enhancer_noises": 26}, "noises", "enhancer_noises=26: 26 noise types remain"),
        ({"enhancer_noises": ["street"]}, "noises", "enhancer_noises and valid_noises or test_noises share 'street'"),
        ({"enhancer_noises": ["n0?x"], "valid_noises": ["n05x"]}, "noises", "share 'n05x'. Give them different types"),
        ({"enhancer_noises": ["volcano"]}, "noises", "enhancer_noises: no noise type matches 'volcano'"),
    ],
)
def test_divisions_that_cannot_be(sources, options, asked, message):
    with pytest.raises(ConfigError, match=message):
        getattr(sources(**options), asked)()


def test_relative_folders_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    made = NoisySpeech(data_folder=["a", Path("b")], noise_folder=["builtin", "c"], test_noise_folder="")
    assert made.data_folder == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert made.noise_folder == ["builtin", str(tmp_path / "c")] and made.test_noise_folder == ""
