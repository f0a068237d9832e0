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
    """The speaker and the keyword of each utterance, (utterances,)."""
    names = [store.speakers[store.speaker_of(k)] for k in range(len(store))]
    return np.array(names), np.array([store.keywords[k] for k in store.keyword])


def one_hot(names):
    indices = np.unique(names, return_inverse=True)[1]
    return np.eye(indices.max() + 1)[indices]


def drawn(pairs):
    return {pair: [members.tolist() for members in trial_set.trials.enrolments] for pair, trial_set in pairs.items()}


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


def test_the_order_of_the_table(store):
    dvectors = np.random.default_rng(0).standard_normal((len(store), 4))
    for wished, order in ((None, WORDS), (["yo", "yo", "ok"], ["yo", "ok", "hey"])):
        result = evaluate_pairs(dvectors, pair_trials(store, 2, keywords=wished))
        assert result.keywords == order and result.table()[0, 1] == result.pairs[order[0], order[1]].metrics["eer"]


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
    "num_enrolment, keywords, message",
    [
        (0, None, "num_enrolment=0"),
        (50, None, "0 of 6 speakers .* num_enrolment=50 utterances of 'hey' .* Lower num_enrolment"),
        (2, ["ok", "okk"], "'okk' in .*Did you mean 'ok'.*hey, ok, yo"),
    ],
)
def test_impossible_options(store, num_enrolment, keywords, message):
    with pytest.raises(ConfigError, match=message):
        pair_trials(store, num_enrolment, keywords=keywords)


# Error rates --------------------------------------------------------------------------------------------------------


def test_error_rates_of_dvectors_that_tell_the_speakers_or_the_keywords(store):
    pairs, (speakers, words) = pair_trials(store, 2), labels(store)
    result = evaluate_pairs(one_hot(speakers), pairs)
    assert (result.table() == np.zeros((3, 3))).all() and 0 < result.metrics["eer_threshold"] <= 1
    assert np.allclose(evaluate_pairs(one_hot(words), pairs).table(), 0.5)
    # Speakers by one keyword alone: no errors only where enrolled and verified with it.
    by_one = np.where((words == "ok")[:, None], one_hot(speakers), 1.0)
    assert np.allclose(evaluate_pairs(by_one, pairs).table(), [[0.5, 0.5, 0.5], [0.5, 0.0, 0.5], [0.5, 0.5, 0.5]])


def test_the_metrics_are_the_means_of_the_cells_and_one_threshold(store):
    rng = np.random.default_rng(0)
    dvectors = one_hot(labels(store)[0]) @ rng.standard_normal((6, 8))
    result = evaluate_pairs(dvectors + rng.standard_normal(dvectors.shape), pair_trials(store, 2))
    for key in ("eer", "min_dcf"):
        cells = [cell.metrics[key] for cell in result.pairs.values()]
        assert result.metrics[key] == pytest.approx(np.mean(cells)) and np.ptp(cells) > 0
    targets = np.concatenate([cell.target_scores for cell in result.pairs.values()])
    nontargets = np.concatenate([cell.nontarget_scores for cell in result.pairs.values()])
    assert result.metrics["eer_threshold"] == metrics.eer(targets, nontargets)[1]


# What is left on the disk -------------------------------------------------------------------------------------------


def test_a_report_writes_results_trials_and_plots(store, tmp_path, capsys):
    dvectors = np.random.default_rng(0).standard_normal((len(store), 5))
    result = evaluate_pairs(dvectors, pair_trials(store, 2))
    report(tmp_path / "run", result, {"tested_on": "nothing"})
    written = json.loads((tmp_path / "run" / "results.json").read_text())
    assert written["tested_on"] == "nothing" and written["eer"] == pytest.approx(result.metrics["eer"])
    for (a, b), cell in result.pairs.items():
        saved = written["pairs"][f"{a} -> {b}"]
        low, high = saved.pop("eer_low"), saved.pop("eer_high")
        assert saved == pytest.approx(cell.metrics) and low < saved["eer"] < high
        again = read_trials(tmp_path / "run" / "trials" / f"{a}_to_{b}" / "trials.txt", store.utt_ids)
        assert np.array_equal(again.scores(dvectors), cell.trial_set.trials.scores(dvectors))
    assert {path.name for path in (tmp_path / "run" / "figures").iterdir()} == {"det.png", "eer_table.png"}
    shown = capsys.readouterr().out
    assert all(f"{100 * rate:.2f} %" in shown for rate in (*result.table().flatten(), result.metrics["eer"]))


def test_a_report_has_the_rates_of_an_untrained_encoder(store, tmp_path, capsys):
    rng = np.random.default_rng(0)
    trials = pair_trials(store, 2)
    result, untrained = (evaluate_pairs(rng.standard_normal((len(store), 5)), trials) for _ in range(2))
    report(tmp_path, result, {"tested_on": "nothing"}, untrained)
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["untrained_eer"] == pytest.approx(untrained.metrics["eer"])
    for (a, b), cell in untrained.pairs.items():
        assert written["pairs"][f"{a} -> {b}"]["untrained_eer"] == cell.metrics["eer"]
    assert written["eer_low"] < written["eer"] < written["eer_high"]
    assert f"untrained encoder: {100 * untrained.metrics['eer']:.2f} %" in capsys.readouterr().out
