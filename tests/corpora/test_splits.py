"""Splits share no speaker and no noise type, and are the same for the same seed."""

from pathlib import Path

import pytest

from speechtools.core.errors import ConfigError, CorpusError
from speechtools.corpora.splits import select_noises, set_aside, split_noises, split_speakers
from speechtools.corpora.utterance import Utterance


def utterances(speakers, each=3, split=""):
    return [
        Utterance(f"{split}{s}-{u}", f"{split}{s}", split, Path(f"/nowhere/{s}-{u}.wav"), 2.0)
        for s in range(speakers)
        for u in range(each)
    ]


def noise_types(count):
    return {f"n{i:02d}": [Path(f"/noise/n{i:02d}.wav")] for i in range(count)}


def test_a_corpus_without_a_division_is_divided_by_speaker():
    groups = split_speakers(utterances(40), heldout_share=0.25, valid_share=0.4, seed=0)
    speakers = {split: {u.speaker for u in members} for split, members in groups.items()}
    assert {split: len(s) for split, s in speakers.items()} == {"train": 30, "valid": 4, "test": 6}
    assert not speakers["train"] & speakers["test"] and not speakers["valid"] & (speakers["train"] | speakers["test"])


def test_a_corpus_keeps_its_own_division():
    spoken = utterances(6, split="train") + utterances(8, split="test")
    groups = split_speakers(spoken, 0.25, 0.25, seed=0)
    assert {u.split for u in groups["train"]} == {"train"}
    assert {u.split for u in groups["valid"] + groups["test"]} == {"test"}
    assert len({u.speaker for u in groups["valid"]}) == 2
    with_valid = split_speakers(spoken + utterances(3, split="valid"), 0.25, 0.25, seed=0)
    assert {u.split for u in with_valid["valid"]} == {"valid"}


def test_a_speaker_in_two_splits():
    spoken = [
        Utterance("a", "anna", "train", Path("/a.wav"), 1.0),
        Utterance("b", "anna", "test", Path("/b.wav"), 1.0),
    ]
    with pytest.raises(CorpusError, match="'anna'.*test, train"):
        split_speakers(spoken, 0.25, 0.25, 0)


def test_too_few_speakers():
    with pytest.raises(CorpusError, match="none for valid"):
        split_speakers(utterances(2), 0.5, 0.25, 0)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_share_of_the_test_speakers_is_set_aside(share):
    groups = split_speakers(utterances(40), heldout_share=0.5, valid_share=0.5, seed=0)
    divided = set_aside(groups, share, seed=0)
    speakers = {split: {u.speaker for u in members} for split, members in divided.items()}
    assert {split: len(s) for split, s in speakers.items()} == {
        "train": 20,
        "valid": 10,
        "test": 10 - round(10 * share),
        "enhancer": round(10 * share),
    }
    assert len(set.union(*speakers.values())) == 40
    assert sorted(divided["test"] + divided["enhancer"], key=lambda u: u.utt_id) == groups["test"]
    assert set_aside(groups, share, seed=0) == divided != set_aside(groups, share, seed=1)
    assert set_aside(groups, 0, seed=0) == groups


@pytest.mark.parametrize("share", [0.01, 0.99, 1.5, -0.5])
def test_shares_that_leave_nobody(share):
    groups = split_speakers(utterances(40), heldout_share=0.5, valid_share=0.5, seed=0)
    with pytest.raises(ConfigError, match=f"enhancer_share={share}"):
        set_aside(groups, share, seed=0)


def test_a_test_type_from_another_folder_is_kept_out_of_training_by_its_name():
    types = noise_types(6) | {"engine": [Path("/noise/engine.wav")]}
    split = split_noises(types, ["engine"], 1, None, 0, test_types={"engine": [Path("/other/engine.wav")]})
    assert split["test"] == {"engine": [Path("/other/engine.wav")]}
    assert "engine" not in split["train"] | split["valid"]
    grouped = split_noises(types, {"motor": ["engine"]}, 1, None, 0)
    assert "engine" not in grouped["train"] | grouped["valid"]


def test_the_number_of_training_noises_counts_recordings():
    types = {f"family{i}": [Path(f"/f{i}-{j}.wav") for j in range(3)] for i in range(8)}
    split = split_noises(types, ["family0"], 2, 10, 0)
    assert sum(map(len, split["train"].values())) == 10


def test_one_pattern_may_be_given_as_text():
    assert list(select_noises(noise_types(3), "n01", "valid_noises")) == ["n01"]


def test_noise_splits_share_no_file():
    types = noise_types(20)
    split = split_noises(types, {"street": ["n03", "n04"], "white": "n00"}, valid=4, num_train=10, seed=0)
    assert list(split["test"]) == ["street", "white"] and len(split["test"]["street"]) == 2
    files = {name: {f for group in members.values() for f in group} for name, members in split.items()}
    assert [len(files[name]) for name in ("train", "valid", "test")] == [10, 4, 3]
    assert len(set.union(*files.values())) == 17
    everything = split_noises(types, {"white": "n00"}, valid=["n01", "n1*"], num_train=None, seed=0)
    assert len(everything["valid"]) == 11 and len(everything["train"]) == 8


@pytest.mark.parametrize("valid, enhancer", [(4, 3), (["n0[1-4]"], ["n06", "n1[0-4]"]), (["n0[1-4]"], 5)])
def test_the_enhancers_noises_are_in_no_other_split(valid, enhancer):
    types = noise_types(20)
    split = split_noises(types, {"street": ["n05"], "white": "n00"}, valid, None, 0, enhancer=enhancer)
    names = {part: {path.stem for files in members.values() for path in files} for part, members in split.items()}
    assert {part: len(found) for part, found in names.items()} == {
        "test": 2,
        "valid": 4,
        "enhancer": len(names["enhancer"]),
        "train": 14 - len(names["enhancer"]),
    }
    assert len(names["enhancer"]) == enhancer if isinstance(enhancer, int) else names["enhancer"] >= {"n06", "n10"}
    assert len(set.union(*names.values())) == 20


def test_the_enhancer_takes_no_other_splits_noises_and_theirs_change_not_its():
    types = noise_types(20)
    chosen = {}
    for num_train in (None, 5):
        for enhancer in (0, 4):
            chosen[num_train, enhancer] = split_noises(types, ["n00"], 3, num_train, 0, enhancer=enhancer)
    assert "enhancer" not in chosen[None, 0] and "enhancer" not in chosen[5, 0]
    assert chosen[5, 4]["enhancer"] == chosen[None, 4]["enhancer"]
    assert chosen[5, 4]["train"] == chosen[5, 0]["train"], "drawn from the other end"
    for split in chosen.values():
        assert (split["valid"], split["test"]) == (chosen[None, 0]["valid"], chosen[None, 0]["test"])


def test_a_test_noise_left_out_with_null():
    chosen = select_noises(noise_types(2), {"a": "n00", "b": None}, "test_noises")
    assert list(chosen) == ["a"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(test=["engine"], valid=1, num_train=None), "test_noises.*'engine'"),
        (dict(test=["n00"], valid=["n00"], num_train=None), "valid_noises and test_noises"),
        (dict(test=["n00"], valid=3, num_train=None), "valid_noises=3"),
        (dict(test=["n00"], valid=1, num_train=3), "num_train_noises=3"),
        (dict(test=["n00"], valid=["n01", "n02", "n03"], num_train=None), "left for training"),
        (dict(test=["n00"], valid=1, num_train=None, enhancer=2), "enhancer_noises=2"),
        (
            dict(test=["n00"], valid=["n01"], num_train=None, enhancer=["n01"]),
            "enhancer_noises.*'n01'",
        ),
        (dict(test=["n00"], valid=1, num_train=None, enhancer=["n9"]), "enhancer_noises.*'n9'"),
    ],
)
def test_impossible_noise_splits(arguments, message):
    with pytest.raises(ConfigError, match=message):
        split_noises(noise_types(4), seed=0, **arguments)
