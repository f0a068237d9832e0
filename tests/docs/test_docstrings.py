"""What is public has a docstring, and what people call has an example; the examples run as doctests."""

import ast
import importlib
import inspect
import sys
from pathlib import Path

import pytest

import speechtools

PACKAGE = Path(speechtools.__file__).parent
#: Modules of which every public function and class has an example: those that state equations, build nets, or are the
#: first that a newcomer calls.
WITH_EXAMPLES = [
    "audio.features",
    "audio.recurrent",
    "audio.spectrum",
    "audio.vad",
    "core.metrics",
    "core.registry",
    "enhancement.net",
    "quality.autoencoder",
    "quality.net",
    "speaker.dvectors",
    "speaker.encoders",
    "speaker.gathering",
    "speaker.ge2e",
    "speaker.softmax",
    "speaker.te2e",
]

INTERFACES = ["QualityNet", "SpeakerEncoder", "SpeakerVerification", "SpeechEnhancer"]


def undocumented(source: str) -> list[str]:
    """Public functions, classes and methods of a module that have no docstring, and the module if it has none.

    A net's ``forward`` is told of in the class's docstring, under Shape.
    """
    tree = ast.parse(source)
    found = [] if ast.get_docstring(tree) else ["the module"]

    def look(owner: ast.AST, prefix: str) -> None:
        for node in owner.body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and node.name[0] != "_":
                told = "forward" if isinstance(owner, ast.ClassDef) and "->" in (ast.get_docstring(owner) or "") else ""
                if not ast.get_docstring(node) and node.name != told:
                    found.append(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    look(node, f"{prefix}{node.name}.")

    look(tree, "")
    return found


def public(module) -> dict[str, object]:
    """Functions and classes that a module defines, by name."""
    return {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value))
        and value.__module__ == module.__name__
    }


def without_example(things: dict[str, object]) -> list[str]:
    """Names of those whose docstring has no example that runs."""
    return sorted(name for name, thing in things.items() if ">>> " not in (inspect.getdoc(thing) or ""))


MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path.stem == "__init__" or not path.stem.startswith("_")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_what_is_public_has_a_docstring(path):
    assert undocumented(path.read_text(encoding="utf-8")) == []


def test_every_part_has_an_example():
    own = {name: part for name in speechtools.available() if _is_ours(part := speechtools.find(name))}
    assert len(own) > 20
    assert without_example(own) == []


def _is_ours(part) -> bool:
    # An example in the registry's own docstring files a part, too.
    module = sys.modules[part.__module__]
    return module.__name__.split(".")[0] == "speechtools" and vars(module).get(part.__name__) is part


@pytest.mark.parametrize("name", WITH_EXAMPLES)
def test_every_function_of_the_modules_of_equations_has_an_example(name):
    things = public(importlib.import_module(f"speechtools.{name}"))
    assert things and without_example(things) == []


def test_the_pretrained_interfaces_have_examples():
    from speechtools import inference

    things = {name: getattr(inference, name) for name in INTERFACES}
    assert without_example(things) == []


# ------------------------------------------------------------------------------------------- what the tests would catch


def test_what_has_no_docstring_is_found():
    source = '''
class Net:
    """A net: wavs (batch, samples) -> scores (batch,)."""
    def forward(self, wavs): ...
    def embed(self, wavs): ...
    def _inner(self): ...
def score(): ...
def _hidden(): ...
class Bare:
    """No shapes."""
    def forward(self): ...
'''
    assert undocumented(source) == ["the module", "Net.embed", "score", "Bare.forward"]


def test_what_has_no_example_is_found():
    def one():
        """
        >>> 1
        1
        """

    def two():
        """Says nothing."""

    assert without_example({"one": one, "two": two}) == ["two"]
