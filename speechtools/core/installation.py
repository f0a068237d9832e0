"""torchaudio that does not load with the installed torch: one message that names both and the line that fixes it.

The packages' metadata allow pairs that fail at import ("Could not load this library"), and torchaudio is imported by
SpeechBrain too, from many places. So its import itself is watched, whoever asks for it.
"""

import importlib.metadata
import sys
from importlib.machinery import ModuleSpec, PathFinder

from speechtools.core.errors import InstallationError


class TorchaudioFinder:
    """Finds torchaudio where it is installed; where it fails to load, its import raises InstallationError."""

    @staticmethod
    def find_spec(fullname, path=None, target=None) -> ModuleSpec | None:
        """The spec of torchaudio, whose loader reports a failure; None for other modules."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname == "torchaudio" else None
        if spec is None or spec.loader is None:
            return None
        loader = spec.loader

        def execute_or_explain(module):
            del loader.exec_module  # from here on it is the loader that Python made
            try:
                loader.exec_module(module)
            except Exception as error:  # an unknown symbol, another CUDA version, a name that torch no longer has
                if sys.excepthook is not _message_alone:
                    _hooks.append(sys.excepthook)
                    sys.excepthook = _message_alone
                raise InstallationError(_explanation(error, spec.origin)) from error

        loader.exec_module = execute_or_explain  # type: ignore[method-assign]
        return spec


def watch_torchaudio() -> None:
    """Let every later import of torchaudio in this process report a pair that does not load."""
    if not any(getattr(finder, "__name__", "") == TorchaudioFinder.__name__ for finder in sys.meta_path):
        sys.meta_path.insert(0, TorchaudioFinder)


#: What _message_alone stands in for.
_hooks: list = []


def _message_alone(kind, error, traceback) -> None:
    """An excepthook that shows an InstallationError as its message, and hands every other error on."""
    if issubclass(kind, InstallationError):
        print(f"error: {error}", file=sys.stderr)
    else:
        _hooks[-1](kind, error, traceback)


def _explanation(error: Exception, origin: str | None) -> str:
    reason = str(error).splitlines()[0] if str(error) else "no reason given"
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
    """The command that installs a pair that this package asks for."""
    from packaging.requirements import Requirement

    try:
        required = [Requirement(line) for line in importlib.metadata.requires("speechtools") or []]
    except importlib.metadata.PackageNotFoundError:  # a source tree that was never installed
        return "Install a pair that does: pip install . in the checkout of speechtools."
    pair = [each for each in required if each.name in ("torch", "torchaudio")]
    line = " ".join(f'"{each}"' for each in pair)
    if all(each.specifier.contains(_version(each.name).strip("()"), prereleases=True) for each in pair):
        return (
            "These versions go together, so one of them is damaged or built for another device (CPU, CUDA). Install "
            f"both anew: pip install --force-reinstall {line}"
        )
    return f"Install a pair that does: pip install {line}"
