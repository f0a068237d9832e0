"""The sets of the enhancer: what is listed, what is judged, what is made again after a loss, and what is refused."""

import csv
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pesq
import pystoi
import pytest

from speechtools import audio
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.rows import check_manifest, read_rows, write_rows
from speechtools.corpora import mixtures as mixing
from speechtools.enhancement import data as enhancement_data
from speechtools.enhancement.data import ROW_MODELS
from speechtools.measures import pesq as pesq_labels
from tests.quality.test_data import prepare_with

SMALL = {
    # The speech of the quality sets' test, so that it is synthesized once.
    "corpus_options": {"builtin": {"num_train_speakers": 4, "num_test_speakers": 6}},
    "num_train_noises": None,
    "enhancer_share": 0.5,
    "enhancer_noises": 2,
    "valid_noises": 2,
    "num_train_utterances": 3,
    "num_valid_utterances": 1,
    "num_test_utterances": 2,
    "snrs_db": (-4, 8),
    "num_workers": 1,
}


def prepare(folder, **options):
    """The sets of SMALL, but for these options."""
    return prepare_with(enhancement_data.prepare, folder, SMALL | options)


@pytest.fixture(scope="module")
def prepared_sets(tmp_path_factory, builtin_cache):
    folder = tmp_path_factory.mktemp("prepared")
    return folder, prepare(folder)


def rows_of(sets):
    return {split: read_rows(path, ROW_MODELS[split], check=True) for split, path in sets.manifests.items()}


def test_every_utterance_meets_every_noise_at_every_snr(prepared_sets):
    rows = rows_of(prepared_sets[1])
    for split, utterances, noises in (("train", 3, 2), ("valid", 1, 2), ("test", 2, 4 + 2)):
        met = Counter((row.speech, row.noise_type, row.snr_db) for row in rows[split])
        assert len(met) == utterances * noises * 2 and set(met.values()) == {1}
        assert len({row.ID for row in rows[split]}) == len({row.seed for row in rows[split]}) == len(rows[split])
    unheard = {row.noise_type for row in rows["test"] if not row.heard}
    assert unheard == {"engine", "white", "street", "baby_cry"}
    assert {row.noise for row in rows["test"] if row.heard} <= {row.noise for row in rows["train"]}


def test_the_test_files_are_the_mixtures_and_judged_rightly(prepared_sets):
    rows = rows_of(prepared_sets[1])["test"]
    for row in rows[::7]:
        degraded, clean = mixing.mix(row.mixture(), 16000)
        written = audio.read(row.path)
        np.testing.assert_allclose(written, degraded, atol=1 / 32768)
        snr = 10 * np.log10(np.square(clean).sum() / np.square(degraded - clean).sum())
        assert snr == pytest.approx(row.snr_db, abs=0.01)
        raw = pesq_labels.raw_from_nb(pesq.pesq(16000, clean, written, "nb"))
        assert row.score == pytest.approx(raw, abs=1e-3)
        assert row.stoi == pytest.approx(pystoi.stoi(clean, written, 16000), abs=1e-3)
        assert row.duration == pytest.approx(len(clean) / 16000, abs=1e-5)


def test_a_complete_set_is_used_as_it_is_and_another_option_makes_another(prepared_sets, monkeypatch):
    folder, sets = prepared_sets
    with monkeypatch.context() as patched:
        patched.setattr(mixing, "make_mixtures", None)  # would fail if anything were made
        assert prepare(folder) == sets
    assert prepare(folder, num_test_utterances=1).folder != sets.folder


def test_nothing_that_was_finished_is_made_again(prepared_sets):
    folder, sets = prepared_sets
    before = {path: path.read_text() for path in sets.manifests.values()}
    wavs = sorted((sets.folder / "noisy").iterdir())
    kept = {path: path.stat().st_mtime_ns for path in wavs if path != wavs[2]}
    wavs[2].unlink()
    sets.manifests["test"].unlink()
    assert prepare(folder) == sets
    assert {path: path.read_text() for path in sets.manifests.values()} == before
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


@pytest.mark.parametrize(
    "split, columns, message",
    [
        ("train", {}, ""),
        ("train", {"noise": Path("/nowhere/rain.wav")}, "noise=/nowhere/rain.wav does not exist"),
        ("train", {"seed": -1}, "seed=-1"),
        ("test", {}, ""),
        ("test", {"stoi": 1.2}, "stoi=1.2 is outside -1 to 1"),
        ("test", {"path": Path("/nowhere/n.wav")}, "/nowhere/n.wav does not exist"),
    ],
)
def test_a_manifest_is_checked_against_its_files(prepared_sets, tmp_path, split, columns, message):
    rows = rows_of(prepared_sets[1])[split][:2]
    write_rows(tmp_path / "x.csv", ROW_MODELS[split], [rows[0], replace(rows[1], **columns)])
    name, count, problems = check_manifest(tmp_path / "x.csv")
    assert (name, count) == ("enhancement" if split == "train" else "enhancement test", 2)
    assert len(problems) == bool(message) and all("row 3" in problem and message in problem for problem in problems)


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"enhancer_share": 0}, CorpusError, "enhancer_share=0"),
        ({"num_train_utterances": 999}, ConfigError, "num_train_utterances=999"),
        ({"scale": "loud"}, ConfigError, "loud"),
        ({"snrs_db": []}, ConfigError, r"snrs_db=\[\]"),
    ],
)
def test_wrong_options(prepared_sets, tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        prepare(tmp_path, **options)


def test_what_cannot_be_judged_is_missing_and_its_reason_kept(prepared_sets, tmp_path, caplog):
    speech = audio.read(rows_of(prepared_sets[1])["test"][0].speech)
    paths = {name: tmp_path / f"{name}.wav" for name in ("good", "silent", "short")}
    for path, samples in zip(paths.values(), (speech, 0 * speech, speech[8000:13000]), strict=True):
        audio.write(path, samples, 16000)
    pairs = {name: (paths["good"] if name == "silent" else path, path) for name, path in paths.items()}
    unmade = {"unmade": "its noise is silent"}
    judged = enhancement_data.judge(pairs, tmp_path / "labels.csv", num_workers=1, rejected=unmade)
    assert list(judged) == ["good"]
    assert judged["good"].pesq == pytest.approx(4.5, abs=0.01) and judged["good"].stoi > 0.999
    with open(tmp_path / "rejected.csv", encoding="utf-8") as file:
        rejected = {line["id"]: line["reason"] for line in csv.DictReader(file)}
    assert set(rejected) == {"silent", "short", "unmade"} and rejected["silent"]
    assert "STOI cannot score 0.31 s of audio" in rejected["short"] and rejected["unmade"] == "its noise is silent"
    assert "short is left out: STOI" in caplog.text
