"""The code of your plugins: fingerprints, so that data that an edited plugin made is not used again, and modules."""

import contextlib
import hashlib
import importlib
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path

from speechtools.core import registry
from speechtools.core.registry import find

_PACKAGE = __name__.partition(".")[0]


def fingerprint_of(target: Callable) -> str:
    """Twelve hex digits that identify the file in which a class or function is defined.

    Empty for what is bundled, which has a version number instead, and for what has no file. Modules that the file
    imports are not included.

    Examples
    --------
    >>> from speechtools.core.registry import find
    >>> fingerprint_of(find("measure/stoi"))
    ''
    """
    target = inspect.unwrap(target)
    if getattr(target, "__module__", _PACKAGE).partition(".")[0] == _PACKAGE:
        return ""
    try:
        return hashlib.sha256(Path(inspect.getsourcefile(target) or "").read_bytes()).hexdigest()[:12]
    except (OSError, TypeError):  # typed into a shell, or built in
        return ""


def fingerprints_of_plugins(names: Iterable[str]) -> dict[str, str]:
    """The fingerprints of the plugins ``kind/name`` among these that are not bundled, by name.

    Raises
    ------
    PluginError
        A plugin is unknown.

    Examples
    --------
    >>> fingerprints_of_plugins(["measure/stoi", "corpus/folder"])
    {}
    """
    prints = {name: fingerprint_of(find(name)) for name in sorted(set(names))}
    return {name: value for name, value in prints.items() if value}


def plugin_modules() -> list[str]:
    """Names of the modules that have registered plugins and are not bundled."""
    names = {getattr(target, "__module__", _PACKAGE) for target in registry._plugins.values()}
    return sorted(name for name in names if name.partition(".")[0] not in (_PACKAGE, "__main__"))


def import_plugin_modules(names: Iterable[str]) -> None:
    """Import modules of plugins in a worker that was spawned, where nothing but Python's path is inherited.

    One that cannot be imported is skipped: its plugins are unknown there.
    """
    for name in names:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
