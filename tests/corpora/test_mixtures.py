"""The mixing protocol: counts as asked, nothing clips, one seed one plan, any degradation."""

from collections import Counter
from dataclasses import replace
from unittest import mock

import numpy as np
import pytest

import speechtools
from speechtools import audio
from speechtools.core import registry
from speechtools.core.errors import ConfigError, CorpusError, PluginError
from speechtools.corpora import mixtures as mixing
from speechtools.corpora.utterance import Utterance
from speechtools.degradations.lists import parse_degradations
from tests.corpora.test_splits import noise_types, utterances
from tests.degradations.test_noise import RNG, write


def noisy_twin(mixture):
    """What an enhanced mixture was before; any other as it is."""
    name = mixture.mixture_id.replace("enhanced", "noisy")
    return replace(mixture, subset=mixture.subset.replace("enhanced", "noisy"), mixture_id=name, enhance=False)


def subsets(plan):
    assert len({mixture.mixture_id for mixture in plan}) == len(plan)
    return Counter(mixture.subset for mixture in plan)


def test_the_papers_training_set_is_250_clean_and_half_of_the_rest_enhanced():
    spoken, snrs = utterances(462, each=10), [-10, -5, 0, 5, 10, 15, 20, 25]
    arguments = spoken, noise_types(90), snrs, 250, 1
    plan = mixing.plan_training(*arguments, seed=0, enhanced_share=0.5)
    assert subsets(plan) == {"clean": 250, "noisy": 2185, "enhanced": 2185}
    assert sorted(m.utt_id for m in plan) == sorted(u.utt_id for u in spoken), "each is used once"
    for counts in (Counter(m.noise_type for m in plan if m.noise), Counter(m.snr_db for m in plan if m.noise)):
        assert max(counts.values()) - min(counts.values()) <= 1
    assert set(counts) == set(snrs)
    without = mixing.plan_training(*arguments, seed=0)
    assert [noisy_twin(m) for m in plan] == without, "some are enhanced, and nothing else changes"
    assert mixing.plan_training(*arguments, seed=1) != without


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_utterances_used_several_times_are_enhanced_or_not_as_a_whole(share):
    arguments = utterances(10), noise_types(9), [0, 5, 10], 6, 4, 0
    plan = mixing.plan_training(*arguments, clean_copies=True, enhanced_share=share)
    assert subsets(plan)["clean"] == 30 and len(plan) == 30 + 24 * 4
    enhanced, noisy = (Counter(m.utt_id for m in plan if m.subset == subset) for subset in ("enhanced", "noisy"))
    assert len(enhanced) == round(share * 24) and set((enhanced + noisy).values()) == {4}
    assert len({m.seed for m in plan if m.noise}) == 24 * 4
    assert plan[:-24] == mixing.plan_training(*arguments, enhanced_share=share)


def test_the_papers_test_set_has_4900_files():
    arguments = utterances(60), noise_types(4), [-6, 0, 6, 12, 18, 24], 100, "test"
    plan = mixing.plan_test(*arguments, seed=0, enhanced=True)
    assert subsets(plan) == {"clean": 100, "noisy": 2400, "enhanced": 2400}
    assert len({m.utt_id for m in plan}) == 100
    assert set(Counter((m.noise_type, m.snr_db) for m in plan if m.subset == "noisy").values()) == {100}
    noisy, enhanced = ([m for m in plan if m.subset == subset] for subset in ("noisy", "enhanced"))
    assert [noisy_twin(m) for m in enhanced] == noisy, "the same noise, offset and SNR"
    assert [m for m in plan if m.subset != "enhanced"] == mixing.plan_test(*arguments, seed=0)


def test_too_many_utterances():
    with pytest.raises(ConfigError, match="num_clean_train=61"):
        mixing.plan_training(utterances(20), noise_types(2), [0], 61, 1, 0)
    with pytest.raises(ConfigError, match="num_test_utterances=100"):
        mixing.plan_test(utterances(2), noise_types(1), [0], 100, "test", 0)


# ------------------------------------------------------------------------------------------------------ degradations


def test_other_degradations_are_dealt_as_often_as_noise_and_leave_its_mixtures_alone():
    arguments = utterances(20), noise_types(7), [0, 10], 12, 2, 0
    plan = mixing.plan_training(*arguments, degradations=["clipping", {"clipping": {"level": 0.1}}])
    assert subsets(plan) == {"clean": 12, "noisy": 32, "clipping": 32, "clipping(level=0.1)": 32}
    assert {m.subset: m.options for m in plan}["clipping(level=0.1)"] == {"level": 0.1}
    assert not any("(" in m.mixture_id for m in plan)
    assert {m for m in map(str, plan) if "'noisy'" in m} < set(map(str, mixing.plan_training(*arguments)))


def test_every_test_utterance_has_every_degradation():
    arguments = utterances(6), noise_types(2), [0, 10], 5, "test", 0
    plan = mixing.plan_test(*arguments, degradations="clipping", enhanced=True)
    assert subsets(plan) == {"clean": 5, "noisy": 20, "clipping": 5, "enhanced": 25}
    assert [m for m in plan if m.subset in ("clean", "noisy")] == mixing.plan_test(*arguments)


@pytest.mark.parametrize(
    "degradations, error, token",
    [
        (["clippin"], PluginError, "clipping"),
        ([{"clipping": {"levels": 1}}], PluginError, "level"),
        ([3], ConfigError, "degradations"),
        ([{"a/b": "noise+gsm"}], ConfigError, "a/b"),
        ([{"clean": "noise+gsm"}], ConfigError, "clean"),
    ],
)
def test_wrong_degradations(degradations, error, token):
    with pytest.raises(error, match=token):
        parse_degradations(degradations)


# ------------------------------------------------------------------------------------------------------------- files


@pytest.fixture
def speech(tmp_path):
    path = write(tmp_path / "speech.wav", 0.9 * np.sin(np.arange(8000) / 5))
    return Utterance("u", "s", "test", path, 0.5)


@pytest.fixture
def recordings(tmp_path, speech):
    """A plan: clean, and with noise at -6 and 12 dB."""
    noise = write(tmp_path / "noise.wav", RNG.uniform(-1, 1, 3000))
    return mixing.plan_test([speech], {"hiss": [noise]}, [-6.0, 12.0], 1, "test", 0)


def make(plan, folder, num_workers=2):
    return mixing.make_mixtures(plan, folder, 16000, num_workers, progress=False)


def enhance(plan, folder, enhancer, batch_size=32):
    return mixing.enhance_mixtures(plan, folder, 16000, enhancer, batch_size, progress=False)


def modified(paths):
    return {path: path.stat().st_mtime_ns for path in paths}


def test_degraded_files_are_what_the_plugin_makes(speech, tmp_path):
    write(tmp_path / "noises" / "hiss.wav", RNG.uniform(-1, 1, 3000))
    degradations = [{"clipping": {"level": 0.3}}, {"noise": {"noise_folder": str(tmp_path / "noises")}}]
    plan = mixing.plan_test([speech], {}, [], 1, "test", 0, degradations=degradations)
    made, rejected = make(plan, tmp_path / "out")
    assert [file.causes for file in made.values()] == ["none", "clipping", "noise"] and not rejected
    clean = audio.read(speech.path)
    for mixture in plan[1:]:
        plugin = speechtools.build(f"degradation/{mixture.degradation}", **mixture.options)
        degraded = plugin(clean, np.random.default_rng(mixture.seed))
        degraded = degraded * min(1, 0.99 / np.abs(degraded).max())
        np.testing.assert_allclose(audio.read(tmp_path / "out" / f"{mixture.mixture_id}.wav"), degraded, atol=1 / 32768)


def test_degradations_that_break_their_contract_reject_the_file(recordings, tmp_path):
    def broken(how: str):
        return lambda clean, rng: {"cut": clean[1:], "silent": 0 * clean, "nan": clean * np.float32("nan")}[how]

    clean = replace(recordings[0], degradation="broken")
    plan = [replace(clean, mixture_id=how, options={"how": how}) for how in ("cut", "silent", "nan")]
    with mock.patch.dict(registry._plugins):
        speechtools.plugin("degradation/broken")(broken)
        durations, rejected = make(plan, tmp_path / "out", num_workers=1)
    assert not durations
    assert set(rejected) == {"cut", "silent", "nan"} and all("degradation/broken" in r for r in rejected.values())


def test_files_are_made_once_and_do_not_clip_and_bad_ones_are_rejected(recordings, tmp_path):
    silent = replace(recordings[0], mixture_id="silent", speech=write(tmp_path / "silent.wav", np.zeros(8000)))
    plan = [*recordings, silent, replace(recordings[1], mixture_id="gone", speech=tmp_path / "gone.wav")]
    made, rejected = make(plan, tmp_path / "out")
    assert {name: file.duration for name, file in made.items()} == {m.mixture_id: 0.5 for m in recordings}
    assert "is silent" in rejected["silent"] and "gone.wav does not exist" in rejected["gone"]
    files = [tmp_path / "out" / f"{name}.wav" for name in made]
    peaks = [np.abs(audio.read(path)).max() for path in files]
    assert max(peaks) <= 0.99 + 1e-4 and peaks[1] > 0.95, "scaled down as a whole, not cut off"
    before = modified(files[1:])
    files[0].unlink()
    make(plan, tmp_path / "out")
    assert modified(files[1:]) == before and files[0].exists()


def test_a_full_disk_stops_with_a_message_and_keeps_what_is_made(recordings, tmp_path, monkeypatch):
    real = audio.write

    def full(path, *arguments):
        if "noisy" in path.name:
            raise CorpusError(f"{path} cannot be written: the disk is full.")
        real(path, *arguments)

    monkeypatch.setattr(audio, "write", full)
    with pytest.raises(CorpusError, match="the disk is full. Free some space .* finished files are kept"):
        make(recordings, tmp_path / "out", num_workers=1)
    assert [path.name for path in (tmp_path / "out").glob("*.wav")] == ["test-clean-u.wav"]


@pytest.mark.parametrize("gain", [0.5, 3.0])
def test_enhanced_files_are_what_the_model_makes_of_the_mixtures_and_do_not_clip(recordings, tmp_path, gain):
    plan, inputs = recordings[1:], []

    def amplify(waveforms):
        inputs.extend(waveforms)
        return [gain * samples for samples in waveforms]

    made, rejected = enhance(plan, tmp_path / "out", amplify)
    assert set(made) == {m.mixture_id for m in plan} and not rejected
    assert set(made.values()) == {(0.5, "?noise; processing")}
    for mixture, samples in zip(plan, inputs, strict=True):
        np.testing.assert_array_equal(samples, mixing.mix(mixture, 16000)[0])
        expected = samples * min(gain, 0.99 / np.abs(samples).max())
        np.testing.assert_allclose(audio.read(tmp_path / "out" / f"{mixture.mixture_id}.wav"), expected, atol=2e-4)


@pytest.mark.parametrize("batch_size", [3, 32])
def test_only_what_is_missing_is_enhanced(recordings, tmp_path, batch_size):
    plan, calls = [replace(recordings[1 + n % 2], mixture_id=str(n)) for n in range(8)], []

    def count(waveforms):
        calls.append(len(waveforms))
        return waveforms

    enhance(plan, tmp_path / "out", count, batch_size)
    assert sum(calls) == 8 and max(calls) <= batch_size
    first, *others = sorted((tmp_path / "out").iterdir())
    before = modified(others)
    first.unlink()
    durations, _ = enhance(plan, tmp_path / "out", count, batch_size)
    assert sum(calls) == 9 and len(durations) == 8 and modified(others) == before
    enhance(plan, tmp_path / "out", None, batch_size)  # would fail if it were asked


def test_what_an_enhancer_spoils_is_rejected_with_its_reason(recordings, tmp_path):
    plan = [replace(recordings[1], mixture_id=name) for name in ("silent", "nan", "good", "gone")]
    plan[3] = replace(plan[3], speech=tmp_path / "gone.wav")

    def spoil(waveforms):
        return [0 * waveforms[0], np.full(8000, np.nan), waveforms[2]]

    durations, rejected = enhance(plan, tmp_path / "out", spoil)
    assert list(durations) == ["good"] and [path.stem for path in (tmp_path / "out").iterdir()] == ["good"]
    assert "is silent" in rejected["silent"] and "gone.wav does not exist" in rejected["gone"]
    assert "not finite" in rejected["nan"] or "NaN" in rejected["nan"]
