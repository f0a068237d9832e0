"""Find audio files in folders."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from speechtools.core.errors import CorpusError

#: Suffixes of audio containers that libsndfile reads. ``.raw`` and ``.mat`` do not identify themselves as audio.
SUFFIXES = frozenset(
    ".wav .wave .bwf .rf64 .w64 .flac .ogg .oga .opus .mp2 .mp3 .sph .nist .aif .aiff .aifc .au .snd .caf "
    ".voc .8svx .iff .svx .sf .ircam .paf .pvf .avr .wve .xi .sds".split()
)
#: Suffixes of files with sound that ffmpeg reads.
FFMPEG_SUFFIXES = frozenset(
    ".m4a .m4b .mp4 .m4v .mov .3gp .3gpp .3g2 .aac .adts .amr .awb .webm .mka .mkv .weba .wma .wmv .asf .ac3 .eac3 "
    ".ape .wv .tta .alac .mpc .dsf .dts .flv .avi .spx .ogv .ogx .qcp .ra .rm .mpg .mpeg .m2ts .mts".split()
)
#: Suffixes of sound without a header with its rate, and of formats that nothing here reads.
UNREADABLE_SUFFIXES = frozenset(".raw .pcm .sln .ul .al .ulaw .alaw .gsm .vox .g722 .g729 .ds2 .dss .mid .midi".split())


class UnusablePath(type(Path())):  # type: ignore[misc]  # the class of the system's paths
    """A path that a search came across and that cannot be read; reading it raises an error with its ``reason``."""

    reason: str

    @classmethod
    def because(cls, path: str | Path, reason: str) -> "UnusablePath":
        """Return ``path`` with the reason why it cannot be read."""
        unusable = cls(path)
        unusable.reason = reason
        return unusable


def existing_folder(folder: str | Path) -> Path:
    """Return a folder as an absolute path.

    Raises
    ------
    CorpusError
        The folder does not exist (the message names its nearest existing parent), or it is a file.
    """
    path = Path(os.path.abspath(Path(folder).expanduser()))
    if path.is_dir():
        return path
    if path.exists():
        raise CorpusError(f"{path} is a file, but a folder is needed. Pass the folder that contains it.")
    nearest = next(parent for parent in path.parents if parent.is_dir())
    raise CorpusError(f"The folder {path} does not exist; its nearest existing parent is {nearest}. Check the path.")


def find_audio(folder: str | Path) -> list[Path]:
    """List the audio files (:data:`SUFFIXES`) in a folder and its subfolders, sorted; hidden ones are skipped.

    Links to folders are followed once. The paths start with ``folder`` as passed, absolute or relative.

    Raises
    ------
    CorpusError
        The folder does not exist or is a file, or a folder cannot be listed.
    """
    existing_folder(folder)
    paths = []
    for path in walk(folder):
        if isinstance(path, UnusablePath):
            raise CorpusError(f"{path} {path.reason}")
        if is_audio_name(path.name):
            paths.append(path)
    return sorted(paths)


def walk(folder: str | Path) -> Iterator[Path]:
    """Yield the files in a folder and its subfolders, and an :class:`UnusablePath` for a folder that cannot be listed.

    Hidden ones are skipped, and links to folders are followed once.
    """
    visited = set()
    errors: list[OSError] = []
    for parent, folders, names in os.walk(Path(folder).expanduser(), followlinks=True, onerror=errors.append):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(parent, name) for name in names if not name.startswith("."))
    for error in errors:
        yield UnusablePath.because(
            os.fsdecode(error.filename), f"cannot be listed: {error.strerror}. Change its permissions."
        )


def is_audio_name(name: str) -> bool:
    """Whether a file name has the suffix of an audio file.

    >>> is_audio_name("SA1.WAV"), is_audio_name("SA1.TXT"), is_audio_name("._SA1.WAV")
    (True, False, False)
    """
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def why_irregular(mode: int) -> str | None:
    """Why something with this ``st_mode`` is not read from a folder; None for a regular file.

    >>> why_irregular(stat.S_IFIFO)
    'is not a regular file but a named pipe. Pass it by its own name to read it.'
    """
    if stat.S_ISREG(mode):
        return None
    if stat.S_ISFIFO(mode):
        return "is not a regular file but a named pipe. Pass it by its own name to read it."
    if stat.S_ISDIR(mode):
        return "is a folder, but an audio file is needed. Pass a file in it."
    kind = "a socket" if stat.S_ISSOCK(mode) else "a device"
    return f"is not a regular file but {kind}. Leave it out."
