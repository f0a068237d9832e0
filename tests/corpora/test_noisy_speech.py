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
from speechtools.core.errors import CorpusError
from speechtools.corpora import noisy_speech
from speechtools.corpora.noisy_speech import NoisySpeech, PreparedSets
from speechtools.corpora.utterance import Utterance
from speechtools.training import options
from speechtools.training.command_line import parse
from tests.corpora.test_splits import recordings, sizes, speakers

TIMIT = Path(__file__).parents[2] / "recipes" / "TIMIT"


def listed(data_folder, num_train=20, num_test=12, num_each=3):
    """Utterances without files."""
    durations = dict(enumerate((2.0, 0.1, 100.0)[:num_each]))
    return [
        Utterance(f"{split}{s}-{u}", f"{split}{s}", split, Path(data_folder, f"{split}{s}-{u}.wav"), seconds)
        for split, count in (("train", num_train), ("test", num_test))
        for s in range(count)
        for u, seconds in durations.items()
    ]


@pytest.fixture(autouse=True)
def corpus_and_noises(tmp_path, monkeypatch):
    """Empty files for generated noises: 30 types, three of them with two recordings, and those of the test."""
    speechtools.available()  # everything is imported before the copy, so that restoring loses nothing
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))
    speechtools.plugin("corpus/listed")(listed)
    (tmp_path / "noises").mkdir()
    for name in [*(f"n{i:02d}x" for i in range(30)), *TEST_NOISES, "n00x-1", "n01x-1", "n02x-1"]:
        (tmp_path / "noises" / f"{name}.wav").touch()
    monkeypatch.setattr(noisy_speech, "builtin_noises", lambda: tmp_path / "noises")


def sources(**options):
    return NoisySpeech(**{"corpus": "listed", "data_folder": "/nowhere", "num_train_noises": None} | options)


WITH_ENHANCER = {"enhancer_share": 0.5, "enhancer_noises": 10}


def test_no_speaker_and_no_noise_is_in_two_splits():
    divided = sources(**WITH_ENHANCER)
    assert sizes(speakers(divided.speech(1))) == {"train": 20, "valid": 4, "test": 4, "enhancer": 4}
    assert sum(sizes(recordings(divided.noises())).values()) == 37
    assert sum(sizes(divided.noises()).values()) == 34, "nor is a type with several files"


def test_the_same_options_give_the_same_division():
    one, other, another = sources(**WITH_ENHANCER), sources(**WITH_ENHANCER), sources(**WITH_ENHANCER, seed=1)
    assert one == other and one.options() == other.options()
    assert one.speech(1) == other.speech(2) != another.speech(1) and one.noises() == other.noises() != another.noises()


def sources_of(recipe, yaml, **values):
    """The division of a recipe's yaml, without the options of corpora that it does not read."""
    words = [f"--{key}={json.dumps(value)}" for key, value in values.items()]
    command_line = parse([str(TIMIT / recipe / "hparams" / yaml), *words])
    sources = load_hyperpyyaml(options.resolve(command_line))["sources"]
    used = {name: arguments for name, arguments in sources.corpus_options.items() if name in sources.corpus}
    return replace(sources, corpus_options=used)


@pytest.mark.parametrize(
    "quality_yaml, enhancer_yaml, folders",
    [
        ("paper.yaml", "blstm.yaml", {}),
        ("paper_real_speech.yaml", "real_speech.yaml", {"data_folder": ["/a", "/b"], "noise_folder": ["builtin", "/"]}),
    ],
)
def test_both_recipes_divide_alike(quality_yaml, enhancer_yaml, folders):
    quality = sources_of("quality", quality_yaml, **folders)
    assert quality.enhancer_share > 0 and quality.enhancer_noises
    assert quality == sources_of("enhancement", enhancer_yaml, **folders)


def test_utterances_that_pesq_cannot_score_are_left_out():
    assert {u.duration for members in sources().speech(1).values() for u in members} == {2.0}


def test_several_corpora_have_enhancer_speakers_each():
    divided = speakers(sources(corpus=["listed", "listed"], data_folder=["/a", "/b"], **WITH_ENHANCER).speech(1))
    assert {name.split("-")[0] for name in divided["enhancer"]} == {"listed0", "listed1"}
    assert sum(sizes(divided).values()) == 64


def test_loud_background_is_left_out_and_the_rest_divided(tmp_path):
    rng = np.random.default_rng(0)
    bursts = np.repeat([1.0, 0.0] * 4, 4000) * rng.uniform(-0.5, 0.5, 32000)
    for utterance in listed(tmp_path, num_each=1):
        background = 0.05 if utterance.speaker in ("train3", "test5") else 0.0005
        audio.write(utterance.path, bursts + background * rng.standard_normal(32000), 16000)
    groups = sources(data_folder=tmp_path, corpus_options={"listed": {"num_each": 1}}, min_range_db=30).speech(2)
    assert len(set.union(*speakers(groups).values())) == 30
    assert not {"train3", "test5"} & set.union(*speakers(groups).values())


def test_relative_folders_become_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    made = NoisySpeech(data_folder=["a", Path("b")], noise_folder=["builtin", "c"], test_noise_folder="")
    assert made.data_folder == [str(tmp_path / "a"), str(tmp_path / "b")]
    assert made.noise_folder == ["builtin", str(tmp_path / "c")] and made.test_noise_folder == ""


def test_recordings_join_generated_noises_but_not_those_of_the_test(tmp_path, caplog):
    (tmp_path / "own").mkdir()
    for name in ("hum", "n03x", "rain", "wind", "fan", "bell"):
        (tmp_path / "own" / f"{name}.wav").touch()
    alone = sources(noise_folder=str(tmp_path / "own")).noises()
    assert "test uses generated ones" in caplog.text and sizes(recordings(alone)) == {"test": 4, "valid": 4, "train": 2}
    joined = sources(noise_folder=["builtin", str(tmp_path / "own")]).noises()
    assert sum(sizes(recordings(joined)).values()) == 43
    assert set(joined["test"]) == set(TEST_NOISES) and not set(TEST_NOISES) & set(joined["train"] | joined["valid"])


@pytest.mark.parametrize("damage", ["silence", "reversed", "cut", "gone"])
def test_a_changed_file_of_prepared_sets_is_refused(tmp_path, damage):
    sets = PreparedSets(tmp_path, {"train": tmp_path / "train.csv"}, "an origin")
    path = tmp_path / "audio" / "a.wav"
    samples = np.linspace(-0.5, 0.5, 1600)
    audio.write(path, samples)
    assert not sets.complete()
    sets.write_about()
    sets.manifests["train"].touch()
    assert sets.complete()
    if damage == "gone":
        path.unlink()
    else:
        audio.write(path, {"silence": 0 * samples, "reversed": samples[::-1], "cut": samples[:800]}[damage])
    with pytest.raises(CorpusError, match="audio/a.wav.*train.csv"):
        sets.complete()


def test_a_recorded_noise_of_the_test_is_recognised_by_any_spelling(tmp_path, caplog):
    for name in ("004 - Baby cry", "001 - Dog bark", "002 - Rain", "003 - Sea waves"):
        for number in range(3):
            (tmp_path / "recorded" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "recorded" / name / f"{number}.ogg").touch()
    splits = sources(noise_folder=tmp_path / "recorded", valid_noises=1).noises()
    assert {path.parent.name for path in splits["test"]["baby_cry"]} == {"004 - Baby cry"}
    assert {path.parent.name for path in splits["test"]["engine"]} == {"noises"}, "generated"
    others = {path.parent.name for split in ("train", "valid") for files in splits[split].values() for path in files}
    assert others == {"001 - Dog bark", "002 - Rain", "003 - Sea waves"}
    assert "engine, white, street" in caplog.text and "baby_cry" not in caplog.text
