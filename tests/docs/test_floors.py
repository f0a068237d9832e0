"""Imports point only downward: from the command line through recipes' support and the parts to the registry."""

import ast
import re
import sys
from fnmatch import fnmatchcase
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest
import runs

import speechtools
from speechtools import registry

PACKAGE = Path(speechtools.__file__).parent

#: Every module of the toolkit and its floor; a pattern holds for what no name above it matches. A file imports from
#: lower floors, and within its own floor without circles. A new module that has no place here fails the test.
FLOORS = {
    6: ["cli", "scaffolding", "tour"],
    # what starts from a trained model, a run or a recipe
    5: [
        "training",
        "options",
        "reproduction",
        "consistency",
        "quality_stages",
        "quality_results",
        "inference",
        "inference.*",
    ],
    # what is made of parts: figures, evaluations, reports; and the contracts, whose laws build parts
    4: [
        "contracts",
        "distributed",
        "dvectors",
        "enhancement_evaluation",
        "evaluation",
        "gathering",
        "keyword_evaluation",
        "localization",
        "plots",
        "reports",
        "scoring",
        "threads",
    ],
    # the parts, and what turns corpora into what they learn from
    3: [
        "autoencoder",
        "data",
        "data.*",
        "encoders",
        "enhancement",
        "features",
        "ge2e",
        "quality",
        "softmax",
        "spectrum",
        "te2e",
        "vad",
    ],
    2: ["recurrent"],
    1: ["", "allocation", "errors", "installation", "metrics", "registry"],
}
#: On the ground floor though they lie in data/: reading and writing that knows no part.
EXCEPTIONS = {"data.manifests": 1}
#: No part may be built on what uses it.
ABOVE_THE_PARTS = (
    "cli",
    "tour",
    "inference",
    "training",
    "options",
    "reproduction",
    "quality_stages",
    "consistency",
    "scaffolding",
)


def modules(package: Path) -> dict[str, Path]:
    """Every file of a package by the name of its module, seen from the package: ``data.audio``; the package is ````."""
    names = {path: path.relative_to(package).with_suffix("").parts for path in package.rglob("*.py")}
    return {".".join(name[:-1] if name[-1] == "__init__" else name): path for path, name in names.items()}


def imports(path: Path, known: dict[str, Path], package: str) -> set[str]:
    """The modules of its own package that a file imports, within functions too, but for type checkers alone."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}:{node.lineno}: write imports out, as in speechtools.errors"
            for each in node.names:
                inner = f"{node.module}.{each.name}"
                found.add(inner if inner.removeprefix(f"{package}.") in known else node.module)
    return {
        "" if name == package else name.removeprefix(f"{package}.") for name in found if name.split(".")[0] == package
    }


def floor(module: str) -> int | None:
    """The floor of a module; None where it has none yet."""
    if module in EXCEPTIONS:
        return EXCEPTIONS[module]
    return next((n for n, names in FLOORS.items() for name in names if fnmatchcase(module, name)), None)


def broken_imports(package: Path) -> list[str]:
    """What is against the order of the floors, a sentence each."""
    known = modules(package)
    graph = {module: imports(path, known, package.name) for module, path in known.items()}
    messages = [f"{module} has no floor: give it one in FLOORS" for module in graph if floor(module) is None]
    level = {module: floor(module) or 0 for module in graph}
    for module, others in sorted(graph.items()):
        messages += [
            f"{module} (floor {level[module]}) imports {other} (floor {level[other]})"
            for other in sorted(others)
            if level.get(other, 0) > level[module]
        ]
    for number in FLOORS:
        same = {
            m: {o for o in others if o != m and level.get(o) == number}
            for m, others in graph.items()
            if level[m] == number
        }
        try:
            TopologicalSorter(same).prepare()
        except CycleError as error:
            messages.append(f"a circle on floor {number}: {' -> '.join(error.args[1])}")
    return messages


def test_imports_point_downward():
    assert broken_imports(PACKAGE) == []


def test_every_floor_names_modules_that_exist():
    known = modules(PACKAGE)
    for name in [*(name for names in FLOORS.values() for name in names), *EXCEPTIONS]:
        assert any(fnmatchcase(module, name) for module in known), f"{name} is gone: take it out of the floors"


def test_no_part_imports_what_uses_it():
    known = modules(PACKAGE)
    speechtools.available()
    parts = {part.__module__.removeprefix("speechtools.") for part in map(speechtools.find, speechtools.available())}
    parts = {part for part in parts if part in known}
    assert len(parts) > 10
    for part in sorted(parts):
        assert floor(part) == 3, f"{part} holds a part: its place is floor 3"
        reached, todo = set(), [part]
        while todo:
            for other in imports(known[todo.pop()], known, "speechtools") - reached:
                reached.add(other)
                todo.append(other)
        assert not reached & set(ABOVE_THE_PARTS), f"{part} imports {reached & set(ABOVE_THE_PARTS)}"


def test_the_registry_imports_neither_torch_nor_speechbrain():
    reached, todo, known = set(), ["registry"], modules(PACKAGE)
    while todo:
        module = todo.pop()
        for node in ast.walk(ast.parse(known[module].read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                named = [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module]
                assert not {name.split(".")[0] for name in named} & {"torch", "speechbrain", "torchaudio"}, module
        for other in imports(known[module], known, "speechtools") - reached:
            reached.add(other)
            todo.append(other)
    assert reached == {"errors"}


def test_the_command_starts_without_torch():
    code = (
        "import sys; from speechtools.cli import main; main(['list', 'corpus']);"
        "sys.exit(', '.join({'torch', 'speechbrain', 'torchaudio'} & set(sys.modules)) or 0)"
    )
    done = runs.call([sys.executable, "-c", code])
    assert done.returncode == 0, done.stderr


def test_every_kind_has_its_modules_on_the_floor_of_the_parts():
    for kind, names in registry.KIND_MODULES.items():
        for name in names:
            assert floor(name.removeprefix("speechtools.")) == 3, f"{kind}: {name}"


# ------------------------------------------------------------------------------------------- what the test would catch


@pytest.fixture
def package(tmp_path):
    """A small package called speechtools, in order; files are added to break it."""
    root = tmp_path / "speechtools"
    root.mkdir()
    for name, text in {
        "__init__": "from speechtools import registry",
        "errors": "",
        "registry": "import torch\nfrom speechtools.errors import ConfigError",
        "quality": "from speechtools.registry import plugin",
        "training": "import speechtools.quality",
    }.items():
        (root / f"{name}.py").write_text(text)
    return root


def test_a_package_in_order(package):
    assert broken_imports(package) == []


@pytest.mark.parametrize(
    "name, text, said",
    [
        ("quality", "from speechtools import training", "quality (floor 3) imports training (floor 5)"),
        ("quality", "def f():\n    import speechtools.training", "quality (floor 3) imports training (floor 5)"),
        ("registry", "from speechtools.quality import x", "registry (floor 1) imports quality (floor 3)"),
        ("errors", "import speechtools.registry", "a circle on floor 1: "),
        ("novelty", "", "novelty has no floor: give it one in FLOORS"),
    ],
)
def test_what_points_upward_is_named(package, name, text, said):
    (package / f"{name}.py").write_text(text)
    assert any(said in message for message in broken_imports(package))


def test_contributing_tells_the_floors():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d) \| (.*) \|$", text, re.MULTILINE)
    told = [(int(number), name) for number, files in rows for name in re.findall(r"`(\w+)`", files)]
    assert len(rows) == len(FLOORS) and len(told) > 10
    assert [floor(name) for _, name in told] == [number for number, _ in told]


def test_type_checkers_may_look_upward(package):
    (package / "quality.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from speechtools.training import start\n"
    )
    assert broken_imports(package) == []
