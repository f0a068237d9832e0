"""speechtools: judge speech quality without a reference, and tell who is speaking.

``speechtools.build("kind/name", …)`` makes a registered part; ``speechtools.inference`` holds the pretrained
interfaces. Importing this package is light: torch comes in with the first part that needs it.
"""

from importlib.metadata import PackageNotFoundError, version

from speechtools import metrics
from speechtools.errors import SpeechtoolsError
from speechtools.registry import available, build, find, plugin

try:
    __version__ = version("speechtools")
except PackageNotFoundError:  # used from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["SpeechtoolsError", "available", "build", "find", "metrics", "plugin"]
