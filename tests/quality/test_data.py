"""Preparation of the quality sets: counts, disjointness, labels, resuming, and manifests that tell the truth."""

import csv
import dataclasses
from collections import Counter

import numpy as np
import pesq
import pytest
import soundfile

from speechtools import audio
from speechtools.core.errors import ConfigError, CorpusError, PluginError
from speechtools.core.rows import read_rows
from speechtools.corpora.builtin import builtin_noises
from speechtools.corpora.noisy_speech import NoisySpeech, level_range_db
from speechtools.measures import pesq as pesq_labels
from speechtools.quality import data as quality_data

SOURCES = dict(corpus_options={"builtin": {"num_train_speakers": 4, "num_test_speakers": 6}}, num_train_noises=20)
SMALL = dict(
    num_clean_train=6,
    num_valid_utterances=2,
    num_test_utterances=2,
    test_snrs_db=(0, 12),
    num_workers=2,
)


def prepare_with(prepare, folder, options):
    """What a recipe's ``prepare`` makes of options, those of its sources among them."""
    fields = {field.name for field in dataclasses.fields(NoisySpeech)}
    sources = NoisySpeech(**{key: value for key, value in options.items() if key in fields})
    return prepare(sources, folder, **{key: value for key, value in options.items() if key not in fields})


def prepare(folder, **options):
    """The sets of SOURCES and SMALL, but for these options."""
    return prepare_with(quality_data.prepare, folder, SOURCES | SMALL | options)


@pytest.fixture(scope="module")
def made(tmp_path_factory, builtin_cache):
    folder = tmp_path_factory.mktemp("prepared")
    return folder, prepare(folder)


def rows_by_split(sets):
    return {split: quality_data.check_rows(path) for split, path in sets.manifests.items()}


def test_counts_of_the_protocol(made):
    rows = rows_by_split(made[1])
    assert {split: Counter(row["subset"] for row in members) for split, members in rows.items()} == {
        "train": {"clean": 6, "noisy": 34},
        "valid": {"clean": 2, "noisy": 2 * 4 * 2},
        "test": {"clean": 2, "noisy": 2 * 4 * 2},
    }
    assert {row["noise_type"] for row in rows["test"]} == {"", "engine", "white", "street", "baby_cry"}
    assert len({row["noise"] for row in rows["train"]} - {""}) == 20


def test_splits_share_no_speaker_and_no_noise(made):
    rows = rows_by_split(made[1])
    for key in ("speaker", "noise", "noise_type"):
        seen = {split: {row[key] for row in members} - {""} for split, members in rows.items()}
        assert all(seen.values())
        assert sum(map(len, seen.values())) == len(set.union(*seen.values())), key


def test_labels_are_the_pesq_of_the_files(made):
    for row in rows_by_split(made[1])["test"][::5]:
        speech, degraded = audio.read(row["speech"]), audio.read(row["path"])
        raw = pesq_labels.raw_from_nb(pesq.pesq(16000, speech, degraded, "nb"))
        assert float(row["pesq"]) == pytest.approx(raw, abs=1e-5)
        assert float(row["duration"]) == pytest.approx(len(speech) / 16000, abs=1e-5)


def test_clean_utterances_score_the_maximum(made):
    clean = [float(row["pesq"]) for row in rows_by_split(made[1])["test"] if row["subset"] == "clean"]
    np.testing.assert_allclose(clean, pesq_labels.scale("raw_nb").maximum, atol=0.01)


def test_a_complete_set_is_used_as_it_is(made, monkeypatch):
    folder, sets = made
    monkeypatch.setattr(quality_data.mixing, "make_mixtures", None)  # would fail if anything were made
    assert prepare(folder) == sets


def test_a_set_is_found_again_from_another_folder(made, monkeypatch, tmp_path):
    folder, sets = made
    monkeypatch.chdir(folder.parent)
    again = prepare(folder.name)
    assert again == sets
    monkeypatch.chdir(tmp_path)
    assert quality_data.check_rows(again.manifests["test"])


def test_a_changed_option_never_meets_a_stale_manifest(made):
    folder, sets = made
    other = prepare(folder, test_snrs_db=(6,))
    assert other.folder != sets.folder
    assert {row["snr_db"] for row in quality_data.check_rows(other.manifests["test"])} == {"", "6"}


def test_a_lost_file_is_made_again_and_labelled_again(made):
    folder, sets = made
    before = sets.manifests["test"].read_text()
    victim = quality_data.check_rows(sets.manifests["test"])[3]["path"]
    kept = {path: path.stat().st_mtime_ns for path in (sets.folder / "audio").iterdir() if str(path) != victim}
    (sets.folder / "audio" / victim).unlink()
    with pytest.raises(CorpusError, match="Row 5 of .*test.csv .* does not exist.*Delete the manifest and start again"):
        quality_data.check_rows(sets.manifests["test"])
    sets.manifests["test"].unlink()
    prepare(folder)
    assert sets.manifests["test"].read_text() == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_a_row_whose_file_is_shorter_than_it_says(made, tmp_path):
    rows = quality_data.check_rows(made[1].manifests["valid"])
    short = tmp_path / "short.wav"
    soundfile.write(short, np.ones(800) * 0.1, 16000)
    with open(tmp_path / "valid.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, quality_data.FIELDS)
        writer.writeheader()
        writer.writerow(rows[0] | {"path": short})
    with pytest.raises(CorpusError, match=r"says .* s, but .*short.wav holds 0.050 s: the file was cut"):
        quality_data.check_rows(tmp_path / "valid.csv")


# ---------------------------------------------------------------------------------------------------- enhanced speech

ENHANCED = dict(enhanced_share=0.5, num_valid_utterances=1, num_test_utterances=1, test_snrs_db=(0,))


def trained_model(folder, weights=b"weights"):
    """What counts as a trained model's folder, where nobody loads it."""
    folder.mkdir(parents=True)
    (folder / "hyperparams.yaml").write_text("sample_rate: 16000")
    (folder / "enhancer.ckpt").write_bytes(weights)
    return folder


def gentler(waveforms):
    """An enhancer that hears the last half of what it gets as noise."""
    return [np.concatenate([samples[: len(samples) // 2], 0.1 * samples[len(samples) // 2 :]]) for samples in waveforms]


@pytest.fixture(scope="module")
def enhanced(tmp_path_factory, builtin_cache):
    folder = tmp_path_factory.mktemp("enhanced")
    model = trained_model(folder / "model")
    return folder, model, prepare(folder, enhancer=model, enhance=gentler, **ENHANCED)


def test_half_of_the_noisy_training_set_is_enhanced_and_all_of_the_test(enhanced, made):
    rows = rows_by_split(enhanced[2])
    assert {split: Counter(row["subset"] for row in members) for split, members in rows.items()} == {
        "train": {"clean": 6, "noisy": 17, "enhanced": 17},
        "valid": {"clean": 1, "noisy": 4, "enhanced": 4},
        "test": {"clean": 1, "noisy": 4, "enhanced": 4},
    }
    mixed_alike = [(row["speech"], row["noise"], row["snr_db"]) for row in rows["train"]]
    assert mixed_alike == [
        (row["speech"], row["noise"], row["snr_db"]) for row in quality_data.check_rows(made[1].manifests["train"])
    ]


def test_enhanced_files_are_made_of_their_noisy_twins_and_labelled(enhanced):
    by_id = {row["ID"]: row for row in rows_by_split(enhanced[2])["test"]}
    changed = [row for row in by_id.values() if row["subset"] == "enhanced"]
    for row in changed:
        twin = by_id[row["ID"].replace("enhanced", "noisy")]
        noisy, made_of_it, speech = (audio.read(path) for path in (twin["path"], row["path"], row["speech"]))
        np.testing.assert_allclose(made_of_it, gentler([noisy])[0], atol=2 / 32768)
        raw = pesq_labels.raw_from_nb(pesq.pesq(16000, speech, made_of_it, "nb"))
        assert float(row["pesq"]) == pytest.approx(raw, abs=1e-5) != float(twin["pesq"])
        assert all(row[key] == twin[key] for key in ("speaker", "noise", "snr_db", "duration"))


def test_sets_of_another_enhancer_are_other_sets(enhanced, tmp_path):
    folder, model, sets = enhanced
    same = trained_model(tmp_path / "copied")
    (same / "README.md").write_text("no part of the model")
    assert prepare(folder, enhancer=same, enhance=interrupt, **ENHANCED) == sets, "complete, so nothing is called"
    other = trained_model(tmp_path / "other", b"other weights")
    calls = []
    with pytest.raises(InterruptedError, match="enough"):
        prepare(folder, enhancer=other, **ENHANCED, enhance=lambda waves: calls.append(1) or interrupt())
    assert calls == [1] and len(list(folder.glob("quality-*"))) == 2


def interrupt():
    raise InterruptedError("enough")


def test_an_interrupted_enhancement_is_gone_on_with(enhanced, tmp_path, monkeypatch):
    """Nothing that was finished is redone: files keep their times, and the model sees only what is missing."""
    _, model, sets = enhanced
    seen = []

    def ends_soon(waveforms):
        seen.append(len(waveforms))
        return gentler(waveforms) if len(seen) < 2 else interrupt()

    monkeypatch.setattr(quality_data.mixing.enhance_mixtures, "__defaults__", (8, True))  # batches of 8
    with pytest.raises(InterruptedError, match="enough"):
        prepare(tmp_path, enhancer=model, enhance=ends_soon, **ENHANCED)
    (folder,) = tmp_path.glob("quality-*")
    times = {path: path.stat().st_mtime_ns for path in (folder / "audio").iterdir()}
    finished = sum("-enhanced-" in path.name for path in times)
    again = []
    resumed = prepare(tmp_path, enhancer=model, enhance=lambda w: again.append(len(w)) or gentler(w), **ENHANCED)
    assert resumed.folder == folder and 0 < finished and sum(again) == 25 - finished
    assert {path: path.stat().st_mtime_ns for path in times} == times
    for split, path in resumed.manifests.items():
        assert path.read_text().replace(str(tmp_path), str(enhanced[0])) == sets.manifests[split].read_text()


def test_enhanced_files_that_cannot_be_judged_are_rejected(enhanced, tmp_path, caplog):
    def spoil_two(waveforms):
        return [0 * waveforms[0], waveforms[1] * np.float32("nan"), *gentler(waveforms[2:])]

    sets = prepare(tmp_path, enhancer=enhanced[1], enhance=spoil_two, **ENHANCED)
    silent, not_finite = read_rows(sets.folder / "rejected.csv", ["id", "degraded", "reason"])
    assert "is silent" in silent["reason"] and "NaN" in not_finite["reason"]
    assert all(row["id"].startswith("train-enhanced-") for row in (silent, not_finite))
    assert "2 of 58 files were rejected" in caplog.text
    assert len(quality_data.check_rows(sets.manifests["train"])) == 38


def test_two_corpora_are_joined_and_their_speakers_kept_apart(tmp_path, made):
    for corpus in ("one", "two"):
        for speaker in range(8):
            for number in range(2):
                path = tmp_path / corpus / f"s{speaker}" / f"u{number}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                source = quality_data.check_rows(made[1].manifests["train"])[speaker]["speech"]
                soundfile.write(path, soundfile.read(source)[0], 16000)
    sets = prepare(
        tmp_path / "out",
        corpus=["folder", "folder"],
        data_folder=[tmp_path / "one", tmp_path / "two"],
        noise_folder=[builtin_noises()],
        corpus_options={},
        num_clean_train=2,
        num_test_utterances=1,
        heldout_share=0.5,
    )
    rows = sum(rows_by_split(sets).values(), [])
    assert {row["speaker"].split("-")[0] for row in rows} == {"folder0", "folder1"}
    assert sets.origin == "folder + folder, generated noises", "the folder given is the built-in one"


def test_the_built_in_speech_is_called_synthetic(made):
    assert made[1].origin == "built-in synthetic speech, generated noises"
    own = builtin_noises()
    noises = {"train": {"a": [own / "a.wav"], "b": [own.parent / "b.wav"]}, "test": {"c": [own / "c.wav"]}}
    assert NoisySpeech("timit").describe(noises) == "timit, recorded and generated noises, test noises generated"


def test_recordings_without_the_test_noises_are_tested_with_the_generated_ones(tmp_path, caplog, made):
    noises = tmp_path / "noises"
    for name in range(8):
        (noises / f"n{name}.wav").parent.mkdir(exist_ok=True)
        soundfile.write(noises / f"n{name}.wav", np.random.default_rng(name).uniform(-0.3, 0.3, 16000), 16000)
    sets = prepare(tmp_path / "out", noise_folder=noises, num_train_noises=None, num_valid_utterances=1)
    assert "the test uses the generated ones" in caplog.text
    assert sets.origin.endswith("recorded noises, test noises generated")
    assert {row["noise_type"] for row in quality_data.check_rows(sets.manifests["test"])} >= {"white", "street"}


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"corpus": "timid"}, PluginError, "'corpus/timid'. Did you mean 'corpus/timit'"),
        ({"scale": "mos"}, ConfigError, "mos"),
        ({"noise_folder": "/nowhere"}, CorpusError, "noise folder /nowhere does not exist"),
        ({"corpus": "timit", "data_folder": "/nowhere"}, CorpusError, "/nowhere does not exist"),
        ({"corpus": ["builtin", "timit"]}, ConfigError, "2 corpora .* but 1 data folders"),
        ({"corpus_options": {"buildin": {}}}, PluginError, "Did you mean 'corpus/builtin'"),
        ({"corpus_options": {"builtin": {"speakers": 3}}}, PluginError, "takes no parameter 'speakers'"),
        ({"enhanced_share": 0.5}, ConfigError, "enhanced_share=0.5 needs a trained model that enhances"),
        ({"enhanced_share": 2}, ConfigError, "enhanced_share=2 must lie between 0"),
        ({"enhancer_share": 0.01}, ConfigError, "enhancer_share=0.01 of the 4 test speakers is 0 of them"),
        ({"enhancer_noises": 500}, ConfigError, "enhancer_noises=500: .* noise types remain"),
        ({"enhancer_noises": ["white"]}, ConfigError, "enhancer_noises and valid_noises or test_noises share 'white'"),
        ({"min_range_db": 300}, ConfigError, "No utterance has a level range of 300 dB; the largest is"),
        ({"train_snrs_db": 5}, ConfigError, "train_snrs_db=5 must be a list of one or more SNRs"),
        ({"test_snrs_db": []}, ConfigError, r"test_snrs_db=\[\] must be a list"),
        ({"mixtures_per_utterance": 0}, ConfigError, "mixtures_per_utterance=0 would leave no noisy speech"),
        ({"test_noises": {"street": ["sreet"]}}, ConfigError, "test_noises: no noise type matches 'sreet'"),
        ({"test_noises": ["volcano"]}, ConfigError, "test_noises: no noise type matches 'volcano'"),
    ],
)
def test_wrong_options(tmp_path, made, options, error, message):
    with pytest.raises(error, match=message):
        prepare(tmp_path, **options)


def test_level_range_tells_a_quiet_background_from_a_loud_one():
    rng = np.random.default_rng(0)
    speech = np.repeat([1.0, 0.0] * 10, 4000) * rng.standard_normal(80000)
    for floor_db in (-20, -50):
        noisy = speech + 10 ** (floor_db / 20) * rng.standard_normal(80000)
        assert level_range_db(noisy, 16000) == pytest.approx(-floor_db, abs=2)
    assert level_range_db(np.zeros(10), 16000) == 0
