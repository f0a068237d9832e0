"""The cohort and the calibration that an export has, and calibration to one's own trials."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from speechtools.core import metrics
from speechtools.core.errors import CorpusError
from speechtools.speaker import calibration, evaluation, fitting
from speechtools.speaker.calibration import Conditions
from speechtools.speaker.pairs import Pair, RatedPairs
from speechtools.speaker.recalibration import recalibrate
from speechtools.speaker.store import store_of
from tests.speaker.test_inference import load, write_model

SIZE = 6


@pytest.fixture
def verifier(tmp_path, monkeypatch):
    """A model whose d-vectors are the speaker in the samples and a deviation, larger in short recordings."""
    model = load(write_model(tmp_path / "model"))
    rng = np.random.default_rng(5)

    def encode_speech(wavs):
        rows = []
        for wav in wavs:
            speaker = torch.randn(SIZE, generator=torch.Generator().manual_seed(round(wav.abs().max().item() * 2**15)))
            rows.append(speaker + torch.from_numpy(rng.normal(size=SIZE)) * (0.4 + 1600 / len(wav)))
        return torch.stack(rows).float()

    monkeypatch.setattr(model, "encode_speech", encode_speech)
    return model


def make_store(folder, first, speakers, utterances=6):
    """Speakers whose samples are their number."""
    rng = np.random.default_rng(first)
    return store_of(
        folder,
        {
            f"s{number}": [np.full(rng.integers(8000, 40000), number + 1, np.int16) for _ in range(utterances)]
            for number in range(first, first + speakers)
        },
    )


@pytest.fixture
def stores(tmp_path):
    return {
        "a": {"train": make_store(tmp_path / "a", 0, 40), "valid": make_store(tmp_path / "c", 300, 25)},
        "b": {"train": make_store(tmp_path / "b", 100, 90, 1), "valid": make_store(tmp_path / "d", 400, 12)},
    }


def test_the_cohort_is_drawn_from_all_sources_in_turn(verifier, stores, monkeypatch):
    train = {name: of_source["train"] for name, of_source in stores.items()}
    drawn = []
    monkeypatch.setattr(fitting, "_read", lambda store, utterance: drawn.append((store, utterance)) or torch.ones(8000))
    cohort = fitting.cohort_dvectors(verifier, list(train.values()), 60)
    assert cohort.shape == (60, SIZE)
    speakers = [{store.speaker_of(u) for store, u in drawn if store is of} for of in train.values()]
    assert [len(part) for part in speakers] == [30, 30]
    assert len(drawn) == 30 * fitting.COHORT_UTTERANCES + 30  # one utterance of each speaker of the second source
    assert len(fitting.cohort_dvectors(verifier, list(train.values()), 300)) == 130  # all
    drawn.clear()
    fitting.cohort_dvectors(verifier, list(train.values()), 60)
    assert [{s.speaker_of(u) for s, u in drawn if s is of} for of in train.values()] == speakers


def test_scores_are_normalised_and_calibrated(verifier, stores):
    facts = fitting.fit_scoring(verifier, stores, cohort_size=70)
    assert verifier.calibrated_scale == "as-norm" == verifier.calibration.scale
    assert verifier.normalization.cohort.shape == (70, SIZE)
    assert {"recordings", "model_seconds", "test_seconds"} == set(verifier.calibration.terms)
    assert verifier.calibration.terms["recordings"].weight < 0  # voices of several recordings have higher scores
    assert facts["min_cllr"] <= facts["cllr"] < 1.15 * facts["min_cllr"] and 0 < facts["eer"] < 0.3
    first = verifier.calibration
    plain = fitting.fit_scoring(verifier, stores, score_norm=None)
    assert verifier.normalization is None and verifier.calibration.scale == "cosine" and plain["target_trials"] > 100
    assert first.slope != verifier.calibration.slope


def test_numbers_of_recordings_and_speakers_count_the_same():
    recordings, first, second = np.array([[1, 1, 1, 1, 2, 2], [0, 0, 0, 1, 0, 1], [0, 0, 0, 1, 1, 2]])
    weights = fitting._weights(recordings, first, second)
    np.testing.assert_allclose(weights, [1 / 12, 1 / 12, 1 / 12, 1 / 4, 1 / 4, 1 / 4])


def test_degradations_and_quality_are_used(verifier, stores):
    heard = []

    def assess(wav, sample_rate):
        heard.append(len(wav))
        return SimpleNamespace(frame_scores=np.array([1.0, 1.0 + len(wav) / sample_rate]))

    model = SimpleNamespace(assess_file=assess)
    fitting.fit_scoring(verifier, stores, degradations=["clipping", "level(gain_db=-6)"], quality=model)
    assert {"model_quality", "test_quality"} <= set(verifier.calibration.terms)
    assert len(heard) == 3 * (25 + 12) * 6  # whole, cut, degraded


def test_few_speakers_give_no_cohort_and_no_calibration(verifier, stores, tmp_path, caplog):
    few = make_store(tmp_path / "few", 900, 4)
    assert fitting.fit_scoring(verifier, {"a": {"train": few, "valid": few}}) == {}
    assert verifier.normalization is None and verifier.calibration is None
    assert "4, a cohort" in caplog.text.replace("of 4 speakers", "4") and "not calibrated: 4 speakers" in caplog.text
    single = make_store(tmp_path / "single", 950, 30, 1)  # no target trials
    alone = {"single": {"train": few, "valid": single}}
    assert fitting.fit_scoring(verifier, alone) == {} and verifier.calibration is None
    assert fitting.fit_scoring(verifier, stores | alone | {"unvalidated": {"train": few}})["cllr"] < 1


def test_a_result_has_the_metrics_of_the_calibration(verifier, stores):
    store = stores["a"]["valid"]
    trial_set = evaluation.trials_of(store, num_enrolment=2)
    dvectors = torch.cat([verifier.encode_speech([fitting._read(store, u)]) for u in range(len(store))])
    plain = evaluation.evaluate(dvectors, trial_set)
    seconds = store.num_samples / 16000
    assert evaluation.with_calibration({"a": plain}, verifier, {"a": store}) == {"a": plain}
    fitting.fit_scoring(verifier, stores)
    result = evaluation.with_calibration({"a": plain}, verifier, {"a": store})["a"]
    assert result.metrics["eer"] == plain.metrics["eer"] and result.metrics["min_cllr"] == plain.metrics["min_cllr"]
    trials = trial_set.trials
    scores = trials.scores(dvectors.numpy(), None, verifier.normalization)
    enrolled = np.array([seconds[members].sum() for members in trials.enrolments])[trials.models]
    given = Conditions(recordings=2, model_seconds=enrolled, test_seconds=seconds[trials.tests])
    ratios = verifier.calibration.llr(scores, given)
    assert result.metrics["cllr"] == pytest.approx(metrics.cllr(ratios[trials.targets], ratios[~trials.targets]))
    assert result.metrics["misses"] == pytest.approx((ratios[trials.targets] < 0).mean())
    assert result.metrics["calibrated_min_cllr"] <= result.metrics["cllr"]


def test_a_result_has_the_metrics_of_a_calibration_with_quality(verifier, stores):
    store = stores["a"]["valid"]
    trial_set = evaluation.trials_of(store, num_enrolment=2)
    scores = trial_set.trials.scores(dvectors := np.random.default_rng(0).normal(size=(len(store), SIZE)))
    plain = evaluation.evaluate(dvectors, trial_set)
    terms = {name: calibration.Term(2.0, 1.0, 0.0, 9.0) for name in ("model_quality", "test_quality")}
    verifier.set_calibration(calibration.Calibration(1.0, 0.0, terms=terms))
    model = SimpleNamespace(assess_file=lambda wav, sample_rate: SimpleNamespace(frame_scores=len(wav) / sample_rate))
    seconds, trials = store.num_samples / 16000, trial_set.trials
    enrolled = np.array([seconds[members].mean() for members in trials.enrolments])[trials.models]
    for quality, shift in ((model, 2 * (enrolled - 1) + 2 * (seconds[trials.tests] - 1)), (None, 0.0)):
        ratios = scores + shift
        result = evaluation.with_calibration({"a": plain}, verifier, {"a": store}, quality)["a"]
        assert result.metrics["cllr"] == pytest.approx(metrics.cllr(ratios[trials.targets], ratios[~trials.targets]))


# ------------------------------------------------------------------------------------------------------ own recordings


def own_trials(speakers=12, seed=0, scale=1.0):
    """All pairs of 4 recordings of each speaker, with cosines."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(speakers), 4)
    first, second = np.triu_indices(len(labels), 1)
    targets = labels[first] == labels[second]
    pairs = [
        Pair(n, bool(t), f"{a}.wav", f"{b}.wav") for n, (t, a, b) in enumerate(zip(targets, first, second, strict=True))
    ]
    scores = scale * np.clip(rng.normal(np.where(targets, 0.6, 0.2), 0.15), -1, 1)
    seconds = rng.uniform(1, 9, len(labels))
    known = Conditions(np.ones(len(pairs)), seconds[first], seconds[second])
    return pairs, RatedPairs(scores, scores, None, known, {}), targets


def test_a_model_without_calibration_gets_one(verifier):
    pairs, rated, targets = own_trials()
    result = recalibrate(verifier, pairs, rated)
    values = result.metrics()
    assert values["min_cllr"] <= values["cllr"] < 1.3 * values["min_cllr"] and "former_cllr" not in values
    assert result.threshold == metrics.eer(rated.scores[targets], rated.scores[~targets])[1] and result.speakers == 12
    assert abs(result.calibration.threshold() - 0.4) < 0.05
    assert verifier.calibration is None
    result.apply(verifier)
    assert verifier.calibration == result.calibration and verifier.threshold == result.threshold
    assert verifier.facts["calibration"]["target_trials"] == targets.sum() == 72
    assert verifier.card.count("## Calibration") == 1 and "72 target" in verifier.card


def test_the_calibration_of_a_model_keeps_its_terms(verifier):
    terms = {"test_seconds": calibration.Term(-1.0, 1.0, 0.0, 3.0)}
    verifier.set_calibration(calibration.Calibration(90.0, 10.0, "cosine", terms))  # far too sure
    pairs, rated, _ = own_trials()
    former = verifier.calibration.llr(rated.scores, rated.conditions)
    rated = RatedPairs(rated.scores, rated.scores, former, rated.conditions, {})
    result = recalibrate(verifier, pairs, rated)
    values = result.metrics()
    assert values["former_cllr"] > 3 * values["cllr"] and values["cllr"] < 1.3 * values["min_cllr"]
    ratio = result.calibration.slope / 90
    assert result.calibration.terms["test_seconds"].weight == pytest.approx(-ratio)
    result.apply(verifier)
    again = recalibrate(verifier, pairs, RatedPairs(rated.scores, rated.scores, None, rated.conditions, {}))
    assert again.calibration.slope == pytest.approx(result.calibration.slope, rel=0.02)
    again.apply(verifier)
    assert verifier.card.count("## Calibration") == 1


def test_lists_that_are_too_short_are_refused(verifier):
    pairs, rated, targets = own_trials()
    few = np.flatnonzero(targets)[:7].tolist() + np.flatnonzero(~targets)[:50].tolist()
    part = RatedPairs(rated.scores[few], rated.scores[few], None, rated.conditions[few], {})
    with pytest.raises(CorpusError, match="7 target and 50 non-target trials.*20 of each"):
        recalibrate(verifier, [pairs[n] for n in few], part)
    lost = np.where(targets, np.nan, rated.scores)
    with pytest.raises(CorpusError, match="0 target"):
        recalibrate(verifier, pairs, RatedPairs(lost, lost, None, rated.conditions, {}))
    pairs, rated, _ = own_trials(speakers=4)
    with pytest.raises(CorpusError, match="4 speakers.*needs 5"):
        recalibrate(verifier, pairs, rated)
    pairs, rated, targets = own_trials()
    narrow = np.flatnonzero(targets | np.array([pair.first == "0.wav" for pair in pairs])).tolist()
    part = RatedPairs(rated.scores[narrow], rated.scores[narrow], None, rated.conditions[narrow], {})
    with pytest.raises(CorpusError, match="cannot be divided.*no non-target trials.*Add trials between all speakers"):
        recalibrate(verifier, [pairs[n] for n in narrow], part)
