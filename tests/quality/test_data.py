"""Preparation of the quality sets: counts, disjointness, labels, resuming, and checked manifests."""

import csv
import dataclasses
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pesq
import pytest
import soundfile

from speechtools import audio
from speechtools.core.errors import ConfigError, CorpusError, PluginError
from speechtools.core.rows import check_manifest, read_rows, write_rows
from speechtools.corpora.builtin import builtin_noises
from speechtools.corpora.noisy_speech import NoisySpeech, level_range_db
from speechtools.measures import pesq as pesq_labels
from speechtools.quality import data as quality_data
from speechtools.quality.data import QualityRow

SOURCES = dict(corpus_options={"builtin": {"num_train_speakers": 4, "num_test_speakers": 6}}, num_train_noises=20)
SMALL = dict(
    num_clean_train=6,
    num_valid_utterances=2,
    num_test_utterances=2,
    test_snrs_db=(0, 12),
    num_workers=2,
)


def quality_row(**columns):
    """A row of a clean file, but for some columns."""
    path = columns.get("path", Path("a.wav"))
    defaults = {"ID": "a", "duration": 1.0, "path": path, "speech": path, "score": 4.5, "measure": "pesq-raw"}
    return QualityRow(**defaults | {"subset": "clean", "speaker": "anna"} | columns)


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


def read(path):
    return read_rows(path, QualityRow, check=True)


def rows_by_split(sets):
    return {split: read(path) for split, path in sets.manifests.items()}


def test_counts_of_the_protocol(made):
    rows = rows_by_split(made[1])
    assert {split: Counter(row.subset for row in members) for split, members in rows.items()} == {
        "train": {"clean": 6, "noisy": 34},
        "valid": {"clean": 2, "noisy": 2 * 4 * 2},
        "test": {"clean": 2, "noisy": 2 * 4 * 2},
    }
    assert {row.noise_type for row in rows["test"]} == {"", "engine", "white", "street", "baby_cry"}
    assert len({row.noise for row in rows["train"]} - {None}) == 20


def test_splits_share_no_speaker_and_no_noise(made):
    rows = rows_by_split(made[1])
    for column in ("speaker", "noise", "noise_type"):
        values = {split: {getattr(row, column) for row in members} - {"", None} for split, members in rows.items()}
        assert all(values.values())
        assert sum(map(len, values.values())) == len(set.union(*values.values())), column


def test_labels_are_the_pesq_of_the_files(made):
    rows = rows_by_split(made[1])["test"]
    for row in rows[::5]:
        speech, degraded = audio.read(row.speech), audio.read(row.path)
        raw = pesq_labels.raw_from_nb(pesq.pesq(16000, speech, degraded, "nb"))
        assert row.score == pytest.approx(raw, abs=1e-5)
        assert row.duration == pytest.approx(len(speech) / 16000, abs=1e-5)
    np.testing.assert_allclose([row.score for row in rows if row.subset == "clean"], 4.5, atol=0.01)


def test_a_complete_set_is_found_again_from_another_folder(made, monkeypatch):
    folder, sets = made
    monkeypatch.setattr(quality_data.mixing, "make_mixtures", None)  # would fail if anything were made
    assert prepare(folder) == sets
    monkeypatch.chdir(folder.parent)
    again = prepare(folder.name)
    assert again == sets and read(again.manifests["test"])


def test_a_changed_option_never_meets_a_stale_manifest(made):
    folder, sets = made
    other = prepare(folder, test_snrs_db=(6,))
    assert other.folder != sets.folder
    assert {row.snr_db for row in read(other.manifests["test"])} == {None, 6}


def test_a_lost_file_is_made_again_and_labelled_again(made):
    folder, sets = made
    before = sets.manifests["test"].read_text()
    lost = read(sets.manifests["test"])[3].path
    kept = {path: path.stat().st_mtime_ns for path in (sets.folder / "audio").iterdir() if path != lost}
    lost.unlink()
    with pytest.raises(CorpusError, match=r"test\.csv, row 5: .* does not exist.*delete the manifest"):
        read(sets.manifests["test"])
    sets.manifests["test"].unlink()
    prepare(folder)
    assert sets.manifests["test"].read_text() == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


# ------------------------------------------------------------------------------------------------------- manifests


@pytest.mark.parametrize(
    "columns, message",
    [
        ({}, ""),
        ({"path": Path("/nowhere/b.wav")}, "/nowhere/b.wav does not exist"),
        ({"duration": 2.5}, "duration=2.5, but .* is 1.000 s long"),
        ({"score": 4.8}, "score=4.8 is outside the range of pesq-raw, -0.5 to 4.5"),
        ({"measure": "loudness"}, "measure=loudness"),
        ({"ID": "a"}, "ID 'a' is also in row 2"),
        ({"subset": "noisy", "snr_db": None}, "noise_type or snr_db is empty"),
        ({"subset": "noisy", "noise_type": "rain", "snr_db": 600.0}, "snr_db=600 is outside"),
        ({"snr_db": 6.0}, "subset=clean, but noise or snr_db is not empty"),
    ],
)
def test_a_manifest_is_checked_against_its_files(tmp_path, tone, columns, message):
    soundfile.write(tmp_path / "a.wav", tone(1.0), 16000)
    rows = [quality_row(path=tmp_path / "a.wav"), quality_row(**{"ID": "b", "path": tmp_path / "a.wav"} | columns)]
    write_rows(tmp_path / "test.csv", QualityRow, rows)
    name, count, problems = check_manifest(tmp_path / "test.csv")
    assert (name, count, len(problems)) == ("quality", 2, bool(message))
    if message:
        assert problems[0].startswith(f"row 3 ({rows[1].ID}): ")
        assert re.search(message, problems[0])


def test_manifests_of_earlier_versions_are_refused_with_a_remedy(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("ID,duration,path,speech,pesq,subset,speaker,noise_type,noise,snr_db\n")
    for reader in (read, check_manifest):
        with pytest.raises(CorpusError, match="Rename the column pesq to score and add the column measure"):
            reader(path)


def test_a_manifest_without_rows_is_a_problem(tmp_path):
    write_rows(tmp_path / "train.csv", QualityRow, [])
    assert check_manifest(tmp_path / "train.csv") == ("quality", 0, ["The manifest has no rows."])


def test_smaller_draws_lie_within_larger_ones():
    rows = [quality_row(ID=f"{number}", path=Path(f"{number % 5}.wav")) for number in range(10)]
    draws = [quality_data.draw_utterances(rows, count, seed=1) for count in (2, 4, None)]
    assert [len({row.speech for row in draw}) for draw in draws] == [2, 4, 5]
    assert set(draws[0]) < set(draws[1]) < set(draws[2]) == set(rows)
    for count in (0, 6):
        with pytest.raises(ConfigError, match=f"num_train_utterances={count}"):
            quality_data.draw_utterances(rows, count)


# ---------------------------------------------------------------------------------------------------- enhanced speech

ENHANCED = dict(enhanced_share=0.5, num_valid_utterances=1, num_test_utterances=1, test_snrs_db=(0,))


def trained_model(folder, weights=b"weights"):
    """What counts as a trained model's folder, where nobody loads it."""
    folder.mkdir(parents=True)
    (folder / "hyperparams.yaml").write_text("sample_rate: 16000")
    (folder / "enhancer.ckpt").write_bytes(weights)
    return folder


def gentler(waveforms):
    """An enhancer that takes the second half of every waveform for noise."""
    return [np.concatenate([samples[: len(samples) // 2], 0.1 * samples[len(samples) // 2 :]]) for samples in waveforms]


@pytest.fixture(scope="module")
def enhanced(tmp_path_factory, builtin_cache):
    folder = tmp_path_factory.mktemp("enhanced")
    model = trained_model(folder / "model")
    return folder, model, prepare(folder, enhancer=model, enhance=gentler, **ENHANCED)


def test_half_of_the_noisy_training_set_is_enhanced_and_all_of_the_test(enhanced, made):
    rows = rows_by_split(enhanced[2])
    assert {split: Counter(row.subset for row in members) for split, members in rows.items()} == {
        "train": {"clean": 6, "noisy": 17, "enhanced": 17},
        "valid": {"clean": 1, "noisy": 4, "enhanced": 4},
        "test": {"clean": 1, "noisy": 4, "enhanced": 4},
    }
    mixtures = [
        [(row.speech, row.noise, row.snr_db) for row in members]
        for members in (rows["train"], read(made[1].manifests["train"]))
    ]
    assert mixtures[0] == mixtures[1]


def test_enhanced_files_are_made_of_their_noisy_twins_and_labelled(enhanced):
    rows = {row.ID: row for row in rows_by_split(enhanced[2])["test"]}
    for row in rows.values():
        if row.subset != "enhanced":
            continue
        twin = rows[row.ID.replace("enhanced", "noisy")]
        noisy, changed, speech = (audio.read(path) for path in (twin.path, row.path, row.speech))
        np.testing.assert_allclose(changed, gentler([noisy])[0], atol=2 / 32768)
        raw = pesq_labels.raw_from_nb(pesq.pesq(16000, speech, changed, "nb"))
        assert row.score == pytest.approx(raw, abs=1e-5) != twin.score
        assert all(getattr(row, name) == getattr(twin, name) for name in ("speaker", "noise", "snr_db", "duration"))


def test_sets_of_another_enhancer_are_other_sets(enhanced, tmp_path):
    folder, _, sets = enhanced
    same = trained_model(tmp_path / "copied")
    (same / "README.md").write_text("not read by the model")
    assert prepare(folder, enhancer=same, enhance=interrupt, **ENHANCED) == sets, "complete, so nothing is called"
    other = trained_model(tmp_path / "other", b"other weights")
    calls = []
    with pytest.raises(InterruptedError, match="enough"):
        prepare(folder, enhancer=other, **ENHANCED, enhance=lambda waves: calls.append(1) or interrupt())
    assert calls == [1] and len(list(folder.glob("quality-*"))) == 2


def interrupt():
    raise InterruptedError("enough")


def test_an_interrupted_enhancement_is_resumed(enhanced, tmp_path, monkeypatch):
    """Finished files keep their times, and the model gets only what is missing."""
    _, model, sets = enhanced
    sizes = []

    def ends_soon(waveforms):
        sizes.append(len(waveforms))
        return gentler(waveforms) if len(sizes) < 2 else interrupt()

    monkeypatch.setattr(quality_data.mixing.enhance_mixtures, "__defaults__", (8, True))  # batches of 8
    with pytest.raises(InterruptedError, match="enough"):
        prepare(tmp_path, enhancer=model, enhance=ends_soon, **ENHANCED)
    (folder,) = tmp_path.glob("quality-*")
    times = {path: path.stat().st_mtime_ns for path in (folder / "audio").iterdir()}
    finished = sum("-enhanced-" in path.name for path in times)
    again = []
    resumed = prepare(tmp_path, enhancer=model, enhance=lambda w: again.append(len(w)) or gentler(w), **ENHANCED)
    assert resumed.folder == folder and finished > 0 and sum(again) == 25 - finished
    assert {path: path.stat().st_mtime_ns for path in times} == times
    for split, path in resumed.manifests.items():
        assert path.read_text().replace(str(tmp_path), str(enhanced[0])) == sets.manifests[split].read_text()


def test_enhanced_files_that_cannot_be_scored_are_rejected(enhanced, tmp_path, caplog):
    def spoil_two(waveforms):
        return [0 * waveforms[0], waveforms[1] * np.float32("nan"), *gentler(waveforms[2:])]

    sets = prepare(tmp_path, enhancer=enhanced[1], enhance=spoil_two, **ENHANCED)
    with open(sets.folder / "rejected.csv", encoding="utf-8") as file:
        silent, not_finite = csv.DictReader(file)
    assert "is silent" in silent["reason"] and "NaN" in not_finite["reason"]
    assert all(row["id"].startswith("train-enhanced-") for row in (silent, not_finite))
    assert "2 of 58 files were rejected" in caplog.text
    assert len(read(sets.manifests["train"])) == 38


# ------------------------------------------------------------------------------------------------- corpora and noises


def test_two_corpora_are_joined_and_their_speakers_kept_apart(tmp_path, made):
    rows = read(made[1].manifests["train"])
    for corpus in ("one", "two"):
        for speaker in range(8):
            for number in range(2):
                path = tmp_path / corpus / f"s{speaker}" / f"u{number}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, soundfile.read(rows[speaker].speech)[0], 16000)
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
    speakers = {row.speaker for members in rows_by_split(sets).values() for row in members}
    assert {speaker.split("-")[0] for speaker in speakers} == {"folder0", "folder1"}
    assert sets.origin == "folder + folder, generated noises", "the noise folder is the built-in one"


def test_the_origin_names_synthetic_speech_and_generated_noises(made):
    assert made[1].origin == "built-in synthetic speech, generated noises"
    generated = builtin_noises()
    noises = {
        "train": {"a": [generated / "a.wav"], "b": [generated.parent / "b.wav"]},
        "test": {"c": [generated / "c.wav"]},
    }
    assert NoisySpeech("timit").describe(noises) == "timit, recorded and generated noises, test noises generated"


def test_recordings_without_the_test_noises_are_tested_with_the_generated_ones(tmp_path, caplog, made):
    noises = tmp_path / "noises"
    for name in range(8):
        (noises / f"n{name}.wav").parent.mkdir(exist_ok=True)
        soundfile.write(noises / f"n{name}.wav", np.random.default_rng(name).uniform(-0.3, 0.3, 16000), 16000)
    sets = prepare(tmp_path / "out", noise_folder=noises, num_train_noises=None, num_valid_utterances=1)
    assert "the test uses generated ones" in caplog.text
    assert sets.origin.endswith("recorded noises, test noises generated")
    assert {row.noise_type for row in read(sets.manifests["test"])} >= {"white", "street"}


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"corpus": "timid"}, PluginError, "corpus/timit"),
        ({"scale": "loud"}, ConfigError, "loud"),
        ({"labels": "corpsu"}, ConfigError, "labels='corpsu'.*'corpus'"),
        ({"labels": "corpus", "enhanced_share": 0.5}, ConfigError, "enhanced_share to 0"),
        ({"labels": "corpus"}, CorpusError, "No file of the train set"),
        ({"noise_folder": "/nowhere"}, CorpusError, "/nowhere"),
        ({"corpus": ["builtin", "timit"]}, ConfigError, "2 corpora .* but 1 data folders"),
        ({"corpus_options": {"buildin": {}}}, PluginError, "corpus/builtin"),
        ({"corpus_options": {"builtin": {"speakers": 3}}}, PluginError, "speakers"),
        ({"enhanced_share": 0.5}, ConfigError, "enhanced_share=0.5 needs a trained model"),
        ({"enhanced_share": 2}, ConfigError, "enhanced_share=2"),
        ({"min_range_db": 300}, ConfigError, "300 dB"),
        ({"train_snrs_db": 5}, ConfigError, "train_snrs_db=5"),
        ({"mixtures_per_utterance": 0}, ConfigError, "mixtures_per_utterance=0"),
    ],
)
def test_wrong_options(tmp_path, made, options, error, message):
    with pytest.raises(error, match=message):
        prepare(tmp_path, **options)


def test_level_range_separates_a_quiet_background_from_a_loud_one():
    rng = np.random.default_rng(0)
    speech = np.repeat([1.0, 0.0] * 10, 4000) * rng.standard_normal(80000)
    for floor_db in (-20, -50):
        noisy = speech + 10 ** (floor_db / 20) * rng.standard_normal(80000)
        assert level_range_db(noisy, 16000) == pytest.approx(-floor_db, abs=2)
    assert level_range_db(np.zeros(10), 16000) == 0
