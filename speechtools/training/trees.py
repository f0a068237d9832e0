"""Trees of yaml files, as ruamel.yaml loads them: with comments and tags, before anything is built."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ruamel.yaml

from speechtools.core.errors import ConfigError
from speechtools.core.registry import did_you_mean


def load_yaml(path: Path) -> Any:
    """Load a yaml file with its comments and tags.

    Raises
    ------
    ConfigError
        The file does not exist, or is not valid yaml.
    """
    if not path.is_file():
        folder = path if path.is_dir() else path.parent
        files = sorted(file.name for file in folder.glob("*.yaml"))
        raise ConfigError(
            f"{path} {'is a folder' if path == folder else 'does not exist'}."
            f"{did_you_mean(path.name, files, quoted=False)} "
            + (f"{folder} contains {', '.join(files)}." if files else "Give the path of a recipe's yaml.")
        )
    try:
        return ruamel.yaml.YAML().load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {path}: {error}.") from error
    except ruamel.yaml.error.YAMLError as error:
        raise ConfigError(f"{path} is not valid yaml: {problem(error)}.") from error


def problem(error: Exception) -> str:
    """The complaint of a yaml parser in one line, with the line number if there is one."""
    if isinstance(error, ruamel.yaml.error.MarkedYAMLError) and error.problem and error.problem_mark:
        return f"{error.problem} (line {error.problem_mark.line + 1})"
    return " ".join(str(error).split())


def tag(node: Any) -> str:
    """Return the tag of a yaml node, such as ``!ref``; empty if it has none."""
    return getattr(getattr(node, "tag", None), "value", None) or ""


def nodes(node: Any) -> Iterator[Any]:
    """Yield the nodes of a yaml tree, from the outermost on."""
    yield node
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        yield from nodes(child)


def dump(tree: dict) -> str:
    """Return a tree as yaml text."""
    text = io.StringIO()
    ruamel.yaml.YAML().dump(tree, text)
    return text.getvalue()


def references(node: Any) -> list[str]:
    """Return the keys that the ``!ref`` and ``!copy`` of a yaml tree name.

    >>> references(ruamel.yaml.YAML().load("b: !ref <a>/x\\nc: !copy <d[e]>"))
    ['a', 'd']
    """
    texts = (child.value for child in nodes(node) if tag(child) in ("!ref", "!copy"))
    return [re.split(r"[.\[]", name)[0] for text in texts for name in re.findall("<([^>]*)>", text)]


def plain(resolved: str) -> dict[str, Any]:
    """Return the scalars, lists and mappings of a resolved yaml, without the objects."""
    tree = ruamel.yaml.YAML().load(resolved)
    return {key: _as_plain(value) for key, value in tree.items() if not tag(value)}


def _as_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _as_plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_as_plain(each) for each in value]
    return value if isinstance(value, bool | int | float | str | None) else str(value)
