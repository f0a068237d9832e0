"""Preparation of the quality sets: counts, labels, resuming, and checked manifests."""

import contextlib
import dataclasses
import re
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pesq
import pytest
import soundfile

from speechtools import audio
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.registry import import_module
from speechtools.core.rows import check_manifest, read_rows, write_rows
from speechtools.corpora.noisy_speech import NoisySpeech
from speechtools.measures import pesq as pesq_labels
from speechtools.quality import data as quality_data
from speechtools.quality.data import SPLITS
from speechtools.quality.rows import QualityRow, draw_utterances
from tests.corpora.layouts import put, put_text

SMALL = {
    "corpus_options": {"builtin": {"num_train_speakers": 4, "num_test_speakers": 6}},
    "num_train_noises": 20,
    "num_clean_train": 6,
    "num_valid_utterances": 2,
    "num_test_utterances": 2,
    "test_snrs_db": (0, 12),
    "num_workers": 2,
}
ENHANCED = {"enhanced_share": 0.5, "num_valid_utterances": 1, "num_test_utterances": 1, "test_snrs_db": (0,)}


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
    """The sets of SMALL, but for these options."""
    return prepare_with(quality_data.prepare, folder, SMALL | options)


def read(sets, split="test"):
    return read_rows(sets.manifests[split], QualityRow, check=True)


def subsets(sets):
    return {split: Counter(row.subset for row in read(sets, split)) for split in sets.manifests}


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.fixture(scope="module")
def prepared_sets(tmp_path_factory, builtin_cache):
    folder = tmp_path_factory.mktemp("prepared")
    return folder, prepare(folder)


def test_counts_of_the_protocol(prepared_sets, enhanced):
    noisy = 2 * 4 * 2  # utterances, noises, SNRs
    tests = {split: {"clean": 2, "noisy": noisy} for split in ("valid", "test")}
    assert subsets(prepared_sets[1]) == {"train": {"clean": 6, "noisy": 34}} | tests
    tests = {split: {"clean": 1, "noisy": 4, "enhanced": 4} for split in ("valid", "test")}
    assert subsets(enhanced[1]) == {"train": {"clean": 6, "noisy": 17, "enhanced": 17}} | tests
    assert {row.noise_type for row in read(prepared_sets[1])} == {"", "engine", "white", "street", "baby_cry"}
    assert len({row.noise for row in read(prepared_sets[1], "train")} - {None}) == 20
    assert prepared_sets[1].origin == "built-in synthetic speech, generated noises"


def test_labels_are_the_pesq_of_the_files(prepared_sets):
    rows = read(prepared_sets[1])
    for row in rows[::5]:
        speech, degraded = audio.read(row.speech), audio.read(row.path)
        raw = pesq_labels.raw_from_nb(pesq.pesq(16000, speech, degraded, "nb"))
        assert row.score == pytest.approx(raw, abs=1e-5)
        assert row.duration == pytest.approx(len(speech) / 16000, abs=1e-5)
    np.testing.assert_allclose([row.score for row in rows if row.subset == "clean"], 4.5, atol=0.01)


def test_every_mixture_is_labelled_at_another_sample_rate(tmp_path, builtin_cache):
    small = {"num_valid_utterances": 1, "num_test_utterances": 1, "test_snrs_db": (0,), "num_train_noises": 2}
    sets = prepare(tmp_path, sample_rate=8000, degradations=["clipping"], **small)
    assert subsets(sets)["train"] == {"clean": 6, "noisy": 17, "clipping": 17}
    assert {split: len(read(sets, split)) for split in ("valid", "test")} == {"valid": 6, "test": 6}
    rows = read(sets)
    np.testing.assert_allclose([row.score for row in rows if row.subset == "clean"], 4.5, atol=0.01)


def test_a_complete_set_is_found_again_and_another_option_makes_another(prepared_sets, monkeypatch):
    folder, sets = prepared_sets
    with monkeypatch.context() as patched:
        patched.setattr(quality_data.mixing, "make_mixtures", None)  # would fail if anything were made
        patched.chdir(folder.parent)
        assert prepare(folder.name) == sets
    other = prepare(folder, test_snrs_db=(6,))
    assert other.folder != sets.folder
    assert {row.snr_db for row in read(other)} == {None, 6}


def test_another_mixture_seed_changes_the_training_mixtures_alone(prepared_sets):
    folder, sets = prepared_sets
    other = prepare(folder, mixture_seed=1)
    scores = [{split: [row.score for row in read(either, split)] for split in SPLITS} for either in (sets, other)]
    assert scores[0]["valid"] == scores[1]["valid"] and scores[0]["test"] == scores[1]["test"]
    assert scores[0]["train"] != scores[1]["train"]
    assert {row.speech for row in read(sets, "train")} == {row.speech for row in read(other, "train")}


def test_a_lost_file_is_made_again_and_labelled_again(prepared_sets):
    folder, sets = prepared_sets
    before, kept = sets.manifests["test"].read_text(), times(sets.folder / "audio")
    lost = read(sets)[3].path
    lost.unlink()
    with pytest.raises(CorpusError, match=r"test\.csv, row 5: .* does not exist"):
        read(sets)
    sets.manifests["test"].unlink()
    prepare(folder)
    assert sets.manifests["test"].read_text() == before
    changed = {path for path, time in times(sets.folder / "audio").items() if kept[path] != time}
    assert changed == {lost, lost.with_suffix(".causes.txt")}


# ------------------------------------------------------------------------------------------------------- manifests


@pytest.mark.parametrize(
    "columns, message",
    [
        ({}, ""),
        ({"duration": 2.5}, "duration=2.5, but .* is 1.000 s long"),
        ({"score": 4.8}, "score=4.8 is outside the range of pesq-raw, -0.5 to 4.5"),
        ({"ID": "a"}, "ID 'a' is also in row 2"),
        ({"subset": "noisy", "snr_db": None}, "noise_type or snr_db is empty"),
        ({"subset": "noisy", "noise_type": "rain", "snr_db": 600.0}, "snr_db=600 is outside"),
        ({"snr_db": 6.0}, "subset=clean, but noise or snr_db is not empty"),
    ],
)
def test_a_manifest_is_checked_against_its_files(tmp_path, tone, columns, message):
    path = tmp_path / "a.wav"
    soundfile.write(path, tone(1.0), 16000)
    write_rows(
        tmp_path / "x.csv", QualityRow, [quality_row(path=path), quality_row(path=path, **{"ID": "b"} | columns)]
    )
    name, count, problems = check_manifest(tmp_path / "x.csv")
    assert (name, count, len(problems)) == ("quality", 2, bool(message))
    assert not message or re.search(rf"^row 3 .*{message}", problems[0])


def test_manifests_of_earlier_versions_are_refused_with_a_remedy(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("ID,duration,path,speech,pesq,subset,speaker,noise_type,noise,snr_db\n")
    with pytest.raises(CorpusError, match="Rename the column pesq to score and add the column measure"):
        check_manifest(path)


def test_smaller_draws_lie_within_larger_ones():
    rows = [quality_row(ID=f"{number}", path=Path(f"{number % 5}.wav")) for number in range(10)]
    draws = [draw_utterances(rows, count, seed=1) for count in (2, 4, None)]
    assert [len({row.speech for row in draw}) for draw in draws] == [2, 4, 5]
    assert set(draws[0]) < set(draws[1]) < set(draws[2]) == set(rows)
    with pytest.raises(ConfigError, match="num_train_utterances=6"):
        draw_utterances(rows, 6)


# ---------------------------------------------------------------------------------------------------- enhanced speech


def trained_model(folder, weights=b"weights"):
    """What counts as a trained model's folder, where nobody loads it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def gentler(waveforms):
    """An enhancer that takes the second half of every waveform for noise."""
    return [np.concatenate([samples[: len(samples) // 2], 0.1 * samples[len(samples) // 2 :]]) for samples in waveforms]


def interrupt(waveforms):
    raise InterruptedError("enough")


@pytest.fixture(scope="module")
def enhanced(tmp_path_factory, builtin_cache):
    folder = tmp_path_factory.mktemp("enhanced")
    return folder, prepare(folder, enhancer=trained_model(folder / "model"), enhance=gentler, **ENHANCED)


def test_enhanced_files_are_made_of_their_noisy_twins_and_labelled(enhanced):
    rows = {row.ID: row for row in read(enhanced[1])}
    for row in (row for row in rows.values() if row.subset == "enhanced"):
        twin = rows[row.ID.replace("enhanced", "noisy")]
        noisy, changed, speech = (audio.read(path) for path in (twin.path, row.path, row.speech))
        np.testing.assert_allclose(changed, gentler([noisy])[0], atol=2 / 32768)
        raw = pesq_labels.raw_from_nb(pesq.pesq(16000, speech, changed, "nb"))
        assert row.score == pytest.approx(raw, abs=1e-5) != twin.score
        assert all(getattr(row, name) == getattr(twin, name) for name in ("speaker", "noise", "snr_db", "duration"))


def test_a_chain_named_enhanced_is_made_without_an_enhancer(tmp_path, builtin_cache):
    options = {name: value for name, value in ENHANCED.items() if name != "enhanced_share"}
    sets = prepare(tmp_path, degradations=[{"enhanced": "noise(snr_db=5)+spectral-enhancer"}], **options)
    assert subsets(sets)["test"] == {"clean": 1, "noisy": 4, "enhanced": 1}
    assert {row.causes for row in read(sets) if row.subset == "enhanced"} == {"?noise; processing"}


def test_sets_of_another_enhancer_are_other_sets_and_an_interrupted_one_is_resumed(enhanced, tmp_path):
    folder, sets = enhanced
    same = trained_model(tmp_path / "copied")
    (same / "README.md").write_text("not read by the model")
    assert prepare(folder, enhancer=same, enhance=interrupt, **ENHANCED) == sets, "complete, so nothing is called"
    other = trained_model(tmp_path / "other", b"other weights")
    with pytest.raises(InterruptedError):
        prepare(folder, enhancer=other, enhance=interrupt, **ENHANCED)
    (audio_folder,) = (path / "audio" for path in folder.glob("quality-*") if path != sets.folder)
    before = times(audio_folder)
    resumed = prepare(folder, enhancer=other, enhance=gentler, **ENHANCED)
    assert resumed.folder == audio_folder.parent and before.items() < times(audio_folder).items()
    for split, path in resumed.manifests.items():
        assert path.read_text().replace(resumed.folder.name, sets.folder.name) == sets.manifests[split].read_text()


# ------------------------------------------------------------------------------------------------- corpora and noises


def test_recordings_without_the_test_noises_are_tested_with_the_generated_ones(tmp_path, caplog, prepared_sets):
    (tmp_path / "noises").mkdir()
    for number in range(8):
        noise = np.random.default_rng(number).uniform(-0.3, 0.3, 16000)
        soundfile.write(tmp_path / "noises" / f"n{number}.wav", noise, 16000)
    sets = prepare(tmp_path / "out", noise_folder=tmp_path / "noises", num_train_noises=None, num_valid_utterances=1)
    assert "the test uses generated ones" in caplog.text
    assert sets.origin.endswith("recorded noises, test noises generated")
    assert {row.noise_type for row in read(sets)} >= {"white", "street"}


def test_two_corpora_are_joined_in_one_preparation(tmp_path, prepared_sets, builtin_cache):
    (folder,) = (path for path in builtin_cache.glob("builtin-*") if len(list(path.glob("T*/*/*"))) == 10)
    options = {"num_valid_utterances": 6, "num_test_utterances": 6, "test_snrs_db": (6,), "scale": "si-sdr"}
    sets = prepare(tmp_path, corpus=["builtin", "timit"], data_folder=["", folder], **options)
    assert sets.origin == "built-in synthetic speech + timit, generated noises"
    rows = {split: read(sets, split) for split in SPLITS}
    speakers = [{row.speaker for row in members} for members in rows.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers))
    for split, members in rows.items():
        assert {row.speaker.partition("-")[0] for row in members} == {"builtin0", "timit1"}, split
        assert {row.score for row in members if row.subset == "clean"} == {100.0}


@pytest.mark.parametrize("measure, scale", [("", "raw_nb"), ("mos", "raw_nb"), ("", "pesq-raw")])
def test_scores_of_a_corpus_state_their_measure_or_scale_does(tmp_path, measure, scale):
    lines = ["path,score,measure,split"]
    for split in SPLITS:
        put(tmp_path / f"{split}.wav", 8000)
        lines.append(f"{split}.wav,3,{measure},{split}")
    put_text(tmp_path / "labels.csv", "\n".join(lines))
    options = {"corpus": "labelled", "data_folder": tmp_path, "labels": "corpus", "scale": scale}
    with pytest.raises(ConfigError, match="Set scale") if scale == "raw_nb" else contextlib.nullcontext():
        assert subsets(prepare(tmp_path / "sets", **options))["test"] == {"corpus": 1}


def test_a_corpus_divided_by_utterance_is_refused_before_the_noises_are_made(tmp_path, monkeypatch):
    for name in ("one", "two"):
        put(tmp_path / f"{name}.wav", 16000)
    put_text(tmp_path / "labels.csv", "path,score,speaker,split\none.wav,3,anna,train\ntwo.wav,3,anna,test\n")
    monkeypatch.setattr(NoisySpeech, "noises", lambda self: pytest.fail("noises are made"))
    with pytest.raises(CorpusError, match="'anna' is in several splits"):
        quality_data.prepare(NoisySpeech("labelled", tmp_path), tmp_path / "prepared")


def test_edited_scores_of_a_corpus_make_other_sets(tmp_path):
    listed = "path,score,split\n" + "".join(f"{split}.wav,3,{split}\n" for split in SPLITS)
    for split in SPLITS:
        put(tmp_path / f"{split}.wav", 8000)
    options = {"corpus": "labelled", "data_folder": tmp_path, "labels": "corpus", "scale": "mos"}
    scores = []
    for text in (listed, listed.replace("train.wav,3", "train.wav,4"), listed):
        put_text(tmp_path / "labels.csv", text)
        sets = prepare(tmp_path / "sets", **options)
        scores.append([row.score for row in read_rows(sets.manifests["train"], QualityRow)])
    assert scores == [[3.0], [4.0], [3.0]] and len(list((tmp_path / "sets").iterdir())) == 2


def test_a_score_out_of_range_is_named_by_its_row(tmp_path):
    for split in SPLITS:
        put(tmp_path / f"{split}.wav", 8000)
    listed = "path,score,split\n" + "".join(f"{split}.wav,9,{split}\n" for split in SPLITS)
    put_text(tmp_path / "labels.csv", listed)
    options = {"corpus": "labelled", "data_folder": tmp_path, "labels": "corpus", "scale": "mos"}
    with pytest.raises(CorpusError, match=r"labels\.csv, row \d: score=9 "):
        prepare(tmp_path / "sets", **options)


def test_opinions_need_the_labels_of_a_corpus_before_anything_is_read(tmp_path):
    with pytest.raises(ConfigError, match="--labels=corpus"):
        prepare(tmp_path, corpus="labelled", data_folder="/nowhere", scale="mos")


TOY = """from speechtools import plugin


@plugin("measure/toy-level")
class ToyLevel:
    name = "toy-level"
    minimum, maximum, higher_is_better, sample_rates = 0.0, 9.0, True, None

    def __call__(self, reference, degraded, sample_rate):
        return VALUE
"""


@pytest.mark.usefixtures("registry_restored")
def test_an_edited_measure_makes_other_sets(tmp_path, monkeypatch, builtin_cache):
    monkeypatch.syspath_prepend(tmp_path)
    path, scores = tmp_path / "toy_level.py", []
    for value in ("1.0", "2.0", "1.0"):
        path.write_text(TOY.replace("VALUE", value))
        monkeypatch.delitem(sys.modules, "toy_level", raising=False)
        import_module(path)
        sets = prepare(tmp_path / "sets", scale="toy-level", test_snrs_db=(0,), num_workers=1)
        scores.append({row.score for row in read(sets)})
    assert scores == [{1.0}, {2.0}, {1.0}] and len(list((tmp_path / "sets").iterdir())) == 2


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"scale": "loud"}, ConfigError, "loud"),
        ({"labels": "corpsu"}, ConfigError, "labels='corpsu'.*'corpus'"),
        ({"labels": "corpus", "enhanced_share": 0.5}, ConfigError, "enhanced_share to 0"),
        ({"labels": "corpus"}, ConfigError, "corpus=builtin has none"),
        ({"num_test_utterances": 0}, ConfigError, "num_test_utterances: 0"),
        ({"noise_folder": "/nowhere"}, CorpusError, "/nowhere"),
        ({"corpus": ["builtin", "timit"]}, ConfigError, "2 corpora .* but 1 data folders"),
        ({"enhanced_share": 0.5}, ConfigError, "enhanced_share=0.5 needs a trained model"),
        ({"enhanced_share": 2}, ConfigError, "enhanced_share: 2"),
        ({"min_range_db": 300}, ConfigError, "300 dB"),
        ({"train_snrs_db": 5}, ConfigError, "train_snrs_db=5"),
        ({"mixtures_per_utterance": 0}, ConfigError, "mixtures_per_utterance: 0"),
        ({"mixture_seed": 0.5}, ConfigError, "mixture_seed: 0.5"),
        ({"test_snrs_db": (), "degradations": ["clipping"], "test_degradations": []}, ConfigError, "test_snrs_db"),
        # Without SNRs, a test of degradations alone passes their check.
        ({"test_snrs_db": (), "test_degradations": ["clipping"], "max_seconds": 0}, ConfigError, "max_seconds"),
    ],
)
def test_wrong_options(tmp_path, prepared_sets, options, error, message):
    with pytest.raises(error, match=message):
        prepare(tmp_path, **options)
