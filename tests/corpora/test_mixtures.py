"""Laws of the mixing protocol: SNRs exact, splits apart, counts as asked, nothing clips, one seed one plan."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechtools import audio
from speechtools.core.errors import AudioError, ConfigError, CorpusError
from speechtools.corpora.utterance import Utterance
from speechtools.degradations import mixing

RNG = np.random.default_rng(0)


def power_db(x):
    return 10 * np.log10(np.mean(np.square(x, dtype=np.float64)))


def write(path: Path, samples, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.asarray(samples, dtype=np.float32), rate, subtype="FLOAT")
    return path


def utterances(speakers, each=3, split=""):
    return [
        Utterance(f"{split}{s}-{u}", f"{split}{s}", split, Path(f"/nowhere/{s}-{u}.wav"), 2.0)
        for s in range(speakers)
        for u in range(each)
    ]


def noise_types(count):
    return {f"n{i:02d}": [Path(f"/noise/n{i:02d}.wav")] for i in range(count)}


@pytest.mark.parametrize("snr_db", [-10, 0, 24])
def test_the_snr_is_exact(snr_db):
    speech, noise = RNG.standard_normal(8000).astype(np.float32), RNG.standard_normal(8000).astype(np.float32)
    mixed = mixing.mix_at_snr(speech, noise, snr_db)
    assert power_db(speech) - power_db(mixed - speech) == pytest.approx(snr_db, abs=1e-3)
    assert mixed.dtype == np.float32


@pytest.mark.parametrize("speech, noise, which", [(0, 1, "speech"), (1, 0, "noise")])
def test_silence_has_no_snr(speech, noise, which):
    with pytest.raises(AudioError, match=f"The {which} is silent, so no SNR"):
        mixing.mix_at_snr(np.full(10, float(speech)), np.full(10, float(noise)), 0.0)


def test_mixing_refuses_other_lengths():
    with pytest.raises(AudioError, match="differ in length. Cut the noise"):
        mixing.mix_at_snr(np.ones(3), np.ones(4), 0.0)


def test_noise_is_looped_and_cut_at_a_seeded_offset():
    noise = RNG.uniform(0.1, 1, 1000)
    long = mixing.cut_noise(noise, 2500, seed=1)
    np.testing.assert_array_equal(long[:1000], long[1000:2000])
    assert set(long) <= set(noise)
    assert np.array_equal(mixing.cut_noise(noise, 300, 1), long[:300])
    offsets = {float(mixing.cut_noise(noise, 1, seed)[0]) for seed in range(20)}
    assert len(offsets) > 10


def test_digital_silence_at_the_ends_is_skipped():
    noise = np.concatenate([np.zeros(5000), RNG.uniform(0.1, 1, 100), np.zeros(5000)])
    assert (mixing.cut_noise(noise, 400, seed=3) > 0).all()


def test_a_cut_is_never_silent():
    noise = np.concatenate([[0.5], np.zeros(100_000), [0.5]])
    assert all(np.abs(mixing.cut_noise(noise, 50, seed)).max() == 0.5 for seed in range(10))


def test_a_silent_noise_is_refused():
    with pytest.raises(AudioError, match="digitally silent throughout"):
        mixing.cut_noise(np.zeros(100), 10, 0)


def test_partly_noisy_leaves_the_rest_alone():
    speech, noise = RNG.uniform(-0.1, 0.1, 3000), RNG.uniform(-0.1, 0.1, 3000)
    mixed = mixing.partly_noisy(speech, noise, 0.0, 1000, 2000)
    np.testing.assert_array_equal(mixed[:1000], speech[:1000])
    np.testing.assert_array_equal(mixed[2000:], speech[2000:])
    added = mixed[1000:2000] - speech[1000:2000]
    assert power_db(added) == pytest.approx(power_db(speech[1000:2000]), abs=1e-6)


# ------------------------------------------------------------------------------------------------------------ plans


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
    with pytest.raises(ConfigError, match=f"num_clean_train={count}, but the training split has 60"):
        mixing.plan_training(utterances(20), noise_types(2), [0], count, 1, 0)


def test_too_many_test_utterances():
    with pytest.raises(ConfigError, match="num_test_utterances=100, but the test speakers have 6"):
        mixing.plan_test(utterances(2), noise_types(1), [0], 100, "test", 0)


# ---------------------------------------------------------------------------------------------------------- speakers


def test_a_corpus_without_a_division_is_divided_by_speaker():
    groups = mixing.split_speakers(utterances(40), heldout_share=0.25, valid_share=0.4, seed=0)
    speakers = {split: {u.speaker for u in members} for split, members in groups.items()}
    assert {split: len(s) for split, s in speakers.items()} == {"train": 30, "valid": 4, "test": 6}
    assert not speakers["train"] & speakers["test"] and not speakers["valid"] & (speakers["train"] | speakers["test"])


def test_a_corpus_keeps_its_own_division():
    spoken = utterances(6, split="train") + utterances(8, split="test")
    groups = mixing.split_speakers(spoken, 0.25, 0.25, seed=0)
    assert {u.split for u in groups["train"]} == {"train"}
    assert {u.split for u in groups["valid"] + groups["test"]} == {"test"}
    assert len({u.speaker for u in groups["valid"]}) == 2
    with_valid = mixing.split_speakers(spoken + utterances(3, split="valid"), 0.25, 0.25, seed=0)
    assert {u.split for u in with_valid["valid"]} == {"valid"}


def test_a_speaker_in_two_splits():
    spoken = [
        Utterance("a", "anna", "train", Path("/a.wav"), 1.0),
        Utterance("b", "anna", "test", Path("/b.wav"), 1.0),
    ]
    with pytest.raises(CorpusError, match="Speaker 'anna' is in several splits of the corpus .test, train."):
        mixing.split_speakers(spoken, 0.25, 0.25, 0)


def test_too_few_speakers():
    with pytest.raises(CorpusError, match="has 2 speakers, which leaves none for valid"):
        mixing.split_speakers(utterances(2), 0.5, 0.25, 0)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_a_share_of_the_test_speakers_is_set_aside(share):
    groups = mixing.split_speakers(utterances(40), heldout_share=0.5, valid_share=0.5, seed=0)
    divided = mixing.set_aside(groups, share, seed=0)
    speakers = {split: {u.speaker for u in members} for split, members in divided.items()}
    assert {split: len(s) for split, s in speakers.items()} == {
        "train": 20,
        "valid": 10,
        "test": 10 - round(10 * share),
        "enhancer": round(10 * share),
    }
    assert len(set.union(*speakers.values())) == 40
    assert sorted(divided["test"] + divided["enhancer"], key=lambda u: u.utt_id) == groups["test"]
    assert mixing.set_aside(groups, share, seed=0) == divided != mixing.set_aside(groups, share, seed=1)
    assert mixing.set_aside(groups, 0, seed=0) == groups


@pytest.mark.parametrize("share, count", [(0.01, 0), (0.99, 10), (1.5, 15), (-0.5, -5)])
def test_shares_that_leave_nobody(share, count):
    groups = mixing.split_speakers(utterances(40), heldout_share=0.5, valid_share=0.5, seed=0)
    with pytest.raises(ConfigError, match=f"enhancer_share={share} of the 10 test speakers is {count} of them, but"):
        mixing.set_aside(groups, share, seed=0)


# ------------------------------------------------------------------------------------------------------------ noises


def test_noise_types_are_files_and_folders(tmp_path):
    for name in ("fan.wav", "rain/a.wav", "rain/deep/b.wav"):
        write(tmp_path / name, [0.1])
    types = mixing.read_noise_types(tmp_path)
    assert {name: len(files) for name, files in types.items()} == {"fan": 1, "rain": 2}


def test_files_that_differ_in_their_number_are_one_type(tmp_path):
    for name in ("rain-01", "rain-02", "n1", "n2", "car-engine"):
        write(tmp_path / f"{name}.wav", [0.1])
    assert {k: len(v) for k, v in mixing.read_noise_types(tmp_path).items()} == {
        "car-engine": 1,
        "n1": 1,
        "n2": 1,
        "rain": 2,
    }


def test_a_type_that_two_folders_have_is_one_type(tmp_path):
    for name in ("one/fan", "two/rain", "two/fan"):
        write(tmp_path / f"{name}.wav", [0.1])
    types = mixing.read_noise_types([tmp_path / "one", tmp_path / "two"])
    assert {name: len(files) for name, files in types.items()} == {"fan": 2, "rain": 1}


def test_a_test_type_from_another_folder_is_kept_out_of_training_by_its_name():
    types = noise_types(6) | {"engine": [Path("/noise/engine.wav")]}
    split = mixing.split_noises(types, ["engine"], 1, None, 0, test_types={"engine": [Path("/other/engine.wav")]})
    assert split["test"] == {"engine": [Path("/other/engine.wav")]}
    assert "engine" not in split["train"] | split["valid"]
    grouped = mixing.split_noises(types, {"motor": ["engine"]}, 1, None, 0)
    assert "engine" not in grouped["train"] | grouped["valid"]


def test_the_number_of_training_noises_counts_recordings():
    types = {f"family{i}": [Path(f"/f{i}-{j}.wav") for j in range(3)] for i in range(8)}
    split = mixing.split_noises(types, ["family0"], 2, 10, 0)
    assert sum(map(len, split["train"].values())) == 10


def test_one_pattern_may_be_given_as_text():
    assert list(mixing.select_noises(noise_types(3), "n01", "valid_noises")) == ["n01"]


def test_missing_and_empty_noise_folders(tmp_path):
    with pytest.raises(CorpusError, match="noise folder .*gone does not exist"):
        mixing.read_noise_types(tmp_path / "gone")
    with pytest.raises(CorpusError, match="holds no audio file"):
        mixing.read_noise_types(tmp_path)


def test_noise_splits_share_no_file():
    types = noise_types(20)
    split = mixing.split_noises(types, {"street": ["n03", "n04"], "white": "n00"}, valid=4, num_train=10, seed=0)
    assert list(split["test"]) == ["street", "white"] and len(split["test"]["street"]) == 2
    files = {name: {f for group in members.values() for f in group} for name, members in split.items()}
    assert [len(files[name]) for name in ("train", "valid", "test")] == [10, 4, 3]
    assert len(set.union(*files.values())) == 17
    everything = mixing.split_noises(types, {"white": "n00"}, valid=["n01", "n1*"], num_train=None, seed=0)
    assert len(everything["valid"]) == 11 and len(everything["train"]) == 8


@pytest.mark.parametrize("valid, enhancer", [(4, 3), (["n0[1-4]"], ["n06", "n1[0-4]"]), (["n0[1-4]"], 5)])
def test_the_enhancers_noises_are_in_no_other_split(valid, enhancer):
    types = noise_types(20)
    split = mixing.split_noises(types, {"street": ["n05"], "white": "n00"}, valid, None, 0, enhancer=enhancer)
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
            chosen[num_train, enhancer] = mixing.split_noises(types, ["n00"], 3, num_train, 0, enhancer=enhancer)
    assert "enhancer" not in chosen[None, 0] and "enhancer" not in chosen[5, 0]
    assert chosen[5, 4]["enhancer"] == chosen[None, 4]["enhancer"]
    assert chosen[5, 4]["train"] == chosen[5, 0]["train"], "drawn from the other end"
    for split in chosen.values():
        assert (split["valid"], split["test"]) == (chosen[None, 0]["valid"], chosen[None, 0]["test"])


def test_a_test_noise_left_out_with_null():
    chosen = mixing.select_noises(noise_types(2), {"a": "n00", "b": None}, "test_noises")
    assert list(chosen) == ["a"]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (dict(test=["engine"], valid=1, num_train=None), "test_noises: no noise type matches 'engine'"),
        (dict(test=["n00"], valid=["n00"], num_train=None), "valid_noises and test_noises share"),
        (dict(test=["n00"], valid=3, num_train=None), "valid_noises=3: 3 noise types remain"),
        (dict(test=["n00"], valid=1, num_train=3), "num_train_noises=3, but 2 noise recordings remain"),
        (dict(test=["n00"], valid=["n01", "n02", "n03"], num_train=None), "No noise type is left for training"),
        (dict(test=["n00"], valid=1, num_train=None, enhancer=2), "enhancer_noises=2: 2 noise types remain"),
        (
            dict(test=["n00"], valid=["n01"], num_train=None, enhancer=["n01"]),
            "enhancer_noises and valid_noises or test_noises share 'n01'",
        ),
        (dict(test=["n00"], valid=1, num_train=None, enhancer=["n9"]), "enhancer_noises: no noise type matches 'n9'"),
    ],
)
def test_impossible_noise_splits(arguments, message):
    with pytest.raises(ConfigError, match=message):
        mixing.split_noises(noise_types(4), seed=0, **arguments)


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
    assert "What the enhancer made of silent is silent" in rejected["silent"]
    assert "not finite" in rejected["nan"] or "NaN" in rejected["nan"]
    assert "gone.wav does not exist" in rejected["gone"]
