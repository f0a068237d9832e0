"""`speechtools new`: what it creates works as it is, and no file is overwritten; `--module` imports it."""

import ast
import configparser
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import runs

import speechtools
from speechtools import scaffolding
from speechtools.core.contract import contract, contracts
from speechtools.core.errors import SpeechtoolsError
from speechtools.degradations.lists import parse_degradations
from speechtools.training import options
from speechtools.training.command_line import parse
from speechtools.training.trees import plain

ROOT = Path(__file__).parents[2]
KINDS = [*contracts(), "brand-new"]


@pytest.fixture(autouse=True)
def imports_restored(registry_restored, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# ---- Plugins


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    """A plugin of every kind and of a new one, and the output of their tests."""
    folder = tmp_path_factory.mktemp("plugins")
    for kind in KINDS:
        scaffolding.new_plugin(f"{kind}/my-{kind}", folder, new_kind=True)
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--rootdir", folder, folder]
    return folder, runs.call(command, cwd=folder).stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_plugin_of_every_kind_passes_its_test_and_states_its_contract(plugins, kind):
    module = f"my_{kind.replace('-', '_')}.py"
    assert f"PASSED test_{module}::test_it_keeps_its_contract" in plugins[1], plugins[1][-3000:]
    source = (plugins[0] / module).read_text()
    text = " ".join(ast.get_docstring(ast.parse(source)).split())
    assert text.startswith(f"{kind}/my-{kind}: ")
    assert kind not in contracts() or (contract(kind).sentence in text and contract(kind).laws[-1].sentence in text)
    for file in (source, (plugins[0] / f"test_{module}").read_text()):
        assert not re.search("my-net|my_net|MyNet|THE CONTRACT|my-kind", file)


def test_the_printed_commands_work(tmp_path, monkeypatch, call):
    monkeypatch.chdir(tmp_path)
    status, output, _ = call("new", "plugin", "vad/my-2-vad")
    assert status == 0
    lines = [line.strip() for line in output.splitlines()]
    assert "python train.py hparams/ge2e.yaml --__plugins=my_2_vad --vad_name=my-2-vad" in lines
    assert {"base: ge2e.yaml", "__plugins: !module:my_2_vad", "vad_name: my-2-vad"} <= set(lines)
    (check,) = (line for line in lines if line.startswith("speechtools check"))
    assert call(*check.split()[1:])[0] == 0


def test_the_test_of_a_corpus_of_another_layout_names_what_to_change(tmp_path):
    module, test = scaffolding.new_plugin("corpus/my-list", tmp_path)
    module.write_text(module.read_text().replace('"*/*.wav"', '"*/*.flac"'))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", tmp_path, test]
    output = runs.call(command, cwd=tmp_path).stdout
    assert "make_corpus" in output and "Traceback" not in output and len(output.splitlines()) < 12, output


@pytest.mark.parametrize("kind", [kind for kind in contracts() if contract(kind).slot])
def test_the_printed_options_of_every_kind_are_valid(tmp_path, monkeypatch, kind):
    """The command for a recipe, and the yaml of a variant, resolve; the plugin is then built from its option."""
    monkeypatch.chdir(tmp_path)
    name = f"{kind}/my-{kind}-of-lines"
    lines = scaffolding.how_to_use_plugin(name, scaffolding.new_plugin(name)).splitlines()
    slot = contract(kind).slot
    (command,) = (line.split()[2:] for line in lines if line.strip().startswith("python train.py"))
    yaml = ROOT / "recipes" / slot.recipe / command[0]
    variant = [line.strip() for line in lines if line.startswith("    ") and ": " in line and "--" not in line]
    (tmp_path / "mine.yaml").write_text("\n".join(variant).replace(f"base: {slot.yaml}", f"base: {yaml}"))
    for words in ([str(yaml), *command[1:]], ["mine.yaml"]):
        resolved = plain(options.resolve(parse(words)))
        if kind == "degradation":
            assert [planned[:2] for planned in parse_degradations(resolved[slot.option])] == [(name.split("/")[1], {})]
        else:
            assert speechtools.find(f"{kind}/{resolved[slot.option]}")


def test_in_the_folder_of_a_recipe_its_own_yaml_is_named(tmp_path, monkeypatch, call):
    monkeypatch.chdir(scaffolding.new_recipe("a/b", tmp_path))
    status, output, _ = call("new", "plugin", "encoder/my-2-encoder")
    assert status == 0 and "hparams/train.yaml --__plugins=my_2_encoder --encoder_name=my-2-encoder\n" in output
    assert "trial, take hparams/quick.yaml" in output
    assert '@plugin("encoder/my-2-encoder")\nclass My2Encoder(' in Path("my_2_encoder.py").read_text()


@pytest.mark.parametrize("kind", contracts())
def test_the_slot_of_every_kind_exists(kind):
    if slot := contract(kind).slot:
        assert slot.option in scaffolding.options_of(ROOT / "recipes" / slot.recipe / "hparams" / slot.yaml)


@pytest.mark.parametrize(
    "name, message",
    [
        ("encoder/My_Net", "'encoder/My_Net'. Write kind/name"),
        ("encodr/my-net", "'encodr'. Did you mean 'encoder/my-net'?"),
        ("pooling/mean", "pass --new_kind"),
        ("encoder/lstm", "'encoder/lstm' exists: "),
        ("encoder/2x", "cannot import 2x.py"),
        ("encoder/torch", "installed module 'torch'"),
        ("toy/my-net", "'toy' has no template"),
        ("encoder/my-net", "test_my_net.py exists"),
    ],
)
def test_an_invalid_name_writes_nothing(tmp_path, refused, name, message):
    speechtools.plugin("toy/net")(len)
    (tmp_path / "test_my_net.py").write_text("mine")
    assert message in refused("new", "plugin", name, f"--folder={tmp_path}")
    assert contents(tmp_path) == {Path("test_my_net.py"): b"mine"}


# ---- Plugins of a module


def test_all_commands_import_the_modules_of_the_user(tmp_path, monkeypatch, call, refused):
    scaffolding.new_plugin("encoder/my-own", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert "--module my_own.py" in refused("check", "plugin", "encoder/my-own")
    assert "encoder/my-own" in call("list", "encoder", "--module", "my_own")[1]  # without its suffix, too
    shown = call("show", "encoder/my-own", "--module", "my_own.py")[1]
    assert f"defined in {tmp_path / 'my_own.py'}:" in shown
    for command in ("check plugin", "score", "enhance", "embed", "enroll", "verify"):
        assert "--module" in call(*command.split(), "--help")[1]


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("my_exits.py", "raise SystemExit", "my_exits.py: SystemExit"),
        ("my_nets.py", None, "Did you mean 'my_net.py'?"),
        ("json.py", "", "another module has the name 'json'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_message(tmp_path, refused, name, text, message):
    (tmp_path / "my_net.py").touch()
    if text is not None:
        (tmp_path / name).write_text(text)
    assert message in refused("list", "--module", tmp_path / name)


# ---- Recipes


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A folder that looks like a checkout; the current folder lies in it."""
    (tmp_path / "speechtools" / "core").mkdir(parents=True)
    (tmp_path / "speechtools" / "core" / "registry.py").touch()
    (tmp_path / "recipes" / "TIMIT").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "recipes" / "TIMIT")
    return tmp_path


def test_a_recipe_goes_to_the_checkout_under_its_name(checkout, call):
    status, output, _ = call("new", "recipe", "BigVoices/GE2E-xt")
    target = checkout / "recipes" / "BigVoices" / "GE2E-xt"
    assert status == 0 and f"cd {target}\n" in output
    assert "--model results/GE2E-xt-builtin/1234/pretrained" in output
    assert {path.name for path in contents(target)} == {"train.py", "README.md", "train.yaml", "quick.yaml"}
    assert not any(b"my-corpus" in text or b"my-task" in text for text in contents(target).values())
    assert not list(checkout.rglob(".new-*"))
    assert "speechtools verify" not in call("new", "recipe", "a/b", "--template=classify")[1]


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["TIMIT/quality"], "TIMIT/quality exists"),
        (["a/b", "--folder=quality/train.py"], "is a file"),
        (["../a"], "'../a'. Write corpus/task in letters, digits and hyphens, as in TIMIT/quality"),
        (["a/my_task"], "as in a/my-task"),
        (["a/b", "--template=clasify"], "Did you mean 'classify'?"),
    ],
)
def test_an_invalid_recipe_name_writes_nothing(checkout, refused, arguments, message):
    (checkout / "recipes" / "TIMIT" / "quality").mkdir()
    (checkout / "recipes" / "TIMIT" / "quality" / "train.py").write_text("mine")
    before = contents(checkout)
    assert message in refused("new", "recipe", *arguments)
    assert contents(checkout) == before


def test_results_of_the_template_are_not_copied(tmp_path, monkeypatch):
    template = tmp_path / "templates" / "recipe" / "task"
    for name in ("train.py", "results/1/x.ckpt", "__pycache__/train.pyc", ".cache/x"):
        (template / name).parent.mkdir(parents=True, exist_ok=True)
        (template / name).write_text("my-task")
    monkeypatch.setattr(scaffolding, "templates_folder", lambda: tmp_path / "templates")
    monkeypatch.chdir(tmp_path)
    assert scaffolding.new_recipe("a/b") == tmp_path / "recipes" / "a" / "b"
    assert contents(tmp_path / "recipes" / "a" / "b") == {Path("train.py"): b"b"}


# ---- The folder of the templates


def test_an_installed_package_finds_its_templates(tmp_path, monkeypatch):
    path = tmp_path / "share" / "speechtools" / "templates" / "plugin" / "encoder.py"
    path.parent.mkdir(parents=True)
    path.touch()
    monkeypatch.setattr(scaffolding, "__file__", str(tmp_path / "lib" / "speechtools" / "scaffolding.py"))
    files = [SimpleNamespace(parts=path.parts, locate=lambda: path)]
    monkeypatch.setattr(scaffolding.metadata, "files", lambda package: files)
    assert scaffolding.templates_folder() == tmp_path / "share" / "speechtools" / "templates"
    files.clear()
    with pytest.raises(SpeechtoolsError, match="not installed. Install speechtools with pip"):
        scaffolding.templates_folder()


def test_every_file_of_the_templates_is_installed():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    installed = {path for pattern in setup["options.data_files"].values() for path in ROOT.glob(pattern)}
    files = {path for folder in ("recipe", "plugin") for path in (ROOT / "templates" / folder).rglob("*.*")}
    built = {"results", "__pycache__"}
    assert {path for path in files if path.is_file() and not built & set(path.parts)} == installed
