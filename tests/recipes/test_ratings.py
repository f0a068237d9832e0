"""Quality-Net learns ratings beside its mixtures, continues exactly after a kill, and starts from a trained model."""

import csv
import hashlib
import re
import signal

import pytest
import runs
import soundfile

from speechtools.inference import QualityNet
from speechtools.quality.further import parse_measures
from tests.recipes.small import QUALITY, results

#: The first test waits for two trainings.
pytestmark = pytest.mark.timeout(400)
CONV = ("--quality_name=conv-blstm", "--quality_options={channels: 6}")


@pytest.fixture(scope="module")
def start(tmp_path_factory, builtin_cache):
    """A trained conv-blstm without further outputs, and its prepared folder."""
    folder = tmp_path_factory.mktemp("start")
    runs.succeeded(QUALITY.train(folder / "run", folder / "prepared", *CONV, "--number_of_epochs=1"))
    return folder / "run" / "pretrained", folder / "prepared"


@pytest.fixture(scope="module")
def mine(start):
    """A list with ratings of mixtures, as if listeners had given them."""
    path = start[1].parent / "mine.csv"
    (manifest,) = start[1].glob("quality-*/train.csv")
    with open(manifest, encoding="utf-8") as rows, open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "score", "speaker"])
        for row in list(csv.DictReader(rows))[:25]:
            rating = min(5.0, max(1.0, 1.2 + 0.7 * float(row["score"])))
            writer.writerow([manifest.parent / row["path"], rating, row["path"]])
    return path


@pytest.fixture(scope="module")
def rated(start, mine, tmp_path_factory):
    """The folder of a run that was never interrupted, and what it printed."""
    folder = tmp_path_factory.mktemp("rated")
    return folder, runs.succeeded(QUALITY.train(folder, start[1], *options(start, mine)))


def options(start, mine):
    return (*CONV, f"--labels={mine}", f"--start_from={start[0]}", "--rating_batch_size=4", "--rating_weight=1.0")


def test_ratings_are_learned_tested_and_exported(rated, start, mine):
    folder, output = rated
    assert "measure_outputs.mos.bias keep their initial values" in output
    assert "mos_lcc" in (folder / "train_log.txt").read_text()
    values = results(folder)["ratings"]["mos"]
    assert [values[split]["ratings"] for split in ("train", "valid", "test")] == [15, 5, 5]
    assert values["test"].keys() == values["test_of_mapped_score"].keys() == {"ratings", "lcc", "srcc", "rmse"}
    with open(mine, encoding="utf-8") as file:
        path = next(csv.DictReader(file))["path"]
    assert 0 < QualityNet.from_hparams(folder / "pretrained").assess_file(path).measures["mos"] < 6


def test_measures_of_the_mixtures_are_learned_beside_ratings(start, mine, tmp_path):
    """The sets of another run get the labels that they lack, and a model starts without these outputs."""
    (manifest,) = start[1].glob("quality-*/test.csv")
    further = "--further_measures=[stoi, si-sdr]"
    runs.succeeded(QUALITY.train(tmp_path, start[1], *options(start, mine), further, "--number_of_epochs=1"))
    assert [*start[1].glob("quality-*/test.csv")] == [manifest]
    assert {"stoi_lcc", "si-sdr_mse", "mos_lcc"} <= set(
        re.findall(r"[\w-]+(?=: )", (tmp_path / "train_log.txt").read_text())
    )
    with open(tmp_path / "predictions.csv", encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    assert parse_measures(row["measures"]).keys() == {"stoi", "si-sdr"}
    report = QualityNet.from_hparams(tmp_path / "pretrained").assess_file(manifest.parent / row["path"])
    assert report.measures == pytest.approx(parse_measures(row["predicted_measures"]), abs=1e-3)
    values = results(tmp_path)
    assert values["measures"]["stoi"]["overall"]["utterances"] == values["overall"]["utterances"]


def test_a_killed_run_with_ratings_ends_with_the_same_weights(rated, start, mine, tmp_path):
    every = "--ckpt_interval_steps=2"
    killed = QUALITY.train(tmp_path, start[1], *options(start, mine), every, kill_after=7)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    runs.succeeded(QUALITY.train(tmp_path, start[1], *options(start, mine), every))
    assert QUALITY.same_weights(tmp_path, rated[0])
    assert results(tmp_path) == results(rated[0])


def print_weights(left):
    """Whether processes have the same weights shows in their prints."""
    content = b"".join(value.numpy().tobytes() for value in left["quality"].state_dict().values())
    print("weights", hashlib.sha256(content).hexdigest())


@pytest.mark.processes
def test_two_processes_learn_ratings_together(rated, start, mine, tmp_path):
    """Each has its own mixtures and ratings, both have the same weights, and the first one tests and reports."""
    folder, _ = rated
    words = ("--distributed_backend=gloo", "--device=cpu", "--further_measures=[stoi]")
    arguments = QUALITY.arguments(tmp_path, start[1], *options(start, mine), *words)
    printed = [
        re.search(r"^weights (.*)$", runs.succeeded(done), re.MULTILINE)[1]
        for done in runs.run_processes(2, *arguments, cwd=QUALITY.folder, after=print_weights)
    ]
    assert len(printed) == 2 and printed[0] == printed[1]
    assert not QUALITY.same_weights(tmp_path, folder)
    values = results(tmp_path)["ratings"]["mos"]
    assert [values[split]["ratings"] for split in ("train", "valid", "test")] == [15, 5, 5]
    assert values["test"]["rmse"] is not None and "stoi" in results(tmp_path)["measures"]
    assert QualityNet.from_hparams(tmp_path / "pretrained").measure_names == ("mos", "stoi")


def test_what_cannot_be_is_refused_before_anything_is_prepared(start, mine, pretrained, tmp_path):
    """A model without further outputs, a start of another architecture, and a list with a missing recording."""
    soundfile.write(tmp_path / "a.wav", [0.1, -0.1] * 8000, 16000)
    (tmp_path / "wrong.csv").write_text("path,score\na.wav,1\nb.wav,2\n", encoding="utf-8")
    for words, message in (
        ([f"--labels={mine}"], "quality/blstm has no output for mos"),
        ([*CONV, "--features_name=mel", "--input_size=80", "--equalizer_db=4"], "equalizer_db=4 multiplies magnitudes"),
        (["--further_measures=[stoi]"], "quality/blstm has no output for stoi"),
        ([*CONV, "--further_measures=[stio]"], "Did you mean 'stoi'"),
        ([*CONV, f"--start_from={pretrained}"], "has quality/blstm, and this run has quality/conv-blstm"),
        ([*CONV, f"--labels={tmp_path / 'wrong.csv'}"], f"1 of the 2 recordings of {tmp_path / 'wrong.csv'}"),
    ):
        runs.one_message(QUALITY.train(tmp_path / "run", tmp_path / "prepared", *words), message)
    assert not (tmp_path / "prepared").exists()
