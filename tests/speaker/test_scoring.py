"""Verification with a cohort and a calibration, in memory and in the folder of a model."""

import copy
import math
import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch

import speechtools
from speechtools.core.errors import ConfigError
from speechtools.inference import Match, SpeakerEncoder, Verdict
from speechtools.speaker.calibration import Calibration, Conditions, Term, probability
from speechtools.speaker.voices import Voice, Voices, edit_voices, read_voices, write_voices
from tests.speaker.test_inference import RATE, load, voice, write_model

SIZE = 6
TERMS = {"recordings": Term(-2.0, 0.5, 0.0, 2.0), "test_seconds": Term(0.8, 1.0, -1.0, 3.0)}


def as_norm(seed=0, size=SIZE):
    norm = speechtools.build("score-norm/as-norm", size=8, embedding_size=size, top=4)
    norm.set_cohort(torch.randn(8, size, generator=torch.Generator().manual_seed(seed)))
    return norm


def calibrated(folder, scale="as-norm", **values):
    calibration = Calibration(0.7, -1.5, scale, TERMS).to_plain()
    return write_model(folder, calibration=calibration, normalization=as_norm(), zero_bias=True, **values)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return calibrated(tmp_path_factory.mktemp("model") / "pretrained")


@pytest.fixture
def recordings(tmp_path):
    paths = []
    for number, (pitch, seconds) in enumerate(((110, 3.0), (112, 2.0), (114, 4.0), (200, 1.5))):
        paths.append(tmp_path / f"v{number}.wav")
        soundfile.write(paths[-1], voice(seconds, pitch, number), RATE)
    return paths


def ratio(verifier, model, test, recordings, test_seconds):
    """By the equations, with the cohort of the model."""
    model, test = (side.double() / side.double().norm() for side in (model, test))
    cohort, score = verifier.normalization.cohort.double(), model @ test
    statistics = [(side @ cohort.T).topk(4).values for side in (model, test)]
    normalized = np.mean([((score - s.mean()) / s.std(correction=0)).item() for s in statistics])
    terms = -2.0 * (math.log(recordings) - 0.5) + 0.8 * (math.log(test_seconds) - 1.0)
    return 0.7 * normalized - 1.5 + terms


def seconds_of(verifier, path):
    ((_, embedded),) = verifier.embed_files([path])
    return embedded.seconds


def test_a_verdict_has_the_ratio_of_its_sides(folder, recordings):
    verifier = load(folder)
    first, second = (verifier.encode_file(path) for path in recordings[2:])
    verdict = verifier.verify_files(*recordings[2:])
    expected = ratio(verifier, first, second, 1, seconds_of(verifier, recordings[3]))
    assert verdict.llr == pytest.approx(expected, abs=1e-4)
    assert verdict.probability == pytest.approx(1 / (1 + math.exp(-expected)), abs=1e-5)
    score, accepted = verdict
    assert score == pytest.approx(torch.nn.functional.cosine_similarity(first, second, dim=0).item(), abs=1e-5)
    assert accepted == (verdict.llr >= 0) == (score >= verdict.threshold)

    verifier.enroll("anna", recordings[:3])
    verdict = verifier.verify("anna", recordings[3])
    expected = ratio(verifier, verifier.voice("anna"), second, 3, seconds_of(verifier, recordings[3]))
    assert verdict.llr == pytest.approx(expected, abs=1e-4)


def test_quality_counts_if_it_is_assessed(tmp_path, recordings):
    terms = {"model_quality": Term(1.5, 2.0, 0.0, 5.0), "test_quality": Term(-3.0, 2.0, 0.0, 5.0)}
    folder = write_model(tmp_path / "q", calibration=Calibration(8.0, -4.0, "cosine", terms).to_plain(), zero_bias=True)
    verifier = load(folder)
    heard = []

    def assess(recording, sample_rate):
        heard.append(len(recording) / sample_rate)
        return SimpleNamespace(frame_scores=np.array([3.0, 4.0]) if len(heard) % 2 else np.array([1.0]))

    assert verifier.calibration.uses_quality and not Calibration(1.0, 0.0).uses_quality
    verifier.assess_quality(None)
    plain = verifier.verify_files(*recordings[:2])
    assert plain.llr == pytest.approx(8 * plain.score - 4, abs=1e-5)
    verifier.assess_quality(SimpleNamespace(assess_file=assess))
    verdict = verifier.verify_files(*recordings[:2])
    assert verdict.score == pytest.approx(plain.score, abs=1e-6) and verdict.usable is None
    assert verdict.llr == pytest.approx(plain.llr + 1.5 * (3.5 - 2) - 3.0 * (1.0 - 2), abs=1e-5)
    assert verdict.threshold == pytest.approx(plain.threshold - (1.5 * 1.5 + 3.0) / 8, abs=1e-5)
    verifier.enroll("anna", recordings[0])
    assert verifier.verify("anna", recordings[1]).llr == pytest.approx(verdict.llr, abs=1e-5)
    verifier.save_voices(tmp_path / "voices.npz")
    verifier.voices.clear()
    verifier.load_voices(tmp_path / "voices.npz")
    del heard[:1]
    assert verifier.verify("anna", recordings[1]).llr == pytest.approx(verdict.llr, abs=1e-5)
    verifier.voices["anna"] = verifier.voices["anna"].clone()  # of which nothing is known
    del heard[:1]
    assert verifier.verify("anna", recordings[1]).llr == pytest.approx(plain.llr + 3.0, abs=1e-5)
    del heard[:]
    ((_, embedded), (_, other)) = verifier.embed_files(recordings[:2])
    assert {embedded.quality, other.quality} == {3.5, 1.0}
    assert sorted(heard) == sorted([embedded.seconds, other.seconds])  # of the speech alone
    verifier.assess_quality(None)
    assert verifier.verify_files(*recordings[:2]).llr == pytest.approx(plain.llr)
    with pytest.raises(ConfigError, match="does not score recordings"):
        verifier.assess_quality(object())


def test_a_decision_assesses_quality_by_itself_if_the_calibration_uses_it(tmp_path, recordings, monkeypatch):
    terms = {"model_quality": Term(1.5, 2.0, 0.0, 5.0), "test_quality": Term(-3.0, 2.0, 0.0, 5.0)}
    folder = write_model(tmp_path / "q", calibration=Calibration(8.0, -4.0, "cosine", terms).to_plain(), zero_bias=True)
    verifier, loaded = load(folder), []

    def quality_model(**options):
        loaded.append(options)
        report = SimpleNamespace(frame_scores=np.array([4.0]))
        return SimpleNamespace(assess_file=lambda recording, sample_rate: report)

    monkeypatch.setattr(SpeakerEncoder, "QUALITY_MODEL", staticmethod(quality_model))
    verifier.encode_file(recordings[0])
    assert not loaded  # a d-vector needs none
    for decide in (
        lambda: verifier.verify_files(*recordings[:2]),
        lambda: verifier.verify("anna", recordings[1]),
        lambda: verifier.identify(recordings[1])[0],
    ):
        verdict = decide()
        assert verdict.llr == pytest.approx(8 * verdict.score - 4 + 1.5 * 2 - 3.0 * 2, abs=1e-4)
        verifier.enroll("anna", recordings[0])
    assert loaded == [{"run_opts": {"device": "cpu"}}]
    without = load(folder)
    without.assess_quality(None)
    verdict = without.verify_files(*recordings[:2])
    assert verdict.llr == pytest.approx(8 * verdict.score - 4, abs=1e-4) and len(loaded) == 1


def test_the_threshold_is_where_the_probability_is_one_half(folder, recordings):
    verifier = load(folder)
    verifier.enroll("anna", recordings[:3])
    verifier.enroll("ben", recordings[0])
    for name in ("anna", "ben"):
        for prior in (0.5, 0.01, 0.9):
            verdict = verifier.verify(name, recordings[3], prior=prior)
            assert verdict.accepted == (verdict.probability >= 0.5)
            assert verdict.probability == pytest.approx(probability(verdict.llr, prior))
            # 0.7 (s - threshold) (1/σ + 1/σ') / 2 is the distance of the ratio from that at the threshold.
            sides = [verifier.normalization.statistics(v[None])[0, 1].item() for v in (verifier.voice(name),)]
            sides.append(verifier.normalization.statistics(verifier.encode_file(recordings[3])[None])[0, 1].item())
            slope = 0.7 * (1 / sides[0] + 1 / sides[1]) / 2
            log_odds = verdict.llr + math.log(prior / (1 - prior))
            assert (verdict.score - verdict.threshold) * slope == pytest.approx(log_odds, abs=1e-3)
    # The same voiceprint, had it been enrolled from more recordings, has a higher threshold.
    one = verifier.verify("anna", recordings[3]).threshold
    verifier.restore_voice("anna", Voice(verifier.voice("anna").numpy(), 6, 9.0))
    assert verifier.verify("anna", recordings[3]).threshold > one


def test_a_threshold_that_is_passed_or_set_counts(folder, recordings):
    verifier = load(folder)
    verdict = verifier.verify_files(*recordings[:2], threshold=1.5)
    assert not verdict.accepted and verdict.threshold == 1.5 and verdict.probability is not None
    assert verifier.threshold == 0.5 != verifier.verify_files(*recordings[:2]).threshold
    verifier.threshold = 1.25
    assert verifier.verify_files(*recordings[:2]).threshold == 1.25
    for wrong in ({"prior": 0}, {"prior": 1.0}, {"prior": math.nan}, {"threshold": math.nan}):
        with pytest.raises(ConfigError, match="prior|threshold"):
            verifier.verify_files(*recordings[:2], **wrong)


def test_voices_are_ranked_by_probability(folder, recordings):
    """A voice of many recordings needs a higher score."""
    verifier = load(folder)
    verifier.enroll("one", recordings[2])
    verifier.restore_voice("many", Voice(verifier.voice("one").numpy(), 7, 20.0))
    matches = verifier.identify(recordings[3], top=2)
    assert [match.name for match in matches] == ["one", "many"]
    assert matches[0].score == pytest.approx(matches[1].score) and matches[0].llr > matches[1].llr
    ((_, of_many),) = verifier.identify_files([recordings[3]], top=2, prior=0.1)
    assert [match.llr for match in of_many] == pytest.approx([match.llr for match in matches], abs=1e-4)
    assert of_many[0].probability < matches[0].probability


def test_a_model_without_a_calibration_has_no_probability(tmp_path, recordings):
    plain = load(write_model(tmp_path / "plain", zero_bias=True))
    verdict = plain.verify_files(*recordings[:2], prior=0.9)
    assert verdict.llr is None and verdict.probability is None and verdict.threshold == 0.5
    assert repr(verdict) == f"Verdict(score={verdict.score:.3f}, accepted={verdict.accepted})"
    plain.enroll("anna", recordings[0])
    assert plain.identify(recordings[1])[0].probability is None
    with pytest.raises(ConfigError, match="not calibrated"):
        plain.rate(np.zeros(1), torch.ones(1, SIZE), torch.ones(SIZE), Conditions())


def test_results_are_tuples_with_details():
    verdict = Verdict(0.5, True, llr=1.25, probability=0.777)
    assert verdict == (0.5, True) and len(verdict) == 2 and verdict.threshold is None
    assert repr(verdict) == "Verdict(score=0.500, accepted=True, llr=1.25, probability=0.777)"
    match = Match("anna", 0.5, False, llr=-1.25, probability=0.223)
    assert repr(match) == "Match(name='anna', score=0.500, accepted=False, llr=-1.25, probability=0.223)"
    assert Match("anna", 0.5, False) == ("anna", 0.5, False)
    for result in (verdict, match):
        for twin in (copy.copy(result), pickle.loads(pickle.dumps(result))):
            assert twin == result and twin.llr == result.llr and type(twin) is type(result)
        changed = result._replace(score=0.75, probability=0.9)
        assert (changed.score, changed.accepted) == (0.75, result.accepted) and type(changed) is type(result)
        assert (changed.llr, changed.probability) == (result.llr, 0.9)


def test_both_are_saved_with_the_model(folder, tmp_path, recordings):
    verifier = load(folder)
    assert verifier.calibrated_scale == "as-norm"
    again = load(verifier.save(tmp_path / "again"))
    verdicts = [model.verify_files(*recordings[1:3]) for model in (verifier, again)]
    assert verdicts[0].llr == pytest.approx(verdicts[1].llr, abs=1e-6)
    assert again.model_id == verifier.model_id  # the voices stay those of the same encoder
    again.set_normalization(None)
    assert again.calibration is None and again.calibrated_scale == "cosine"
    bare = load(again.save(tmp_path / "bare"))
    assert bare.normalization is None and bare.verify_files(*recordings[1:3]).llr is None
    bare.set_calibration(Calibration(10.0, -5.0), 0.25)
    third = load(bare.save(tmp_path / "third"))
    verdict = third.verify_files(*recordings[1:3])
    assert verdict.llr == pytest.approx(10 * verdict.score - 5, abs=1e-6) and verdict.threshold == pytest.approx(0.5)
    assert third.threshold == 0.25
    encoder = load(tmp_path / "third", SpeakerEncoder)
    assert encoder.calibration == third.calibration


def test_what_does_not_fit_the_model_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"scale 'cosine'.*scale 'as-norm'"):
        load(calibrated(tmp_path / "a", scale="cosine"))
    calibration = Calibration(1.0, 0.0, "as-norm").to_plain()
    with pytest.raises(ConfigError, match=r"scale 'as-norm'.*scale 'cosine'"):
        load(write_model(tmp_path / "b", calibration=calibration))
    with pytest.raises(ConfigError, match="cohort does not fit d-vectors of size 6"):
        load(write_model(tmp_path / "c", normalization=as_norm(size=5)))
    with pytest.raises(ConfigError, match="calibration of the model is not valid"):
        load(write_model(tmp_path / "d", calibration={"slope": 1.0}))


def test_voices_for_other_scores_are_refused(folder, tmp_path, recordings):
    path, verifier = tmp_path / "voices.npz", load(folder)
    verifier.enroll("anna", recordings[0])
    verifier.save_voices(path)
    assert read_voices(path).scale == "cosine"
    load(write_model(tmp_path / "plain", zero_bias=True)).load_voices(path)  # the same encoder, without a cohort
    other = Voices(verifier.model_id, {"anna": Voice(np.ones(SIZE, np.float32) / 3)}, "plda")
    write_voices(tmp_path / "other.npz", other)
    assert read_voices(tmp_path / "other.npz").scale == "plda"
    with pytest.raises(ConfigError, match=r"other\.npz.*scale 'plda'.*scale 'cosine'"):
        verifier.load_voices(tmp_path / "other.npz")
    before = (tmp_path / "other.npz").read_bytes()
    with (
        pytest.raises(ConfigError, match="plda"),
        edit_voices(tmp_path / "other.npz", verifier.model_id, SIZE, "cosine"),
    ):
        pass
    assert (tmp_path / "other.npz").read_bytes() == before
