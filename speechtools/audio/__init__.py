"""Audio files, features, spectra and speech detection; exports the functions for files, as in ``audio.read(path)``."""

from speechtools.audio.io import (
    SUFFIXES,
    blocks,
    check_signal,
    duration,
    existing_folder,
    find_audio,
    is_audio_name,
    read,
    write,
    writer,
)

__all__ = [
    "SUFFIXES",
    "blocks",
    "check_signal",
    "duration",
    "existing_folder",
    "find_audio",
    "is_audio_name",
    "read",
    "write",
    "writer",
]
