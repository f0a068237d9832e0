"""Write audio files whole or not at all."""

import contextlib
import errno
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile

from speechtools.core.errors import AudioError, CorpusError
from speechtools.core.files import write_aside


def write(path: str | Path, samples: np.ndarray, sample_rate: int = 16000, comment: str = "") -> None:
    """Write mono 16-bit PCM as WAV or FLAC, by the suffix of ``path``; the file appears whole or not at all.

    A file with the same content is left alone, so its modification time does not change. Samples that
    :func:`~speechtools.audio.read` returned from a 16-bit file are written back bit by bit.

    Parameters
    ----------
    samples : np.ndarray
        (samples,), in [-1, 1].
    comment : str
        Stored in the file, behind the samples of WAV.

    Raises
    ------
    AudioError
        The samples are empty, not one-dimensional, not finite or beyond [-1, 1], or the suffix or rate is unsupported.
    CorpusError
        The file cannot be written, for example because the disk is full.
    """
    path = Path(path)
    container = _container(path)
    samples = np.asarray(samples)
    if samples.ndim != 1 or not samples.size:
        raise AudioError(f"Cannot write {path}: expected mono samples (samples,), got shape {samples.shape}.")
    pcm = _pcm(samples, path)
    encoded = io.BytesIO()  # written by Python, since libsndfile does not say why a write fails
    try:
        with soundfile.SoundFile(encoded, "w", sample_rate, channels=1, format=container, subtype="PCM_16") as file:
            _write_with_comment(file, pcm, comment)
    except soundfile.SoundFileError as error:
        raise AudioError(f"Cannot write {path} at {sample_rate} Hz: {error} Use another rate.") from error
    with _disk_errors(path):
        if path.is_file() and path.read_bytes() == encoded.getbuffer():
            return
        with write_aside(path) as aside:
            aside.write_bytes(encoded.getbuffer())


class Writer:
    """An open file of :func:`writer`."""

    def __init__(self, path: Path, file: BinaryIO, sample_rate: int, comment: str = ""):
        self._path, self._sink, self._comment = path, _Sink(file), comment
        try:
            self._file = soundfile.SoundFile(
                self._sink, "w", sample_rate, channels=1, format=_container(path), subtype="PCM_16"
            )
        except soundfile.SoundFileError as error:
            raise AudioError(f"Cannot write {path} at {sample_rate} Hz: {error} Use another rate.") from error

    def write(self, samples: np.ndarray) -> None:
        """Append samples (samples,) in [-1, 1]."""
        pcm, comment, self._comment = _pcm(samples, self._path), self._comment, ""
        self._call(lambda: _write_with_comment(self._file, pcm, comment))

    def close(self) -> None:
        """Finish the file."""
        self._call(self._file.close)

    def _call(self, function: Callable[[], None]) -> None:
        try:
            function()
        except soundfile.SoundFileError:
            if self._sink.error is None:
                raise
        if self._sink.error is not None:
            raise self._sink.error


@contextlib.contextmanager
def writer(path: str | Path, sample_rate: int = 16000, comment: str = "") -> Iterator[Writer]:
    """Write a file like :func:`write` in bounded memory: ``write`` of the yielded object appends samples.

    The file appears when the block succeeds.

    Raises
    ------
    AudioError, CorpusError
        As in :func:`write`.
    """
    path = Path(path)
    _container(path)
    with _disk_errors(path), write_aside(path) as aside, open(aside, "wb") as file:
        opened = Writer(path, file, sample_rate, comment)
        try:
            yield opened
        finally:
            opened.close()


def _write_with_comment(file: soundfile.SoundFile, pcm: np.ndarray, comment: str) -> None:
    """Write the first samples, and a comment: at the end of WAV, since some programs expect samples in one place."""
    if comment and file.format != "WAV":  # FLAC takes it first only
        file.comment = comment
    file.write(pcm)
    if comment and file.format == "WAV":
        file.comment = comment


class _Sink:
    """An output file for libsndfile, which keeps the error of a write; libsndfile does not say why it failed."""

    def __init__(self, file: BinaryIO):
        self.file = file
        self.error: OSError | None = None
        self.seek, self.tell = file.seek, file.tell

    def write(self, data: bytes) -> int:
        if self.error is None:
            try:
                return self.file.write(data)
            except OSError as error:
                self.error = error
        return 0


def _container(path: Path) -> str:
    container = {".wav": "WAV", ".flac": "FLAC"}.get(path.suffix.lower())
    if container is None:
        raise AudioError(f"Cannot write {path}: its suffix {path.suffix!r} is neither .wav nor .flac.")
    return container


def _pcm(samples: np.ndarray, path: Path) -> np.ndarray:
    """Convert samples in [-1, 1] to 16 bits."""
    peak = float(np.abs(samples).max(initial=0.0))
    if not np.isfinite(peak):
        raise AudioError(f"Cannot write {path}: its samples contain NaN or infinity.")
    if peak > 1:
        remedy = f"Scale the samples by at most {1 / peak:.4g}."
        raise AudioError(f"Cannot write {path}: its peak is {peak:.4g}, and 16-bit audio clips beyond 1. {remedy}")
    return to_int16(samples)


def to_int16(samples: np.ndarray) -> np.ndarray:
    """Convert samples in [-1, 1] to 16 bits; those beyond are clipped.

    >>> to_int16(np.array([-1.0, 0.5, 1.0])).tolist()
    [-32768, 16384, 32767]
    """
    # libsndfile's own conversion scales by 32767, so a file read and written again would differ.
    return np.rint(samples * 32768).clip(-32768, 32767).astype(np.int16)


@contextlib.contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full. Free some space" if is_full else f"{error.strerror}. Choose another folder"
        raise CorpusError(f"Cannot write {path}: {reason}, and start again.") from error


def as_flac(path: str | Path) -> bytes | None:
    """Return a recording as FLAC, bit by bit; None if it is not PCM of 8 to 24 bits, which FLAC stores.

    Raises
    ------
    AudioError
        The file cannot be read.
    """
    try:
        with soundfile.SoundFile(path) as file:
            if file.subtype not in ("PCM_S8", "PCM_16", "PCM_24") or file.channels > 8:
                return None
            samples = file.read(dtype="int32", always_2d=True)
            # (frames, channels)
            content = io.BytesIO()
            soundfile.write(content, samples, file.samplerate, format="FLAC", subtype=file.subtype)
    except (soundfile.SoundFileError, OSError) as error:
        raise AudioError(f"{path} cannot be read ({error}). Leave it out, or export it again.") from error
    return content.getvalue()
