"""The mixing protocol: counts as asked, nothing clips, one seed one plan, any degradation."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest

import speechtools
from speechtools import audio
from speechtools.core import registry
from speechtools.core.errors import ConfigError, CorpusError, PluginError
from speechtools.corpora import mixtures as mixing
from speechtools.corpora.utterance import Utterance
from tests.corpora.test_splits import noise_types, utterances
from tests.degradations.test_noise import RNG, write


def test_training_uses_every_utterance_once():
    spoken, noises = utterances(20), noise_types(7)
    plan = mixing.plan_training(spoken, noises, [-10, 0, 10], num_clean=11, mixtures_per_utterance=1, seed=0)
    assert sorted(m.utt_id for m in plan) == sorted(u.utt_id for u in spoken)
    subsets = Counter(m.subset for m in plan)
    assert subsets == {"clean": 11, "noisy": 49}
    noisy = [m for m in plan if m.subset == "noisy"]
    for counts in (Counter(m.noise_type for m in noisy), Counter(m.snr_db for m in noisy)):
        assert max(counts.values()) - min(counts.values()) <= 1
    assert set(Counter(m.snr_db for m in noisy)) == {-10.0, 0.0, 10.0}


def test_more_mixtures_an_utterance_differ_from_each_other():
    plan = mixing.plan_training(utterances(10), noise_types(9), [0, 5, 10], 6, mixtures_per_utterance=4, seed=0)
    noisy = Counter(m.utt_id for m in plan if m.subset == "noisy")
    assert set(noisy.values()) == {4} and len(plan) == 6 + 24 * 4
    assert len({m.mixture_id for m in plan}) == len({m.seed for m in plan if m.noise}) + 6 == len(plan)


def test_clean_copies_add_every_noisy_utterance_once_more():
    plan = mixing.plan_training(utterances(10), noise_types(9), [0], 6, 2, 0, clean_copies=True)
    assert sorted(m.utt_id for m in plan if m.subset == "clean") == sorted(u.utt_id for u in utterances(10))
    without = mixing.plan_training(utterances(10), noise_types(9), [0], 6, 2, 0)
    assert plan[: len(without)] == without


def test_the_papers_test_set_has_2500_files():
    noises = {name: [Path(f"/{name}.wav")] for name in ("engine", "white", "street", "baby_cry")}
    plan = mixing.plan_test(utterances(60), noises, [-6, 0, 6, 12, 18, 24], 100, "test", seed=0)
    assert Counter(m.subset for m in plan) == {"clean": 100, "noisy": 2400}
    assert len({m.utt_id for m in plan}) == 100
    assert set(Counter((m.noise_type, m.snr_db) for m in plan if m.noise).values()) == {100}


def test_the_papers_training_set_is_250_clean_and_half_of_the_rest_enhanced():
    spoken, noises = utterances(462, each=10), noise_types(90)
    snrs = [-10, -5, 0, 5, 10, 15, 20, 25]
    plan = mixing.plan_training(spoken, noises, snrs, 250, 1, seed=0, enhanced_share=0.5)
    assert Counter(m.subset for m in plan) == {"clean": 250, "noisy": 2185, "enhanced": 2185}
    assert sorted(m.utt_id for m in plan) == sorted(u.utt_id for u in spoken)
    for subset in ("noisy", "enhanced"):
        counts = Counter(m.snr_db for m in plan if m.subset == subset)
        assert set(counts) == set(snrs) and max(counts.values()) < 1.3 * min(counts.values())
    without = mixing.plan_training(spoken, noises, snrs, 250, 1, seed=0)
    assert [noisy_twin(m) for m in plan] == without, "some are enhanced, and nothing else changes"


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_all_mixtures_of_an_utterance_are_enhanced_or_none(share):
    plan = mixing.plan_training(
        utterances(10), noise_types(9), [0, 5], 10, 4, seed=0, clean_copies=True, enhanced_share=share
    )
    enhanced, noisy = ({m.utt_id for m in plan if m.subset == subset} for subset in ("enhanced", "noisy"))
    assert len(enhanced) == round(share * 20) and not enhanced & noisy and len(enhanced | noisy) == 20
    assert len({m.mixture_id for m in plan}) == len(plan)


def test_the_papers_test_set_has_4900_files():
    noises = {name: [Path(f"/{name}.wav")] for name in ("engine", "white", "street", "baby_cry")}
    arguments = (utterances(60), noises, [-6, 0, 6, 12, 18, 24], 100, "test")
    plan = mixing.plan_test(*arguments, seed=0, enhanced=True)
    assert Counter(m.subset for m in plan) == {"clean": 100, "noisy": 2400, "enhanced": 2400}
    assert len({m.utt_id for m in plan}) == 100 and len({m.mixture_id for m in plan}) == 4900
    noisy, enhanced = ([m for m in plan if m.subset == subset] for subset in ("noisy", "enhanced"))
    assert [noisy_twin(m) for m in enhanced] == noisy, "the same noise, offset and SNR"
    assert [m for m in plan if m.subset != "enhanced"] == mixing.plan_test(*arguments, seed=0)


def noisy_twin(mixture):
    """What an enhanced mixture was before; any other as it is."""
    name = mixture.mixture_id.replace("enhanced", "noisy")
    return replace(mixture, subset=mixture.subset.replace("enhanced", "noisy"), mixture_id=name)


def test_the_same_seed_makes_the_same_plan():
    def plan(seed):
        return mixing.plan_training(utterances(9), noise_types(5), [0, 5], 3, 1, seed)

    assert plan(1) == plan(1)
    assert plan(1) != plan(2)


@pytest.mark.parametrize("count", [61, -1])
def test_too_many_clean_utterances(count):
    with pytest.raises(ConfigError, match=f"num_clean_train={count}"):
        mixing.plan_training(utterances(20), noise_types(2), [0], count, 1, 0)


def test_too_many_test_utterances():
    with pytest.raises(ConfigError, match="num_test_utterances=100"):
        mixing.plan_test(utterances(2), noise_types(1), [0], 100, "test", 0)


# ------------------------------------------------------------------------------------------------------ degradations


def test_other_degradations_are_dealt_as_often_as_noise_and_leave_its_mixtures_alone():
    arguments = utterances(20), noise_types(7), [0, 10], 12, 2, 0
    plan = mixing.plan_training(*arguments, degradations=["clipping", {"clipping": {"max_level": 0.1}}])
    assert Counter(m.subset for m in plan) == {"clean": 12, "noisy": 32, "clipping": 64}
    assert Counter(m.options.get("max_level") for m in plan if m.subset == "clipping") == {None: 32, 0.1: 32}
    assert {m for m in map(str, plan) if "'noisy'" in m} < set(map(str, mixing.plan_training(*arguments)))
    assert len({m.mixture_id for m in plan}) == len(plan)


def test_every_test_utterance_has_every_degradation():
    arguments = utterances(6), noise_types(2), [0, 10], 5, "test", 0
    plan = mixing.plan_test(*arguments, degradations="clipping", enhanced=True)
    assert Counter(m.subset for m in plan) == {"clean": 5, "noisy": 20, "clipping": 5, "enhanced": 25}
    assert [m for m in plan if m.subset in ("clean", "noisy")] == mixing.plan_test(*arguments)
    assert len({m.mixture_id for m in plan}) == len(plan)


@pytest.mark.parametrize(
    "degradations, error, token",
    [
        (["clippin"], PluginError, "clipping"),
        ([{"clipping": {"level": 1}}], PluginError, "max_level"),
        ([{"clipping": {"max_level": 2.0}}], ConfigError, "max_level"),
        ([3], ConfigError, "degradations"),
    ],
)
def test_wrong_degradations(degradations, error, token):
    with pytest.raises(error, match=token):
        mixing.parse_degradations(degradations)


def test_degraded_files_are_what_the_plugin_makes(recordings, tmp_path):
    speech = recordings[0].speech
    spoken = Utterance("u", "s", "test", speech, 0.5)
    degradations = [{"clipping": {"max_level": 0.3}}, {"noise": {"noise_folder": str(tmp_path / "noises")}}]
    write(tmp_path / "noises" / "hiss.wav", RNG.uniform(-1, 1, 3000))
    plan = [m for m in mixing.plan_test([spoken], {}, [], 1, "test", 0, degradations=degradations) if m.degradation]
    durations, rejected = mixing.make_mixtures(plan, tmp_path / "out", 16000, 1, progress=False)
    assert durations == {m.mixture_id: 0.5 for m in plan} and not rejected
    clean = audio.read(speech)
    for mixture, name in zip(plan, ("clipping", "noise"), strict=True):
        plugin = speechtools.build(f"degradation/{name}", **mixture.options)
        degraded = plugin(clean, np.random.default_rng(mixture.seed))
        degraded = degraded * min(1, 0.99 / np.abs(degraded).max())
        np.testing.assert_allclose(audio.read(tmp_path / "out" / f"{mixture.mixture_id}.wav"), degraded, atol=1 / 32768)


def test_degradations_that_break_their_contract_reject_the_file(recordings, tmp_path):
    class Broken:
        in_one_process = True

        def __init__(self, how: str, sample_rate: int):
            self.how = how

        def __call__(self, clean, rng):
            return {"cut": clean[1:], "silent": 0 * clean, "nan": clean * np.float32("nan")}[self.how]

    with mock.patch.dict(registry._plugins):
        speechtools.plugin("degradation/broken")(Broken)
        plan = [
            replace(recordings[0], mixture_id=how, subset="broken", degradation="broken", options={"how": how})
            for how in ("cut", "silent", "nan")
        ]
        durations, rejected = mixing.make_mixtures(plan, tmp_path / "out", 16000, 2, progress=False)
    assert not durations
    assert set(rejected) == {"cut", "silent", "nan"} and all("degradation/broken" in r for r in rejected.values())


# ------------------------------------------------------------------------------------------------------------- files


@pytest.fixture
def recordings(tmp_path):
    speech = write(tmp_path / "speech.wav", 0.9 * np.sin(np.arange(8000) / 5))
    noise = write(tmp_path / "noise.wav", RNG.uniform(-1, 1, 3000))
    spoken = Utterance("u", "s", "test", speech, 0.5)
    return mixing.plan_test([spoken], {"hiss": [noise]}, [-6.0, 12.0], 1, "test", 0)


def test_files_are_made_once_and_do_not_clip(recordings, tmp_path):
    durations, rejected = mixing.make_mixtures(recordings, tmp_path / "out", 16000, 2, progress=False)
    assert not rejected and set(durations) == {m.mixture_id for m in recordings}
    assert set(durations.values()) == {0.5}
    files = sorted((tmp_path / "out").iterdir())
    assert all(np.abs(audio.read(path)).max() <= 0.99 + 1e-4 for path in files)
    loudest = audio.read(next(path for path in files if "noisy-000001" in path.name))
    assert np.abs(loudest).max() > 0.95, "scaled down as a whole, not cut off"
    before = {path: path.stat().st_mtime_ns for path in files}
    files[0].unlink()
    mixing.make_mixtures(recordings, tmp_path / "out", 16000, 2, progress=False)
    assert {path: path.stat().st_mtime_ns for path in files[1:]} == {path: before[path] for path in files[1:]}
    assert files[0].exists()


def test_bad_files_are_rejected_with_their_reason(recordings, tmp_path):
    silent = write(tmp_path / "silent.wav", np.zeros(8000))
    plan = recordings + mixing.plan_test(
        [Utterance("quiet", "s", "test", silent, 0.5), Utterance("gone", "s", "test", tmp_path / "gone.wav", 0.5)],
        {"hiss": [recordings[1].noise]},
        [0.0],
        2,
        "test",
        1,
    )
    durations, rejected = mixing.make_mixtures(plan, tmp_path / "out", 16000, 2, progress=False)
    assert set(durations) == {m.mixture_id for m in recordings}
    assert len(rejected) == 4
    assert any("is silent" in reason for reason in rejected.values())
    assert any("gone.wav does not exist" in reason for reason in rejected.values())


def test_a_full_disk_stops_with_a_message_and_keeps_what_is_made(recordings, tmp_path, monkeypatch):
    """The worker processes are forked, so they inherit the patched function."""
    real = audio.write

    def full(path, *arguments):
        if "noisy" in path.name:
            raise CorpusError(f"{path} cannot be written: the disk is full.")
        real(path, *arguments)

    monkeypatch.setattr(audio, "write", full)
    with pytest.raises(CorpusError, match="the disk is full. Free some space .* finished files are kept"):
        mixing.make_mixtures(recordings, tmp_path / "out", 16000, 1, progress=False)
    assert [path.name for path in (tmp_path / "out").glob("*.wav")] == ["test-clean-u.wav"]


# ---------------------------------------------------------------------------------------------------------- enhanced


def enhanced_plan(recordings):
    return [replace(m, mixture_id=f"{m.mixture_id}-e", subset="enhanced") for m in recordings if m.subset == "noisy"]


def test_enhanced_files_are_what_the_model_makes_of_the_mixtures(recordings, tmp_path):
    plan, given = enhanced_plan(recordings), []

    def halve(waveforms):
        given.extend(waveforms)
        return [0.5 * samples for samples in waveforms]

    durations, rejected = mixing.enhance_mixtures(plan, tmp_path / "out", 16000, halve, progress=False)
    assert durations == {m.mixture_id: 0.5 for m in plan} and not rejected
    for mixture, samples in zip(plan, given, strict=True):
        np.testing.assert_array_equal(samples, mixing.mix(mixture, 16000)[0])
        written = audio.read(tmp_path / "out" / f"{mixture.mixture_id}.wav")
        np.testing.assert_allclose(written, 0.5 * samples, atol=1 / 32768)


def test_an_enhancer_that_amplifies_does_not_clip(recordings, tmp_path):
    plan = enhanced_plan(recordings)
    mixing.enhance_mixtures(plan, tmp_path, 16000, lambda waves: [3 * w for w in waves], progress=False)
    for mixture in plan:
        written, mixed = audio.read(tmp_path / f"{mixture.mixture_id}.wav"), mixing.mix(mixture, 16000)[0]
        assert np.abs(written).max() == pytest.approx(0.99, abs=1e-3)
        np.testing.assert_allclose(written, mixed * (0.99 / np.abs(mixed).max()), atol=1e-3)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_only_what_is_missing_is_enhanced(recordings, tmp_path, batch_size):
    (first, second), calls = enhanced_plan(recordings), []
    plan = [replace(m, mixture_id=f"{m.mixture_id}-{n}") for n in range(4) for m in (first, second)]

    def count(waveforms):
        calls.append(len(waveforms))
        return waveforms

    mixing.enhance_mixtures(plan, tmp_path, 16000, count, batch_size, progress=False)
    assert sum(calls) == 8 and max(calls) <= batch_size
    files = sorted(tmp_path.iterdir())
    before = {path: path.stat().st_mtime_ns for path in files}
    files[3].unlink()
    durations, _ = mixing.enhance_mixtures(plan, tmp_path, 16000, count, batch_size, progress=False)
    assert sum(calls) == 9 and len(durations) == 8
    assert all(path.stat().st_mtime_ns == before[path] for path in files if path != files[3])
    mixing.enhance_mixtures(plan, tmp_path, 16000, None, batch_size, progress=False)  # would fail if it were asked


def test_what_an_enhancer_spoils_is_rejected_with_its_reason(recordings, tmp_path):
    noisy = enhanced_plan(recordings)[0]
    plan = [replace(noisy, mixture_id=name) for name in ("silent", "nan", "good")]
    plan.append(replace(noisy, mixture_id="gone", speech=tmp_path / "gone.wav"))

    def spoil(waveforms):
        assert len(waveforms) == 3
        return [0 * waveforms[0], np.where(np.arange(8000) == 5, np.nan, waveforms[1]), waveforms[2]]

    durations, rejected = mixing.enhance_mixtures(plan, tmp_path / "out", 16000, spoil, progress=False)
    assert list(durations) == ["good"] and [path.stem for path in (tmp_path / "out").iterdir()] == ["good"]
    assert "is silent" in rejected["silent"]
    assert "not finite" in rejected["nan"] or "NaN" in rejected["nan"]
    assert "gone.wav does not exist" in rejected["gone"]
