"""torchaudio that does not load with the installed torch: one message that names both and the line that fixes it.

The packages' metadata allow pairs that fail at import ("Could not load this library"), and torchaudio is imported by
SpeechBrain too, from many places. So its import itself is watched, whoever asks for it.
"""

import importlib.metadata
import sys
from importlib.machinery import ModuleSpec, PathFinder

from speechtools.errors import InstallationError


class TorchaudioFinder:
    """Finds torchaudio where it is installed; where it fails to load, its import raises InstallationError."""

    @staticmethod
    def find_spec(fullname, path=None, target=None) -> ModuleSpec | None:
        """The spec of torchaudio, whose loader reports a failure; None for other modules."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname == "torchaudio" else None
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_or_explain(module):
            try:
                execute(module)
            except (ImportError, OSError, RuntimeError) as error:
                sys.excepthook = _message_first(sys.excepthook)
                raise InstallationError(_explanation(error)) from error

        spec.loader.exec_module = execute_or_explain  # type: ignore[method-assign]
        return spec


def watch_torchaudio() -> None:
    """Let every later import of torchaudio in this process report a pair that does not load."""
    if TorchaudioFinder not in sys.meta_path:
        sys.meta_path.insert(0, TorchaudioFinder)


def _message_first(otherwise):
    """An excepthook that shows an InstallationError as its message alone."""

    def hook(kind, error, traceback):
        if issubclass(kind, InstallationError):
            print(f"error: {error}", file=sys.stderr)
        else:
            otherwise(kind, error, traceback)

    return hook


def _explanation(error: Exception) -> str:
    torch, torchaudio = (_version(name) for name in ("torch", "torchaudio"))
    return (
        f"torchaudio {torchaudio} does not load with torch {torch} ({type(error).__name__}: "
        f"{str(error).splitlines()[0] if str(error) else 'no reason given'}). Install a pair that does: {_pip_line()}"
    )


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "(not installed)"


def _pip_line() -> str:
    """The command that installs the pairs that this package asks for."""
    try:
        required = importlib.metadata.requires("speechtools") or []
    except importlib.metadata.PackageNotFoundError:  # a source tree that was never installed
        return "pip install . in the checkout of speechtools."
    pair = [each for each in required if each.startswith(("torch", "torchaudio")) and ";" not in each]
    return "pip install " + " ".join(f'"{each}"' for each in pair)
