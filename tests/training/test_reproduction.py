"""A run of a table is trained once, and never passed off as another."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from speechtools.core.errors import ConfigError
from speechtools.training.reproduction import earlier_stage, run_once

RECIPES = Path(__file__).parents[2] / "recipes"
TRAIN = """
import pathlib, sys
folder = pathlib.Path(sys.argv[-1].removeprefix("--output_folder="))
if "--fails=True" in sys.argv:
    sys.exit(3)
with open(folder / "trained.txt", "a") as stream:
    stream.write("once ")
(folder / "results.json").write_text('{"eer": 0.25}')
"""


@pytest.fixture
def command(tmp_path):
    (tmp_path / "train.py").write_text(TRAIN)
    return [sys.executable, str(tmp_path / "train.py"), "hparams/a.yaml", "--lr=0.1"]


def test_a_run_is_trained_once_whatever_machine_asks_again(command, tmp_path):
    for more in ([], ["--device=cuda"], ["--noprogressbar", "--num_workers=2"]):
        assert run_once(tmp_path / "run", command + more) == {"eer": 0.25}
    assert (tmp_path / "run" / "trained.txt").read_text() == "once "


def test_another_run_is_refused(command, tmp_path):
    run_once(tmp_path / "run", command)
    with pytest.raises(ConfigError, match="--lr=0.1 instead of --lr=0.2"):
        run_once(tmp_path / "run", [*command[:3], "--lr=0.2"])


def test_a_run_that_failed_may_be_started_with_other_options(command, tmp_path):
    with pytest.raises(subprocess.CalledProcessError, match="exit status 3"):
        run_once(tmp_path / "run", [*command, "--fails=True"])
    assert run_once(tmp_path / "run", command) == {"eer": 0.25}


def test_an_earlier_stage_is_trained_anew_for_another_yaml_and_not_for_another_comment(command, tmp_path):
    yaml, stages = tmp_path / "a.yaml", tmp_path / "stages"
    yaml.write_text("lr: 0.1  # fast\nnet: !new:torch.nn.Identity\n")
    first = earlier_stage(tmp_path, "a.yaml", stages, {"lr": 0.2})
    yaml.write_text("# An example\nlr:   0.1\n\nnet: !new:torch.nn.Identity  # none\n")
    assert earlier_stage(tmp_path, "a.yaml", stages, {"lr": 0.2}) == first
    assert (first.parent / "trained.txt").read_text() == "once "
    for changed in ("lr: 0.1\nnet: !new:torch.nn.Tanh\n", "lr: '0.1'\nnet: !new:torch.nn.Identity\n"):
        yaml.write_text(changed)
        assert earlier_stage(tmp_path, "a.yaml", stages, {}) != first


@pytest.mark.parametrize(
    "recipe, word, token",
    [
        ("TIMIT/quality", "--quik", "Did you mean --quick?"),
        ("TI-SV/GE2E", "--lr=fast", "--lr: 'fast' is not a number"),
        ("keyword/GE2E", "--seeed=2", "Did you mean --seed?"),
    ],
)
def test_a_reproduction_starts_nothing_with_a_wrong_option(tmp_path, monkeypatch, capsys, recipe, word, token):
    monkeypatch.setattr(sys, "argv", ["reproduce.py", word, f"--output_folder={tmp_path}/tables"])
    with pytest.raises(SystemExit, match="2"):
        runpy.run_path(str(RECIPES / recipe / "reproduce.py"), run_name="__main__")
    assert token in capsys.readouterr().err and not (tmp_path / "tables").exists()
