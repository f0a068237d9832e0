"""Every recipe trains, tests, exports and reloads on the built-in corpus; killed, it ends with the same weights."""

import json
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import runs
import torch

ROOT = Path(__file__).parents[2]
QUALITY = ROOT / "recipes" / "TIMIT" / "quality"
SMALL = [
    "--corpus_options={builtin: {num_train_speakers: 5, num_test_speakers: 6}}",
    "--num_clean_train=10",
    "--num_train_noises=20",
    "--num_valid_utterances=1",
    "--num_test_utterances=2",
    "--test_snrs_db=[0, 12]",
    "--hidden_size=8",
    "--number_of_epochs=3",
    "--num_workers=1",
    "--batch_size=8",
    "--input_dropout=0.1",
    "--average_decay=0.5",
    "--lr_decay=0.9",
    "--noprogressbar",
]


def arguments(folder, prepared, *options):
    return ["hparams/qnet.yaml", f"--output_folder={folder}", f"--prepared_folder={prepared}", *SMALL, *options]


def train(folder, prepared, *options, **how):
    return runs.run(*arguments(folder, prepared, *options), cwd=QUALITY, **how)


def weights(folder):
    return torch.load(Path(folder) / "pretrained" / "quality.ckpt", weights_only=True)


@pytest.fixture(scope="module")
def run(tmp_path_factory, builtin_cache):
    """A run that was never interrupted: its folder, the prepared folder and what it printed."""
    folder = tmp_path_factory.mktemp("quality")
    return folder / "run", folder / "prepared", runs.succeeded(train(folder / "run", folder / "prepared"))


def test_what_a_run_leaves(run):
    folder, _, output = run
    for name in ("hyperparams.yaml", "train_log.txt", "results.json", "train.py", "figures/scatter.png"):
        assert (folder / name).is_file(), name
    assert (folder / "figures/frame_scores.png").read_bytes().startswith(b"\x89PNG")
    assert list((folder / "tensorboard").glob("events*"))
    assert len((folder / "train_log.txt").read_text().splitlines()) == 3
    assert "synthetic" in output and "LCC" in output


def test_results_agree_with_the_exported_model(run):
    """The round trip: the test figures are those of the model loaded from `pretrained`, file by file."""
    from speechtools.core import metrics
    from speechtools.core.rows import read_rows
    from speechtools.inference import QualityNet
    from speechtools.quality.data import QualityRow
    from speechtools.quality.localization import localization_metrics, partly_noisy_set

    folder, prepared, output = run
    results = json.loads((folder / "results.json").read_text())
    rows = read_rows(next(prepared.glob("quality-*/test.csv")), QualityRow, check=True)
    net = QualityNet.from_hparams(folder / "pretrained")
    reports = [report for _, report in net.assess_files([row.path for row in rows])]
    predicted, true = [report.score for report in reports], [row.score for row in rows]
    assert results["overall"]["mse"] == pytest.approx(metrics.mse(predicted, true), rel=1e-4)
    assert results["overall"]["lcc"] == pytest.approx(metrics.lcc(predicted, true), abs=1e-4)
    variances = [r.frame_scores.var() for r, row in zip(reports, rows, strict=True) if row.subset == "clean"]
    assert results["clean_frame_variance"] == pytest.approx(np.mean(variances), rel=1e-3)
    assert results["by_subset"]["noisy"]["utterances"] == 16
    assert set(results["by_noise"]) == {"engine", "white", "street", "baby_cry"}
    assert "synthetic" in results["trained_on"]
    found = localization_metrics(net, partly_noisy_set(rows, net.sample_rate))
    assert results["localization"] == pytest.approx(found, abs=1e-4) and found["utterances"] == 2
    assert f"AUC of its frames {found['auc']:.4f}" in output


@pytest.mark.parametrize("steps, interval", [(8, 2), (9, 100)])
def test_a_killed_run_ends_with_the_same_weights(run, tmp_path, steps, interval):
    """Five batches an epoch: killed in the second, with and without a checkpoint within it."""
    folder, prepared, _ = run
    option = f"--ckpt_interval_steps={interval}"
    killed = train(tmp_path / "run", prepared, option, kill_after=steps)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert not (tmp_path / "run" / "pretrained").exists()
    runs.succeeded(train(tmp_path / "run", prepared, option))
    ours, theirs = weights(tmp_path / "run"), weights(folder)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert json.loads((tmp_path / "run/results.json").read_text()) == json.loads((folder / "results.json").read_text())


@pytest.mark.processes
def test_two_processes_train_test_and_export(run, tmp_path):
    """torchrun on CPUs: each process sees its half of the batches; the first one tests, exports and reports."""
    options = ("--distributed_backend=gloo", "--device=cpu")
    command = [sys.executable, *runs.torchrun("train.py"), *arguments(tmp_path / "run", run[1], *options)]
    environment = {**os.environ, **runs.ALONE}
    runs.succeeded(runs.call(command, cwd=QUALITY, env=environment))
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["overall"]["utterances"] == 18
    assert not all(torch.equal(value, weights(run[0])[name]) for name, value in weights(tmp_path / "run").items())
    assert (tmp_path / "run" / "figures" / "scatter.png").is_file()


def test_a_finished_run_is_only_tested_again(run):
    folder, prepared, _ = run
    before = weights(folder)
    assert "Going into epoch" not in runs.succeeded(train(folder, prepared))
    assert all(torch.equal(value, before[name]) for name, value in weights(folder).items())


def test_another_run_does_not_continue_this_one(run):
    runs.one_message(train(run[0], run[1], "--alpha=0"), "holds a run with alpha=1.0")
