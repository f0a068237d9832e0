"""Every command that a README or a script's docstring shows can be typed: its files, options and subcommands exist.

The commands are parsed, by the recipe's own yaml or the command's own parser, and not run: what takes minutes is run by
the tests of the recipes, on little data.
"""

import argparse
import ast
import configparser
import functools
import itertools
import re
import shlex
import sys
from pathlib import Path

import pytest

from speechtools import training
from speechtools.cli import commands as command_line
from speechtools.core import registry
from speechtools.core.errors import SpeechtoolsError
from speechtools.training import consistency, options

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for pattern in ("README.md", "recipes/*/*/README.md", "speechtools/pretrained/*/README.md")
    for path in ROOT.glob(pattern)
)
SCRIPTS = sorted([*ROOT.glob("recipes/*/*/*.py"), *ROOT.glob("benchmarks/*.py")])
#: What begins a command of ours; a line of a shell block that begins otherwise must be one of the others.
OURS = ("python", "torchrun", "speechtools", "make", "pip", "cd")
OTHERS = ("git", "uv", "export", "source", ".", "python3", "mkdir", "cp", "cat")


class CannotBeTyped(Exception):
    """What is wrong with a command."""


def commands(text: str) -> list[list[str]]:
    """The words of every command in the shell blocks of a markdown page; an empty list where a block begins."""
    found = []
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL):
        if language in ("", "bash", "sh", "console"):
            lines = block.replace("\\\n", " ").splitlines()
            words = (shlex.split(line.removeprefix("$ "), comments=True) for line in lines)
            found += [[], *filter(None, words)]
    return found


def mentions(text: str) -> list[tuple[str, list[str]]]:
    """The words of every command that is named within a line: `speechtools score`, `make test`, `python x.py --key`.

    Before each, the folder of the recipe whose README the line links, where it does.
    """
    outside = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    named = [
        (*re.findall(r"\((recipes/[\w/-]+)/README\.md\)", line)[:1], code)
        for line in outside.splitlines()
        for code in re.findall(r"`([^`]+)`", line)
        if code.startswith(tuple(f"{word} " for word in OURS))
    ]
    return [
        (
            "".join(folder),
            shlex.split(re.sub(r"^(?!speechtools)", "speechtools ", part.strip()) if " | " in code else part),
        )
        for *folder, code in named
        for part in code.split(" | ")
    ]


def check(words: list[str], place: Path) -> Path:
    """Whether a command can be typed in a folder, and the folder after it. Raises CannotBeTyped."""
    if not words:
        return place
    name, *rest = words
    if name == "cd":
        if not (place / rest[0]).is_dir():
            raise CannotBeTyped(f"there is no folder {rest[0]} in {place}")
        return (place / rest[0]).resolve()
    if name == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
        missing = [word for word in rest if word not in targets]
        if missing:
            raise CannotBeTyped(f"the Makefile has no {missing}")
    elif name == "pip":
        check_extras(rest)
    elif name == "speechtools":
        check_subcommand(rest)
    elif name == "torchrun":
        script = next((number for number, word in enumerate(rest) if word.endswith(".py")), None)
        if script is None:
            raise CannotBeTyped("torchrun has no script")
        check_script(place, rest[script], rest[script + 1 :])
    elif name == "python":
        if rest[0] == "-m":
            if not (ROOT / (rest[1].replace(".", "/") + ".py")).is_file():
                raise CannotBeTyped(f"there is no module {rest[1]}")
        else:
            check_script(place, rest[0], rest[1:])
    elif name not in OTHERS:
        raise CannotBeTyped(f"{name} is a command that this test does not know")
    return place


def check_extras(words: list[str]) -> None:
    config = configparser.ConfigParser(interpolation=None)
    config.read(ROOT / "setup.cfg")
    for word in words:
        for extra in re.findall(r"(?:^\.|speechtools)\[([\w,]+)\]", word):
            for each in extra.split(","):
                if each not in config["options.extras_require"]:
                    raise CannotBeTyped(f"setup.cfg has no extra {each}")


def check_subcommand(words: list[str]) -> None:
    said = []
    parser = command_line._parser()
    for each in [
        parser,
        *next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices.values(),
    ]:
        each.error = lambda message: said.append(message) or sys.exit(2)
    try:
        arguments = parser.parse_args(words)
    except SystemExit as end:
        raise CannotBeTyped(said[0]) from end
    if words[0] in ("show", "check") and registry._TOKEN.fullmatch(arguments.name):
        registry.find(arguments.name)


def check_script(place: Path, script: str, words: list[str]) -> None:
    path = place / script
    if not path.is_file():
        raise CannotBeTyped(f"there is no {script} in {place}")
    if path.name == "train.py":
        check_run(place, words)
        return
    own, yaml = own_options(path)
    theirs = []
    for word in words:
        option = word.split("=")[0]
        if option.startswith("--") and option not in own:
            theirs.append(word)
    if theirs and yaml is None:
        raise CannotBeTyped(f"{script} has no option {theirs}")
    if theirs:
        check_run(place, [yaml, *theirs])


def check_run(place: Path, words: list[str]) -> None:
    """What train.py does with its command line, before it builds anything."""
    path, run_opts, given, typed = options.read_command_line(words)
    text, overrides = training.read_variant(place / path, given)
    options.check(text, overrides, place / path, typed, run_opts)


def own_options(script: Path) -> tuple[set[str], str | None]:
    """Options that a script's own parser has; and the yaml to which it hands the others, where it does."""
    found, yaml = {"--help"}, None
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "add_argument":
            found |= {each.value for each in node.args if isinstance(each, ast.Constant)}
        if isinstance(node, ast.Constant) and re.fullmatch(r"hparams/\w+\.yaml", str(node.value)):
            yaml = yaml or node.value
    return found, yaml


@pytest.fixture(autouse=True)
def any_device(monkeypatch):
    """A README may say --device=cuda, wherever the tests run."""
    monkeypatch.setattr(options, "check_device", lambda device: None)


def mistakes(text: str, place: Path) -> list[str]:
    """What is wrong with the commands of a page that lies in a folder."""
    here, wrong = place, []
    for words in commands(text):
        try:
            here = check(words, here) if words else place
        except (CannotBeTyped, SpeechtoolsError) as error:
            wrong.append(f"{' '.join(words)}: {error}")
    for folder, words in mentions(text):
        try:
            benchmark = words[0] == "python" and words[1].startswith("benchmarks/")
            check([word for word in words if word != "…"], ROOT if benchmark else place / folder)
        except (CannotBeTyped, SpeechtoolsError) as error:
            if "the following arguments are required" not in str(error):  # what is named need not be whole
                wrong.append(f"{' '.join(words)}: {error}")
    return wrong


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_readme_can_be_typed(page):
    assert mistakes(page.read_text(encoding="utf-8"), page.parent) == []


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: str(script.relative_to(ROOT)))
def test_the_commands_of_a_docstring_can_be_typed(script):
    text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    lines = "\n".join(line for line in text.splitlines() if line.startswith(("python ", "torchrun ")))
    place = ROOT if script.parent.name == "benchmarks" else script.parent
    assert mistakes(f"```\n{lines}\n```", place) == []


def test_every_recipe_shows_how_to_train_it():
    for folder in consistency.find_recipes(ROOT):
        if "templates" not in folder.parts:
            found = commands((folder / "README.md").read_text(encoding="utf-8"))
            assert any(words[:2] == ["python", "train.py"] for words in found), folder


# ------------------------------------------------------------------------------------------------ a folder for each run

#: The documentation shows commands, too: each page of it begins in the root.
DOCS = [
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs/tutorials").glob("*.md")),
]


@functools.cache
def scalars(path: Path) -> dict[str, str]:
    """The plain keys of a recipe's yaml and of its bases, as they are written."""
    lines = re.findall(r"^(\w+): *(?:!ref )?([^#\n]*)", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {key: value.strip() for key, value in lines}
    return (scalars(path.parent / found["base"]) if "base" in found else {}) | found


def output_folder(path: Path, given: dict[str, str]) -> Path:
    """Where a run of a recipe's yaml with these options would go."""
    tree, text = scalars(path) | given, "<output_folder>"
    while re.search("<[a-z]", text):
        text = re.sub(r"<(\w+)>", lambda match: tree[match[1]], text)
    return path.parents[1] / text


def trainings(text: str, place: Path) -> dict[str, Path]:
    """Every training that the blocks of a page start, without the options that a run may change, and its folder."""
    here, found = place, {}
    for words in commands(text):
        if words[:1] == ["cd"]:
            here = (here / words[1]).resolve()
        elif "train.py" in words and (here / words[words.index("train.py") + 1]).is_file():
            script = words.index("train.py")
            path, given = here / words[script + 1], dict(re.findall(r"--(\w+)=(.*)", "\n".join(words[script + 2 :])))
            fixed = sorted(f"--{key}={value}" for key, value in given.items() if key not in training.FREE_TO_CHANGE)
            found[" ".join([*words[:script], str(path), *fixed])] = output_folder(path, given)
        elif not words:
            here = place
    return found


def shared_folders(found: dict[str, Path]) -> list[str]:
    """Trainings that would go into the folder of another one, and be refused there."""
    return [
        f"{one}\n{other}\nboth go to {found[one]}"
        for one, other in itertools.combinations(found, 2)
        if found[one] == found[other]
    ]


def test_trainings_with_other_options_go_to_other_folders():
    pages = [(page, page.parent) for page in PAGES] + [(page, ROOT) for page in DOCS]
    found = [trainings(page.read_text(encoding="utf-8"), place) for page, place in pages]
    assert shared_folders({command: folder for each in found for command, folder in each.items()}) == []


@pytest.mark.parametrize(
    "second, refused",
    [
        ("--alpha=0", True),
        ("--alpha=0 --name=without", False),
        ("--seed=7", False),
        ("--number_of_epochs=9", False),  # goes on with the first
        ("--corpus=timit", False),
    ],
)
def test_a_training_in_the_folder_of_another_is_found(second, refused):
    line = "python train.py hparams/qnet.yaml"
    found = trainings(f"```\n{line}\n{line} {second}\n```", ROOT / "recipes/TIMIT/quality")
    assert bool(shared_folders(found)) == refused


# ------------------------------------------------------------------------------------------- what the tests would catch


@pytest.mark.parametrize(
    "text, said",
    [
        ("```\nmake demoo\n```", "the Makefile has no ['demoo']"),
        ("```bash\ncd recipes/TIMIT/qualty\n```", "there is no folder recipes/TIMIT/qualty"),
        ("```\ncd recipes/TIMIT/quality\npython trayn.py hparams/qnet.yaml\n```", "there is no trayn.py"),
        ("```\ncd recipes/TIMIT/quality\npython train.py hparams/qnett.yaml\n```", "There is no file"),
        ("```\ncd recipes/TIMIT/quality\npython train.py hparams/qnet.yaml --apha=0\n```", "--apha is no option"),
        ("```\ncd recipes/TIMIT/quality\npython train.py hparams/qnet.yaml --alpha=none\n```", "--alpha='none'"),
        ("```\ncd recipes/TIMIT/quality\npython reproduce.py --fast\n```", "--fast"),
        ("```\ncd recipes/TIMIT/quality\ntorchrun train.py hparams/qnet.yaml \\\n --sead=1\n```", "--sead is no"),
        ("```\nspeechtools scor a.wav\n```", "invalid choice: 'scor'"),
        ("```\nspeechtools score a.wav --modle x\n```", "unrecognized arguments: --modle x"),
        ("```\nspeechtools check quality/blst\n```", "Did you mean 'quality/blstm'"),
        ("```\npython benchmarks/quality.py --onyl step\n```", "has no option ['--onyl']"),
        ("```\npython -m speechtools.tuor\n```", "there is no module speechtools.tuor"),
        ('```\npip install ".[recipe]"\n```', "setup.cfg has no extra recipe"),
        ("```\nfrobnicate\n```", "frobnicate is a command that this test does not know"),
        ("Type `make demoo` now.", "the Makefile has no ['demoo']"),
        ("| [quality](recipes/TIMIT/quality/README.md) `python train.py hparams/x.yaml` |", "There is no file"),
    ],
)  # fmt: skip
def test_a_command_that_cannot_be_typed_is_found(text, said):
    (message,) = mistakes(text, ROOT)
    assert said in message


def test_a_block_begins_where_the_page_lies():
    assert mistakes("```\ncd recipes\n```\n```\ncd recipes\n```", ROOT) == []
    assert len(mistakes("```\ncd recipes\ncd recipes\n```", ROOT)) == 1
