"""What the report of a detector says."""

import numpy as np
import pytest
import torch

from speechtools.inference import KeywordDetector
from speechtools.keyword import reports
from speechtools.speaker.store import store_of
from tests.keyword.tones import silence, spoken, tokens, write_detector


def test_error_rates():
    errors, model = reports.TokenErrors(), tokens()
    spoken_tokens = [model.encode("hey google"), model.encode("snow")]
    heard = [model.encode("hey google"), model.encode("snop")]
    steps = [[token for one in item for token in (one, 0)] for item in heard]
    log_probs = torch.full((2, 30, len(model)), -9.0)
    for row, path in enumerate(steps):
        log_probs[row, torch.arange(len(path)), path] = -0.1
    errors.append(log_probs, torch.tensor([len(path) for path in steps]), [torch.tensor(t) for t in spoken_tokens])
    rates = errors.rates(model)
    assert rates["token_error_rate"] == pytest.approx(1 / 16) and rates["word_error_rate"] == pytest.approx(1 / 3)


def test_phrases_are_words_in_a_row():
    phrases = reports.phrases_of(["open the garden door", "a b"])
    assert phrases == ["garden door", "the garden"]


def test_the_threshold_lets_so_many_false_alarms_pass():
    rng = np.random.default_rng(0)
    contained = rng.random((400, 5)) < 0.1
    scores = np.where(contained, rng.uniform(0.3, 1.0, contained.shape), rng.uniform(0, 0.6, contained.shape))
    threshold, misses = reports.threshold_of(scores, contained, hours=2.0, per_hour=1.0)
    assert (scores[~contained] >= threshold).sum() == 2 * 5
    assert misses == (scores[contained] < threshold).mean() < 0.5
    with np.errstate(all="raise"):
        assert reports.threshold_of(np.ones((2, 1)), np.ones((2, 1), bool), 1.0, 1.0)[0] == 0.5


def test_a_report_sets_and_saves_the_threshold(tmp_path, capsys):
    texts = {"anna": ["hey computer", "ok google"], "bert": ["snow computer", "hey google"]}
    samples = {name: [np.concatenate([silence(0.3), spoken(t)]) for t in own] for name, own in texts.items()}
    store = store_of(
        tmp_path / "store", {name: [(wav * 2**15).astype(np.int16) for wav in own] for name, own in samples.items()}
    )
    store.keywords = [text for own in texts.values() for text in own]
    store.keyword = np.arange(4)
    folder = write_detector(tmp_path / "run" / "pretrained", threshold=0.5)
    model = KeywordDetector.from_hparams(folder, run_opts={"device": "cpu"})
    facts = {"reached": {"token_error_rate": 0.25, "word_error_rate": 0.5}}
    reports.report(tmp_path / "run", model, store, facts, per_hour=1.0)
    again = KeywordDetector.from_hparams(folder, run_opts={"device": "cpu"})
    assert again.threshold == model.threshold < 0.9 and again.facts["phrase_misses"] == 0
    output = capsys.readouterr().out
    assert "25.0 %" in output and "0.0 %" in output
    assert (tmp_path / "run" / "results.json").is_file()


def test_confusions_are_counted_in_utterances_and_their_copies(tmp_path):
    text = "hey computer"
    samples = (np.concatenate([silence(0.3), spoken(text), silence(0.3)]) * 2**15).astype(np.int16)
    store = store_of(tmp_path / "store", {name: [samples, samples] for name in ("anna", "bert")})
    store.keywords, store.keyword = [text], np.zeros(4, int)
    model = KeywordDetector.from_hparams(write_detector(tmp_path / "model"), run_opts={"device": "cpu"})
    confusions = reports.confusions_of(model, store, 100)
    (token,) = set(model.tokens.encode("hey")[1:2])
    assert confusions.heard[token].argmax() == token and confusions.heard.shape == (len(model.tokens),) * 2
    store.keywords = [""]
    assert reports.confusions_of(model, store, 100) is None
