"""The sets of the enhancer: what is listed, what is judged, what is made again after a loss, and what is refused."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from speechtools import audio
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.rows import check_manifest, read_rows, write_rows
from speechtools.corpora import mixtures as mixing
from speechtools.corpora.noisy_speech import NoisySpeech
from speechtools.enhancement import data as enhancement_data
from speechtools.enhancement import evaluation as enhancement_evaluation
from speechtools.enhancement.data import ROW_MODELS
from speechtools.measures import labels
from speechtools.measures import pesq as pesq_labels
from tests.quality.test_data import prepare_with

SOURCES = dict(
    # The speech of test_quality_data.py, so that it is spoken once.
    corpus_options={"builtin": {"num_train_speakers": 4, "num_test_speakers": 6}},
    num_train_noises=None,
    enhancer_share=0.5,
    enhancer_noises=2,
    valid_noises=2,
)
SMALL = dict(num_train_utterances=3, num_valid_utterances=1, num_test_utterances=2, snrs_db=(-4, 8), num_workers=1)


def prepare(folder, **options):
    """The sets of SOURCES and SMALL, but for these options."""
    return prepare_with(enhancement_data.prepare, folder, SOURCES | SMALL | options)


@pytest.fixture(scope="module")
def made(tmp_path_factory, builtin_cache):
    folder = tmp_path_factory.mktemp("prepared")
    return folder, prepare(folder)


def rows_of(sets):
    return {split: read_rows(path, ROW_MODELS[split], check=True) for split, path in sets.manifests.items()}


# --------------------------------------------------------------------------------------------------------- manifests


def test_every_utterance_meets_every_noise_at_every_snr(made):
    rows = rows_of(made[1])
    for split, utterances, noises in (("train", 3, 2), ("valid", 1, 2), ("test", 2, 4 + 2)):
        met = Counter((row.speech, row.noise_type, row.snr_db) for row in rows[split])
        assert len(met) == utterances * noises * 2 and set(met.values()) == {1}
        assert {row.snr_db for row in rows[split]} == {-4, 8}
        assert len({row.ID for row in rows[split]}) == len({row.seed for row in rows[split]}) == len(rows[split])


def test_speakers_are_new_in_every_split_and_noises_but_for_those_that_were_heard(made):
    rows = rows_of(made[1])
    speakers = [{row.speaker for row in members} for members in rows.values()]
    assert sum(map(len, speakers)) == len(set.union(*speakers))
    noises = {split: {row.noise for row in members} for split, members in rows.items()}
    noises["test"] = {row.noise for row in rows["test"] if not row.heard}
    assert sum(map(len, noises.values())) == len(set.union(*noises.values()))
    assert {row.noise_type for row in rows["test"] if not row.heard} == {
        "engine",
        "white",
        "street",
        "baby_cry",
    }
    heard = {row.noise for row in rows["test"] if row.heard}
    assert heard and heard <= noises["train"]


def test_the_speakers_are_those_that_quality_net_sets_aside(made):
    groups = NoisySpeech(**SOURCES).speech(1)
    for split, group in (("train", "enhancer"), ("valid", "valid"), ("test", "test")):
        assert {row.speaker for row in rows_of(made[1])[split]} <= {u.speaker for u in groups[group]}


def test_the_test_files_are_the_mixtures_and_judged_rightly(made):
    import pesq
    import pystoi

    sets = made[1]
    rows = rows_of(sets)["test"]
    for row in rows[::7]:
        degraded, clean = mixing.mix(row.mixture(), 16000)
        written = audio.read(row.path)
        np.testing.assert_allclose(written, degraded, atol=1 / 32768)
        raw = pesq_labels.raw_from_nb(pesq.pesq(16000, clean, written, "nb"))
        assert row.score == pytest.approx(raw, abs=1e-3)
        assert row.stoi == pytest.approx(pystoi.stoi(clean, written, 16000), abs=1e-3)
        assert row.duration == pytest.approx(len(clean) / 16000, abs=1e-5)
    loud, quiet = ([row.stoi for row in rows if row.snr_db == snr] for snr in (-4, 8))
    assert np.mean(loud) < np.mean(quiet) < 1


def test_mixtures_are_read_as_they_were_planned(made):
    for split in ("train", "valid"):
        mixtures = [row.mixture() for row in rows_of(made[1])[split]]
        noisy, clean = mixing.mix(mixtures[0], 16000)
        snr = 10 * np.log10(np.square(clean).sum() / np.square(noisy - clean).sum())
        assert snr == pytest.approx(mixtures[0].snr_db, abs=0.01)


# ---------------------------------------------------------------------------------------------------------- resuming


def test_a_complete_set_is_used_as_it_is(made, monkeypatch):
    folder, sets = made
    monkeypatch.setattr(mixing, "make_mixtures", None)  # would fail if anything were made
    assert prepare(folder) == sets
    monkeypatch.chdir(folder.parent)
    assert prepare(folder.name) == sets


def test_a_changed_option_never_meets_a_stale_manifest(made):
    folder, sets = made
    other = prepare(folder, num_test_utterances=1)
    assert other.folder != sets.folder
    assert len(rows_of(other)["test"]) == 12


def test_nothing_that_was_finished_is_made_again(made, monkeypatch):
    folder, sets = made
    before = {path: path.read_text() for path in sets.manifests.values()}
    wavs = sorted((sets.folder / "noisy").iterdir())
    kept = {path: path.stat().st_mtime_ns for path in wavs if path != wavs[2]}
    wavs[2].unlink()
    sets.manifests["test"].unlink()
    scored, run_jobs = [], labels.run_jobs

    def recorded(function, jobs, *options):
        return run_jobs(function, (scored.append(Path(job[1][2]).name) or job for job in jobs), *options)

    monkeypatch.setattr(labels, "run_jobs", recorded)
    assert prepare(folder) == sets
    assert {path: path.read_text() for path in sets.manifests.values()} == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert scored == 2 * [wavs[2].name], "by PESQ and by STOI"


@pytest.mark.parametrize(
    "split, columns, message",
    [
        ("train", {}, ""),
        ("train", {"noise": Path("/nowhere/rain.wav")}, "noise=/nowhere/rain.wav does not exist"),
        ("train", {"speech": Path("/nowhere/a.wav")}, "/nowhere/a.wav does not exist"),
        ("train", {"seed": -1}, "seed=-1"),
        ("train", {"snr_db": 600.0}, "snr_db=600"),
        ("test", {}, ""),
        ("test", {"stoi": 1.2}, "stoi=1.2 is outside -1 to 1"),
        ("test", {"score": 5.0}, "score=5 is outside the range"),
        ("test", {"path": Path("/nowhere/n.wav")}, "/nowhere/n.wav does not exist"),
    ],
)
def test_a_manifest_is_checked_against_its_files(made, tmp_path, split, columns, message):
    rows = rows_of(made[1])[split][:2]
    write_rows(tmp_path / "x.csv", ROW_MODELS[split], [rows[0], replace(rows[1], **columns)])
    name, count, problems = check_manifest(tmp_path / "x.csv")
    assert (name, count) == ("enhancement" if split == "train" else "enhancement test", 2)
    assert len(problems) == bool(message) and all("row 3" in problem and message in problem for problem in problems)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"enhancer_share": 0}, CorpusError, "enhancer_share=0"),
        ({"enhancer_noises": 0}, CorpusError, "enhancer_noises=0"),
        ({"num_train_utterances": 999}, ConfigError, "num_train_utterances=999"),
        ({"scale": "loud"}, ConfigError, "loud"),
        ({"snrs_db": []}, ConfigError, r"snrs_db=\[\]"),
    ],
)
def test_wrong_options(made, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        prepare(tmp_path, **options)


# ------------------------------------------------------------------------------------------------------ STOI and PESQ


@pytest.fixture(scope="module")
def speech(made):
    return audio.read(rows_of(made[1])["test"][0].speech)


def test_what_cannot_be_judged_is_missing_and_its_reason_kept(speech, tmp_path, caplog):
    files = {"good": speech, "silent": 0 * speech, "cut": speech[:-100], "short": speech[8000:13000]}
    pairs = {}
    for name, samples in files.items():
        audio.write(tmp_path / f"{name}.wav", samples, 16000)
        audio.write(tmp_path / f"{name}-clean.wav", speech if name != "short" else samples, 16000)
        pairs[name] = tmp_path / f"{name}-clean.wav", tmp_path / f"{name}.wav"
    pairs["gone"] = pairs["good"][0], tmp_path / "gone.wav"
    pairs["unmade"] = pairs["good"]
    unmade = {"unmade": "its noise is silent"}
    judged = enhancement_data.judge(pairs, tmp_path / "labels.csv", num_workers=1, rejected=unmade)
    assert list(judged) == ["good"]
    assert judged["good"].pesq == pytest.approx(4.5, abs=0.01) and judged["good"].stoi > 0.999
    with open(tmp_path / "rejected.csv", encoding="utf-8") as file:
        rejected = {line["id"]: line["reason"] for line in csv.DictReader(file)}
    assert set(rejected) == set(pairs) - {"good"} and all(rejected.values())
    assert "STOI cannot judge 0.31 s of audio" in rejected["short"] and rejected["unmade"] == "its noise is silent"
    assert "short is left out: STOI" in caplog.text


def test_the_enhanced_files_are_judged_as_the_noisy_ones_are(made, tmp_path):
    """So that an enhancer which does nothing gains nothing."""
    rows = rows_of(made[1])["test"][:5]
    idle = SimpleNamespace(sample_rate=16000, enhance_waveforms=lambda waveforms: waveforms)
    judged = enhancement_evaluation.evaluate(idle, rows, tmp_path, num_workers=1)
    assert {comparison.row.ID for comparison in judged} == {row.ID for row in rows}
    for group in enhancement_evaluation.enhancement_metrics(judged).values():
        assert group["overall"]["gain"] == pytest.approx({"pesq": 0, "stoi": 0}, abs=1e-5)


def test_labels_lie_beside_the_sets(made):
    sets = made[1]
    assert Path(sets.folder / "labels.csv").is_file() and "synthetic" in sets.origin
    assert "synthetic" in (sets.folder / "about.json").read_text()
