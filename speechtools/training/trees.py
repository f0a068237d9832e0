"""Trees of yaml files, as ruamel.yaml loads them: with comments and tags, before anything is built."""

import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ruamel.yaml
from ruamel.yaml.comments import CommentedMap

from speechtools.core.errors import ConfigError
from speechtools.core.spelling import did_you_mean


def load_yaml(path: Path, referrer: Path | None = None) -> Any:
    """Load a yaml file with its comments and tags.

    Parameters
    ----------
    path : Path
    referrer : Path, optional
        The file that refers to it, for messages.

    Raises
    ------
    ConfigError
        The file does not exist, or is not valid yaml.
    """
    if not path.is_file():
        folder = path if path.is_dir() else path.parent
        files = sorted(file.name for file in folder.glob("*.yaml") if file != referrer)
        raise ConfigError(
            f"{path}{f', to which {referrer} refers,' if referrer else ''} "
            f"{'is a folder' if path == folder else 'does not exist'}.{did_you_mean(path.name, files, quoted=False)} "
            + (f"{folder} contains {', '.join(files)}." if files else "Pass the path of a recipe's yaml.")
        )
    try:
        return ruamel.yaml.YAML().load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read {path}: {error}.") from error
    except ruamel.yaml.error.YAMLError as error:
        raise ConfigError(f"{path} is not valid yaml: {problem(error)}.") from error


def load_variants(path: Path, derived: tuple[Path, ...] = ()) -> list[tuple[Path, CommentedMap]]:
    """Load a yaml file and those that it builds on by ``base:``, the outermost base first.

    Each has the keys of the files that its ``include:`` lists before its own, and the values that it takes from
    files by ``!include:``. Paths are relative to the file that names them. ``derived`` are the files that build on
    this one.

    Raises
    ------
    ConfigError
        A file does not exist, is not valid yaml, is not a mapping, or builds on itself.
    """
    content = load_yaml(path, derived[-1] if derived else None)
    if not isinstance(content, CommentedMap):
        raise ConfigError(f"{path} must be a mapping (key: value).")
    for key, value in content.items():
        if tag(value).startswith("!include:"):
            content[key] = load_yaml(path.parent / tag(value).removeprefix("!include:"), path)
    derived = (*derived, path)
    position = 0
    for name in content.pop("include", []):
        (_, fragment), *_ = load_variants(path.parent / name, derived)
        for key in [key for key in fragment if key not in content]:
            content.insert(position, key, fragment[key])
            content.ca.items.update({key: fragment.ca.items[key]} if key in fragment.ca.items else {})
            position += 1
    if "base" not in content:
        return [(path, content)]
    base = path.parent / str(content.pop("base"))
    if base.resolve() in map(Path.resolve, derived):
        raise ConfigError(f"{path} has base: {base.name}, which itself builds on {path.name}. Change one of them.")
    return [*load_variants(base, derived), (path, content)]


def problem(error: Exception) -> str:
    """Describe an error of a yaml parser in one line, with the line number if there is one."""
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


def without_comments(tree: dict) -> list[tuple]:
    """Return the tags and scalars of a tree in order: the same for trees that differ only in comments and layout."""
    events = ruamel.yaml.YAML(typ="safe", pure=True).parse(dump(tree))
    fields = ("tag", "value", "implicit")
    return [(type(event).__name__, *(getattr(event, field, None) for field in fields)) for event in events]


def references(node: Any) -> list[str]:
    """Return the keys that the ``!ref`` and ``!copy`` of a yaml tree name.

    >>> references(ruamel.yaml.YAML().load("b: !ref <a>/x\\nc: !copy <d[e]>"))
    ['a', 'd']
    """
    texts = (child.value for child in nodes(node) if tag(child) in ("!ref", "!copy"))
    return [re.split(r"[.\[]", name)[0] for text in texts for name in re.findall("<([^>]*)>", text)]


def plain(resolved: str) -> dict[str, Any]:
    """Return the scalars, lists and mappings of a resolved yaml, without the objects."""

    def as_plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(key): as_plain(member) for key, member in value.items()}
        if isinstance(value, list):
            return [as_plain(member) for member in value]
        return value if isinstance(value, bool | int | float | str | None) else str(value)

    tree = ruamel.yaml.YAML().load(resolved)
    return {key: as_plain(value) for key, value in tree.items() if not tag(value)}


def update(tree: CommentedMap, values: dict) -> None:
    """Replace and add values, the new keys at the beginning.

    A mapping changes the keys that it has, unless it has a tag of its own: an object of another class or function
    takes the place of the former one.
    """
    for key in [key for key in values if key not in tree]:  # plugins are imported ahead of what they build
        tree.insert(0, key, values[key])
    _update(tree, values)


def _update(tree: dict, values: dict) -> None:
    for key, value in values.items():
        former = tree.get(key)
        if isinstance(former, dict) and isinstance(value, dict) and tag(value) in ("", tag(former)):
            _update(former, value)
        else:
            tree[key] = value
