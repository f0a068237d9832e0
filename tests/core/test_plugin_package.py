"""templates/plugin-package, installed by pip into an environment of its own: its plugins are listed, checked, trained.

No network is needed: the environment sees the packages of the current one beside its own.
"""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
import runs

import speechtools
from tests.recipes.small import SPEAKER

ROOT = Path(__file__).parents[2]
PLUGINS = ["encoder/xvector", "speaker-loss/angular-prototypical", "corpus/flat-folder"]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The environment's Python, its folder of packages, and the installed copy of the template."""
    folder = tmp_path_factory.mktemp("package")
    unbuilt = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    source = shutil.copytree(ROOT / "templates" / "plugin-package", folder / "plugin-package", ignore=unbuilt)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True, timeout=60)
    python = folder / "env" / ("Scripts" if os.name == "nt" else "bin") / "python"
    purelib = runs.call([python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"])
    packages = Path(purelib.stdout.strip())
    (packages / "current.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    install = ["install", "--no-index", "--no-deps", "--no-build-isolation", "--no-cache-dir", source]
    done = runs.call([sys.executable, "-m", "pip", "--python", python, *install])
    assert done.returncode == 0, done.stdout + done.stderr
    return python, packages, source


def run(python, *command, cwd, **variables):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **variables}
    return runs.call([str(word) for word in (python, *command)], cwd=cwd, env=environment)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory, builtin_cache):
    """Built-in speech as corpus/flat-folder reads it."""
    folder = tmp_path_factory.mktemp("recordings")
    for utterance in speechtools.build("corpus/builtin", num_train_speakers=10, num_test_speakers=3):
        shutil.copy(utterance.path, folder / f"{utterance.speaker}_{utterance.path.name}")
    return folder


def test_the_plugins_are_listed_and_the_tests_of_the_package_pass(package, tmp_path):
    done = run(package[0], "-m", "speechtools.cli", "list", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    assert set(PLUGINS) <= {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert not set(PLUGINS) & set(speechtools.available())  # they are in that environment alone
    done = run(package[0], "-m", "pytest", "-p", "no:cacheprovider", "tests", cwd=package[2])
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout


@pytest.mark.slow
def test_a_recipe_is_trained_with_the_plugins(package, recordings, tmp_path):
    names = ("--encoder_name=xvector", "--loss_name=angular-prototypical", "--corpus=flat-folder")
    folders = (f"--data_folder={recordings}", f"--output_folder={tmp_path / 'run'}", f"--prepared_folder={tmp_path}")
    small = SPEAKER.options("--num_layers")  # which encoder/xvector does not have
    done = run(package[0], "train.py", "hparams/ge2e.yaml", *small, *names, *folders, cwd=SPEAKER.folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "run" / "results.json").read_text())["trained_on"] == "flat-folder"
    # The model loads wherever the package is installed, without any option.
    model, wavs = tmp_path / "run" / "pretrained", sorted(recordings.glob("*.WAV"))[:2]
    done = run(package[0], "-m", "speechtools.cli", "verify", *wavs, "--model", model, cwd=tmp_path)
    assert done.returncode == 0 and "score" in done.stdout, done.stderr
