"""speechtools: score speech quality without a reference, enhance speech, and verify speakers.

``speechtools.build("kind/name", …)`` builds a registered plugin; ``speechtools.inference`` has the pretrained
interfaces. Importing this package does not import torch; the first plugin that needs it does.
"""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from speechtools.core import metrics
from speechtools.core.errors import SpeechtoolsError
from speechtools.core.installation import watch_torchaudio
from speechtools.core.moved import find_moved_modules
from speechtools.core.registry import available, build, find, plugin

find_moved_modules()
watch_torchaudio()

try:
    __version__ = version("speechtools")
except PackageNotFoundError:  # used from a source tree that was never installed
    __version__ = "0+unknown"

#: Three seconds of synthetic speech, with street noise at 0 dB from the first second on: something to score.
SAMPLE = Path(__file__).parent / "samples" / "street.flac"

__all__ = ["SAMPLE", "SpeechtoolsError", "available", "build", "find", "metrics", "plugin"]
