"""Messages for packages that are missing or do not load, with the command that fixes it.

The metadata of torch and torchaudio allow pairs that fail at import ("Could not load this library"). SpeechBrain
imports torchaudio too, from many places, so the import itself is watched.
"""

import importlib
import importlib.metadata
import sys
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from speechtools.core.errors import InstallationError, SpeechtoolsError
from speechtools.core.excepthook import show_messages_only


class TorchaudioFinder:
    """Finder of torchaudio whose import raises InstallationError if the package fails to load."""

    @staticmethod
    def find_spec(fullname, path=None, target=None) -> ModuleSpec | None:
        """Return the spec of torchaudio, whose loader explains a failure; None for other modules."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname == "torchaudio" else None
        if spec is None or spec.loader is None:
            return None
        loader = spec.loader

        def execute_or_explain(module):
            del loader.exec_module  # restores the loader's own method
            try:
                loader.exec_module(module)
            except Exception as error:  # an unknown symbol, another CUDA version, a name that was removed from torch
                show_messages_only(InstallationError)
                raise InstallationError(_explanation(error, spec.origin)) from error

        loader.exec_module = execute_or_explain  # type: ignore[method-assign]
        return spec


def watch_torchaudio() -> None:
    """Let every later import of torchaudio in this process explain a pair that does not load."""
    if not any(getattr(finder, "__name__", "") == TorchaudioFinder.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, TorchaudioFinder)


def _explanation(error: Exception, origin: str | None) -> str:
    reason = str(error).splitlines()[0] if str(error) else "no reason reported"
    return (
        f"torchaudio {_version('torchaudio')} ({origin}) does not load with torch {_version('torch')}: "
        f"{type(error).__name__}: {reason.rstrip('.')}. {_remedy()}"
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _remedy() -> str:
    """The command that installs a pair within this package's requirements."""
    from packaging.requirements import Requirement

    try:
        required = [Requirement(line) for line in importlib.metadata.requires("speechtools") or []]
    except importlib.metadata.PackageNotFoundError:  # a source tree that was never installed
        return "Install a pair that does: pip install . in the checkout of speechtools."
    pair = [requirement for requirement in required if requirement.name in ("torch", "torchaudio")]
    line = " ".join(f'"{requirement}"' for requirement in pair)
    versions = [_version(requirement.name).strip("()") for requirement in pair]
    if all(requirement.specifier.contains(v, prereleases=True) for requirement, v in zip(pair, versions, strict=True)):
        return (
            "These versions belong together, so one of them is damaged or built for another device (CPU, CUDA). "
            f"Reinstall both: pip install --force-reinstall {line}"
        )
    return f"Install a pair that does: pip install {line}"


def optional_package(name: str, purpose: str, extra: str = "recipes") -> ModuleType:
    """Import a package that only an extra of this package installs: ``pip install "speechtools[extra]"``.

    Raises
    ------
    SpeechtoolsError
        It cannot be imported.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        remedy = f'Install it with: pip install "speechtools[{extra}]"'
        raise SpeechtoolsError(f"{purpose} needs the package {name!r} ({error}). {remedy}") from error
