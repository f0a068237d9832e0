"""The settings with which a command wrote a recording, stored in the comment of the file.

An interrupted command that continues, compares them with its own.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import soundfile

from speechtools.core.files import fingerprint

#: Values that are longer as JSON are stored as their fingerprint: libsndfile drops a long comment of a WAV file.
_LONGEST_VALUE = 200


def as_comment(command: str, settings: Mapping[str, Any]) -> str:
    """Describe how a command wrote a recording, as a comment of the file.

    Parameters
    ----------
    command : str
        Such as ``degrade``.
    settings : mapping
        Values that JSON can represent, by option.

    Examples
    --------
    >>> as_comment("degrade", {"chain": "gsm", "seed": 3})
    'speechtools degrade {"chain": "gsm", "seed": 3}'
    """
    return f"speechtools {command} {json.dumps(stored(settings))}"


def stored(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The values of settings as files store them."""
    return {
        key: fingerprint({key: value}) if isinstance(value, str) and len(json.dumps(value)) > _LONGEST_VALUE else value
        for key, value in settings.items()
    }


def read_settings(path: str | Path, command: str) -> dict[str, Any] | None:
    """The settings with which a command wrote a recording; None if something else wrote it, or it is damaged."""
    try:
        with soundfile.SoundFile(path) as file:
            comment = file.comment
    except (soundfile.SoundFileError, OSError):
        return None
    start = f"speechtools {command} "
    try:
        settings = json.loads(comment.removeprefix(start)) if comment.startswith(start) else None
    except (ValueError, RecursionError):
        return None
    return settings if isinstance(settings, dict) else None
