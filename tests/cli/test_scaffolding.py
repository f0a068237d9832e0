"""`speechtools new`: what it creates works as it is, and no file is overwritten; `--module` imports it."""

import ast
import configparser
import sys
from pathlib import Path

import pytest
import runs

import speechtools
from speechtools import cli, scaffolding
from speechtools.core import registry
from speechtools.core.contract import contract, contracts
from speechtools.core.errors import SpeechtoolsError

ROOT = Path(__file__).parents[2]
KINDS = [*contracts(), "brand-new"]


@pytest.fixture(autouse=True)
def imports_restored(monkeypatch):
    speechtools.available()  # everything is imported before the copy, so that restoring loses nothing
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))
    monkeypatch.setattr(registry, "_contracts", dict(registry._contracts))
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or ROOT).parent != ROOT and name.startswith("my_"):
            del sys.modules[name]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_message(capsys):
    error = capsys.readouterr().err
    assert error.startswith("speechtools: ") and error.count("\n") == 1 and "Traceback" not in error
    return error


# ---- Plugins


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    """A plugin of every kind and of a new one, and the output of their tests."""
    folder = tmp_path_factory.mktemp("plugins")
    for kind in KINDS:
        scaffolding.new_plugin(f"{kind}/my-{kind}", folder)
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--rootdir", folder, folder]
    return folder, runs.call(command, cwd=folder).stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_plugin_of_every_kind_passes_its_test_and_states_its_contract(plugins, kind):
    module = f"my_{kind.replace('-', '_')}.py"
    assert f"PASSED test_{module}::test_it_keeps_its_contract" in plugins[1], plugins[1][-3000:]
    source = (plugins[0] / module).read_text()
    text = " ".join(ast.get_docstring(ast.parse(source)).split())
    assert text.startswith(f"{kind}/my-{kind}: ")
    if kind in contracts():
        for sentence in (contract(kind).sentence, *(law.sentence for law in contract(kind).laws)):
            assert sentence in text
    for file in (source, (plugins[0] / f"test_{module}").read_text()):
        assert not any(word in file for word in ("my-net", "my_net", "MyNet", "THE CONTRACT", "my-kind"))


def test_the_class_gets_the_name_of_the_plugin_once(tmp_path):
    module, test = scaffolding.new_plugin("encoder/tdnn-2-encoder", tmp_path / "new" / "folder")
    assert (module.name, test.name) == ("tdnn_2_encoder.py", "test_tdnn_2_encoder.py")
    assert '@plugin("encoder/tdnn-2-encoder")\nclass Tdnn2Encoder(nn.Module)' in module.read_text()
    assert "import tdnn_2_encoder " in test.read_text()


def test_the_printed_commands_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "plugin", "vad/my-loudest"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "python train.py hparams/ge2e.yaml --__plugins=my_loudest --vad_name=my-loudest" in lines
    assert {"base: ge2e.yaml", "__plugins: !module:my_loudest", "vad_name: my-loudest"} <= set(lines)
    (check,) = (line for line in lines if line.startswith("speechtools check"))
    assert cli.main(check.split()[1:]) == 0
    assert "vad/my-loudest" in capsys.readouterr().out


def test_in_the_folder_of_a_recipe_its_own_yaml_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(scaffolding.new_recipe("a/b", tmp_path))
    assert cli.main(["new", "plugin", "encoder/my-own"]) == 0
    output = capsys.readouterr().out
    assert "hparams/train.yaml --__plugins=my_own --encoder_name=my-own\n" in output and "base: train.yaml\n" in output


@pytest.mark.parametrize("kind", contracts())
def test_the_slot_of_every_kind_exists(kind):
    if slot := contract(kind).slot:
        assert slot.option in scaffolding.options_of(ROOT / "recipes" / slot.recipe / "hparams" / slot.yaml)


@pytest.mark.parametrize(
    "name, message",
    [
        ("encoder", "'encoder'. Write kind/name"),
        ("encoder/My_Net", "'encoder/My_Net'. Write kind/name"),
        ("encodr/my-net", "'encodr'. Did you mean 'encoder'?"),
        ("encoder/lstm", "'encoder/lstm' exists: "),
        ("encoder/2x", "cannot import 2x.py"),
        ("corpus/import", "cannot import import.py"),
        ("encoder/torch", "installed module 'torch'"),
        ("toy/my-net", "'toy' has no template"),
    ],
)
def test_an_invalid_name_is_an_error(tmp_path, capsys, name, message):
    speechtools.plugin("toy/net")(len)
    assert cli.main(["new", "plugin", name, f"--folder={tmp_path}"]) == 1
    assert message in one_message(capsys)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("taken", ["my_net.py", "test_my_net.py"])
def test_a_file_that_exists_is_not_overwritten(tmp_path, capsys, taken):
    (tmp_path / taken).write_text("mine")
    assert cli.main(["new", "plugin", "encoder/my-net", f"--folder={tmp_path}"]) == 1
    assert f"{tmp_path / taken} exists" in one_message(capsys)
    assert contents(tmp_path) == {Path(taken): b"mine"}


# ---- Plugins of a module


def test_all_commands_import_the_modules_of_the_user(tmp_path, monkeypatch, capsys):
    scaffolding.new_plugin("encoder/my-own", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["check", "plugin", "encoder/my-own"]) == 1
    error = one_message(capsys)
    assert "'encoder/my-own'" in error and "__plugins" in error and "--module my_own.py" in error
    assert cli.main(["list", "encoder", "--module", "my_own"]) == 0  # without its suffix, too
    assert "encoder/my-own" in capsys.readouterr().out
    assert cli.main(["show", "encoder/my-own", "--module", "my_own.py"]) == 0
    assert f"defined in {tmp_path / 'my_own.py'}:" in capsys.readouterr().out
    for command in ("check plugin", "score", "enhance", "embed", "enroll", "verify"):
        assert cli.main([*command.split(), "--help"]) == 0
        assert "--module" in capsys.readouterr().out


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("my_raises.py", "raise RuntimeError('no GPU.')", "my_raises.py: RuntimeError: no GPU."),
        ("my_exits.py", "raise SystemExit", "my_exits.py: SystemExit"),
        ("my_needs.py", "import my_nowhere", "No module named 'my_nowhere'"),
        ("my_nets.py", None, "Did you mean 'my_net.py'?"),
        ("json.py", "", "another module has the name 'json'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_message(tmp_path, capsys, name, text, message):
    (tmp_path / "my_net.py").touch()
    if text is not None:
        (tmp_path / name).write_text(text)
    assert cli.main(["list", "--module", str(tmp_path / name)]) == 1
    error = one_message(capsys)
    assert message in error and str(tmp_path) in error


# ---- Recipes


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that looks like a checkout; the current folder lies in it."""
    (tmp_path / "speechtools" / "core").mkdir(parents=True)
    (tmp_path / "speechtools" / "core" / "registry.py").touch()
    (tmp_path / "recipes" / "TIMIT").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "recipes" / "TIMIT")
    return tmp_path


def test_a_recipe_goes_to_the_checkout_under_its_name(checkout, capsys):
    assert cli.main(["new", "recipe", "BigVoices/GE2E-xt"]) == 0
    output = capsys.readouterr().out
    target = checkout / "recipes" / "BigVoices" / "GE2E-xt"
    template = ROOT / "templates" / "recipe" / "task"
    assert contents(target).keys() == {
        Path(name) for name in ("train.py", "README.md", "hparams/train.yaml", "hparams/quick.yaml")
    }
    assert f"cd {target}\n" in output and "--model results/GE2E-xt-builtin/1234/pretrained" in output
    for name, text in contents(target).items():
        original = (template / name).read_text()
        assert text.decode() == original.replace("my-corpus", "BigVoices").replace("my-task", "GE2E-xt")
    assert not list(checkout.rglob(".new-*"))


def test_the_template_of_a_recipe_is_an_option(checkout, capsys):
    assert cli.main(["new", "recipe", "a/b", "--template=classify"]) == 0
    assert "speechtools verify" not in capsys.readouterr().out
    assert (checkout / "recipes" / "a" / "b" / "words.py").is_file()
    assert cli.main(["new", "recipe", "a/c", "--template=clasify"]) == 1
    assert "Did you mean 'classify'?" in one_message(capsys)


def test_elsewhere_a_recipe_goes_to_the_current_folder_or_to_the_option(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert scaffolding.new_recipe("a/b") == tmp_path / "recipes" / "a" / "b"
    assert scaffolding.new_recipe("a/b", tmp_path / "other") == tmp_path / "other" / "a" / "b"
    assert (tmp_path / "other" / "a" / "b" / "train.py").is_file()


def test_a_recipe_that_exists_is_not_overwritten(checkout, capsys):
    target = checkout / "recipes" / "TIMIT" / "quality"
    target.mkdir()
    (target / "train.py").write_text("mine")
    before = contents(checkout)
    assert cli.main(["new", "recipe", "TIMIT/quality"]) == 1
    assert f"{target} exists" in one_message(capsys)
    assert cli.main(["new", "recipe", "a/b", f"--folder={target / 'train.py'}"]) == 1
    assert "is a file" in one_message(capsys)
    assert contents(checkout) == before


@pytest.mark.parametrize("name", ["task", "a/b/c", "../a", "a/..", "a/my_task", "1a/b", ""])
def test_an_invalid_recipe_name_is_an_error(checkout, capsys, name):
    before = contents(checkout)
    assert cli.main(["new", "recipe", name]) == 1
    error = one_message(capsys)
    assert f"{name!r}. Write corpus/task" in error
    assert ("as in a/my-task" in error) == (name == "a/my_task")
    assert contents(checkout) == before


def test_results_of_the_template_are_not_copied(tmp_path, monkeypatch):
    template = tmp_path / "templates" / "recipe" / "task"
    for name in ("train.py", "results/1/x.ckpt", "__pycache__/train.pyc", ".cache/x", "hparams/train.yaml"):
        (template / name).parent.mkdir(parents=True, exist_ok=True)
        (template / name).write_text("my-task")
    monkeypatch.setattr(scaffolding, "templates_folder", lambda: tmp_path / "templates")
    recipe = scaffolding.new_recipe("a/b", tmp_path)
    assert contents(recipe) == {Path("train.py"): b"b", Path("hparams/train.yaml"): b"b"}


# ---- The folder of the templates


class Installed:
    """A file of an installed package, as importlib.metadata lists it."""

    def __init__(self, root, name):
        self.path, self.parts = root / name, Path(name).parts

    def locate(self):
        return self.path


def test_an_installed_package_finds_its_templates(tmp_path, monkeypatch):
    name = "share/speechtools/templates/plugin/encoder.py"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    monkeypatch.setattr(scaffolding, "__file__", str(tmp_path / "lib" / "speechtools" / "scaffolding.py"))
    files = [Installed(tmp_path, "speechtools/cli.py"), Installed(tmp_path, name)]
    monkeypatch.setattr(scaffolding.metadata, "files", lambda package: files)
    assert scaffolding.templates_folder() == tmp_path / "share" / "speechtools" / "templates"
    monkeypatch.setattr(scaffolding.metadata, "files", lambda package: files[:1])
    with pytest.raises(SpeechtoolsError, match="not installed. Install speechtools with pip"):
        scaffolding.templates_folder()


def test_every_file_of_the_templates_is_installed():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    patterns = setup["options.data_files"].values()
    installed = {path.resolve() for pattern in patterns for path in ROOT.glob(pattern)}
    files = {path for folder in ("recipe", "plugin") for path in (ROOT / "templates" / folder).rglob("*.*")}
    built = {"results", "__pycache__"}
    assert {path.resolve() for path in files if path.is_file() and not built & set(path.parts)} == installed
