"""The bookkeeping of recipes: options and variants, checkpoints that are whole, export."""

import pickle

import pytest
import torch
from torch import nn

from speechtools import options, training
from speechtools.errors import ConfigError

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
    batches = training.batches_by_length([3.0, 1.0, 2.0, 5.0, 4.0], 2)
    assert batches == [[3, 4], [0, 2], [1]]


def test_errors_of_ours_are_shown_without_a_traceback(capsys):
    def hook(*arguments):
        raise AssertionError("handed on")

    training._message_only(hook)(ConfigError, ConfigError("too few. Give more."), None)
    assert capsys.readouterr().err == "error: too few. Give more.\n"
    with pytest.raises(AssertionError, match="handed on"):
        training._message_only(hook)(pickle.PickleError, pickle.PickleError("x"), None)
