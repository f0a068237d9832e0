"""recipes/TI-SV/GE2E trains, tests, exports and reloads; killed, it ends with the same weights; on two processes."""

import importlib.util
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import runs
import torch

ROOT = Path(__file__).parents[2]
GE2E = ROOT / "recipes" / "TI-SV" / "GE2E"
SMALL = [
    "--corpus_options={builtin: {num_train_speakers: 10, num_test_speakers: 3}}",
    "--valid_share=0.2",
    "--hidden_size=8",
    "--proj_size=6",
    "--num_layers=1",
    "--speakers_per_batch=4",
    "--utterances_per_speaker=2",
    "--steps_per_epoch=4",
    "--number_of_epochs=2",
    "--num_workers=1",
    "--noprogressbar",
]
#: A train.py whose second process ends itself with SIGKILL after so many optimizer steps.
RANK_DIES = f"""
import os, runpy, sys
sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(GE2E)!r}]
import runs
if os.environ["RANK"] == "1":
    runs.killed_after(5)
runpy.run_path("train.py", run_name="__main__")
"""


def arguments(folder, prepared, *options, yaml="hparams/ge2e.yaml"):
    given = {option.split("=")[0] for option in options}
    small = [option for option in SMALL if option.split("=")[0] not in given]
    return [yaml, f"--output_folder={folder}", f"--prepared_folder={prepared}", *small, *options]


def train(folder, prepared, *options, yaml="hparams/ge2e.yaml", **how):
    return runs.run(*arguments(folder, prepared, *options, yaml=yaml), cwd=GE2E, **how)


def weights(folder):
    return torch.load(Path(folder) / "pretrained" / "encoder.ckpt", weights_only=True)


def script_of_the_recipe(name):
    """Its train.py or reproduce.py as a module."""
    spec = importlib.util.spec_from_file_location(f"ge2e_{name}", GE2E / f"{name}.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


@pytest.fixture(scope="module")
def run(tmp_path_factory, builtin_cache):
    folder = tmp_path_factory.mktemp("ge2e")
    return folder / "run", folder / "prepared", runs.succeeded(train(folder / "run", folder / "prepared"))


def test_what_a_run_leaves(run):
    folder, _, output = run
    for name in ("hyperparams.yaml", "train_log.txt", "results.json", "train.py", "trials.txt", "enrolments.txt"):
        assert (folder / name).is_file(), name
    for name in ("det", "similarity", "projection"):
        assert (folder / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    assert "synthetic" in output and "EER" in output
    results = json.loads((folder / "results.json").read_text())
    assert 0 <= results["eer"] <= 1 and results["models"] == 3 and results["target_trials"] == 18


def test_every_key_is_read(run):
    assert runs.unused_keys(GE2E / "hparams" / "ge2e.yaml", run[0]) == set()


def test_the_exported_model_gives_the_results_again(run):
    """The round trip: trials and their EER, from the original files through `pretrained`."""
    from speechtools.core.rows import read_rows
    from speechtools.inference import SpeakerVerification
    from speechtools.speaker import evaluation
    from speechtools.speaker.index import SpeakerRow
    from speechtools.speaker.store import SpeakerStore

    folder, prepared, _ = run
    verifier = SpeakerVerification.from_hparams(folder / "pretrained", run_opts={"device": "cpu"})
    manifest = next(prepared.glob("speakers-*/test.csv"))
    found = dict(verifier.encode_files([row.path for row in read_rows(manifest, SpeakerRow)]))
    dvectors = np.stack([vector.numpy() for vector in found.values()])
    result = evaluation.evaluate(
        dvectors, evaluation.trials_of(SpeakerStore(manifest), 4, published=folder / "trials.txt")
    )
    results = json.loads((folder / "results.json").read_text())
    assert result.metrics["eer"] == pytest.approx(results["eer"], abs=0.02)
    assert verifier.threshold == pytest.approx(results["threshold"])


def test_a_killed_run_ends_with_the_same_weights(run, tmp_path):
    folder, prepared, _ = run
    option = "--ckpt_interval_steps=2"
    killed = train(tmp_path / "run", prepared, option, kill_after=3)
    assert killed.returncode == -signal.SIGKILL, killed.stderr[-3000:]
    runs.succeeded(train(tmp_path / "run", prepared, option))
    ours, theirs = weights(tmp_path / "run"), weights(folder)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.processes
def test_a_process_that_dies_ends_the_run_and_two_processes_go_on_with_it(run, tmp_path):
    """Under torchrun nothing hangs; what was reached is kept, and the next start ends as any run does."""
    script = tmp_path / "dies.py"
    script.write_text(RANK_DIES)
    options = ("--distributed_backend=gloo", "--device=cpu", "--speakers_per_batch=2", "--ckpt_interval_steps=2")
    command = [sys.executable, *runs.torchrun(script), *arguments(tmp_path / "run", run[1], *options)]
    environment = {**os.environ, **runs.ALONE}
    died = runs.call(command, cwd=GE2E, env=environment)
    assert died.returncode != 0
    assert list((tmp_path / "run" / "save").glob("CKPT*"))
    for done in runs.run_processes(2, *arguments(tmp_path / "run", run[1], *options), cwd=GE2E):
        assert "Going into epoch 1" not in runs.succeeded(done)
    assert (tmp_path / "run" / "results.json").is_file()


def tell_parts(left):
    parts = {name: type(left["hparams"][name]).__name__ for name in ("features", "encoder", "loss")}
    print("parts", *parts.values())


@pytest.mark.parametrize(
    "options, parts",
    [
        (["--loss_name=ge2e-contrast", "--encoder_name=lstm"], "parts LogMel LSTMEncoder GE2EContrast"),
        (["--features_name=magnitude", "--precision=bf16"], "parts Magnitude LSTMP GE2ESoftmax"),
    ],
)
def test_parts_are_exchanged_by_options(run, tmp_path, options, parts):
    """The other losses are trained for table 3, below."""
    done = train(tmp_path / "run", run[1], *options, "--number_of_epochs=1", after=tell_parts)
    assert parts in runs.succeeded(done)
    assert 0 <= json.loads((tmp_path / "run" / "results.json").read_text())["eer"] <= 1


def test_the_variant_for_small_corpora_augments(run, tmp_path):
    runs.succeeded(train(tmp_path / "run", run[1], "--number_of_epochs=1", yaml="hparams/small_corpus.yaml"))
    assert list(run[1].glob("augmentation-*/noises.csv")) and list(run[1].glob("augmentation-*/rooms.csv"))


def test_training_ends_with_its_budget_of_seconds(run, tmp_path):
    runs.succeeded(train(tmp_path / "run", run[1], "--budget_seconds=0.001", "--number_of_epochs=50"))
    assert len((tmp_path / "run" / "train_log.txt").read_text().splitlines()) == 1


@pytest.mark.parametrize(
    "options, message",
    [
        (["--speakers_per_batch=64"], "Lower speakers_per_batch"),
        (["--utterances_per_speaker=1"], "Raise utterances_per_speaker"),
        (["--num_enrolment=50"], "Lower num_enrolment"),
        (["--trials=/nowhere.txt"], "The list /nowhere.txt cannot be read"),
    ],
)
def test_mistakes_end_in_one_message(run, tmp_path, options, message):
    runs.one_message(train(tmp_path / "run", run[1], *options), message)


@pytest.mark.parametrize("step, halvings", [(0, 0), (99, 0), (100, 1), (199, 1), (200, 2), (1050, 10)])
def test_the_learning_rate_is_halved_every_so_many_steps(step, halvings):
    optimizer = torch.optim.SGD([{"params": [torch.nn.Parameter(torch.zeros(1))], "lr": lr} for lr in (1.0, 0.3)])
    hparams = SimpleNamespace(lr=0.01, halve_every=100)
    brain = object.__new__(script_of_the_recipe("train").SpeakerBrain)  # without a net
    brain.optimizer_step, brain.optimizer, brain.hparams = step, optimizer, hparams
    brain.on_fit_batch_start(None, True)
    assert [group["lr"] for group in optimizer.param_groups] == [pytest.approx(0.01 / 2**halvings)] * 2


def test_a_finished_run_scores_a_published_list_without_training(run, tmp_path):
    folder, prepared, _ = run
    shutil.copytree(folder, tmp_path / "run")
    yaml = tmp_path / "run" / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace(str(folder), str(tmp_path / "run")))
    targets = [line.split("\t") for line in (folder / "trials.txt").read_text().splitlines()]
    enrolled = {name: utterances for name, *utterances in map(str.split, (folder / "enrolments.txt").open())}
    chosen = [f"{int(kind == 'target')} {enrolled[model][0]}.wav {test}.wav" for model, test, kind in targets[::2]]
    (tmp_path / "list.txt").write_text("\n".join(chosen))
    done = train(tmp_path / "run", prepared, f"--trials={tmp_path / 'list.txt'}")
    assert "Going into epoch" not in runs.succeeded(done)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["target_trials"] + results["nontarget_trials"] == len(chosen)
    assert results["threshold"] == json.loads((folder / "results.json").read_text())["threshold"]


def test_table_3_trains_all_three_and_keeps_what_is_finished(run, tmp_path):
    options = [f"--output_folder={tmp_path}", f"--prepared_folder={run[1]}", "--budget_seconds=0.001"]
    options += [option for option in SMALL if not option.startswith("--number_of_epochs")]
    how = {"cwd": GE2E, "script": "reproduce.py", "before": runs.trainings_are_forked}
    for _ in range(2):
        output = runs.succeeded(runs.run(*options, **how))
        table = json.loads((tmp_path / "table3.json").read_text())
        assert list(table["losses"]) == ["softmax", "te2e", "ge2e-softmax"] and "synthetic" in table["trained_on"]
        assert table["losses"]["te2e"]["paper_eer"] == 0.0364
    assert "Going into epoch" not in output
    options = [each.replace("--budget_seconds=0.001", "--budget_seconds=5") for each in options]
    runs.one_message(
        runs.run(*options, **how),
        "holds a finished run with --budget_seconds=0.001",
    )
