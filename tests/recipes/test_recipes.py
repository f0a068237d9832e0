"""Every recipe trains, tests, exports and reloads on the built-in corpus; killed, it ends with the same weights."""

import csv
import os
import shlex
import shutil
import signal
import sys

import numpy as np
import pytest
import runs
import torch

from speechtools.core import metrics
from speechtools.core.rows import read_rows
from speechtools.corpora.builtin import builtin
from speechtools.inference import QualityNet
from speechtools.quality.localization import localization_metrics, partly_noisy_set
from speechtools.quality.rows import QualityRow
from speechtools.training import check_recipe, options
from speechtools.training.command_line import parse
from tests.recipes.small import DETECTION, ENHANCEMENT, KEYWORD, QUALITY, RECIPES, ROOT, SPEAKER, results

each_recipe = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
SCRIPTS = [*ROOT.glob("recipes/*/*/train.py"), *ROOT.glob("templates/recipe/*/train.py")]


@each_recipe
def test_what_a_run_leaves(recipe, trained):
    folder, _, output = trained(recipe)
    for name in ("hyperparams.yaml", "train.py", "results.json"):
        assert (folder / name).is_file(), name
    for name in recipe.plots.split():
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert list((folder / "tensorboard").glob("events*"))
    assert len((folder / "train_log.txt").read_text().splitlines()) == 2
    assert "synthetic" in output and str(folder / "pretrained") in output
    best = f"epoch: {results(folder)['reached']['epoch']}"
    (checkpoint,) = (
        path.parent for path in folder.glob("save/CKPT*/CKPT.yaml") if best in path.read_text().splitlines()
    )
    saved = torch.load(checkpoint / f"{recipe.module}.ckpt", weights_only=True)
    is_last = all(torch.equal(value, saved[name]) for name, value in recipe.weights(folder).items())
    assert is_last == (recipe is SPEAKER), "the running average is exported if there is one"


# Fine-tuning alone reads the Quality-Net, and training with a teacher or proxies their options; test_paper.py has the
# keys of the quality recipe.
@pytest.mark.parametrize(
    "recipe, unused",
    [
        (ENHANCEMENT, {"quality_model"}),
        (SPEAKER, {"teacher_weight", "teacher_speaker_share", "proxy_options"}),
        (KEYWORD, set()),
        (DETECTION, set()),
    ],
)
def test_every_key_is_read(recipe, unused, trained):
    assert runs.unused_keys(recipe.folder / recipe.yaml, trained(recipe)[0]) == unused


@pytest.mark.parametrize(
    "recipe, steps, interval",
    [(QUALITY, 8, 2), (QUALITY, 9, 100), (ENHANCEMENT, 6, 2), (SPEAKER, 3, 2), (KEYWORD, 7, 2), (DETECTION, 5, 2)],
)
def test_a_killed_run_ends_with_the_same_weights(recipe, steps, interval, trained, tmp_path):
    """Killed in the first or second epoch, with and without a checkpoint within it; random draws continue too."""
    folder, prepared, _ = trained(recipe)
    option = f"--ckpt_interval_steps={interval}"
    killed = recipe.train(tmp_path / "run", prepared, option, kill_after=steps)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    assert not (tmp_path / "run" / "pretrained").exists()
    output = runs.succeeded(recipe.train(tmp_path / "run", prepared, option))
    assert ("Going into epoch 1" in output) == (recipe is SPEAKER)
    assert recipe.same_weights(tmp_path / "run", folder)
    assert results(tmp_path / "run") == results(folder)


@pytest.mark.processes
def test_two_processes_train_test_and_export(trained, tmp_path):
    """torchrun on CPUs: each process sees its half of the batches; the first one tests, exports and reports."""
    folder, prepared, _ = trained(QUALITY)
    arguments = QUALITY.arguments(tmp_path / "run", prepared, "--distributed_backend=gloo", "--device=cpu")
    command = [sys.executable, *runs.torchrun("train.py"), *arguments]
    runs.succeeded(runs.call(command, cwd=QUALITY.folder, env={**os.environ, **runs.ALONE}))
    assert results(tmp_path / "run")["overall"]["utterances"] == 18
    assert not QUALITY.same_weights(tmp_path / "run", folder)
    assert (tmp_path / "run" / "figures" / "scatter.png").is_file()


def test_a_finished_run_is_only_tested_again_and_not_continued_with_other_options(trained):
    folder, prepared, _ = trained(QUALITY)
    before = results(folder)
    assert "Going into epoch" not in runs.succeeded(QUALITY.train(folder, prepared))
    assert results(folder) == before
    runs.one_message(QUALITY.train(folder, prepared, "--alpha=0"), "contains a run with alpha=1.0")


def test_results_of_quality_net_agree_with_the_exported_model(trained):
    """The round trip: the test metrics are those of the model loaded from `pretrained`, file by file."""
    folder, prepared, output = trained(QUALITY)
    rows = read_rows(next(prepared.glob("quality-*/test.csv")), QualityRow, check=True)
    net = QualityNet.from_hparams(folder / "pretrained")
    reports = [report for _, report in net.assess_files([row.path for row in rows])]
    predicted, true = [report.score for report in reports], [row.score for row in rows]
    saved = results(folder)
    assert saved["overall"]["mse"] == pytest.approx(metrics.mse(predicted, true), rel=1e-4)
    assert saved["overall"]["lcc"] == pytest.approx(metrics.lcc(predicted, true), abs=1e-4)
    variances = [r.frame_scores.var() for r, row in zip(reports, rows, strict=True) if row.subset == "clean"]
    assert saved["clean_frame_variance"] == pytest.approx(np.mean(variances), rel=1e-3)
    assert saved["by_subset"]["noisy"]["utterances"] == 16
    assert set(saved["by_noise"]) == {"engine", "white", "street", "baby_cry"}
    localized = localization_metrics(net, partly_noisy_set(rows, net.sample_rate))
    assert saved["localization"] == pytest.approx(localized, abs=1e-4) and localized["utterances"] == 2
    assert f"AUC of its frames {localized['auc']:.4f}" in output


def test_quality_net_trains_on_a_corpus_with_scores_without_mixing(tmp_path, builtin_cache):
    (tmp_path / "mos").mkdir()
    with open(tmp_path / "mos" / "labels.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "score", "measure", "speaker", "split"])
        for number, utterance in enumerate(list(builtin(num_train_speakers=5, num_test_speakers=6))[::4]):
            shutil.copy(utterance.path, tmp_path / "mos" / f"{number}.wav")
            writer.writerow([f"{number}.wav", 1 + number % 5 * 0.8, "mos", utterance.speaker, utterance.split])
    words = ["--corpus=labelled", f"--data_folder={tmp_path / 'mos'}", "--labels=corpus", "--scale=mos"]
    runs.succeeded(QUALITY.train(tmp_path / "run", tmp_path / "prepared", *words, "--number_of_epochs=1"))
    saved = results(tmp_path / "run")
    assert saved["scale"] == "mos" and set(saved["by_subset"]) == {"corpus"}
    assert saved["trained_on"] == "labelled, labels of the corpus"
    (manifest,) = (tmp_path / "prepared").glob("quality-*/train.csv")
    rows = read_rows(manifest, QualityRow, check=True)
    assert {(row.measure, row.path.parent, row.path == row.speech) for row in rows} == {("mos", tmp_path / "mos", True)}
    assert QualityNet.from_hparams(tmp_path / "run" / "pretrained").assess_file(rows[0].path).scale == "mos"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.parent.name)
def test_every_yaml_of_every_recipe_builds(script):
    assert check_recipe(script.parent) == []


@each_recipe
def test_the_options_of_a_readmes_table_are_accepted(recipe, monkeypatch):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: True)  # for --precision=bf16
    text = (recipe.folder / "README.md").read_text(encoding="utf-8")
    rows = [line.split("|")[1].replace("`", " ") for line in text.splitlines() if line.startswith("| `--")]
    words = [word for row in rows for word in shlex.split(row.replace(",", " , ")) if word.startswith("--")]
    assert len(rows) > 3
    for word in words:
        options.merge(parse([str(recipe.folder / recipe.yaml), word]))
