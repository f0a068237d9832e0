"""The test on several keywords: trials, error rates, the report."""

import itertools
import json
import logging

import numpy as np
import pytest

from speechtools.core import metrics
from speechtools.core.errors import ConfigError
from speechtools.keyword.evaluation import evaluate_pairs, pair_trials, report
from speechtools.speaker.store import SpeakerStore
from speechtools.speaker.trials import read_trials
from tests.speaker.stores import row, write_manifest

WORDS = ["hey", "ok", "yo"]


def write_store(folder, counts):
    """A store with a number of utterances by speaker and keyword."""
    rows = [
        row(f"{word}-{speaker}-{number}", speaker, 0, 16, keyword=word)
        for speaker, words in counts.items()
        for word, count in words.items()
        for number in range(count)
    ]
    return SpeakerStore(write_manifest(folder, rows))


@pytest.fixture
def store(tmp_path):
    return write_store(tmp_path, {f"s{k}": {"hey": 5, "ok": 4, "yo": 3 + k} for k in range(6)})


def labels(store):
    """The speaker and the keyword of each utterance."""
    names = [store.speakers[store.speaker_of(k)] for k in range(len(store))]
    return np.array(names), np.array([store.keywords[k] for k in store.keyword])


def drawn(pairs):
    return {
        pair: [(name, *members) for name, members in zip(each.trials.names, each.trials.enrolments, strict=True)]
        for pair, each in pairs.items()
    }


# Trials -------------------------------------------------------------------------------------------------------------


def test_every_voiceprint_against_every_other_utterance_of_every_ordered_pair(store):
    pairs = pair_trials(store, 2)
    assert set(pairs) == set(itertools.product(WORDS, repeat=2))
    speakers, words = labels(store)
    for (enrol, verify), trial_set in pairs.items():
        trials = trial_set.trials
        assert trials.names == store.speakers
        for name, members in zip(trials.names, trials.enrolments, strict=True):
            assert len(set(members)) == 2
            assert set(speakers[members]) == {name} and set(words[members]) == {enrol}
        enrolled = set(np.concatenate(trials.enrolments))
        tests = {k for k in np.flatnonzero(words == verify) if k not in enrolled}
        pairs_of = list(zip(trials.models.tolist(), trials.tests.tolist(), strict=True))
        assert sorted(pairs_of) == sorted(itertools.product(range(6), tests))
        assert trials.targets.tolist() == [trials.names[model] == speakers[test] for model, test in pairs_of]


def test_a_voiceprint_is_the_same_for_every_verification_keyword_and_every_order(store):
    pairs = drawn(pair_trials(store, 2))
    for enrol in WORDS:
        assert pairs[enrol, "hey"] == pairs[enrol, "ok"] == pairs[enrol, "yo"]
    assert drawn(pair_trials(store, 2, keywords=["yo", "hey"])) == pairs
    assert drawn(pair_trials(store, 2, seed=1)) != pairs


@pytest.mark.parametrize(
    "wished, order",
    [
        (None, WORDS),
        (["yo", "hey", "ok"], ["yo", "hey", "ok"]),
        (["ok"], ["ok", "hey", "yo"]),
        (["yo", "yo", "ok"], ["yo", "ok", "hey"]),
    ],
)
def test_the_order_of_the_table(store, wished, order):
    result = evaluate_pairs(np.random.default_rng(0).standard_normal((len(store), 4)), pair_trials(store, 2, 0, wished))
    assert result.keywords == order
    for (i, a), (j, b) in itertools.product(enumerate(order), repeat=2):
        assert result.table()[i, j] == result.pairs[a, b].metrics["eer"]


def test_keywords_may_be_numbers(tmp_path):
    store = write_store(tmp_path, {name: {"3": 2, "8": 2} for name in "ab"})
    assert list(pair_trials(store, 1, keywords=[8, 3])) == [("8", "8"), ("8", "3"), ("3", "8"), ("3", "3")]


def test_speakers_with_too_few_utterances_of_a_keyword_are_skipped_in_its_pairs(tmp_path, caplog):
    counts = {f"s{k}": {"hey": 3, "ok": 3} for k in range(4)}
    store = write_store(tmp_path, counts | {"t0": {"hey": 3}, "t1": {"hey": 3, "ok": 2}})
    with caplog.at_level(logging.WARNING):
        pairs = pair_trials(store, 2)
    speakers, _ = labels(store)
    for pair, trial_set in pairs.items():
        there = set(counts) | ({"t0", "t1"} if "ok" not in pair else set())
        assert set(trial_set.trials.names) == there == set(speakers[trial_set.trials.tests])
    (message,) = [record.getMessage() for record in caplog.records]
    assert "2 of 6 speakers have no more than 2 utterances of 'ok'" in message and "t0 (0), t1 (2)" in message


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"num_enrolment": 0}, "num_enrolment=0"),
        ({"num_enrolment": 50}, "0 of 6 speakers .* num_enrolment=50 utterances of 'hey' .* Lower num_enrolment"),
        ({"num_enrolment": 7}, "1 of 6 speakers|0 of 6 speakers"),
        (
            {"num_enrolment": 2, "keywords": ["ok", "okk"]},
            "'okk' in .*Did you mean 'ok'.*hey, ok, yo",
        ),
    ],
)
def test_impossible_options(store, arguments, message):
    with pytest.raises(ConfigError, match=message):
        pair_trials(store, **arguments)


# Error rates --------------------------------------------------------------------------------------------------------


def test_dvectors_that_tell_the_speakers_make_no_errors(store):
    speakers, _ = labels(store)
    dvectors = np.eye(6)[np.unique(speakers, return_inverse=True)[1]]
    result = evaluate_pairs(dvectors, pair_trials(store, 2))
    assert (result.table() == 0).all() and result.table().shape == (3, 3)
    assert result.metrics["eer"] == result.metrics["min_dcf"] == 0
    assert 0 < result.metrics["eer_threshold"] <= 1


def test_dvectors_that_tell_the_keyword_alone_are_no_better_than_chance(store):
    _, words = labels(store)
    noise = 1e-3 * np.random.default_rng(0).standard_normal((len(words), 3))
    result = evaluate_pairs(np.eye(3)[np.unique(words, return_inverse=True)[1]] + noise, pair_trials(store, 2))
    assert np.allclose(result.table(), 0.5, atol=0.2)
    result = evaluate_pairs(np.eye(3)[np.unique(words, return_inverse=True)[1]], pair_trials(store, 2))
    assert np.allclose(result.table(), 0.5)


def test_dvectors_that_tell_speakers_by_one_keyword_alone(store):
    """Only where enrolled and verified with it are there no errors."""
    speakers, words = labels(store)
    dvectors = np.eye(6)[np.unique(speakers, return_inverse=True)[1]]
    dvectors[words != "ok"] = np.ones(6)
    result = evaluate_pairs(dvectors, pair_trials(store, 2))
    assert result.pairs["ok", "ok"].metrics["eer"] == 0
    assert all(each.metrics["eer"] == pytest.approx(0.5) for pair, each in result.pairs.items() if pair != ("ok", "ok"))


def test_the_metrics_are_the_means_of_the_cells_and_one_threshold(store):
    speakers, _ = labels(store)
    rng = np.random.default_rng(0)
    dvectors = rng.standard_normal((6, 8))[np.unique(speakers, return_inverse=True)[1]]
    result = evaluate_pairs(dvectors + rng.standard_normal(dvectors.shape), pair_trials(store, 2))
    for key in ("eer", "min_dcf"):
        cells = [each.metrics[key] for each in result.pairs.values()]
        assert result.metrics[key] == pytest.approx(np.mean(cells)) and np.ptp(cells) > 0
    assert result.table().mean() == pytest.approx(result.metrics["eer"])
    scores = [
        np.concatenate([getattr(each, f"{kind}_scores") for each in result.pairs.values()])
        for kind in ("target", "nontarget")
    ]
    assert result.metrics["eer_threshold"] == metrics.eer(*scores)[1]
    for pair, each in result.pairs.items():  # the scale of the d-vectors does not matter
        scaled = evaluate_pairs(7 * result.pairs[pair].dvectors, {pair: each.trial_set})
        assert scaled.pairs[pair].metrics["eer"] == each.metrics["eer"]


# What is left on the disk -------------------------------------------------------------------------------------------


def test_a_report_writes_results_trials_and_plots(tmp_path, capsys):
    words = ["OK Google", "Hey Google"]
    store = write_store(tmp_path / "store", {f"s{k}": dict.fromkeys(words, 4) for k in range(4)})
    dvectors = np.random.default_rng(0).standard_normal((len(store), 5))
    result = evaluate_pairs(dvectors, pair_trials(store, 2, keywords=words))
    report(tmp_path / "run", result, {"tested_on": "nothing", "seed": 7})
    found = json.loads((tmp_path / "run" / "results.json").read_text())
    assert found["tested_on"] == "nothing" and found["seed"] == 7
    assert {key: found[key] for key in result.metrics} == pytest.approx(result.metrics)
    assert list(found["pairs"]) == [f"{a} -> {b}" for a in words for b in words]
    for (a, b), each in result.pairs.items():
        assert found["pairs"][f"{a} -> {b}"] == pytest.approx(each.metrics)
        path = tmp_path / "run" / "trials" / f"{a}_to_{b}".replace(" ", "-") / "trials.txt"
        again = read_trials(path, store.utt_ids)
        assert np.array_equal(again.scores(dvectors), each.trial_set.trials.scores(dvectors))
        assert np.array_equal(again.targets, each.trial_set.trials.targets)
    for name in ("det", "eer_table"):
        assert (tmp_path / "run" / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    shown = capsys.readouterr().out
    for rate in (*result.table().flatten(), result.metrics["eer"]):
        assert f"{100 * rate:.2f} %" in shown
    assert "verified with" in shown and "speakers not in training" in shown
