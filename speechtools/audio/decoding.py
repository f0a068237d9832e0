"""Decode a file with libsndfile, and say what is wrong with one that does not decode."""

import re
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
import soundfile

from speechtools.audio.containers import COPY_AGAIN, is_harmless
from speechtools.core.errors import AudioError

_DECODED_FRAMES = 2**18  # at a time

# libsndfile reports that a file ends too early in its log alone.
_DECLARED_AND_ACTUAL = {
    # WAV, W64, AU
    re.compile(r"\b(?:data|riff|Data Size) *: (?P<declared>\d+) \(should be (?P<actual>\d+)\)"): "bytes",
    # AIFF
    re.compile(r"'COMM' chunk \((?P<declared>\d+)\) not equal .*?'SSND' chunk \((?P<actual>\d+)\)", re.S): "samples",
    # RF64
    re.compile(r"frame count (?P<actual>\d+) does not match .*?'ds64' chunk of (?P<declared>\d+)"): "samples",
}
_TRUNCATION_NOTES = (
    "lacks an end-of-stream bit",  # Ogg
    "without an End-Of-Stream",
    "Junk after the last page",
    "data chunk seems to be truncated",  # GSM in WAV
    "Seems to be a truncated file",  # VOC
)
# A writer that does not know the length (a pipe) declares the largest size.
_STREAMED_BYTES = 0x7FFF0000
_UNKNOWN_FRAMES = 2**62


class UnreadableError(Exception):
    """libsndfile does not know the format; the text is its reason."""


class SoundFileStream:
    """The frames of a file that libsndfile reads, in bounded memory.

    Parameters
    ----------
    file : int or BinaryIO
        A file descriptor or an open binary file, which stays open.
    stream : BinaryIO
        The open file behind ``file``.
    name : str
        The name of the recording in messages.

    Raises
    ------
    UnreadableError
        libsndfile does not know the format.
    AudioError
        The file is empty or truncated as far as its header shows.
    """

    def __init__(self, file: int | BinaryIO, stream: BinaryIO, name: str):
        self.name, self._stream = name, stream
        try:
            self._file = soundfile.SoundFile(file, closefd=False)
        except (soundfile.SoundFileError, TypeError) as error:
            raise UnreadableError(_reason(error)) from error
        self.rate: float = self._file.samplerate
        self.channels, self.frames = self._file.channels, self._file.frames
        try:
            self._check_header()
        except AudioError:
            self.close()
            raise

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the decoded frames, (frames, channels) each."""
        count = 0
        while count < self.frames:
            end = min(count + _DECODED_FRAMES, self.frames)
            try:
                frames = self._file.read(end - count, dtype="float32", always_2d=True)
            except soundfile.SoundFileError as error:
                reason = f"decoding failed between samples {count} and {end} (libsndfile: {_reason(error)})"
                raise AudioError(f"{self.name} is truncated or damaged: {reason}. {COPY_AGAIN}") from error
            if len(frames) < end - count:
                reason = f"decoding ended after {count + len(frames)} of its {self.frames} samples"
                raise AudioError(f"{self.name} is truncated or damaged: {reason}. {COPY_AGAIN}")
            count = end
            yield frames
        if self._file.format == "FLAC":
            self._check_rest()

    def close(self) -> None:
        """Close the decoder."""
        self._file.close()

    def _check_rest(self) -> None:
        """Raise an error if frames of FLAC are left; the end of the last one is known after decoding only."""
        position = self._stream.tell()
        size = self._stream.seek(0, 2)
        self._stream.seek(position)
        rest = self._stream.read(2**18)
        if not is_harmless(rest) and re.search(rb"\xff[\xf8\xf9]", rest):  # as frames begin
            reason = f"{size - position} bytes follow the {self.frames} samples that its header declares"
            raise AudioError(f"{self.name} is damaged, or another file was appended to it: {reason}. {COPY_AGAIN}")

    def _check_header(self) -> None:
        file, name = self._file, self.name
        if file.frames == 0:
            raise AudioError(f"{name} is empty (0 samples). {COPY_AGAIN}")
        if file.frames >= _UNKNOWN_FRAMES:
            remedy = "it was encoded into a pipe. Encode it again into a file."
            raise AudioError(f"{name} does not state its length: {remedy}")
        notes = file.extra_info
        declared, actual, unit = self._declared_and_actual(notes)
        if declared > actual:
            raise AudioError(
                f"{name} is truncated: it has {actual} of the {declared} {unit} in its header. {COPY_AGAIN}"
            )
        if file.format == "NIST" and 0 < declared < actual - 1024:
            raise AudioError(f"{name} has {actual} {unit}, but its header declares {declared}. {COPY_AGAIN}")
        if any(note in notes for note in _TRUNCATION_NOTES):
            raise AudioError(f"{name} is truncated: it stops in the middle of its data. {COPY_AGAIN}")

    def _declared_and_actual(self, notes: str) -> tuple[int, int, str]:
        """Size in the header, size of the file, and their unit; (0, 0, "") if libsndfile reports no difference."""
        if self._file.format == "NIST":  # SPHERE: libsndfile counts the bytes and ignores this field
            position = self._stream.tell()
            self._stream.seek(0)
            field = re.search(rb"\nsample_count -i (\d+)", self._stream.read(1024))
            self._stream.seek(position)
            return int(field[1]) if field else 0, self.frames, "samples"
        for pattern, unit in _DECLARED_AND_ACTUAL.items():
            if match := pattern.search(notes):
                declared = int(match["declared"])
                return declared if declared < _STREAMED_BYTES else 0, int(match["actual"]), unit
        return 0, 0, ""


def _reason(error: Exception) -> str:
    return getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(".")
