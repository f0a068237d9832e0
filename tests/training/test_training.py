"""The bookkeeping of recipes: options and variants, checkpoints that are whole, export."""

import fcntl
import multiprocessing
import os
import pickle
import re
import signal
import time

import pytest
import runs
import torch
from torch import nn

from speechtools import training
from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.training import options
from speechtools.training.distributed import end_distributed

BASE = """
seed: 1
name: run
output_folder: !ref results/<name>/<seed>
sizes: {small: 1, large: 2}
snrs: [0, 5]
"""


@pytest.fixture
def recipe(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "variant.yaml").write_text("base: base.yaml\nname: variant\nsnrs: [1]\n")
    (tmp_path / "variant2.yaml").write_text("base: variant.yaml\nsnrs: [2]\n")
    return tmp_path


def test_a_variant_holds_only_what_differs(recipe):
    stream, overrides = training.read_variant(recipe / "variant2.yaml", "seed: 7")
    assert stream.getvalue() == BASE
    assert overrides == {"name": "variant", "snrs": [2], "seed": 7}


def test_a_single_entry_of_a_variants_mapping_can_be_given(recipe):
    (recipe / "sizes.yaml").write_text("base: base.yaml\nsizes: {small: 5, large: 6}\n")
    _, overrides = training.read_variant(recipe / "sizes.yaml", "sizes: {large: 7}")
    assert overrides["sizes"] == {"small": 5, "large": 7}


@pytest.fixture
def shared(recipe):
    (recipe / "shared.yaml").write_text("small: 5\nlarge: 6\n")
    (recipe / "list.yaml").write_text("[7, 8]\n")
    (recipe / "sharing.yaml").write_text("base: base.yaml\nsizes: !include:shared.yaml\nsnrs: !include:list.yaml\n")
    return recipe / "sharing.yaml"


def test_what_variants_share_stands_in_a_file_and_can_be_given(shared):
    _, overrides = training.read_variant(shared)
    assert overrides == {"sizes": {"small": 5, "large": 6}, "snrs": [7, 8]}
    _, overrides = training.read_variant(shared, "sizes: {large: 9}\nsnrs: [1]")
    assert overrides == {"sizes": {"small": 5, "large": 9}, "snrs": [1]}
    (shared.parent / "further.yaml").write_text("base: sharing.yaml\nsnrs: [2]\n")
    _, overrides = training.read_variant(shared.parent / "further.yaml")
    assert overrides == {"sizes": {"small": 5, "large": 6}, "snrs": [2]}


def test_a_shared_file_that_is_gone(shared):
    (shared.parent / "list.yaml").unlink()
    with pytest.raises(ConfigError, match="sharing.yaml says !include:list.yaml: .*cannot be read: .*No such"):
        training.read_variant(shared)


def test_a_variants_own_plugins_are_imported_first(recipe):
    (recipe / "mine.yaml").write_text("base: base.yaml\n__plugins: !module:my_net\n")
    stream, overrides = training.read_variant(recipe / "mine.yaml")
    assert stream.getvalue().startswith("__plugins: !module:my_net")
    assert options.check(stream, overrides, recipe / "mine.yaml", {}) == overrides


def test_the_command_line_comes_last(recipe):
    _, overrides = training.read_variant(recipe / "variant.yaml", "snrs: [9]")
    assert overrides["snrs"] == [9]


def test_a_missing_yaml_names_those_that_are_there(recipe):
    with pytest.raises(
        ConfigError, match="There is no file .*vriant.yaml.* has base.yaml, variant.yaml, variant2.yaml"
    ):
        training.read_variant(recipe / "vriant.yaml")


def test_a_broken_yaml(recipe):
    (recipe / "broken.yaml").write_text("a: [1")
    with pytest.raises(ConfigError, match=r"broken.yaml is no valid yaml: expected .* \(line 1\). Mend it there."):
        training.read_variant(recipe / "broken.yaml")


def test_a_misspelt_option_gets_the_nearest_spelling(recipe):
    stream, overrides = training.read_variant(recipe / "base.yaml", "sead: 3")
    with pytest.raises(ConfigError, match="--sead is no option of base.yaml. Did you mean --seed?"):
        options.check(stream, overrides, recipe / "base.yaml", overrides)


def test_a_run_with_other_options_is_not_continued(tmp_path):
    run = tmp_path / "run"
    (run / "save" / "CKPT+1").mkdir(parents=True)
    (run / "hyperparams.yaml").write_text("corpus: builtin\nnumber_of_epochs: 3\nnet: !new:torch.nn.ReLU {}\n")
    training._check_same_run(run, {"corpus": "builtin", "number_of_epochs": 9})
    with pytest.raises(ConfigError, match="holds a run with corpus='builtin', and this one has corpus='timit'"):
        training._check_same_run(run, {"corpus": "timit", "number_of_epochs": 3})
    with pytest.raises(ConfigError, match="holds a run with precision='fp32', and this one has precision='bf16'"):
        training._check_same_run(run, {"precision": "bf16"})


FORK = multiprocessing.get_context("fork")


def started(arguments, pipe):
    """A run that has begun, and has forked a loader process; or the message that it ended with."""
    try:
        for _ in range(2):  # one process may start its run again
            training.start(arguments)
    except ConfigError as error:
        pipe.send(str(error))
        return
    loader = FORK.Process(target=time.sleep, args=(60,))
    loader.start()
    pipe.send(loader.pid)
    time.sleep(60)


@pytest.fixture
def run(recipe):
    """Starts a run in a process of its own: ``run(options)`` gives the process, and what it sent."""
    processes = []

    def begin(*options):
        ours, theirs = FORK.Pipe()
        process = FORK.Process(target=started, args=([str(recipe / "base.yaml"), *options], theirs))
        process.start()
        processes.append(process.pid)
        assert ours.poll(60)
        sent = ours.recv()
        if isinstance(sent, int):
            processes.append(sent)
        return process, sent

    yield begin
    for pid in processes:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


def test_two_processes_do_not_train_in_one_folder(run, recipe):
    folder, other = (f"--output_folder={recipe / name}" for name in ("run", "other"))
    first, loader = run(folder)
    assert isinstance(loader, int)
    options = (recipe / "run" / "hyperparams.yaml").read_text()
    refused = rf"Another process \(pid {first.pid} on .+, since 20.+\) trains in {recipe / 'run'}: .*--output_folder="
    assert re.match(refused, run(folder, "--seed=2")[1])
    assert (recipe / "run" / "hyperparams.yaml").read_text() == options
    assert isinstance(run(other)[1], int), "another folder is free"
    # A run that was killed is gone on with at once, even if its loader has not noticed yet.
    first.kill()
    first.join(20)
    os.kill(loader, 0)
    assert isinstance(run(folder)[1], int)


def test_a_folder_that_cannot_be_locked_is_told_of(tmp_path, monkeypatch, caplog):
    def without_locks(*_):
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", without_locks)
    assert training._claim(tmp_path / "run") is None
    assert "Nothing keeps a second training out of" in caplog.text and "Function not implemented" in caplog.text


def prepare_together(rank, folder):
    """What each of two processes does: prepares what succeeds, what fails, and what succeeds again."""
    os.environ["RANK"] = str(rank)
    torch.distributed.init_process_group("gloo", f"file://{folder}/meeting", rank=rank, world_size=2)
    results = {"called": []}

    def prepare(name):
        results["called"].append(name)
        if name == "bad":
            raise ConfigError("The corpus is gone. Mend its path.")
        found = (folder / name).exists()
        (folder / name).touch()
        return found

    for name in ("good", "bad", "again"):
        try:
            results[name] = training.on_main_first(lambda name=name: prepare(name))
        except SpeechtoolsError as error:
            results[name] = error
    torch.save(results, folder / f"{rank}.pt")
    end_distributed()


@pytest.mark.processes
def test_what_fails_on_the_first_process_fails_on_all(tmp_path):
    runs.start_together(prepare_together, (tmp_path,), 2)
    first, other = (torch.load(tmp_path / f"{rank}.pt", weights_only=False) for rank in range(2))
    assert (first["good"], other["good"]) == (first["again"], other["again"]) == (False, True), "the first came first"
    assert isinstance(first["bad"], ConfigError) and str(first["bad"]) == "The corpus is gone. Mend its path."
    assert str(other["bad"]) == (
        "Process 1 ends, since the first one, which it waited for, failed: "
        "ConfigError: The corpus is gone. Mend its path."
    )
    assert first["called"] == ["good", "bad", "again"] and other["called"] == ["good", "again"]


@pytest.fixture
def checkpointer(tmp_path):
    torch.manual_seed(0)
    return training.AtomicCheckpointer(tmp_path / "save", {"net": nn.Linear(2, 2)})


def test_a_checkpoint_appears_whole_or_not_at_all(checkpointer, monkeypatch):
    first = checkpointer.save_checkpoint()
    assert first.path.is_dir() and all(file.exists() for file in first.paramfiles.values())

    def killed(obj, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt("in the middle of saving")

    monkeypatch.setitem(checkpointer.custom_save_hooks, "net", killed)
    with pytest.raises(KeyboardInterrupt, match="in the middle of saving"):
        checkpointer.save_checkpoint()
    assert [c.path for c in checkpointer.list_checkpoints()] == [first.path]
    monkeypatch.delitem(checkpointer.custom_save_hooks, "net")
    second = checkpointer.save_checkpoint()
    assert not list(checkpointer.checkpoints_dir.glob(".saving-*")), "the leftover is cleared away"
    assert checkpointer.find_checkpoint().path == second.path
    checkpointer.recover_if_possible()


def test_a_checkpoint_cut_short_is_one_message(checkpointer):
    saved = checkpointer.save_checkpoint()
    file = saved.paramfiles["net"]
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ConfigError, match=r"checkpoint .*CKPT\+.* cannot be loaded.*Delete that folder"):
        checkpointer.recover_if_possible()


def test_a_checkpoint_of_another_size_is_one_message(checkpointer):
    checkpointer.save_checkpoint()
    other = training.AtomicCheckpointer(checkpointer.checkpoints_dir, {"net": nn.Linear(3, 2)})
    with pytest.raises(ConfigError, match="cut short or belongs to a model of another size"):
        other.recover_if_possible()


def test_random_state_comes_back(tmp_path):
    import random

    import numpy as np

    state = training.RandomState()
    state.save(tmp_path / "state.ckpt")
    drawn = random.random(), np.random.rand(), torch.rand(1)
    state.load(tmp_path / "state.ckpt", end_of_epoch=True)
    assert (random.random(), np.random.rand(), torch.rand(1)) == drawn


def test_export_holds_the_parts_and_no_training(tmp_path):
    (tmp_path / "hyperparams.yaml").write_text(
        "scale: nb\nlr: 0.1\nhead: !new:torch.nn.Linear\n    in_features: 2\n    out_features: 1\n"
        "\n# ---- Training\npatience: 3\n"
    )
    net = nn.Linear(2, 1)
    folder = training.export({"output_folder": tmp_path}, ["scale", "head"], {"head": net}, {"trained_on": "a test"})
    text = (folder / "hyperparams.yaml").read_text()
    assert "scale: nb" in text and "trained_on: a test" in text
    assert "lr" not in text and "Training" not in text and str(tmp_path) not in text
    loaded = training.load_hyperpyyaml(text)
    assert isinstance(loaded["modules"]["head"], nn.Linear)
    state = torch.load(folder / "head.ckpt", weights_only=True)
    assert torch.equal(state["weight"], net.weight)


def test_export_overwrites_only_when_it_succeeds(tmp_path, monkeypatch):
    (tmp_path / "hyperparams.yaml").write_text("head: !new:torch.nn.Linear {in_features: 2, out_features: 1}\n")
    folder = training.export({"output_folder": tmp_path}, ["head"], {"head": nn.Linear(2, 1)})
    before = (folder / "head.ckpt").read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        training.export({"output_folder": tmp_path}, ["head"], {"head": nn.Linear(2, 1)})
    assert (folder / "head.ckpt").read_bytes() == before


def test_batches_by_length_hold_every_index_once():
    batches = training.loaders_by_length([3.0, 1.0, 2.0, 5.0, 4.0], 2)
    assert batches == [[3, 4], [0, 2], [1]]


def test_errors_of_ours_are_shown_without_a_traceback(capsys):
    def hook(*arguments):
        raise AssertionError("handed on")

    training._message_only(hook)(ConfigError, ConfigError("too few. Give more."), None)
    assert capsys.readouterr().err == "error: too few. Give more.\n"
    with pytest.raises(AssertionError, match="handed on"):
        training._message_only(hook)(pickle.PickleError, pickle.PickleError("x"), None)
