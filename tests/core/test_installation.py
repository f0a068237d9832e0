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

import speechtools
from speechtools.core import installation
from speechtools.core.errors import InstallationError
from speechtools.core.installation import TorchaudioFinder

ROOT = Path(__file__).parents[2]
BROKEN = """
raise OSError("Could not load this library: libtorchaudio.so\\nundefined symbol")
"""


@pytest.fixture
def broken(tmp_path):
    """Variables of an environment in which torchaudio fails as one of another torch does."""
    (tmp_path / "torchaudio").mkdir()
    (tmp_path / "torchaudio" / "__init__.py").write_text(BROKEN)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.parametrize(
    "command, folder",
    [
        (["-m", "speechtools.cli", "score", "x.wav"], "."),
        (["-m", "speechtools.tour"], "."),
        (["train.py", "hparams/qnet.yaml"], "recipes/TIMIT/quality"),
        (["train.py", "hparams/blstm.yaml"], "recipes/TIMIT/enhancement"),
        (["train.py", "hparams/ge2e.yaml"], "recipes/TI-SV/GE2E"),
        (["train.py", "hparams/multireader.yaml"], "recipes/keyword/GE2E"),
        (["train.py", "hparams/train.yaml"], "templates/recipe/task"),
    ],
)
def test_every_command_explains_it_in_one_message(broken, command, folder):
    done = runs.call([sys.executable, *command], cwd=ROOT / folder, env=broken)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and done.stderr.count("does not load with torch") == 1
    assert re.search('pip install --force-reinstall "torch[^a].*" "torchaudio.*"\n', done.stderr)
    assert "Could not load this library" in done.stderr and "undefined symbol" not in done.stderr


def test_in_python_it_is_an_import_error_with_its_cause(broken, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", broken["PYTHONPATH"])
    program = """
import speechtools
try:
    import torchaudio
except ImportError as error:
    print(type(error).__name__, type(error.__cause__).__name__)
"""
    assert runs.call([sys.executable, "-c", program]).stdout.split() == ["InstallationError", "OSError"]


@pytest.mark.parametrize("error", ["OSError", "ImportError", "RuntimeError", "AttributeError"])
def test_whatever_fails_is_explained_once(tmp_path, monkeypatch, error):
    (tmp_path / "torchaudio.py").write_text(f"raise {error}('undefined symbol')")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    hooks = []
    for _ in range(2):
        with pytest.raises(InstallationError, match=rf"{error}: undefined symbol") as caught:
            importlib.import_module("torchaudio")
        hooks.append(sys.excepthook)
    assert str(tmp_path / "torchaudio.py") in str(caught.value)
    assert hooks[0] is hooks[1]


@pytest.mark.parametrize(
    "installed, remedy", [("2.11.0", "Install a pair that does: pip install"), ("2.11.1", "pip install --force-rei")]
)
def test_the_remedy_changes_something(monkeypatch, installed, remedy):
    """pip leaves versions that fit as they are, unless it is told to install them anew."""
    monkeypatch.setattr(installation, "_version", {"torch": "2.14.1", "torchaudio": installed}.get)
    assert remedy in installation._remedy()


def test_torchaudio_that_loads_is_left_as_it_is():
    import torchaudio

    assert "exec_module" not in vars(torchaudio.__loader__)
    assert pickle.loads(pickle.dumps(torchaudio.__spec__)).name == "torchaudio"


def test_installed_packages_are_listed_once():
    """importlib.metadata asks every finder: a second one that lists packages would double them."""
    assert len(list(importlib.metadata.distributions(name="pytest"))) == 1


def test_other_modules_are_not_looked_for():
    assert TorchaudioFinder.find_spec("torch") is None
    assert sys.meta_path.count(TorchaudioFinder) == 1
    assert issubclass(InstallationError, speechtools.SpeechtoolsError)
