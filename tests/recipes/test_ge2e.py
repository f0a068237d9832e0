"""recipes/TI-SV/GE2E: its exported model, parts, budget, mistakes, published lists and table 3."""

import json
import os
import shlex
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import runs
import torch

from speechtools.core import registry
from speechtools.core.rows import read_rows
from speechtools.inference import SpeakerEncoder, SpeakerVerification
from speechtools.speaker import evaluation
from speechtools.speaker.conversion import convert
from speechtools.speaker.index import SpeakerRow
from speechtools.speaker.proxies import ProxyLoss
from speechtools.speaker.store import SpeakerStore
from tests.recipes.small import SPEAKER, results
from tests.speaker.test_conversion import Linear, make, save_state
from tests.speaker.test_data import write_corpus

#: A train.py whose second process ends itself with SIGKILL after so many optimizer steps.
RANK_DIES = f"""
import os, runpy, sys
sys.path[:0] = [{str(Path(__file__).parents[1])!r}, {str(SPEAKER.folder)!r}]
import runs
if os.environ["RANK"] == "1":
    runs.killed_after(5)
runpy.run_path("train.py", run_name="__main__")
"""

NEEDS_BFLOAT16 = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(), reason="this CPU does not compute in bfloat16"
)


@pytest.fixture
def run(trained):
    return trained(SPEAKER)


def test_the_exported_model_gives_the_results_again(run):
    """The round trip: trials and their EER, from the original files through `pretrained`."""
    folder, prepared, _ = run
    verifier = SpeakerVerification.from_hparams(folder / "pretrained", run_opts={"device": "cpu"})
    manifest = next(prepared.glob("speakers-*/test.csv"))
    encoded = dict(verifier.encode_files([row.path for row in read_rows(manifest, SpeakerRow)]))
    trials = evaluation.trials_of(SpeakerStore(manifest), 4, published=folder / "trials.txt")
    result = evaluation.evaluate(np.stack([vector.numpy() for vector in encoded.values()]), trials)
    saved = results(folder)
    assert saved["models"] == 3 and saved["target_trials"] == 18
    assert result.metrics["eer"] == pytest.approx(saved["eer"], abs=0.02)
    assert verifier.threshold == pytest.approx(saved["threshold"])


def test_the_report_has_an_interval_and_an_untrained_encoder(run):
    folder, prepared, output = run
    saved = results(folder)
    assert saved["eer_low"] <= saved["eer"] <= saved["eer_high"] and "of an untrained encoder" in output
    assert "vary_recordings: true" in (folder / "hyperparams.yaml").read_text().lower()
    verifier = SpeakerVerification.from_hparams(folder / "pretrained", run_opts={"device": "cpu"})
    torch.manual_seed(0)
    verifier.encoder = registry.build(**registry.definition(verifier.mods.encoder)).eval()
    manifest = next(prepared.glob("speakers-*/test.csv"))
    encoded = dict(verifier.encode_files([row.path for row in read_rows(manifest, SpeakerRow)]))
    trials = evaluation.trials_of(SpeakerStore(manifest), 4, published=folder / "trials.txt")
    result = evaluation.evaluate(np.stack([vector.numpy() for vector in encoded.values()]), trials)
    assert result.metrics["eer"] == pytest.approx(saved["untrained_eer"], abs=0.02)


@pytest.mark.processes
def test_a_process_that_dies_ends_the_run_and_two_processes_continue_it(run, tmp_path):
    """Under torchrun nothing hangs; the checkpoint is kept, and the next start ends as any run does."""
    (tmp_path / "dies.py").write_text(RANK_DIES)
    options = ("--distributed_backend=gloo", "--device=cpu", "--speakers_per_batch=2", "--ckpt_interval_steps=2")
    arguments = SPEAKER.arguments(tmp_path / "run", run[1], *options)
    command = [sys.executable, *runs.torchrun(tmp_path / "dies.py"), *arguments]
    assert runs.call(command, cwd=SPEAKER.folder, env={**os.environ, **runs.ALONE}).returncode != 0
    assert list((tmp_path / "run" / "save").glob("CKPT*"))
    for done in runs.run_processes(2, *arguments, cwd=SPEAKER.folder):
        assert "Going into epoch 1" not in runs.succeeded(done)
    assert (tmp_path / "run" / "results.json").is_file()


def test_the_trial_of_the_readme_trains(run, tmp_path):
    text = (SPEAKER.folder / "README.md").read_text().replace("\\\n", " ")
    (command,) = (shlex.split(line) for line in text.splitlines() if "--name=trial" in line)
    words = command[2:]
    done = runs.run(*words, f"--output_folder={tmp_path / 'run'}", f"--prepared_folder={run[1]}", cwd=SPEAKER.folder)
    assert "valid.csv has only" in runs.succeeded(done)
    (line,) = (tmp_path / "run" / "train_log.txt").read_text().splitlines()
    assert "valid eer" in line and "valid loss" not in line and "train total seconds" in line


def print_classes(left):
    print("classes", *(type(left["hparams"][name]).__name__ for name in ("features", "encoder", "loss")))


@pytest.mark.parametrize(
    "options, classes",
    [
        (["--loss_name=ge2e-contrast", "--encoder_name=lstm"], "classes LogMel LSTMEncoder GE2EContrast"),
        (["--features_name=magnitude"], "classes Magnitude LSTMP GE2ESoftmax"),
        pytest.param(["--precision=bf16"], "classes LogMel LSTMP GE2ESoftmax", marks=NEEDS_BFLOAT16),
    ],
)
def test_plugins_are_chosen_by_options(run, tmp_path, options, classes):
    done = SPEAKER.train(tmp_path / "run", run[1], *options, "--number_of_epochs=1", after=print_classes)
    assert classes in runs.succeeded(done)
    assert 0 <= results(tmp_path / "run")["eer"] <= 1


def test_the_variant_for_small_corpora_augments_and_ends_with_its_budget(run, tmp_path):
    options = ("--budget_seconds=0.001", "--number_of_epochs=50")
    runs.succeeded(SPEAKER.train(tmp_path / "run", run[1], *options, yaml="hparams/small_corpus.yaml"))
    assert list(run[1].glob("augmentation-*/noises.csv")) and list(run[1].glob("augmentation-*/rooms.csv"))
    assert len((tmp_path / "run" / "train_log.txt").read_text().splitlines()) == 1


def print_change(left):
    """How far training has moved the weights from those of start_from."""
    start = SpeakerEncoder.from_hparams(left["hparams"]["start_from"], run_opts={"device": "cpu"})
    own, its = left["hparams"]["encoder"].state_dict(), start.mods.encoder.state_dict()
    print("change", max(float((own[key].cpu() - its[key]).abs().max()) for key in own))


def start_at_no_centroids():
    """Let a training fail that computes its first proxies."""
    ProxyLoss.start_at_centroids = None


def test_training_goes_on_from_a_converted_model(run, tmp_path):
    save_state(make(Linear), tmp_path / "weights.pt")
    start = convert("resemblyzer", tmp_path / "weights.pt", tmp_path / "start", vad="energy")

    def train(folder, *options, **how):
        tiny = ("--proj_size=6", "--num_layers=3", "--average_decay=0", "--number_of_epochs=1", "--lr=0.00001")
        return SPEAKER.train(tmp_path / folder, run[1], *tiny, *options, yaml="hparams/converted.yaml", **how)

    proxies = ("--proxy_weight=0.1", "--augmentation=True")
    output = runs.succeeded(train("run", f"--start_from={start}", "--hidden_size=8", *proxies, after=print_change))
    (change,) = (float(line.split()[1]) for line in output.splitlines() if line.startswith("change "))
    assert 0 < change < 1e-3  # a few steps of Adam
    trained = SpeakerVerification.from_hparams(tmp_path / "run" / "pretrained", run_opts={"device": "cpu"})
    assert trained.threshold is not None and trained.facts["started_from"] == str(start)
    again = train("run", f"--start_from={start}", "--hidden_size=8", *proxies, before=start_at_no_centroids)
    runs.succeeded(again)  # the checkpoint has the proxies
    runs.one_message(train("other", f"--start_from={start}", "--hidden_size=9"), "hidden_size=8 in its encoder")
    runs.one_message(train("third", "--start_from=/gone", "--hidden_size=8"), "folder /gone does not exist")


def test_many_corpora_train_with_a_teacher_and_degraded_copies(run, tmp_path):
    write_corpus(tmp_path / "a", speakers=9, utterances=3)
    write_corpus(tmp_path / "b", speakers=6, utterances=2)
    save_state(make(Linear), tmp_path / "weights.pt")
    start = convert("resemblyzer", tmp_path / "weights.pt", tmp_path / "start", vad="energy")
    entry = "corpus: folder, num_speakers: 2, num_utterances: 2"
    sources = (
        f"{{common-voice: {{data_folder: {tmp_path / 'a'}, heldout: ['spk[12]-*'], {entry}}}, "
        f"recordings: {{data_folder: {tmp_path / 'b'}, {entry}}}, words: {{num_speakers: 4}}}}"
    )
    options = (
        f"--sources={sources}",
        f"--teacher={start}",
        "--teacher_speaker_share=0.5",
        "--proxy_weight=0.2",
        "--degradations=[clipping, loss]",
        "--hidden_size=8",
        "--proj_size=6",
        "--valid_share=0.3",
        "--steps_per_epoch=2",
        "--number_of_epochs=2",
    )
    arguments = (f"--output_folder={tmp_path / 'run'}", f"--prepared_folder={tmp_path / 'prepared'}", *options)
    output = runs.succeeded(runs.run("hparams/many_corpora.yaml", *arguments, cwd=SPEAKER.folder))
    assert "skipped: main, runs, telephone, words" in output
    saved = results(tmp_path / "run")
    assert list(saved["sources"]) == ["common-voice"] and saved["teacher"] == str(start)
    lines = (tmp_path / "run" / "train_log.txt").read_text().splitlines()
    assert len(lines) == 2 and "valid eer" in lines[0]
    trained = SpeakerVerification.from_hparams(tmp_path / "run" / "pretrained", run_opts={"device": "cpu"})
    assert trained.embedding_size == 6 and trained.facts["teacher"] == str(start)
    copies = sorted(path.name for path in (tmp_path / "prepared").glob("speakers-recordings-*/shards/*.npy"))
    assert copies == ["train-0.1.npy", "train-0.2.npy", "train-0.npy"]


@pytest.mark.parametrize(
    "option, message",
    [
        ("--teacher=/gone", "folder /gone does not exist"),
        ("--degraded_copies=1", "degradations is empty"),
        ("--sources={main: null}", "no sources to train on"),
        ("--speakers_per_batch=64", "Lower speakers_per_batch"),
        ("--utterances_per_speaker=1", "utterances_per_speaker: 1 is not"),
        ("--num_enrolment=50", "Lower num_enrolment"),
        ("--trials=/nowhere.txt", "The list /nowhere.txt cannot be read"),
    ],
)
def test_mistakes_end_in_one_message(run, tmp_path, option, message):
    runs.one_message(SPEAKER.train(tmp_path / "run", run[1], option), message)


def test_a_finished_run_scores_a_published_list_without_training(run, tmp_path):
    folder, prepared, _ = run
    shutil.copytree(folder, tmp_path / "run")
    yaml = tmp_path / "run" / "hyperparams.yaml"
    yaml.write_text(yaml.read_text().replace(str(folder), str(tmp_path / "run")))
    trials = [line.split("\t") for line in (folder / "trials.txt").read_text().splitlines()]
    enrolled = {name: utterances for name, *utterances in map(str.split, (folder / "enrolments.txt").open())}
    chosen = [f"{int(kind == 'target')} {enrolled[model][0]}.wav {test}.wav" for model, test, kind in trials[::2]]
    (tmp_path / "list.txt").write_text("\n".join(chosen))
    done = SPEAKER.train(tmp_path / "run", prepared, f"--trials={tmp_path / 'list.txt'}")
    assert "Going into epoch" not in runs.succeeded(done)
    saved = results(tmp_path / "run")
    assert saved["target_trials"] + saved["nontarget_trials"] == len(chosen)
    assert saved["threshold"] == results(folder)["threshold"]


@pytest.mark.slow
def test_table_3_trains_all_three_losses_once(run, tmp_path):
    folders = [f"--output_folder={tmp_path}", f"--prepared_folder={run[1]}"]
    options = [*folders, *SPEAKER.options("--number_of_epochs")]
    how = {"cwd": SPEAKER.folder, "script": "reproduce.py", "before": runs.trainings_are_forked}
    for _ in range(2):
        output = runs.succeeded(runs.run("--budget_seconds=0.001", *options, **how))
        table = json.loads((tmp_path / "table3.json").read_text())
        assert list(table["losses"]) == ["softmax", "te2e", "ge2e-softmax"] and "synthetic" in table["trained_on"]
        assert table["losses"]["te2e"]["paper_eer"] == 0.0364
    assert "Going into epoch" not in output
    other = runs.run("--budget_seconds=5", *options, **how)
    runs.one_message(other, "contains a finished run with --budget_seconds=0.001")
