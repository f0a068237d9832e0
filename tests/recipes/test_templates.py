"""Every recipe with a `hparams/quick.yaml` is trained, tested, exported and loaded; the printed commands work."""

import contextlib
import importlib
import io
import json
from pathlib import Path

import pytest
import runs
from safetensors.torch import load_file

from speechtools import cli, inference
from speechtools.core import registry

ROOT = Path(__file__).parents[2]
QUICK_YAMLS = [*ROOT.glob("templates/recipe/*/hparams/quick.yaml"), *ROOT.glob("recipes/*/*/hparams/quick.yaml")]


def train(*arguments, cwd):
    return runs.succeeded(runs.run(*arguments, "--noprogressbar", cwd=cwd))


@pytest.mark.parametrize("yaml", QUICK_YAMLS, ids=lambda path: "/".join(path.parts[-4:-2]))
def test_a_recipe_trains_tests_exports_and_reloads(yaml, tmp_path, monkeypatch, builtin_cache):
    options = [f"--output_folder={tmp_path / 'run'}"]
    if any("\nprepared_folder:" in path.read_text() for path in yaml.parent.glob("*.yaml")):
        options.append(f"--prepared_folder={tmp_path}")
    output = train(yaml, *options, cwd=yaml.parents[1])
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["trained_on"] in output
    monkeypatch.syspath_prepend(yaml.parents[1])  # the recipe may define its network
    with registry.forget_modules_of(yaml.parents[1]):
        assert runs.unused_keys(yaml, tmp_path / "run") == set()
        folder = tmp_path / "run" / "pretrained"
        interface = json.loads((folder / "config.json").read_text())["interface"]
        module = inference if hasattr(inference, interface) else importlib.import_module("classifier")
        assert set(getattr(module, interface).from_hparams(folder).facts) >= {"trained_on", "reached"}
    assert results["trained_on"] in (folder / "README.md").read_text()


@pytest.fixture(scope="module")
def new_recipe(tmp_path_factory, builtin_cache):
    """A recipe created and trained by the commands that `speechtools new recipe` prints, in the sizes of quick.yaml."""
    folder = tmp_path_factory.mktemp("new")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        assert cli.main(["new", "recipe", "Voices/GE2E", f"--folder={folder}"]) == 0
    change, training_line, verify = (line.split() for line in printed.getvalue().splitlines()[1:4])
    recipe = Path(change[1])
    assert recipe == folder / "Voices" / "GE2E" and training_line == ["python", "train.py", "hparams/train.yaml"]
    train("hparams/quick.yaml", f"--name={verify[2].split('/')[1]}", cwd=recipe)
    return recipe, verify


def test_the_new_recipe_verifies_a_voice_by_the_printed_command(new_recipe, monkeypatch, capsys):
    recipe, verify = new_recipe
    monkeypatch.chdir(recipe)
    assert verify[:2] == ["speechtools", "verify"] and cli.main(verify[1:]) == 0
    same = float(capsys.readouterr().out.split("score ")[1].split()[0])
    assert cli.main([word.replace("same.wav", "other.wav") for word in verify[1:]]) == 0
    assert -1 <= float(capsys.readouterr().out.split("score ")[1].split()[0]) < same <= 1


def test_a_new_plugin_trains_in_the_new_recipe(new_recipe, monkeypatch, capsys):
    recipe, verify = new_recipe
    before = {path: path.read_bytes() for path in recipe.rglob("*.*") if "results" not in path.parts}
    monkeypatch.chdir(recipe)
    assert cli.main(["new", "plugin", "encoder/my-own-net"]) == 0
    options = ("--__plugins=my_own_net", "--encoder_name=my-own-net", "--name=mine")
    train("hparams/quick.yaml", *options, cwd=recipe)
    model = recipe / "results" / "mine" / "1234" / "pretrained"
    assert "encoder.gru.weight_ih_l0" in load_file(model / "model.safetensors")
    command = [*verify[1:4], "--model", model, "--module", "my_own_net.py"]
    assert "score" in runs.succeeded(
        runs.run(*command, script=str(Path(cli.__file__).with_name("__main__.py")), cwd=recipe)
    )
    # The same in a yaml: the run is known, and found finished.
    (recipe / "hparams" / "mine.yaml").write_text(
        "base: quick.yaml\nname: mine\n__plugins: !module:my_own_net\nencoder_name: my-own-net\n"
    )
    assert "Going into epoch" not in train("hparams/mine.yaml", cwd=recipe)
    assert all(path.read_bytes() == text for path, text in before.items())
