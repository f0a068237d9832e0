"""A torchaudio that does not load is explained, whatever asks for it; one that loads is left alone."""

import importlib
import importlib.metadata
import os
import pickle
import re
import sys
from pathlib import Path

import pytest
import runs

from speechtools.core import installation
from speechtools.core.errors import InstallationError
from speechtools.core.installation import TorchaudioFinder

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "command, folder",
    [
        (["-m", "speechtools.cli", "score", "x.wav"], "."),
        (["train.py", "hparams/ge2e.yaml"], "recipes/TI-SV/GE2E"),
        (["train.py", "hparams/train.yaml"], "templates/recipe/task"),
    ],
)
def test_every_command_explains_it_in_one_message(tmp_path, command, folder):
    (tmp_path / "torchaudio.py").write_text("raise OSError('Could not load this library: x.so\\nundefined symbol')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = runs.call([sys.executable, *command], cwd=ROOT / folder, env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and done.stderr.count("does not load with torch") == 1
    assert re.search('pip install --force-reinstall "torch[^a].*" "torchaudio.*"\n', done.stderr)
    assert "Could not load this library" in done.stderr and "undefined symbol" not in done.stderr


def test_in_python_it_is_an_import_error_with_its_cause(tmp_path, monkeypatch):
    (tmp_path / "torchaudio.py").write_text("raise OSError('undefined symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    hooks = []
    for _ in range(2):
        with pytest.raises(InstallationError, match="OSError: undefined symbol") as caught:
            importlib.import_module("torchaudio")
        hooks.append(sys.excepthook)
    assert isinstance(caught.value, ImportError) and isinstance(caught.value.__cause__, OSError)
    assert str(tmp_path / "torchaudio.py") in str(caught.value) and hooks[0] is hooks[1]


def test_versions_that_do_not_belong_together_are_replaced(monkeypatch):
    """pip leaves versions that fit as they are, so only a pair that fits needs --force-reinstall."""
    monkeypatch.setattr(installation, "_version", {"torch": "2.14.1", "torchaudio": "2.11.0"}.get)
    assert "Install a pair that does: pip install" in installation._remedy()


def test_other_modules_and_a_torchaudio_that_loads_are_left_as_they_are():
    import torchaudio

    assert "exec_module" not in vars(torchaudio.__loader__)
    assert pickle.loads(pickle.dumps(torchaudio.__spec__)).name == "torchaudio"
    assert TorchaudioFinder.find_spec("torch") is None and sys.meta_path.count(TorchaudioFinder) == 1
    # importlib.metadata asks every finder: a second one that lists packages would double them.
    assert len(list(importlib.metadata.distributions(name="pytest"))) == 1
