"""Laws of `speechtools new` and `--module`: what is made works as it is, and nothing that exists is overwritten."""

import ast
import sys
from pathlib import Path

import pytest
import runs

import speechtools
from speechtools import cli, scaffolding
from speechtools.core import contract as contracts
from speechtools.core import registry
from speechtools.core.errors import SpeechtoolsError

ROOT = Path(__file__).parents[2]
KINDS = sorted(registry.contracts())


@pytest.fixture(autouse=True)
def imports_restored(monkeypatch):
    speechtools.available()  # everything is imported before the copy, so that restoring loses nothing
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))
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


# ---------------------------------------------------------------------------------------------------------- plugins


@pytest.fixture(scope="module")
def plugins(tmp_path_factory):
    """A plugin of every kind, and what pytest says of their tests, run in one process."""
    folder = tmp_path_factory.mktemp("plugins")
    for kind in KINDS:
        scaffolding.new_plugin(f"{kind}/my-{kind}", folder)
    command = [sys.executable, "-m", "pytest", "-rA", "-p", "no:cacheprovider", "--rootdir", folder, folder]
    return folder, runs.call(command, cwd=folder).stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_plugin_of_every_kind_passes_its_test(plugins, kind):
    assert f"PASSED test_my_{kind.replace('-', '_')}.py::test_it_keeps_the_contract_of_its_kind" in plugins[1], plugins[
        1
    ][-3000:]


@pytest.mark.parametrize("kind", KINDS)
def test_the_contract_stands_in_the_docstring(plugins, kind):
    text = " ".join(ast.get_docstring(ast.parse((plugins[0] / f"my_{kind.replace('-', '_')}.py").read_text())).split())
    assert text.startswith(f"{kind}/my-{kind}: ")
    assert contracts.contract(kind).sentence in text
    for law in contracts.contract(kind).laws:
        assert f"- {law.sentence}" in text


def test_plugins_are_written_in_the_style_of_this_repository(plugins):
    config = ("--no-cache", "--config", ROOT / "pyproject.toml")
    for command in (("check", "--ignore", "I001"), ("format", "--check")):  # to ruff, our package is a foreign one here
        done = runs.call([sys.executable, "-m", "ruff", *command, *config, plugins[0]])
        assert done.returncode == 0, done.stdout


def test_of_a_name_all_forms_are_filled_in(tmp_path):
    part, test = scaffolding.new_plugin("encoder/tdnn-2-encoder", tmp_path / "new" / "folder")
    assert (part.name, test.name) == ("tdnn_2_encoder.py", "test_tdnn_2_encoder.py")
    assert '@plugin("encoder/tdnn-2-encoder")\nclass Tdnn2Encoder(nn.Module)' in part.read_text()
    assert "import tdnn_2_encoder " in test.read_text()
    for text in (part.read_text(), test.read_text()):
        assert "my-net" not in text and "my_net" not in text and "MyNet" not in text and "THE CONTRACT" not in text


def test_the_command_tells_how_to_go_on_and_its_commands_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["new", "plugin", "vad/my-loudest"]) == 0
    lines = [line.strip() for line in capsys.readouterr().out.splitlines()]
    assert "python train.py hparams/ge2e.yaml --__plugins=my_loudest --vad_name=my-loudest" in lines
    assert {"base: ge2e.yaml", "__plugins: !module:my_loudest", "vad_name: my-loudest"} <= set(lines)
    (check,) = (line for line in lines if line.startswith("speechtools check"))
    assert cli.main(check.split()[1:]) == 0
    assert "vad/my-loudest keeps its contract (4 laws tested)" in capsys.readouterr().out


def test_in_the_folder_of_a_recipe_the_command_names_its_own_yaml(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(scaffolding.new_recipe("a/b", tmp_path))
    assert cli.main(["new", "plugin", "encoder/my-own"]) == 0
    output = capsys.readouterr().out
    assert (
        "In this recipe:\n    python train.py hparams/train.yaml --__plugins=my_own --encoder_name=my-own\n" in output
    )
    assert "    base: train.yaml\n" in output


@pytest.mark.parametrize("kind", KINDS)
def test_the_recipe_that_is_named_has_the_option(kind):
    recipe, yaml, option = contracts.contract(kind).slot
    assert f"\n{option}: " in (ROOT / "recipes" / recipe / "hparams" / yaml).read_text()


@pytest.mark.parametrize(
    "name, said",
    [
        ("encoder", "'encoder'. Write kind/name"),
        ("encoder/My_Net", "'encoder/My_Net'. Write kind/name"),
        ("encodr/my-net", "'encodr'. Did you mean 'encoder'?"),
        ("encoder/lstm", "'encoder/lstm' is taken: "),
        ("encoder/2x", "would lie in 2x.py, which Python cannot import"),
        ("corpus/import", "would lie in import.py, which Python cannot import"),
        ("corpus/csv", "hide the module 'csv'"),
        ("encoder/torch", "hide the module 'torch'"),
    ],
)
def test_a_name_that_cannot_be_is_refused(tmp_path, capsys, name, said):
    assert cli.main(["new", "plugin", name, f"--folder={tmp_path}"]) == 1
    assert said in one_message(capsys)
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("taken", ["my_net.py", "test_my_net.py"])
def test_a_file_that_exists_is_not_overwritten(tmp_path, capsys, taken):
    (tmp_path / taken).write_text("mine")
    assert cli.main(["new", "plugin", "encoder/my-net", f"--folder={tmp_path}"]) == 1
    assert f"{tmp_path / taken} exists already" in one_message(capsys)
    assert contents(tmp_path) == {Path(taken): b"mine"}


def test_a_kind_without_a_template_is_told(tmp_path, capsys):
    speechtools.plugin("toy/net")(len)
    assert cli.main(["new", "plugin", "toy/my-net", f"--folder={tmp_path}"]) == 1
    assert "The kind 'toy' has no template" in one_message(capsys)


# --------------------------------------------------------------------------------- parts of a module of one's own


@pytest.mark.parametrize(
    "right, wrong, law, seen, remedy",
    [
        (
            "return nn.functional.normalize(self.linear(mean), dim=1)",
            "return nn.functional.normalize(self.linear(mean), dim=1).unsqueeze(1)",
            "d-vectors (batch, embedding_size) of length 1",
            "(4, 1, 64) instead of torch.float32 of shape (4, 64)",
            "End with torch.nn.functional.normalize",
        ),
        (
            "return nn.functional.normalize(self.linear(mean), dim=1)",
            "return self.linear(mean)",
            "d-vectors (batch, embedding_size) of length 1",
            "the lengths of d-vectors and 1 differ by",
            "End with torch.nn.functional.normalize",
        ),
        (
            "mean = hidden.sum(dim=1) / counts.unsqueeze(1)",
            "mean = hidden.mean(dim=1) + feats.mean()",
            "padding, whatever it holds",
            "alone and padded with noise to 60, differ by",
            "the first round(lens * time) frames",
        ),
    ],
)
def test_check_names_the_law_that_a_module_breaks(tmp_path, capsys, right, wrong, law, seen, remedy):
    part, _ = scaffolding.new_plugin("encoder/my-broken", tmp_path)
    assert right in part.read_text()
    part.write_text(part.read_text().replace(right, wrong))
    assert cli.main(["check", "encoder/my-broken", "--module", str(part)]) == 1
    error = one_message(capsys)
    assert f"encoder/my-broken ({part}:" in error and "breaks a law of the kind 'encoder'" in error
    assert law in error and seen in error and remedy in error


def test_all_commands_see_the_parts_of_a_module(tmp_path, monkeypatch, capsys):
    scaffolding.new_plugin("encoder/my-own", tmp_path)
    monkeypatch.chdir(tmp_path)
    assert cli.main(["list", "encoder", "--module", "my_own"]) == 0  # without its suffix, too
    assert "encoder/my-own" in capsys.readouterr().out
    assert cli.main(["show", "encoder/my-own", "--module", "my_own.py"]) == 0
    assert f"defined in {tmp_path / 'my_own.py'}:" in capsys.readouterr().out
    for command in ("check", "score", "enhance", "embed", "enroll", "verify"):
        with pytest.raises(SystemExit, match="0"):
            cli.main([command, "--help"])
        assert "--module" in capsys.readouterr().out


def test_a_part_whose_module_was_not_imported_is_told_how(capsys):
    assert cli.main(["check", "encoder/my-absent"]) == 1
    error = one_message(capsys)
    assert "'encoder/my-absent'" in error and "__plugins" in error and "--module" in error


@pytest.mark.parametrize(
    "name, text, given, said",
    [
        ("my_net.py", "", "my_nett.py", "my_nett.py', neither as a file"),
        ("my_net.py", "", "my_nett.py", "Did you mean 'my_net.py'?"),
        ("my_raises.py", "raise RuntimeError('no GPU.')", "my_raises.py", "my_raises.py: RuntimeError: no GPU."),
        ("my_exits.py", "raise SystemExit", "my_exits.py", "my_exits.py: SystemExit"),
        ("my_slip.py", "def f(:", "my_slip.py", "SyntaxError: invalid syntax (my_slip.py, line 1)"),
        ("my_needs.py", "import my_nowhere", "my_needs.py", "ModuleNotFoundError: No module named 'my_nowhere'"),
        ("json.py", "", "json.py", "another module has the name 'json'"),
        (
            "my_thief.py",
            "from speechtools import plugin\n@plugin('encoder/lstm')\ndef lstm(): ...",
            "my_thief.py",
            "'encoder/lstm' is taken: ",
        ),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_message(tmp_path, capsys, name, text, given, said):
    (tmp_path / name).write_text(text)
    assert cli.main(["list", "--module", str(tmp_path / given)]) == 1
    error = one_message(capsys)
    assert said in error and str(tmp_path) in error


# ---------------------------------------------------------------------------------------------------------- recipes


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
    wanted = {Path(name) for name in ("train.py", "README.md", "hparams/train.yaml", "hparams/quick.yaml")}
    assert contents(target).keys() == wanted
    assert f"cd {target}\n" in output and "--model results/GE2E-xt-builtin/1234/pretrained" in output
    for name, text in contents(target).items():
        original = (template / name).read_text()
        assert text.decode() == original.replace("my-corpus", "BigVoices").replace("my-task", "GE2E-xt")
    assert not list(checkout.rglob(".new-*"))


def test_elsewhere_a_recipe_goes_to_the_current_folder_or_the_one_that_is_given(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert scaffolding.new_recipe("a/b") == tmp_path / "recipes" / "a" / "b"
    assert scaffolding.new_recipe("a/b", tmp_path / "other") == tmp_path / "other" / "a" / "b"
    assert (tmp_path / "other" / "a" / "b" / "train.py").is_file()


@pytest.mark.parametrize("existing", ["folder", "file"])
def test_a_recipe_that_exists_is_not_overwritten(checkout, capsys, existing):
    target = checkout / "recipes" / "TIMIT" / "quality"
    if existing == "folder":
        target.mkdir()
        (target / "train.py").write_text("mine")
    else:
        target.write_text("mine")
    before = contents(checkout)
    assert cli.main(["new", "recipe", "TIMIT/quality"]) == 1
    assert f"{target} exists already, and nothing in it was changed" in one_message(capsys)
    assert contents(checkout) == before


def test_a_file_is_no_folder_for_a_recipe(checkout, capsys):
    (checkout / "notes").write_text("mine")
    assert cli.main(["new", "recipe", "a/b", f"--folder={checkout / 'notes'}"]) == 1
    assert "notes is a file. Give the folder that the recipe is to be made in." in one_message(capsys)
    assert (checkout / "notes").read_text() == "mine"


@pytest.mark.parametrize("name", ["task", "a/b/c", "/a", "a/", "../a", "a/..", "a b/c", "a/my_task", "1a/b", ""])
def test_a_name_of_a_recipe_that_cannot_be_is_refused(checkout, capsys, name):
    before = contents(checkout)
    assert cli.main(["new", "recipe", name]) == 1
    said = one_message(capsys)
    assert f"{name!r} is no name of a recipe: it must read corpus/task" in said
    assert ("as in a/my-task. Rename" in said) == (name == "a/my_task")
    assert contents(checkout) == before


def test_results_of_the_template_are_not_copied(tmp_path, monkeypatch):
    template = tmp_path / "templates" / "recipe" / "task"
    for name in ("train.py", "results/1/x.ckpt", "__pycache__/train.pyc", ".cache/x", "hparams/train.yaml"):
        (template / name).parent.mkdir(parents=True, exist_ok=True)
        (template / name).write_text("my-task")
    monkeypatch.setattr(scaffolding, "templates_folder", lambda: tmp_path / "templates")
    made = scaffolding.new_recipe("a/b", tmp_path)
    assert contents(made) == {Path("train.py"): b"b", Path("hparams/train.yaml"): b"b"}


def test_a_misspelt_thing_to_make_gets_the_nearest(capsys):
    with pytest.raises(SystemExit, match="2"):
        cli.main(["new", "plugn", "encoder/x"])
    assert "Did you mean 'plugin'?" in capsys.readouterr().err


# ------------------------------------------------------------------------------------------- where the templates are


class Installed:
    """A file of an installed package, as importlib.metadata lists it."""

    def __init__(self, root, name):
        self.path, self.parts = root / name, Path(name).parts

    def locate(self):
        return self.path


def test_an_installed_package_finds_its_templates_by_its_list_of_files(tmp_path, monkeypatch):
    name = "share/speechtools/templates/plugin/encoder.py"
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).touch()
    monkeypatch.setattr(scaffolding, "__file__", str(tmp_path / "lib" / "speechtools" / "scaffolding.py"))
    files = [Installed(tmp_path, "speechtools/cli.py"), Installed(tmp_path, name)]
    monkeypatch.setattr(scaffolding.metadata, "files", lambda package: files)
    assert scaffolding.templates_folder() == tmp_path / "share" / "speechtools" / "templates"
    monkeypatch.setattr(scaffolding.metadata, "files", lambda package: files[:1])
    with pytest.raises(SpeechtoolsError, match="templates were not installed .* Install it with pip"):
        scaffolding.templates_folder()


def test_every_file_of_the_templates_is_installed():
    """setup.cfg names folders: one that is added there must be added here."""
    import configparser

    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    installed = set()
    for pattern in setup["options.data_files"].values():
        installed |= {path.resolve() for path in ROOT.glob(pattern)}
    folders = [ROOT / "templates" / name for name in ("recipe", "plugin")]
    kept = {path.resolve() for folder in folders for path in folder.rglob("*.*") if path.is_file()}
    assert {path for path in kept if not {"results", "__pycache__"} & set(path.parts)} == installed
