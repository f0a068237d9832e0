"""The file of enrolled voices: written whole, checked whole when it is read, and locked while it is changed."""

import contextlib
import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from speechtools.core.errors import ConfigError, printable
from speechtools.core.files import write_aside
from speechtools.core.locks import locked
from speechtools.core.spelling import did_you_mean
from speechtools.speaker.calibration import COSINE

#: Arrays of every file of voices.
_ALWAYS = ("names", "voiceprints", "model")
#: Arrays that the first files of voices lack.
_ADDED = ("recordings", "seconds", "dates")
#: Arrays of files for scores that are not cosines, and of voices whose quality was assessed.
_SCALE, _QUALITIES = "scale", "qualities"
_MAX_NAME = 255


@dataclass(frozen=True)
class Voice:
    """An enrolled voice.

    Attributes
    ----------
    voiceprint : np.ndarray
        (embedding_size,) in float32: the mean d-vector of its recordings.
    recordings : int
        Number of recordings; 0 if it is unknown.
    seconds : float
        Speech in the recordings; 0 if it is unknown.
    date : str
        When the voice was enrolled, in UTC, such as ``2026-03-01 14:05``; empty if it is unknown.
    quality : float, optional
        Mean score of the quality of the recordings; None if it is unknown.
    """

    voiceprint: np.ndarray
    recordings: int = 0
    seconds: float = 0.0
    date: str = ""
    quality: float | None = None

    def plus(self, other: "Voice") -> "Voice":
        """Return the voice of the recordings of both.

        >>> voice = Voice(np.float32([1.0, 0.0]), 3, 4.5).plus(Voice(np.float32([0.0, 1.0]), 1, 1.5))
        >>> voice.voiceprint.tolist(), voice.recordings, voice.seconds
        ([0.75, 0.25], 4, 6.0)
        """
        count = self.recordings + other.recordings
        total = self.voiceprint * np.float32(self.recordings) + other.voiceprint * np.float32(other.recordings)
        quality = None
        if self.quality is not None and other.quality is not None:
            quality = (self.quality * self.recordings + other.quality * other.recordings) / count
        return Voice(total / np.float32(count), count, self.seconds + other.seconds, other.date, quality)


@dataclass
class Voices:
    """The content of a file of voices: the fingerprint of the model, the voices by name, and the scale of scores."""

    model: str
    voices: dict[str, Voice] = field(default_factory=dict)
    scale: str = COSINE

    def find(self, name: str) -> Voice:
        """Return a voice; an unknown name is a :class:`ConfigError` with the nearest spelling."""
        if name not in self.voices:
            raise ConfigError(unknown_voice(name, self.voices))
        return self.voices[name]

    def enroll(self, name: str, voice: Voice, overwrite: bool = False, add: bool = False) -> None:
        """Store a voice under a new name, or replace the voice of that name, or add to it.

        Raises
        ------
        ConfigError
            The name is taken, and neither ``overwrite`` nor ``add`` is set; or the name is not valid.
        """
        check_name(name)
        earlier = self.voices.get(name)
        if earlier is None or overwrite:
            self.voices[name] = voice
        elif not add:
            raise ConfigError(taken(name))
        elif not earlier.recordings:
            raise ConfigError(
                f"The number of recordings of {printable(name)} is not stored, so none can be added. Enroll this voice "
                "again with --overwrite."
            )
        else:
            self.voices[name] = earlier.plus(voice)


def taken(name: str) -> str:
    """Describe that a name is taken, and what to do."""
    return (
        f"{printable(name)} is enrolled already. Pass --overwrite to replace this voice, --add to add the recordings "
        "to it, or another name."
    )


def unknown_voice(name: str, voices: dict) -> str:
    """Describe that no voice has this name, with the nearest spelling and the names that there are."""
    names = sorted(map(printable, voices))
    listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    return f"No voice {printable(name)!r} is enrolled.{did_you_mean(name, names)} Enrolled voices: {listed or 'none'}."


def check_name(name: str) -> str:
    """Return the name of a voice if it is valid.

    Raises
    ------
    ConfigError
        It is blank, too long, contains a null character, or is "nobody", the answer where no voice matches.
    """
    if not isinstance(name, str):
        raise ConfigError(f"The name of a voice must be text, not {name!r}.")
    if not name.strip() or "\0" in name or len(name) > _MAX_NAME:
        reason = "is blank" if not name.strip() else f"contains a null character or more than {_MAX_NAME} characters"
        raise ConfigError(f"The name {printable(name[:20])!r} of a voice {reason}. Choose another name.")
    if name.strip().lower() == "nobody":
        raise ConfigError(f"{name!r} is the answer of `identify` where no voice matches. Choose another name.")
    return name


def now() -> str:
    """Return the time in UTC, to the minute."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M")


def read_voices(
    path: str | Path, model: str | None = None, embedding_size: int | None = None, scale: str | None = None
) -> Voices:
    """Read a file of voices and check all of it.

    Parameters
    ----------
    path : str or Path
    model : str, optional
        The fingerprint of the model that the voices must be of.
    embedding_size : int, optional
        Size of the voiceprints of that model.
    scale : str, optional
        The scale of the model's scores, for which the voices must have been enrolled.

    Raises
    ------
    ConfigError
        The file is missing or damaged, or its voices were enrolled with another model or for another scale.
    """
    create = f"Create it with `speechtools enroll NAME RECORDING... --voices {path}`."
    if not os.path.exists(path):
        raise ConfigError(f"The file of voices {path} does not exist. {create}")
    if not os.path.isfile(path):
        raise ConfigError(f"{path} is not a regular file. Pass a file of voices that `speechtools enroll` wrote.")
    try:
        if os.path.getsize(path) == 0:
            raise _DamagedError("it is empty")
        arrays = _read_arrays(path)
        _check_arrays(arrays)
        names, voiceprints = arrays["names"].tolist(), arrays["voiceprints"]
        size = voiceprints.shape[1]
        if len(names) and embedding_size and str(arrays["model"]) == model and size != embedding_size:
            raise _DamagedError(f"its voiceprints have size {size}, those of its model {embedding_size}")
    except PermissionError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.") from error
    except Exception as error:  # whatever a damaged file makes a reader raise
        reason = str(error) if isinstance(error, _DamagedError) else f"it cannot be read ({type(error).__name__})"
        raise ConfigError(
            f"{path} is not a file of voices, or is damaged: {reason}. Restore a copy, or remove it and enroll again."
        ) from error
    if model is not None and str(arrays["model"]) != model:
        raise ConfigError(
            f"The voices in {path} were enrolled with another model. Pass that model, or enroll them again in another "
            "file."
        )
    stored = str(arrays.get("scale", COSINE))
    if scale is not None and stored != scale:
        raise ConfigError(
            f"The voices in {path} were enrolled for scores on the scale {stored!r}, but those of the model are on the "
            f"scale {scale!r}, for which thresholds are others. Pass the model that they were enrolled with, or enroll "
            "them again in another file."
        )
    details = [arrays[key].tolist() if key in arrays else [empty] * len(names) for key, empty in _defaults()]
    rows = zip(names, voiceprints, *details, strict=True)
    voices = {name: Voice(voiceprint, *row) for name, voiceprint, *row in rows}
    for name, quality in zip(names, arrays.get(_QUALITIES, np.zeros(0)).tolist(), strict=False):
        voices[name] = replace(voices[name], quality=None if np.isnan(quality) else quality)
    return Voices(str(arrays["model"]), voices, stored)


def write_voices(path: str | Path, content: Voices) -> None:
    """Write a file of voices whole, or leave the file as it is.

    Raises
    ------
    ConfigError
        The path is a file of another kind, such as a recording; or a voiceprint is not finite, zero, longer than 1, or
        of another size than the others.
    """
    if os.path.isfile(path) and os.path.getsize(path) and not _is_of_voices(path):
        raise ConfigError(f"{path} exists and is not a file of voices, so it is not replaced. Choose another name.")
    names = sorted(content.voices)
    voices = [content.voices[name] for name in names]
    shapes = {np.shape(voice.voiceprint) for voice in voices} or {(0,)}
    if len(shapes) > 1 or len(min(shapes)) != 1:
        raise ConfigError(f"Voiceprints must be vectors of one size to be stored in {path}; got {sorted(shapes)}.")
    arrays = {
        "names": np.array(names, dtype=np.str_),
        "voiceprints": np.array([voice.voiceprint for voice in voices], np.float32).reshape(len(names), *min(shapes)),
        "model": np.array(content.model),
        "recordings": np.array([voice.recordings for voice in voices], dtype=np.int64),
        "seconds": np.array([voice.seconds for voice in voices], dtype=np.float64),
        "dates": np.array([voice.date for voice in voices], dtype=np.str_),
    }
    if content.scale != COSINE:
        arrays[_SCALE] = np.array(content.scale)
    qualities = np.array([voice.quality for voice in voices], dtype=np.float64)  # NaN for None
    if not np.isnan(qualities).all():
        arrays[_QUALITIES] = qualities
    try:
        _check_arrays(arrays)
    except _DamagedError as error:
        raise ConfigError(f"The voices cannot be stored in {path}: {error}. Enroll them again.") from error
    with write_aside(path) as aside, open(aside, "wb") as stream:
        np.savez(stream, checksum=np.array(_checksum(arrays)), **arrays)  # type: ignore[arg-type]


@contextlib.contextmanager
def edit_voices(
    path: str | Path,
    model: str | None = None,
    embedding_size: int | None = None,
    scale: str | None = None,
    timeout: float = 60.0,
) -> Iterator[Voices]:
    """Yield the voices of a file, and write them when the block succeeds; the file is locked meanwhile.

    With ``model``, a missing file is created. See :func:`read_voices` for the parameters and errors.

    Raises
    ------
    ConfigError
        Another process has locked the file for longer than ``timeout`` seconds.
    """
    if model is None:
        read_voices(path)  # a missing file needs no lock beside it
    with locked(path, timeout):
        if model is not None and not os.path.exists(path):
            content = Voices(model, scale=scale or COSINE)
        else:
            content = read_voices(path, model, embedding_size, scale)
        yield content
        write_voices(path, content)


class _DamagedError(Exception):
    """The reason why a file is not a file of voices."""


def _defaults() -> list[tuple[str, object]]:
    return [("recordings", 0), ("seconds", 0.0), ("dates", "")]


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for key in sorted(arrays):
        digest.update(f"{key} {arrays[key].dtype.str} {arrays[key].shape} ".encode())
        digest.update(np.ascontiguousarray(arrays[key]).tobytes())
    return digest.hexdigest()


def _is_of_voices(path: str | Path) -> bool:
    """Whether a file has the arrays of a file of voices, damaged or not."""
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{key}.npy" for key in _ALWAYS} <= set(archive.namelist())
    except zipfile.BadZipFile:
        return False


def _read_arrays(path: str | Path) -> dict[str, np.ndarray]:
    """Read the arrays of an .npz file that is not compressed, so that it needs no more memory than its size."""
    if not zipfile.is_zipfile(path):
        raise _DamagedError("it is not an .npz file, or it is truncated")
    arrays: dict[str, np.ndarray] = {}
    with zipfile.ZipFile(path) as archive:
        for key in (*_ALWAYS, *_ADDED, _SCALE, _QUALITIES, "checksum"):
            try:
                entry = archive.getinfo(f"{key}.npy")
            except KeyError:
                continue
            if entry.compress_type != zipfile.ZIP_STORED or entry.file_size > os.path.getsize(path):
                raise _DamagedError(f"its array {key} is compressed, which enroll never writes")
            stream = io.BytesIO(archive.read(entry))  # checks the CRC
            try:
                arrays[key] = np.lib.format.read_array(stream, allow_pickle=False)
            except (ValueError, MemoryError) as error:
                raise _DamagedError(f"its array {key} cannot be read") from error
            if stream.read(1):
                raise _DamagedError(f"its array {key} has another length than it declares")
    missing = [key for key in _ALWAYS if key not in arrays]
    if any(key in arrays for key in (*_ADDED, "checksum")):
        missing += [key for key in (*_ADDED, "checksum") if key not in arrays]
    if missing:
        raise _DamagedError(f"it has no {', '.join(missing)}")
    if "checksum" in arrays:
        stored = arrays.pop("checksum")
        if str(stored) != _checksum(arrays):
            raise _DamagedError("its checksum does not fit its content")
    return arrays


def _check_arrays(arrays: dict[str, np.ndarray]) -> None:
    names, voiceprints, model = (arrays[key] for key in _ALWAYS)
    if names.dtype.kind != "U" or names.ndim != 1 or model.dtype.kind != "U" or model.ndim != 0:
        raise _DamagedError("its names or its model are not text")
    if _SCALE in arrays and (arrays[_SCALE].dtype.kind != "U" or arrays[_SCALE].ndim != 0):
        raise _DamagedError("its scale is not text")
    listed = names.tolist()
    if len(set(listed)) != len(listed) or not all(name.strip() for name in listed):
        raise _DamagedError("there is a name twice, or a blank name")
    if voiceprints.ndim != 2 or len(voiceprints) != len(listed):
        raise _DamagedError(f"it has {len(listed)} names, but its voiceprints have the shape {voiceprints.shape}")
    if listed:
        _check_voiceprints(voiceprints)
    checks: dict[str, tuple[str, Callable[[np.ndarray], bool]]] = {
        "recordings": ("i", lambda values: bool((values >= 0).all())),
        "seconds": ("f", lambda values: bool((np.isfinite(values) & (values >= 0)).all())),
        "dates": ("U", lambda values: True),
        _QUALITIES: ("f", lambda values: not np.isinf(values).any()),
    }
    for key, (kind, valid) in checks.items():
        values = arrays.get(key)
        if values is not None and (values.dtype.kind != kind or values.shape != names.shape or not valid(values)):
            raise _DamagedError(f"its {key} are not one valid value per voice")


def _check_voiceprints(voiceprints: np.ndarray) -> None:
    if voiceprints.dtype != np.float32:
        raise _DamagedError(f"its voiceprints are {voiceprints.dtype} instead of float32")
    if not np.isfinite(voiceprints).all():
        raise _DamagedError("voiceprints contain NaN or infinite values")
    # The mean of d-vectors of length 1 is no longer than 1.
    lengths = np.linalg.norm(voiceprints.astype(np.float64), axis=1)
    if not ((lengths > 1e-4) & (lengths < 1.001)).all():
        raise _DamagedError("a voiceprint is zero or longer than 1")
