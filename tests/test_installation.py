"""A torchaudio that does not load is explained, whatever asks for it; one that loads is left alone."""

import importlib.metadata
import os
import re
import sys
from pathlib import Path

import pytest
import runs

import speechtools
from speechtools.errors import InstallationError
from speechtools.installation import TorchaudioFinder

ROOT = Path(__file__).parents[1]
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
    assert re.search('pip install "torch[^a].*" "torchaudio.*"\n', done.stderr)
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


def test_installed_packages_are_listed_once():
    """importlib.metadata asks every finder: a second one that lists packages would double them."""
    assert len(list(importlib.metadata.distributions(name="pytest"))) == 1


def test_other_modules_are_not_looked_for():
    assert TorchaudioFinder.find_spec("torch") is None
    assert sys.meta_path.count(TorchaudioFinder) == 1
    assert issubclass(InstallationError, speechtools.SpeechtoolsError)
