"""Splits share no speaker and no noise type, and are the same for the same seed."""

from pathlib import Path

import pytest

from speechtools.core.errors import ConfigError, CorpusError
from speechtools.corpora.splits import noise_key, select_noises, set_aside, split_noises, split_speakers
from speechtools.corpora.utterance import Utterance


def utterances(speakers, each=3, split=""):
    return [
        Utterance(f"{split}{s}-{u}", f"{split}{s}", split, Path(f"/nowhere/{s}-{u}.wav"), 2.0)
        for s in range(speakers)
        for u in range(each)
    ]


def noise_types(count):
    return {f"n{i:02d}": [Path(f"/noise/n{i:02d}.wav")] for i in range(count)}


def speakers(groups):
    return {split: {u.speaker for u in members} for split, members in groups.items()}


def sizes(groups):
    """The number of members of each group; no member is in two."""
    assert sum(map(len, groups.values())) == len(set.union(*map(set, groups.values())))
    return {split: len(members) for split, members in groups.items()}


def recordings(split):
    return {name: {path for files in types.values() for path in files} for name, types in split.items()}


def test_a_corpus_without_a_division_is_divided_by_speaker():
    groups = split_speakers(utterances(40), heldout_share=0.25, valid_share=0.4, seed=0)
    assert sizes(speakers(groups)) == {"train": 30, "valid": 4, "test": 6}


def test_a_corpus_keeps_its_own_division():
    spoken = utterances(6, split="train") + utterances(8, split="test")
    groups = split_speakers(spoken, 0.25, 0.25, seed=0)
    assert sizes(speakers(groups)) == {"train": 6, "valid": 2, "test": 6}
    assert {u.split for u in groups["valid"] + groups["test"]} == {"test"}
    with_valid = split_speakers(spoken + utterances(3, split="valid"), 0.25, 0.25, seed=0)
    assert {u.split for u in with_valid["valid"]} == {"valid"}


def test_a_share_without_effect_is_logged_and_an_empty_split_counts_as_train(caplog):
    spoken = utterances(6, split="") + utterances(6, split="train") + utterances(3, split="valid")
    with caplog.at_level("INFO"):
        groups = split_speakers(spoken, 0.25, 0.25, seed=0, valid_from="train")
    assert "valid_share has no effect" in caplog.text and "heldout_share" not in caplog.text
    assert {u.split for u in groups["train"] + groups["test"]} == {"", "train"}


def test_impossible_splits_of_speakers():
    spoken = [Utterance(split, "anna", split, Path("/a.wav"), 1.0) for split in ("train", "test")]
    with pytest.raises(CorpusError, match="'anna'.*test, train"):
        split_speakers(spoken, 0.25, 0.25, 0)
    with pytest.raises(CorpusError, match="heldout_share and valid_share"):
        split_speakers(spoken, 0.25, 0.25, 0)
    with pytest.raises(CorpusError, match="none for valid"):
        split_speakers(utterances(2), 0.5, 0.25, 0)


def test_a_share_of_the_test_speakers_is_set_aside():
    groups = split_speakers(utterances(40), heldout_share=0.5, valid_share=0.5, seed=0)
    divided = set_aside(groups, 0.2, seed=0)
    assert sizes(speakers(divided)) == {"train": 20, "valid": 10, "test": 8, "enhancer": 2}
    assert sorted(divided["test"] + divided["enhancer"], key=lambda u: u.utt_id) == groups["test"]
    assert set_aside(groups, 0.2, seed=0) == divided != set_aside(groups, 0.2, seed=1)
    assert set_aside(groups, 0, seed=0) == groups
    for share in (0.01, 0.99):
        with pytest.raises(ConfigError, match=f"enhancer_share={share}"):
            set_aside(groups, share, seed=0)


def test_a_test_type_from_another_folder_is_kept_out_of_training_by_its_name():
    types = noise_types(6) | {"engine": [Path("/noise/engine.wav")]}
    split = split_noises(types, ["engine"], 1, None, 0, test_types={"engine": [Path("/other/engine.wav")]})
    assert split["test"] == {"engine": [Path("/other/engine.wav")]}
    assert "engine" not in split["train"] | split["valid"]
    grouped = split_noises(types, {"motor": ["engine"]}, 1, None, 0)
    assert "engine" not in grouped["train"] | grouped["valid"]


def test_noise_splits_share_no_file_and_the_number_for_training_counts_recordings():
    types = noise_types(20) | {f"family{i}": [Path(f"/f{i}-{j}.wav") for j in range(3)] for i in range(8)}
    split = split_noises(types, {"street": ["n03", "n04"], "white": "n00"}, valid=["n1*"], num_train=10, seed=0)
    assert list(split["test"]) == ["street", "white"] and len(split["test"]["street"]) == 2
    assert sizes(recordings(split)) == {"test": 3, "valid": 10, "train": 10}


@pytest.mark.parametrize("valid, enhancer", [(4, 3), (["n0[1-4]"], ["n06", "n1[0-1]"]), (["n0[1-4]"], 3)])
def test_the_enhancers_noises_are_in_no_other_split(valid, enhancer):
    arguments = noise_types(20), {"street": ["n05"], "white": "n00"}, valid, None, 0
    split = split_noises(*arguments, enhancer=enhancer)
    assert sizes(recordings(split)) == {"test": 2, "valid": 4, "enhancer": 3, "train": 11}
    assert isinstance(enhancer, int) or set(split["enhancer"]) == {"n06", "n10", "n11"}
    without = split_noises(*arguments)
    assert (split["valid"], split["test"]) == (without["valid"], without["test"])


def test_the_numbers_for_training_and_the_enhancer_do_not_change_each_others_noises():
    arguments = noise_types(20), ["n00"], 3
    everything, both, few = (split_noises(*arguments, n, 0, enhancer=e) for n, e in ((None, 4), (5, 4), (5, 0)))
    assert both["enhancer"] == everything["enhancer"] and "enhancer" not in few
    assert both["train"] == few["train"], "drawn from the other end"


def test_patterns_may_be_one_text_or_null():
    assert list(select_noises(noise_types(3), "n01", "valid_noises")) == ["n01"]
    assert list(select_noises(noise_types(2), {"a": "n00", "b": None}, "test_noises")) == ["a"]


@pytest.mark.parametrize(
    "test, valid, num_train, enhancer, message",
    [
        ("engine", 1, None, 0, "test_noises.*'engine'"),
        ("n00", ["n00"], None, 0, "valid_noises and test_noises"),
        ("n00", 3, None, 0, "valid_noises=3"),
        ("n00", 1, 3, 0, "num_train_noises=3"),
        ("n00", ["n01", "n02", "n03"], None, 0, "left for training"),
        ("n00", ["n01"], None, ["n01"], "enhancer_noises.*'n01'"),
    ],
)
def test_impossible_noise_splits(test, valid, num_train, enhancer, message):
    with pytest.raises(ConfigError, match=message):
        split_noises(noise_types(4), [test], valid, num_train, seed=0, enhancer=enhancer)


SPELLINGS = ["baby_cry", "004 - Baby cry", "BabyCry_01", "BABY-CRY", "baby cry 2", "babyCry", "crying_baby"]


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_noise_of_the_test_is_not_trained_on_whatever_its_spelling(name):
    types = noise_types(8) | {name: [Path(f"/noise/{name}/{number}.wav") for number in range(5)]}
    generated = {"baby_cry": [Path("/generated/baby_cry.wav")]}
    for test_types in (None, generated):
        splits = split_noises(types, {"baby_cry": "baby_cry"}, 2, None, 0, test_types=test_types)
        assert not {"train", "valid"} & {split for split, group in recordings(splits).items() if name in group}
        assert sizes(recordings(splits)).keys() == {"test", "train", "valid"} and len(splits["test"]) == 1
    with pytest.raises(ConfigError, match="valid_noises"):
        split_noises(types, ["baby_cry"], [name], None, 0)


def test_spellings_of_one_type_are_in_one_split():
    types = {name: [Path(f"/noise/{name}.wav")] for name in [*SPELLINGS, "rain", "002 - Rain", "Wind 1", "wind-2"]}
    splits = split_noises(types, ["Baby*"], 1, None, 0)
    assert sizes(splits) == {"test": 1, "valid": 1, "train": 1}
    assert len(sum(splits["test"].values(), [])) == len(SPELLINGS)


@pytest.mark.parametrize(
    "names", [["n1", "n12", "n01x"], ["noise_1", "noise_2"], ["1-100032-A-0", "1-100038-A-14"], ["1", "2"]]
)
def test_numbers_tell_types_without_a_name_apart(names):
    assert len({noise_key(name) for name in names}) == len(names)
