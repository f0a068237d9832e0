"""Find, read and write audio files.

Every format that libsndfile decodes is read as float32 mono at the requested rate. A damaged file raises an
:class:`AudioError` that names it; it never yields fewer samples.
"""

import errno
import io
import itertools
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr

from speechtools.core.errors import AudioError, ConfigError, CorpusError
from speechtools.core.files import write_aside

#: Suffixes of audio containers that libsndfile reads. ``.raw`` and ``.mat`` do not identify themselves as audio.
SUFFIXES = frozenset(
    ".wav .wave .bwf .rf64 .w64 .flac .ogg .oga .opus .mp2 .mp3 .sph .nist .aif .aiff .aifc .au .snd .caf "
    ".voc .8svx .iff .svx .sf .ircam .paf .pvf .avr .wve .xi .sds".split()
)

_DECODED_FRAMES = 2**18  # at a time
_COPY_AGAIN = "Copy it again from its source, or leave it out."

# libsndfile reports that a file ends too early only in its log.
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
        The folder does not exist or is a file.
    """
    existing_folder(folder)
    paths: list[Path] = []
    visited = set()
    for parent, folders, names in os.walk(Path(folder).expanduser(), followlinks=True):
        real = os.path.realpath(parent)
        if real in visited:
            folders.clear()
            continue
        visited.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths += [Path(parent, name) for name in names if is_audio_name(name)]
    return sorted(paths)


def is_audio_name(name: str) -> bool:
    """Whether a file name has the suffix of an audio file.

    >>> is_audio_name("SA1.WAV"), is_audio_name("SA1.TXT"), is_audio_name("._SA1.WAV")
    (True, False, False)
    """
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def duration(path: str | Path) -> float:
    """Length of an audio file in seconds, from its header.

    Raises
    ------
    AudioError
        The file is missing, not audio, empty, or truncated as far as the header shows.
    """
    with _open(Path(path)) as file:
        return file.frames / file.samplerate


def read(path: str | Path, sample_rate: int = 16000, refuse_silence: bool = False) -> np.ndarray:
    """Read an audio file: the mean of its channels, resampled to ``sample_rate`` by soxr (HQ).

    Returns
    -------
    np.ndarray
        (samples,), float32

    Raises
    ------
    AudioError
        The file is missing, not audio, empty, truncated, contains NaN or infinite samples, or is silent although
        ``refuse_silence`` is true.
    """
    segments = list(_decode(Path(path), sample_rate, refuse_silence))
    return segments[0] if len(segments) == 1 else np.concatenate(segments)


def blocks(
    path: str | Path, sample_rate: int = 16000, seconds: float = 30.0, refuse_silence: bool = False
) -> Iterator[np.ndarray]:
    """Read an audio file in consecutive blocks of ``seconds``, in bounded memory; the last one may be shorter.

    The blocks are those of :func:`read`, and so are the errors. Damage that only decoding reveals is raised after the
    blocks before it.

    Yields
    ------
    np.ndarray
        (seconds * sample_rate,), float32

    Raises
    ------
    AudioError
        As in :func:`read`.
    ConfigError
        ``seconds`` is less than one sample.
    """
    size = round(seconds * sample_rate)
    if size < 1:
        raise ConfigError(f"A block of {seconds} s at {sample_rate} Hz has no sample. Use at least 1 / sample_rate.")
    rest = np.zeros(0, dtype=np.float32)
    for piece in _decode(Path(path), sample_rate, refuse_silence):
        rest = np.concatenate([rest, piece])
        whole = len(rest) - len(rest) % size
        yield from rest[:whole].reshape(-1, size)
        rest = rest[whole:]
    if len(rest):
        yield rest


@dataclass(frozen=True)
class Chunk:
    """A chunk of a recording.

    Attributes
    ----------
    samples : np.ndarray
        (samples,), the chunk with its context.
    start : int
        Where ``samples`` begin in the recording.
    first : int
        Where the chunk itself begins in the recording, after its left context.
    is_last : bool
        Whether the chunk reaches to the end of the recording.
    """

    samples: np.ndarray
    start: int
    first: int
    is_last: bool


def chunks(path: str | Path, sample_rate: int, size: int, before: int = 0, after: int = 0) -> Iterator[Chunk]:
    """Read a recording in chunks of ``size`` samples, with context on both sides, in bounded memory.

    Parameters
    ----------
    size : int
        Samples from one chunk to the next. The last chunk may be shorter, or longer by up to ``after``.
    before, after : int
        Samples of context.

    Raises
    ------
    AudioError
        As in :func:`read`, or the recording is silent.
    """
    stream = blocks(path, sample_rate, refuse_silence=True)
    buffer, start, first, is_last = np.zeros(0, dtype=np.float32), 0, 0, False
    while not is_last:
        end = first + size + after
        while start + len(buffer) <= end and not is_last:
            block = next(stream, None)
            is_last = block is None
            buffer = buffer if block is None else np.concatenate([buffer, block])
        yield Chunk(buffer[: end - start], start, first, is_last)
        first += size
        begin = max(first - before, 0)
        buffer, start = buffer[begin - start :], begin


def check_signal(samples: np.ndarray, path: str | Path) -> None:
    """Raise an error if a signal (samples,) is silent; the message calls it ``path``.

    Raises
    ------
    AudioError
        All samples are zero, or there are none.

    Examples
    --------
    >>> check_signal(np.zeros(16000), "pause.wav")
    Traceback (most recent call last):
    speechtools.core.errors.AudioError: pause.wav is silent: all of its 16000 samples are zero. Leave it out.
    """
    if not np.any(samples):
        raise AudioError(f"{path} is silent: all of its {len(samples)} samples are zero. Leave it out.")


def write(path: str | Path, samples: np.ndarray, sample_rate: int = 16000) -> None:
    """Write mono 16-bit PCM as WAV or FLAC, by the suffix of ``path``; the file appears whole or not at all.

    A file with the same content is left alone, so its modification time does not change. Samples that :func:`read`
    returned from a 16-bit file are written back bit by bit.

    Parameters
    ----------
    samples : np.ndarray
        (samples,), in [-1, 1].

    Raises
    ------
    AudioError
        The samples are empty, not one-dimensional, not finite or beyond [-1, 1], or the suffix or rate is unsupported.
    CorpusError
        The file cannot be written, for example because the disk is full.
    """
    path = Path(path)
    container = {".wav": "WAV", ".flac": "FLAC"}.get(path.suffix.lower())
    if container is None:
        raise AudioError(f"Cannot write {path}: its suffix {path.suffix!r} is neither .wav nor .flac.")
    samples = np.asarray(samples)
    if samples.ndim != 1 or not samples.size:
        raise AudioError(f"Cannot write {path}: expected mono samples (samples,), got shape {samples.shape}.")
    peak = float(np.abs(samples).max())
    if not np.isfinite(peak):
        raise AudioError(f"Cannot write {path}: its samples contain NaN or infinity.")
    if peak > 1:
        remedy = f"Scale the samples by at most {1 / peak:.4g}."
        raise AudioError(f"Cannot write {path}: its peak is {peak:.4g}, and 16-bit audio clips beyond 1. {remedy}")
    # libsndfile's own conversion scales by 32767, so a file read and written again would differ.
    pcm = np.rint(samples * 32768).clip(-32768, 32767).astype(np.int16)
    encoded = io.BytesIO()  # written by Python, since libsndfile does not say why a write fails
    try:
        soundfile.write(encoded, pcm, sample_rate, format=container, subtype="PCM_16")
    except soundfile.SoundFileError as error:
        raise AudioError(f"Cannot write {path} at {sample_rate} Hz: {error} Use another rate.") from error
    try:
        if path.is_file() and path.read_bytes() == encoded.getbuffer():
            return
        with write_aside(path) as aside:
            aside.write_bytes(encoded.getbuffer())
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        reason = "the disk is full. Free some space" if is_full else f"{error.strerror}. Choose another folder"
        raise CorpusError(f"Cannot write {path}: {reason}, and start again.") from error


def _open(path: Path) -> soundfile.SoundFile:
    """Open a file and check its header."""
    try:
        file = soundfile.SoundFile(str(path))
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: .raw, which has no header
        raise AudioError(_why_unreadable(path, error)) from error
    try:
        _check_header(file, path)
    except AudioError:
        file.close()
        raise
    return file


def _why_unreadable(path: Path, error: Exception) -> str:
    if path.is_dir():
        return f"{path} is a folder, but an audio file is needed. Pass a file in it."
    if not path.exists():
        return f"The audio file {path} does not exist. Check the path."
    if not os.access(path, os.R_OK):
        return f"The audio file {path} is not readable by this user. Change its permissions."
    if path.stat().st_size == 0:
        return f"{path} is empty (0 bytes). {_COPY_AGAIN}"
    if path.suffix.lower() == ".raw":
        return f"{path} has no header with its rate and sample type. Convert it to WAV or FLAC first."
    return f"{path} cannot be read as audio (libsndfile: {_reason(error)}). Convert it to WAV or FLAC, or leave it out."


def _reason(error: Exception) -> str:
    return getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(".")


def _check_header(file: soundfile.SoundFile, path: Path) -> None:
    if file.frames == 0:
        raise AudioError(f"{path} is empty (0 samples). {_COPY_AGAIN}")
    if file.frames >= _UNKNOWN_FRAMES:
        raise AudioError(f"{path} does not state its length: it was encoded into a pipe. Encode it again into a file.")
    declared, actual, unit = _declared_and_actual(file, path)
    if declared > actual:
        raise AudioError(f"{path} is truncated: it has {actual} of the {declared} {unit} in its header. {_COPY_AGAIN}")
    if any(note in file.extra_info for note in _TRUNCATION_NOTES):
        raise AudioError(f"{path} is truncated: it stops in the middle of its data. {_COPY_AGAIN}")


def _declared_and_actual(file: soundfile.SoundFile, path: Path) -> tuple[int, int, str]:
    """Size in the header, size of the file, and their unit; (0, 0, "") if libsndfile reports no difference."""
    if file.format == "NIST":  # SPHERE: libsndfile counts the bytes and ignores this field
        with open(path, "rb") as stream:
            field = re.search(rb"\nsample_count -i (\d+)", stream.read(1024))
        return int(field[1]) if field else 0, file.frames, "samples"
    for pattern, unit in _DECLARED_AND_ACTUAL.items():
        if match := pattern.search(file.extra_info):
            declared = int(match["declared"])
            return declared if declared < _STREAMED_BYTES else 0, int(match["actual"]), unit
    return 0, 0, ""


def _decode(path: Path, sample_rate: int, refuse_silence: bool) -> Iterator[np.ndarray]:
    """Decode a file at ``sample_rate`` in blocks of varying length, with at least one sample in all."""
    with _open(path) as file:
        resampler = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
        count, is_silent = 0, True
        rest = np.zeros(0, dtype=np.float32)  # the end of the resampler's buffer
        for mono in itertools.chain(_mono_blocks(file, path), [rest]):
            piece = mono if file.samplerate == sample_rate else resampler.resample_chunk(mono, last=mono is rest)
            count, is_silent = count + len(piece), is_silent and not piece.any()
            yield piece
        if not count:
            raise AudioError(
                f"{path} is empty: its {file.frames} samples at {file.samplerate} Hz are less than one at "
                f"{sample_rate} Hz. Leave it out."
            )
        if is_silent and refuse_silence:
            raise AudioError(f"{path} is silent: all of its {count} samples are zero. Leave it out.")


def _mono_blocks(file: soundfile.SoundFile, path: Path) -> Iterator[np.ndarray]:
    """Decode the mean of the channels at the file's own rate."""
    count = 0
    while count < file.frames:
        end = min(count + _DECODED_FRAMES, file.frames)
        try:
            frames = file.read(end - count, dtype="float32", always_2d=True)  # (frames, channels)
        except soundfile.SoundFileError as error:
            reason = f"decoding failed between samples {count} and {end} (libsndfile: {_reason(error)})"
            raise AudioError(f"{path} is truncated or damaged: {reason}. {_COPY_AGAIN}") from error
        if len(frames) < end - count:
            reason = f"decoding ended after {count + len(frames)} of its {file.frames} samples"
            raise AudioError(f"{path} is truncated or damaged: {reason}. {_COPY_AGAIN}")
        mono = frames[:, 0] if frames.shape[1] == 1 else frames.mean(axis=1)  # (frames,)
        if not np.isfinite(mono).all():
            seconds = (count + int(np.argmin(np.isfinite(mono)))) / file.samplerate
            raise AudioError(f"{path} contains NaN or infinite samples, the first at {seconds:.3f} s. Export it again.")
        count = end
        yield mono
