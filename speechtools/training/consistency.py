"""Whether a recipe's yaml files and its script agree; after SpeechBrain's consistency test of its own recipes.

Every key is used: by the script, by a ``!ref`` of a key that is used, or by a base class or function of the toolkit to
which the script hands its ``hparams``. Every key that is read is there. A variant holds keys of its base alone, and a
recipe imports no other. The script is read as a syntax tree, and never run.
"""

import ast
import functools
import importlib
import importlib.util
import inspect
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import speechbrain as sb

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.registry import did_you_mean
from speechtools.training import export, read_variant
from speechtools.training.options import keys, load_yaml, references

#: Where a project keeps its recipes, two folders deep.
_FOLDERS = ("recipes", "templates")
#: Whose base classes read nothing of hparams, but for SpeechBrain's run options.
_LIBRARIES = ("builtins", "speechbrain", "torch")


@dataclass
class Reads:
    """Keys that are read, each with the place where; ``optional`` ones may be missing in the yaml.

    ``computed`` are places that read a key which only a run would tell.
    """

    required: dict[str, str] = field(default_factory=dict)
    optional: dict[str, str] = field(default_factory=dict)
    computed: list[str] = field(default_factory=list)

    def add(self, other: "Reads") -> None:
        """Join what another place reads."""
        self.required = other.required | self.required
        self.optional = other.optional | self.optional
        self.computed += other.computed


def find_recipes(root: str | Path) -> list[Path]:
    """The folders of recipes, ``<corpus>/<task>`` with a train.py, below ``recipes/`` and ``templates/`` of a project.

    Example
    -------
    >>> find_recipes("/nowhere")
    []
    """
    return sorted(script.parent for folder in _FOLDERS for script in Path(root, folder).glob("*/*/train.py"))


def check_recipe(folder: str | Path) -> list[str]:
    """What does not agree in a recipe's folder: a message each, with file, line, key and the nearest spelling.

    Raises
    ------
    ConfigError
        The folder is no recipe: it has no train.py or no yaml in ``hparams/``; or train.py is no Python, or imports
        what cannot be imported.

    Example
    -------
    >>> import pathlib, tempfile
    >>> folder = pathlib.Path(tempfile.mkdtemp())
    >>> (folder / "hparams").mkdir()
    >>> _ = (folder / "hparams" / "a.yaml").write_text("seed: 1\\nrate: 2\\n")
    >>> _ = (folder / "train.py").write_text("def main(hparams):\\n    return hparams['sead']\\n")
    >>> for message in check_recipe(folder):
    ...     print(message.replace(str(folder), "recipe"))
    recipe/train.py:2 reads 'sead', which recipe/hparams/a.yaml does not have. Did you mean seed?
    recipe/hparams/a.yaml:1: nothing uses 'seed'. Did you mean sead? Read it, or delete it.
    recipe/hparams/a.yaml:2: nothing uses 'rate'. Read it, or delete it.
    """
    folder = Path(folder)
    script, yamls = folder / "train.py", sorted((folder / "hparams").glob("*.yaml"))
    if not script.is_file() or not yamls:
        raise ConfigError(
            f"{folder} is no recipe: it has no {'yaml in hparams/' if script.is_file() else 'train.py'}. A recipe is a "
            "folder with train.py, hparams/*.yaml and README.md."
        )
    reads = _script_reads(script)
    messages = [f"{place} reads a key that is only known in a run. Write the key out." for place in reads.computed]
    messages += [message for path in sorted(folder.glob("*.py")) for message in _foreign_imports(path)]
    for path in yamls:
        try:
            messages += _check_yaml(path, reads)
        except SpeechtoolsError as error:
            messages.append(str(error))
    return messages


# --------------------------------------------------------------------------------------------------------- the yamls


def _check_yaml(path: Path, reads: Reads) -> Iterator[str]:
    text, _ = read_variant(path)
    tree = {str(key): value for key, value in keys(text).items()}
    own = load_yaml(path)
    line = functools.partial(_line, path, own)
    for name, number in references(own):
        if name not in tree:
            yield f"{path}:{number} refers to <{name}>, which is no key.{did_you_mean(name, tree, quoted=False)}"
    if "base" in own:
        for key in own:
            if str(key) not in tree and key != "base" and not str(key).startswith("__"):
                hint = did_you_mean(key, tree, quoted=False)
                yield f"{line(key)}: {Path(text.name).name}, its base, has no {key!r}.{hint}"
        return
    for key, place in reads.required.items():
        if key not in tree:
            yield f"{place} reads {key!r}, which {path} does not have.{did_you_mean(key, tree, quoted=False)}"
    used = {key for key in tree if key in reads.required or key in reads.optional or key in _run_options()}
    used |= {key for key in tree if key.startswith("__")}  # loaded for what loading does
    todo = list(used)
    while todo:
        for name, _ in references(tree[todo.pop()]):
            if name in tree and name not in used:
                used.add(name)
                todo.append(name)
    unknown = [key for key in reads.required if key not in tree]
    for key in own:
        if str(key) not in used:
            yield f"{line(key)}: nothing uses {key!r}.{did_you_mean(key, unknown, quoted=False)} Read it, or delete it."


def _line(path: Path, tree, key: object) -> str:
    place = tree.lc.data.get(key)  # not told of what a merge brings
    return f"{path}:{place[0] + 1}" if place else str(path)


@functools.cache
def _run_options() -> frozenset[str]:
    """SpeechBrain's run options that its Brain takes from a yaml: those that it reads of itself."""
    loaded = {
        node.attr
        for node in ast.walk(_syntax(sb.Brain))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self"
    }
    return frozenset(sb.core.RunOptions().keys()) & loaded


# --------------------------------------------------------------------------------------------------------- the script


def _script_reads(script: Path) -> Reads:
    """What a script reads: by itself, by modules beside it, and by what of the toolkit gets its hparams."""
    reads, todo, done = Reads(), [script], set()
    while todo:
        path = todo.pop()
        done.add(path)
        tree = _parsed(path)
        imported = _imported(tree)
        reads.add(_tree_reads(tree, str(path)))
        for name in {module.split(".")[0] for module, _ in imported.values()}:
            todo += [beside for beside in _beside(script.parent, name) if beside not in done]
        find = functools.partial(_resolve, imported=imported, path=path, folder=script.parent)
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                for base in filter(inspect.isclass, map(find, node.bases)):
                    for owner in base.__mro__:
                        if owner.__module__.split(".")[0] not in _LIBRARIES:
                            reads.add(_object_reads(owner))
            elif isinstance(node, ast.Call) and any(_is_hparams(argument) for argument in _arguments(node)):
                function = find(node.func)
                if function is export:
                    reads.add(_exported(tree, node, str(path)))
                if inspect.isfunction(function):
                    reads.add(_object_reads(function))
    return reads


def _beside(folder: Path, name: str) -> list[Path]:
    """The files of a module or package that lies beside the script; none where there is none."""
    if (folder / name / "__init__.py").is_file():
        return sorted((folder / name).rglob("*.py"))
    return [path for path in [folder / f"{name}.py"] if path.is_file()]


def _parsed(path: Path) -> ast.AST:
    try:
        return ast.parse(path.read_text(encoding="utf-8"), str(path))
    except (SyntaxError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no Python: {error}. Mend it.") from error


def _imported(tree: ast.AST) -> dict[str, tuple[str, str]]:
    """Names that imports bind, and the module and name within it that they stand for."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for each in node.names:
                top = each.name.split(".")[0]
                found[each.asname or top] = (each.name if each.asname else top, "")
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for each in node.names:
                found[each.asname or each.name] = (node.module, each.name)
    return found


def _resolve(node: ast.AST, imported: dict, path: Path, folder: Path) -> object:
    """The object of an installed package that a dotted name of a script stands for; None for any other."""
    names: list[str] = []
    while isinstance(node, ast.Attribute):
        names.insert(0, node.attr)
        node = node.value
    if not isinstance(node, ast.Name) or node.id not in imported:
        return None
    module, name = imported[node.id]
    top = module.split(".")[0]
    if top in _FOLDERS or top == "__main__" or _beside(folder, top):
        return None
    try:
        found = importlib.import_module(module)
        for each in ([name] if name else []) + names:
            if not hasattr(found, each) and inspect.ismodule(found):
                importlib.import_module(f"{found.__name__}.{each}")
            found = getattr(found, each)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"{path}:{node.lineno} imports what is not there: {error}. Mend the import.") from error
    return found


def _is_hparams(node: ast.AST) -> bool:
    """``hparams``, ``self.hparams``, ``brain.hparams``."""
    return "hparams" in (getattr(node, "id", None), getattr(node, "attr", None))


def _arguments(call: ast.Call) -> list[ast.AST]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _tree_reads(tree: ast.AST, where: str) -> Reads:
    """Keys that a syntax tree reads of what is called hparams."""
    reads = Reads()
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    for node in ast.walk(tree):
        place = f"{where}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Subscript) and _is_hparams(node.value):
            _add(reads.required, node.slice, place, reads)
        elif isinstance(node, ast.Attribute) and _is_hparams(node.value):
            if not (id(node) in called and hasattr(dict, node.attr)):  # hparams.get is looked at with its call
                reads.required.setdefault(node.attr, place)
        elif isinstance(node, ast.Compare) and any(map(_is_hparams, node.comparators)):
            _add(reads.optional, node.left, place, reads)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _is_hparams(node.func.value):
            if node.func.attr in ("get", "pop", "setdefault") and node.args:
                _add(reads.optional, node.args[0], place, reads)
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            if len(node.args) > 1 and _is_hparams(node.args[0]):
                sure = node.func.id == "getattr" and len(node.args) == 2
                _add(reads.required if sure else reads.optional, node.args[1], place, reads)
    return reads


def _add(keys: dict[str, str], node: ast.AST, place: str, reads: Reads) -> None:
    if isinstance(node, ast.Constant):
        keys.setdefault(str(node.value), place)
    else:
        reads.computed.append(place)


def _object_reads(owner) -> Reads:
    """Keys that a function or class of an installed package reads, and the functions to which it hands its hparams."""
    reads, todo, done = Reads(), [owner], []
    while todo:
        each = todo.pop()
        done.append(each)
        tree = _syntax(each)
        found = _tree_reads(tree, "")
        name = f"{each.__module__}.{each.__qualname__}"
        reads.add(Reads(dict.fromkeys(found.required, name), dict.fromkeys(found.optional, name)))
        space = vars(importlib.import_module(each.__module__))
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and any(map(_is_hparams, _arguments(node))):
                function = space.get(getattr(node.func, "id", ""))
                if inspect.isfunction(function) and function not in done:
                    todo.append(function)
    return reads


def _syntax(owner) -> ast.AST:
    return ast.parse(textwrap.dedent(inspect.getsource(owner)))


def _exported(tree: ast.AST, call: ast.Call, where: str) -> Reads:
    """The keys that a script exports: a list, or a name to which one was given."""
    keys = call.args[1] if len(call.args) > 1 else next((k.value for k in call.keywords if k.arg == "keys"), None)
    lists = [keys]
    if isinstance(keys, ast.Name):
        lists = [
            node.value
            for node in ast.walk(tree)
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == keys.id for t in node.targets)
        ]
    constants = [node for each in lists if isinstance(each, ast.List) for node in each.elts]
    place = f"{where}:{call.lineno}"
    return Reads({str(node.value): place for node in constants if isinstance(node, ast.Constant)})


def _foreign_imports(path: Path) -> Iterator[str]:
    """Imports of other recipes, or of what is neither installed nor beside the script."""
    for node in ast.walk(_parsed(path)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            named = [each.name for each in node.names] if isinstance(node, ast.Import) else [node.module or ""]
            for name in named:
                top = name.split(".")[0]
                here = top in sys.modules or _beside(path.parent, top)
                if getattr(node, "level", 0) or top in _FOLDERS:
                    yield (
                        f"{path}:{node.lineno} imports {'.' * getattr(node, 'level', 0)}{name}: a recipe stands for "
                        "itself. What several need belongs into the toolkit or a package."
                    )
                elif not here and importlib.util.find_spec(top) is None:
                    yield f"{path}:{node.lineno} imports {name}, which is neither installed nor beside it. Mend that."
        elif (
            isinstance(node, ast.Attribute)
            and isinstance(node.value, ast.Name)
            and (node.value.id, node.attr) == ("sys", "path")
        ):
            yield f"{path}:{node.lineno} changes or reads sys.path: a recipe imports what is installed or beside it."
