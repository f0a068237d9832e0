"""`speechtools score --reference --measures`."""

import csv
import json

import numpy as np
import pytest
import soundfile

from speechtools.inference import QualityNet
from speechtools.measures.pairs import find_measures, score_pair

MEASURES = "si-sdr,stoi,quality-net"


@pytest.fixture
def folders(tmp_path, tone):
    """Clean recordings, and noisy copies with another suffix."""
    generator = np.random.default_rng(0)
    for speaker in ("s1", "s2"):
        for name in ("a", "b"):
            for folder, suffix, noise in (("clean", "flac", 0.0), ("noisy", "wav", 0.05)):
                path = tmp_path / folder / speaker / f"{name}.{suffix}"
                path.parent.mkdir(parents=True, exist_ok=True)
                samples = tone(1.0, seed=len(name))
                soundfile.write(path, samples + noise * generator.standard_normal(len(samples)), 16000)
    return tmp_path


@pytest.fixture
def measure(call, folders, pretrained, monkeypatch):
    """Measure the noisy recordings: exit status, output, errors and rows."""
    monkeypatch.chdir(folders)

    def run(*options, recordings=("noisy",), reference="clean", measures=MEASURES):
        words = ["score", *recordings, "--reference", reference, "--measures", measures, "--model", pretrained]
        result = call(*words, "--csv", "scores.csv", *options)
        with open("scores.csv", newline="") as file:
            return *result, list(csv.DictReader(file))

    return run


def test_the_table_has_a_column_for_each_measure(measure, pretrained):
    status, output, errors, rows = measure()
    assert status == 0 and not errors and "4 recordings scored by si-sdr, stoi, quality-net" in output
    assert [row["file"] for row in rows] == [f"noisy/s{speaker}/{name}.wav" for speaker in (1, 2) for name in "ab"]
    net = QualityNet.from_hparams(pretrained)
    for row in rows:
        assert row["reference"] == row["file"].replace("noisy", "clean").replace("wav", "flac")
        scores = score_pair(find_measures(["si-sdr", "stoi"]), row["reference"], row["file"])["scores"]
        assert float(row["si_sdr"]) == pytest.approx(scores["si-sdr"], abs=1e-4)
        assert float(row["stoi"]) == pytest.approx(scores["stoi"], abs=1e-4)
        assert float(row["quality_net"]) == pytest.approx(net.assess_file(row["file"]).score, abs=1e-3)
        assert row["seconds"] == "1.0" and row["model_id"] == net.model_id


def test_missing_partners_and_other_lengths_are_reported(measure, folders, tone):
    (folders / "clean/s1/a.flac").rename(folders / "clean/s1/unused.flac")
    soundfile.write("noisy/s2/a.wav", tone(0.9), 16000)
    status, output, errors, rows = measure()
    assert status == 1 and "2 recordings scored" in output and errors.count("\n") == 3
    assert "warning: 1 of the 4 references" in errors and "unused.flac" in errors
    assert "noisy/s1/a.wav: no recording in clean is its reference" in errors
    assert "noisy/s2/a.wav: It has 14400 samples" in errors
    assert [bool(row["si_sdr"]) for row in rows] == [False, True, False, True] and all(r["quality_net"] for r in rows)
    (folders / "clean/s1/unused.flac").rename(folders / "clean/s1/a.flac")
    status, output, _, rows = measure("--resume")
    assert status == 1 and "1 recording scored by" in output and "2 before" in output
    assert [bool(row["si_sdr"]) for row in rows].count(True) == 3


def test_shards_of_lists_of_kaldi_are_aligned_by_their_ids(measure, folders):
    names = [f"s{speaker}/{name}" for speaker in (1, 2) for name in "ab"]
    for folder, suffix in (("clean", "flac"), ("noisy", "wav")):
        # a clean file has the name of another noisy one
        paths = names if folder == "noisy" else names[::-1]
        lines = [f"u{number} {folder}/{path}.{suffix}\n" for number, path in enumerate(paths)]
        (folders / f"{folder}.scp").write_text("".join(lines))
    options = {"recordings": ["--list", "noisy.scp", "--batch_size", "1"], "reference": "clean.scp"}
    whole = measure(**options)[3]
    assert [(row["file"], row["reference"]) for row in whole] == [
        (f"noisy/{name}.wav", f"clean/{other}.flac") for name, other in zip(names, names[::-1], strict=True)
    ]
    shards = [row for number in (1, 2) for row in measure("--shard", f"{number}/2", **options)[3]]
    assert sorted(map(str, shards)) == sorted(map(str, whole))


def test_one_recording_against_one_and_the_terminal(call, folders, monkeypatch):
    monkeypatch.chdir(folders)
    words = ["score", "noisy/s1/a.wav", "--measures", "si-sdr", "--reference"]
    status, output, _ = call(*words, "clean/s2/b.flac")
    assert status == 0 and output.endswith("\tnoisy/s1/a.wav\n") and float(output.split()[0])
    status, output, _ = call(*words, "clean", "--jsonl", "-")
    assert json.loads(output)["reference"] == "clean/s1/a.flac"


@pytest.mark.parametrize(
    "options, expected",
    [
        (["--measures", "si-sdr"], "--reference"),
        (["--reference", "clean"], "--measures"),
        (["--measures", "si-sdd", "--reference", "clean"], "'si-sdr'"),
        (["--measures", "quality_net", "--reference", "clean"], "'quality-net'"),
        (["--measures", "mos", "--reference", "clean"], "listeners"),
        (["--measures", "si-sdr,,stoi", "--reference", "clean"], "--measures"),
        (["--measures", "quality-net,quality-net", "--reference", "clean"], "twice"),
        (["--measures", "si-sdr", "--reference", "gone"], "does not exist"),
        (["--measures", "si-sdr", "--reference", "clean/s1/a.flac"], "Pass a folder"),
        (["--measures", "si-sdr", "--reference", "others"], "names must be equal"),
        (["--measures", "si-sdr", "--reference", "clean", "--explain"], "--explain"),
        (["--measures", "si-sdr", "--reference", "clean", "--below", "2"], "--below"),
    ],
)
def test_wrong_options_are_refused(refused, folders, tone, monkeypatch, options, expected):
    monkeypatch.chdir(folders)
    (folders / "others").mkdir()
    soundfile.write("others/x.wav", tone(1.0), 16000)
    assert expected in refused("score", "noisy", *options)


def test_a_reference_is_never_replaced(refused, folders, monkeypatch):
    monkeypatch.chdir(folders)
    (folders / "clean.txt").write_text("clean/s1/a.flac\nclean/s1/b.flac\n")
    words = ["score", "noisy", "--measures", "si-sdr", "--reference", "clean.txt", "--overwrite", "--csv"]
    assert "clean.txt is one of the lists" in refused(*words, "clean.txt")
