"""Tests of the documentation: its Python blocks run, its commands run or exist, its links and names resolve.

The blocks of a page share their names and a folder with the recordings of the tour. A `text` block is the expected
output of the block before it. A block of commands runs up to a comment that begins with "takes" or "needs"; the
commands after it, and those of READMEs and docstrings, are checked: files, options and subcommands must exist.
"""

import ast
import contextlib
import fnmatch
import functools
import importlib
import inspect
import io
import re
import shlex
import shutil
from pathlib import Path

import pytest

import speechtools
from speechtools import cli, tour

sybil = pytest.importorskip("sybil", reason="pip install '.[dev]'")
from sybil.evaluators.python import PythonEvaluator  # noqa: E402
from sybil.parsers.markdown import CodeBlockParser  # noqa: E402

ROOT = Path(__file__).parents[2]
#: Pages whose blocks run, from the root.
PAGES = sorted(
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
    if path.name not in ("CHANGELOG.md", "contracts.md") and path.parent.name != "checkout"
)
#: Pages and scripts whose commands are checked, from their own folder.
READMES = sorted([*ROOT.glob("recipes/*/*/README.md"), *ROOT.glob("speechtools/pretrained/*/README.md")])
READMES += sorted(ROOT.glob("templates/recipe/*/README.md"))
SCRIPTS = sorted([*ROOT.glob("recipes/*/*/*.py"), *ROOT.glob("benchmarks/*.py")])
NOT_RUN = re.compile(r"#\s*(takes|needs)\b")
LANGUAGES = {"python", "sh", "text", "yaml", "bibtex", "{toctree}", "{eval-rst}"}
#: Options of every train.py that come from SpeechBrain.
RUN_OPTIONS = {"device", "distributed_backend", "precision", "debug", "max_grad_norm"}
name_of = {"ids": lambda path: str(path.relative_to(ROOT))}


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return tour.write_recordings(tmp_path_factory.mktemp("docs") / "tour")


@pytest.fixture
def folder(recordings, tmp_path, monkeypatch):
    """The current folder, with the recordings that the pages use."""
    shutil.copytree(recordings, tmp_path / "tour")
    names = {"call": "clean", "noisy": "very_noisy", "who": "anna_4", "a": "anna_1", "b": "anna_2", "folder/a": "clean"}
    names |= {f"a{number}": f"anna_{number}" for number in (1, 2, 3)}
    (tmp_path / "folder").mkdir()
    for name, source in names.items():
        for suffix in ("wav", "flac"):  # libsndfile reads the content, not the suffix
            shutil.copy(recordings / f"{source}.wav", tmp_path / f"{name}.{suffix}")
    monkeypatch.chdir(tmp_path)
    return tmp_path


# --------------------------------------------------------------------------------------------------------------- blocks


def run_python(example):
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        PythonEvaluator()(example)
    example.namespace["printed"] = printed.getvalue()


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run_shell(example):
    """Run the quick commands of a block in this process, and check the others."""
    place, runs = ROOT, True
    printed = Terminal()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(io.StringIO()) as messages:
        for line in example.parsed.replace("\\\n", " ").splitlines():
            runs = runs and not NOT_RUN.match(line)
            words = shlex.split(line, comments=True)
            if words[:1] == ["cd"]:
                place = (place / words[1]).resolve()
            elif words and not runs:
                if "speechtools new" not in example.parsed:  # it writes the files that the block uses
                    check(words, place)
            elif words:
                status = re.search(r"# exit status (\d)", line)
                assert run_command(words) == int(status[1] if status else 0), f"{line}: {messages.getvalue()}"
    example.namespace["printed"] = printed.getvalue() + messages.getvalue() if runs else None


def run_command(words):
    if words[0] == "speechtools":
        return cli.main(words[1:])
    if words[:3] == ["python", "-m", "speechtools.tour"]:
        return tour.main(words[3:])
    raise AssertionError(f"{shlex.join(words)} is not run by the tests: add '# takes …' or '# needs …' above it")


def compare_output(example):
    """Numbers may differ by one in the last digit; … matches any text."""
    output = example.namespace.pop("printed", None)
    if output is None:
        return
    expected, printed = example.parsed.split(), output.split()
    message = f"expected {example.parsed!r}, printed {output!r}"
    if "…" in example.parsed:
        pattern = " ".join(expected).replace("[", "[[]").replace("…", "*")
        assert fnmatch.fnmatchcase(" ".join(printed), pattern), message
        return
    assert len(expected) == len(printed), message
    for word, other in zip(expected, printed, strict=True):
        try:
            same = abs(float(word) - float(other)) <= 1.01 * 10.0 ** -len(word.partition(".")[2])
        except ValueError:
            same = word == other
        assert same, message


@pytest.mark.parametrize("page", PAGES, **name_of)
def test_every_block_of_a_page_runs(page, folder):
    assert set(re.findall(r"^```(\S*)", page.read_text("utf-8"), re.MULTILINE)[::2]) <= LANGUAGES
    parsers = [
        CodeBlockParser("python", run_python),
        CodeBlockParser("sh", run_shell),
        CodeBlockParser("text", compare_output),
    ]
    document = sybil.Sybil(parsers, filenames=[page.name], path=str(page.parent)).parse(page)
    for example in document.examples():
        try:
            example.evaluate()
        except Exception as error:
            raise AssertionError(f"{page}, line {example.line}: {type(error).__name__}: {error}") from error


# ------------------------------------------------------------------------------------------------------------- commands


def check(words, place):
    """Check that a command can be typed in a folder: its script, yaml, options, subcommand or target exist."""
    name, *rest = words
    assert place.is_dir(), place
    if name == "make":
        targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
        assert set(word for word in rest if "=" not in word) <= set(targets), words
    elif name == "speechtools":
        command = rest[:2] if rest[0] in ("check", "new") else rest[:1]
        check_options(rest, set(re.findall(r"--([\w-]+)", help_text(*command))))
    elif name in ("python", "torchrun") and rest[:1] not in (["-m"], ["-c"]):
        script = next(index for index, word in enumerate(rest) if word.endswith(".py"))
        own, yaml = script_options(place / rest[script])
        paths = [place / word for word in rest[script + 1 :] if word.endswith(".yaml") and "=" not in word]
        for path in [*paths, *([yaml] if yaml else [])]:
            own = own | yaml_keys(path) | RUN_OPTIONS
        check_options(rest[script + 1 :], own)


def check_options(words, known):
    options = [word[2:].partition("=")[0] for word in words if word.startswith("--")]
    assert set(options) <= known, f"{shlex.join(words)}: unknown option {set(options) - known}"


@functools.cache
def help_text(*command):
    with contextlib.redirect_stdout(io.StringIO()) as printed, contextlib.suppress(SystemExit):
        assert cli.main([*command, "--help"]) == 0, command
    assert command[0] in printed.getvalue(), f"speechtools has no command {' '.join(command)}"
    return printed.getvalue()


def yaml_keys(path):
    """The keys of a recipe's yaml and of the files that it builds on."""
    keys = dict(re.findall(r"^(\w+): *(.*)", path.read_text("utf-8"), re.MULTILINE))
    others = re.findall(r"[\w./-]+\.yaml", keys.get("base", "") + " " + keys.get("include", ""))
    return set(keys).union(*(yaml_keys(path.parent / other) for other in others))


def script_options(script):
    """The options of a script's own parser, and the yaml to which it passes the others."""
    tree = ast.parse(script.read_text("utf-8"))
    text = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    yamls = [script.parent / value for value in text if re.fullmatch(r"hparams/\w+\.yaml", value)]
    return {value[2:] for value in text if value.startswith("--")} | {"help"}, next(iter(yamls), None)


def mentions(text):
    """The commands that a text names within its lines, and the recipe that a link of the line names."""
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    for line in outside.splitlines():
        recipe = re.search(r"\((recipes/[\w/-]+)/README\.md\)", line)
        for code in re.findall(r"`((?:python|speechtools|make) [^`]+)`", line):
            for command in code.split(" | "):
                command = command if command.startswith(("python", "make", "speechtools")) else f"speechtools {command}"
                yield [word for word in shlex.split(command) if word != "…"], recipe[1] if recipe else ""


@pytest.mark.parametrize("page", [*READMES, *PAGES], **name_of)
def test_the_commands_of_a_page_exist(page):
    text = page.read_text("utf-8")
    place = page.parent if page in READMES else ROOT
    for words, recipe in mentions(text):
        check(words, ROOT if any(word.startswith(("benchmarks/", "docs/")) for word in words) else place / recipe)
    if page in READMES:
        for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            for line in block.replace("\\\n", " ").splitlines():
                if words := shlex.split(line, comments=True):
                    check(words, place)


@pytest.mark.parametrize("script", SCRIPTS, **name_of)
def test_the_commands_of_a_docstring_exist(script):
    place = ROOT if script.parent.name == "benchmarks" else script.parent
    for line in (ast.get_docstring(ast.parse(script.read_text("utf-8"))) or "").splitlines():
        if line.startswith(("python ", "torchrun ")):
            check(shlex.split(line, comments=True), place)


# -------------------------------------------------------------------------------------------------------------- content


@pytest.mark.parametrize("page", [*READMES, *PAGES], **name_of)
def test_links_within_the_checkout_exist(page):
    targets = re.findall(r"\]\((?!https?:|\.\./\.\./actions|#)([^)#\s]+)", page.read_text("utf-8"))
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_item_of_the_papers_is_implemented():
    papers = (ROOT / "docs/papers.md").read_text("utf-8").split("\n## ")[1:]
    counts = [{"equation": 2, "table": 3, "figure": 5}, {"equation": 12, "table": 3, "figure": 4}]
    for paper, numbers in zip(papers, counts, strict=True):
        rows = [re.split(r" \| ", line.strip("| ")) for line in paper.splitlines() if line.startswith("| ")][2:]
        items = {item for item, *_ in rows}
        assert {f"{kind} {number + 1}" for kind in numbers for number in range(numbers[kind])} <= items
        for item, _, implementation in rows:
            names = re.findall(r"`([^`]+)`", implementation)
            assert names, item
            for name in names:
                if name.startswith("python "):
                    check(shlex.split(name), ROOT)
                else:
                    assert inspect.getdoc(resolve(name)), f"{name} has no docstring"


def resolve(name):
    """Return the module, or the attribute of a module, with a dotted name."""
    module, _, attribute = name.rpartition(".")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        return getattr(resolve(module), attribute)


def test_every_plugin_has_an_example():
    plugins = {name: speechtools.find(name) for name in speechtools.available()}
    bundled = {name: plugin for name, plugin in plugins.items() if plugin.__module__.startswith("speechtools.")}
    assert len(bundled) > 20
    # Examples in docstrings register plugins, too, which their module does not have.
    assert [
        name
        for name, plugin in bundled.items()
        if ">>> " not in (inspect.getdoc(plugin) or "")
        and getattr(importlib.import_module(plugin.__module__), plugin.__name__, None) is plugin
    ] == []
