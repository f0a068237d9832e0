"""templates/plugin-package, installed by pip into an environment of its own: its parts are listed, checked and trained.

Neither the toolkit nor a recipe is touched, and no network is needed: the environment sees our packages beside its own.
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
from tests.recipes.test_ge2e import GE2E, SMALL

ROOT = Path(__file__).parents[2]
PARTS = ["corpus/flat-folder", "encoder/xvector", "speaker-loss/angular-prototypical"]


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The environment's Python, its folder of packages, and the copy of the template that was installed."""
    folder = tmp_path_factory.mktemp("package")
    unbuilt = shutil.ignore_patterns("build", "*.egg-info", "__pycache__")
    source = shutil.copytree(ROOT / "templates" / "plugin-package", folder / "plugin-package", ignore=unbuilt)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "env"], check=True, timeout=60)
    scripts = "Scripts" if os.name == "nt" else "bin"
    python = folder / "env" / scripts / "python"
    asked = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(runs.call([python, "-c", asked]).stdout.strip())
    ours = sysconfig.get_path("purelib")
    (packages / "ours.pth").write_text(f"import site; site.addsitedir({ours!r})\n")
    install = ["install", "--no-index", "--no-deps", "--no-build-isolation", "--no-cache-dir", source]
    done = runs.call([sys.executable, "-m", "pip", "--python", python, *install])
    assert done.returncode == 0, done.stdout + done.stderr
    return python, packages, source


def run(python, *command, cwd, **variables):
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **variables}
    command = [str(each) for each in (python, *command)]
    return runs.call(command, cwd=cwd, env=environment)


@pytest.fixture(scope="module")
def recordings(tmp_path_factory, builtin_cache):
    """Built-in speech as corpus/flat-folder reads it."""
    folder = tmp_path_factory.mktemp("recordings")
    for utterance in speechtools.build("corpus/builtin", num_train_speakers=10, num_test_speakers=3):
        shutil.copy(utterance.path, folder / f"{utterance.speaker}_{utterance.path.name}")
    return folder


def test_list_shows_the_parts_of_the_package(package, tmp_path):
    done = run(package[0], "-m", "speechtools.cli", "list", cwd=tmp_path)
    assert done.returncode == 0 and done.stderr == ""
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert set(PARTS) <= set(listed)
    assert not set(PARTS) & set(speechtools.available())  # they are in that environment alone


def test_check_passes_the_parts_of_the_package(package, recordings, tmp_path):
    words = [["check", name] for name in PARTS]
    words[0] += ["--data_folder", str(recordings)]
    assert PARTS[0].startswith("corpus/")
    program = f"from speechtools import cli\nfor words in {words}:\n    assert cli.main(words) == 0"
    done = run(package[0], "-c", program, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert all(f"{name} keeps its contract" in done.stdout for name in PARTS)


def test_the_tests_of_the_package_pass(package):
    done = run(package[0], "-m", "pytest", "-p", "no:cacheprovider", "tests", cwd=package[2])
    assert done.returncode == 0 and "3 passed" in done.stdout, done.stdout


def test_a_recipe_is_trained_with_the_parts_of_the_package(package, recordings, tmp_path):
    names = ("--encoder_name=xvector", "--loss_name=angular-prototypical", "--corpus=flat-folder")
    folders = (f"--data_folder={recordings}", f"--output_folder={tmp_path / 'run'}", f"--prepared_folder={tmp_path}")
    options = [*SMALL, *names, *folders]
    done = run(package[0], "train.py", "hparams/ge2e.yaml", *options, cwd=GE2E)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "run" / "results.json").read_text())["trained_on"] == "flat-folder"
    # The model loads wherever the package is installed, with nothing said of it.
    model, wavs = tmp_path / "run" / "pretrained", sorted(recordings.glob("*.WAV"))[:2]
    done = run(package[0], "-m", "speechtools.cli", "verify", *wavs, "--model", model, cwd=tmp_path)
    assert done.returncode == 0 and "score" in done.stdout, done.stderr


@pytest.mark.parametrize(
    "right, wrong, said",
    [
        ("from torch import Tensor, nn", "from torch import Tensr, nn", "ImportError: cannot import name 'Tensr'"),
        ("encoder/xvector", "encoder/lstm", "PluginError: The plugin name 'encoder/lstm' is taken"),
    ],
)
def test_a_bad_package_is_named_and_skipped_and_ours_is_left(package, tmp_path, right, wrong, said):
    bad = shutil.copytree(package[1], tmp_path / "bad", ignore=shutil.ignore_patterns("ours.pth", "__pycache__"))
    encoder = bad / "my_plugins" / "encoder.py"
    encoder.write_text(encoder.read_text().replace(right, wrong))
    path = os.pathsep.join([str(bad), os.environ.get("PYTHONPATH", "")])
    done = run(sys.executable, "-m", "speechtools.cli", "show", "encoder/lstm", cwd=tmp_path, PYTHONPATH=path)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        "speechtools: warning: The plugins of the package 'my-speech-plugins' (entry point my_plugins"
    )
    assert said in line and "were skipped" in line and line.endswith("Fix or uninstall that package.")
    assert str(Path(speechtools.__file__).parent / "speaker" / "encoders.py") in done.stdout
