"""A recording, whatever it comes from: a path, an open file, bytes or samples."""

import contextlib
import errno
import io
import os
import shutil
import stat
import sys
import tempfile
import warnings
import weakref
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, BinaryIO, Literal, Protocol, TypeAlias

import numpy as np

from speechtools.audio import ffmpeg
from speechtools.audio.containers import COPY_AGAIN, Section, sections
from speechtools.audio.decoding import SoundFileStream, UnreadableError
from speechtools.audio.finding import FFMPEG_SUFFIXES, UnusablePath, why_irregular
from speechtools.core.errors import AudioError, ConfigError
from speechtools.core.moved import former_names

#: A path, an open binary file, the bytes of a file, or samples: a NumPy array or a tensor.
Recording: TypeAlias = Any
#: ``"mix"``, the mean of the channels, or the number of a channel, from 0.
Channel: TypeAlias = int | Literal["mix"]

#: The mix of unrelated channels has 1 / channels of their power; less than a tenth of that is not by chance.
_CANCELLED = 0.1
#: Sample rates (Hz) of recordings.
_LOWEST_RATE, _HIGHEST_RATE = 1000, 1_000_000
_LARGEST_OFFSET = 2**62
#: Longest path; longer bytes are the content of a file.
_LONGEST_PATH = 4096
_MAGIC = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"ID3", b"FORM", b".snd", b"caff", b"NIST_1A", b"#!AMR", b"\xff")

__getattr__ = former_names(__name__)


class Stream(Protocol):
    """Frames at one rate; ``frames`` is None if their number is not known before they are decoded."""

    rate: float
    channels: int

    @property
    def frames(self) -> int | None:
        """Number of frames."""

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield the frames, (frames, channels) each."""

    def close(self) -> None:
        """Free what the stream uses."""


class AudioSource:
    """A recording that can be decoded, more than once.

    Parameters
    ----------
    recording : str, bytes, PathLike, BinaryIO, np.ndarray or Tensor
        A path; an open binary file, which is read from its beginning if it can be rewound; the bytes of a file; or
        samples, float in [-1, 1] or signed integers, (samples,) or (channels, samples).
    sample_rate : int
        Rate of samples. Files state their own.
    channel : int or "mix"
        A channel, counted from 0, or the mean of all.
    takes_pipes : bool
        Whether a path may be that of a named pipe, or ``-``, standard input. They are copied to a temporary file.

    Raises
    ------
    AudioError
        The samples have another shape or type, or contain NaN or infinite values.
    ConfigError
        The sample rate or the channel is invalid.
    """

    def __init__(
        self, recording: Recording, sample_rate: float, channel: Channel = "mix", takes_pipes: bool = False
    ) -> None:
        self.recording, self.channel, self.takes_pipes = recording, check_channel(channel), takes_pipes
        self.path: Path | None = None
        self.samples: np.ndarray | None = None  # (channels, samples)
        self.content: bytes | None = None
        self._copy: str | None = None  # a temporary file
        self._sections: Sequence[Section | None] = []  # None: the whole file
        self._has_warned = False
        if is_path(recording):
            self.path = recording if isinstance(recording, Path) else Path(os.fsdecode(recording))
            self.name = "standard input" if self._is_standard_input else str(self.path)
        elif isinstance(recording, (bytes, bytearray, memoryview)):
            self.name, self.content = "The recording", bytes(recording)
        elif isinstance(recording, io.BytesIO):
            self.name, self.content = "The recording", recording.getvalue()
        elif hasattr(recording, "read"):
            name = getattr(recording, "name", None)
            self.name = name if isinstance(name, str) else "The recording"
        else:
            self.name = "The recording"
            self.samples = check_samples(recording, self.name)
            self.sample_rate = check_sample_rate(sample_rate)

    def __str__(self) -> str:
        return self.name

    def streams(self) -> Iterator[Stream]:
        """Open what the recording consists of, one stream after the other: usually one.

        Raises
        ------
        AudioError
            The recording cannot be opened.
        """
        if self.samples is not None:
            yield _Samples(self.samples, self.sample_rate)
            return
        with self._open() as file:
            if not self._sections:
                self._sections = sections(file, self.name) or [None]
                file.seek(0)
            for section in self._sections:
                stream = self._stream(file, section)
                try:
                    if not _LOWEST_RATE <= stream.rate <= _HIGHEST_RATE:
                        rate = f"declares a sample rate of {stream.rate:g} Hz, so its header is damaged"
                        raise AudioError(f"{self.name} {rate}. {COPY_AGAIN}")
                    yield stream
                finally:
                    stream.close()

    def mono(self, frames: np.ndarray) -> np.ndarray:
        """Return the chosen channel of frames (frames, channels), or the mean of all channels."""
        channels = frames.shape[1]
        if self.channel == "mix":
            return frames[:, 0] if channels == 1 else frames.mean(axis=1)
        if self.channel >= channels:
            has = "1 channel, number 0" if channels == 1 else f"{channels} channels, numbers 0 to {channels - 1}"
            raise AudioError(f"{self.name} has {has}; there is no channel={self.channel}. Choose another, or mix.")
        return frames[:, self.channel]

    def check_cancellation(self, power: float, mono_power: float, channels: int, refuse_silence: bool) -> None:
        """Warn if the mix has much less power than the channels have on average.

        Raises
        ------
        AudioError
            They cancel completely, so that nothing is left, although ``refuse_silence`` is true.
        """
        if power == 0 or mono_power >= _CANCELLED * power / channels:
            return
        problem = f"{self.name}: its {channels} channels cancel each other in their mix, as with inverted polarity"
        remedy = "Choose one of them with channel=0 (--channel 0)."
        if mono_power == 0 and refuse_silence:
            raise AudioError(f"{problem}: all samples of the mix are zero. {remedy}")
        if not self._has_warned:
            self._has_warned = True
            warnings.warn(f"{problem}. {remedy}", stacklevel=2)

    @property
    def _is_standard_input(self) -> bool:
        return self.takes_pipes and str(self.path) == "-"

    def _stream(self, file: BinaryIO, section: Section | None) -> Stream:
        try:
            if section is not None:
                part = section.open(file)
                return SoundFileStream(part, part, self.name)
            # A descriptor is read without calls of Python, and by any name.
            is_memory = isinstance(file, io.BytesIO)
            return SoundFileStream(file if is_memory else file.fileno(), file, self.name)
        except UnreadableError as error:
            return self._ffmpeg_stream(str(error))

    def _ffmpeg_stream(self, reason: str) -> Stream:
        """Open with ffmpeg what libsndfile refuses for a reason."""
        suffix = "" if self.path is None else self.path.suffix.lower()
        if suffix == ".raw":
            message = f"{self.name} has no header with its rate and sample type. Convert it to WAV or FLAC first."
            raise AudioError(message)
        if not ffmpeg.is_available():
            remedy = "Convert it to WAV or FLAC, or leave it out."
            if suffix in FFMPEG_SUFFIXES or self.path is None:
                remedy = "Install ffmpeg, with which it may be readable, or convert it to WAV or FLAC."
            raise AudioError(f"{self.name} cannot be read as audio (libsndfile: {reason}). {remedy}")
        if self.content is not None and self._copy is None:
            self._copy_from(io.BytesIO(self.content))
        path = self._copy or self.path
        assert path is not None
        try:
            return ffmpeg.FFmpegStream(path, self.name)
        except OSError as error:
            raise AudioError(f"{self.name} cannot be read: ffmpeg does not start ({error}).") from error

    @contextlib.contextmanager
    def _open(self) -> Iterator[BinaryIO]:
        """Open the bytes of the recording."""
        if self.content is not None:
            if not self.content:
                raise AudioError(f"{self.name} is empty (0 bytes). {COPY_AGAIN}")
            yield _Memory(self.content)
            return
        if self._copy is None and (self.path is None or self._is_standard_input):
            self._copy_stream()
        file = self._open_path() if self._copy is None else None
        if file is None:
            if self._copy is None:
                self._copy_stream()
            assert self._copy is not None
            file = open(self._copy, "rb", buffering=0)
        with file:
            yield file

    def _open_path(self) -> BinaryIO | None:
        """Open the file; None for a pipe that may be read."""
        path = self.path
        assert path is not None
        if isinstance(path, UnusablePath):
            raise AudioError(f"{path} {path.reason}")
        try:
            # Opening a pipe would wait for its other end.
            mode = os.stat(path).st_mode
            if self.takes_pipes and stat.S_ISFIFO(mode):
                return None
            if reason := why_irregular(mode):
                raise AudioError(f"{path} {reason}")
            file = open(path, "rb", buffering=0)
        except AudioError:
            raise
        except (OSError, ValueError) as error:
            raise AudioError(_why_not_open(path, error)) from error
        if not os.fstat(file.fileno()).st_size:
            file.close()
            raise AudioError(f"{path} is empty (0 bytes). {COPY_AGAIN}")
        return file

    def _copy_stream(self) -> None:
        """Copy a file object, a pipe or standard input to a temporary file, since decoding needs random access."""
        if self._is_standard_input:
            stream = getattr(sys.stdin, "buffer", None)
            if stream is None or stream.isatty():
                reason = "closed" if stream is None else "a terminal"
                raise AudioError(f"- is standard input, but it is {reason}. Pass a recording with `<` or a pipe.")
            self._copy_from(stream)
        elif self.path is not None:
            with open(self.path, "rb") as pipe:
                self._copy_from(pipe)
        else:
            with contextlib.suppress(AttributeError, OSError, ValueError):  # what cannot be rewound
                self.recording.seek(0)
            self._copy_from(self.recording)

    def _copy_from(self, stream: IO[bytes]) -> None:
        try:
            with tempfile.NamedTemporaryFile(prefix="speechtools-", delete=False) as copy:
                weakref.finalize(self, _remove, copy.name)
                shutil.copyfileobj(stream, copy)
                size = copy.tell()
        except TypeError as error:
            remedy = "Open it in binary mode, as with open(path, 'rb')."
            raise AudioError(f"{self.name} is open in text mode. {remedy}") from error
        except (OSError, ValueError) as error:
            raise AudioError(f"{self.name} cannot be read: {error}.") from error
        if not size:
            raise AudioError(f"{self.name} is empty (0 bytes). {COPY_AGAIN}")
        self._copy = copy.name


class _Memory(io.BytesIO):
    """Bytes as a file; damaged headers make decoders seek before its beginning, where files of Python raise errors."""

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            offset += len(self.getbuffer())
        elif whence == io.SEEK_CUR:
            offset += self.tell()
        return super().seek(min(max(0, offset), _LARGEST_OFFSET))


class _Samples:
    """Samples (channels, samples) as a stream."""

    def __init__(self, samples: np.ndarray, rate: float):
        self.rate, (self.channels, self.frames), self.samples = rate, samples.shape, samples

    def blocks(self) -> Iterator[np.ndarray]:
        yield self.samples.T

    def close(self) -> None:
        pass


def is_path(recording: Recording) -> bool:
    """Whether a recording is a path. Bytes are one if they can be: short, without NUL or the start of an audio file.

    >>> is_path("a.wav"), is_path(b"bad\\xff.wav"), is_path(b"RIFF\\x00")
    (True, True, False)
    """
    if isinstance(recording, bytes):
        return 0 < len(recording) <= _LONGEST_PATH and b"\0" not in recording and not recording.startswith(_MAGIC)
    return isinstance(recording, (str, os.PathLike))


def check_samples(samples: Recording, name: str = "The recording") -> np.ndarray:
    """Return samples as float32 (channels, samples); signed integers are divided by their largest value.

    Raises
    ------
    AudioError
        The samples have another shape or type, are empty, or contain NaN or infinite values.

    Examples
    --------
    >>> check_samples(np.array([0, 16384], dtype=np.int16))
    array([[0. , 0.5]], dtype=float32)
    """
    if hasattr(samples, "detach"):
        try:
            samples = samples.detach().cpu()
            samples = (samples.float() if str(samples.dtype) == "torch.bfloat16" else samples).numpy()
        except (RuntimeError, TypeError) as error:  # sparse, quantised or without storage
            raise AudioError(f"{name} is a tensor without plain samples. Pass a dense tensor of floats.") from error
    if isinstance(samples, np.ma.MaskedArray) and np.ma.is_masked(samples):
        raise AudioError(f"{name} has masked samples. Fill them first, for example with samples.filled(0).")
    if not isinstance(samples, (np.ndarray, list, tuple)):
        kinds = "a path, an open binary file, bytes, or samples as a NumPy array or a tensor"
        raise AudioError(f"Expected a recording ({kinds}), got {type(samples).__name__}.")
    try:
        array = np.asarray(samples)
    except ValueError as error:
        raise AudioError(f"{name} has rows of different lengths. Pass (samples,) or (channels, samples).") from error
    expected = "Expected samples (samples,) or (channels, samples)"
    if array.ndim not in (1, 2) or not array.size:
        raise AudioError(f"{expected} with at least one sample, got shape {array.shape}.")
    if array.ndim == 2 and array.shape[0] > array.shape[1]:
        raise AudioError(f"{expected}, got shape {array.shape}: it has more channels than samples. Transpose it.")
    if array.dtype.kind == "i" and array.dtype.itemsize <= 4:
        array = array / np.float32(2 ** (8 * array.dtype.itemsize - 1))
    elif array.dtype.kind != "f":
        kinds = "floats in [-1, 1], int8, int16 or int32"
        raise AudioError(f"Expected samples of {kinds}, got {array.dtype}. Convert them.")
    array = np.atleast_2d(array.astype(np.float32, copy=False))
    if not np.isfinite(array).all():
        raise AudioError(f"{name} contains NaN or infinite samples.")
    return array


def check_channel(channel: Channel) -> Channel:
    """Return ``"mix"`` or the number of a channel.

    Raises
    ------
    ConfigError
        It is neither.
    """
    if channel == "mix" or (isinstance(channel, (int, np.integer)) and not isinstance(channel, bool) and channel >= 0):
        return channel
    raise ConfigError(f"Invalid channel={channel!r}. Use the number of a channel, from 0, or 'mix' for their mean.")


def check_sample_rate(sample_rate: float) -> float:
    """Return a sample rate in Hz.

    Raises
    ------
    ConfigError
        It is not a number from 1000 to 1,000,000.
    """
    is_number = isinstance(sample_rate, (int, float, np.integer, np.floating)) and not isinstance(sample_rate, bool)
    if is_number and _LOWEST_RATE <= sample_rate <= _HIGHEST_RATE:
        return sample_rate
    raise ConfigError(
        f"Invalid sample_rate={sample_rate!r}. Pass the rate of the samples in Hz, such as 16000, from {_LOWEST_RATE} "
        f"to {_HIGHEST_RATE}."
    )


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)


def _why_not_open(path: Path, error: Exception) -> str:
    if isinstance(error, ValueError):
        return f"The path {str(path)!r} cannot be opened: {error}. Check the path."
    if isinstance(error, FileNotFoundError):
        if path.is_symlink():
            return (
                f"{path} is a link to {os.readlink(path)}, which does not exist. Restore the file or remove the link."
            )
        return f"The audio file {path} does not exist. Check the path."
    if isinstance(error, PermissionError):
        return f"The audio file {path} is not readable by this user. Change its permissions."
    assert isinstance(error, OSError)
    if error.errno == errno.ELOOP:
        return f"{path} is a link that leads back to itself. Remove it."
    if error.errno == errno.ENAMETOOLONG:
        return f"The path {path} is too long for a file. Check the path."
    return f"The audio file {path} cannot be opened: {error.strerror or error}."
