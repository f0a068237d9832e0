"""Audio files: find them, read them whole or in blocks, write them.

Whatever libsndfile decodes (any rate, channel count, sample type) comes out as float32, mono, at the rate asked for.
A file that cannot be trusted ends in an :class:`AudioError` that names it, never in fewer samples.
"""

import errno
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
import soxr

from speechtools.core.errors import AudioError, ConfigError, CorpusError
from speechtools.core.files import write_aside

#: Suffixes of audio containers that libsndfile reads. Headerless ``.raw`` and matrices (``.mat``) are left out: their
#: content does not say that it is audio.
SUFFIXES = frozenset(
    ".wav .wave .bwf .rf64 .w64 .flac .ogg .oga .opus .mp2 .mp3 .sph .nist .aif .aiff .aifc .au .snd .caf "
    ".voc .8svx .iff .svx .sf .ircam .paf .pvf .avr .wve .xi .sds".split()
)

_BLOCK_FRAMES = 2**18  # decoded at a time
_COPY_AGAIN = "Copy it again from its source, or leave it out."

# What libsndfile notes in its log, and nowhere else, when a file ends before its header says that it does.
_PROMISED_AND_HELD = {
    # WAV, W64, AU
    re.compile(r"\b(?:data|riff|Data Size) *: (?P<promised>\d+) \(should be (?P<held>\d+)\)"): "bytes",
    # AIFF
    re.compile(r"'COMM' chunk \((?P<promised>\d+)\) not equal .*?'SSND' chunk \((?P<held>\d+)\)", re.S): "samples",
    # RF64
    re.compile(r"frame count (?P<held>\d+) does not match .*?'ds64' chunk of (?P<promised>\d+)"): "samples",
}
_CUT_NOTES = (
    "lacks an end-of-stream bit",  # Ogg
    "without an End-Of-Stream",
    "Junk after the last page",
    "data chunk seems to be truncated",  # GSM in WAV
    "Seems to be a truncated file",  # VOC
)
# Writers that do not know the length yet (a pipe) promise the largest size there is: that is no promise.
_STREAMED_BYTES = 0x7FFF0000
_UNKNOWN_FRAMES = 2**62


def existing_folder(folder: str | Path) -> Path:
    """The folder as an absolute path.

    Raises
    ------
    CorpusError
        It does not exist (the message names the nearest parent that does) or is a file.
    """
    path = Path(os.path.abspath(Path(folder).expanduser()))
    if path.is_dir():
        return path
    if path.exists():
        raise CorpusError(f"{path} is a file, but a folder is needed. Give the folder that holds it.")
    nearest = next(parent for parent in path.parents if parent.is_dir())
    raise CorpusError(f"The folder {path} does not exist; the nearest one that does is {nearest}. Mend the path.")


def find_audio(folder: str | Path) -> list[Path]:
    """All audio files in a folder and the folders below it, sorted; hidden files and folders are skipped.

    A file counts as audio by its suffix, in either case (:data:`SUFFIXES`). Links to folders are followed, once. The
    paths start with ``folder`` as it was given, absolute or not.

    Raises
    ------
    CorpusError
        The folder does not exist or is a file.
    """
    existing_folder(folder)
    found, seen = [], set()
    for parent, folders, names in os.walk(Path(folder).expanduser(), followlinks=True):
        real = os.path.realpath(parent)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(parent, name) for name in names if is_audio_name(name)]
    return sorted(found)


def is_audio_name(name: str) -> bool:
    """Whether a file of this name is taken for audio.

    >>> is_audio_name("SA1.WAV"), is_audio_name("SA1.TXT"), is_audio_name("._SA1.WAV")
    (True, False, False)
    """
    return not name.startswith(".") and os.path.splitext(name)[1].lower() in SUFFIXES


def duration(path: str | Path) -> float:
    """Length of an audio file in seconds, from its header alone.

    Raises
    ------
    AudioError
        The file is missing, no audio, empty, or shorter than its header says as far as that shows without decoding.
    """
    with _open(Path(path)) as file:
        return file.frames / file.samplerate


def read(path: str | Path, sample_rate: int = 16000) -> np.ndarray:
    """Read an audio file: float32, the mean of its channels, resampled by soxr (HQ) where its rate is another.

    Silence is returned as it is; see :func:`check_signal`.

    Returns
    -------
    np.ndarray
        (samples,), float32

    Raises
    ------
    AudioError
        The file is missing, no audio, empty, holds NaN or infinite samples, or is truncated: fewer samples can be
        decoded than its header promises.
    """
    pieces = list(_resampled(Path(path), sample_rate))
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)


def blocks(path: str | Path, sample_rate: int = 16000, seconds: float = 30.0) -> Iterator[np.ndarray]:
    """Read an audio file in consecutive blocks of ``seconds`` (the last may be shorter), in bounded memory.

    Put together, the blocks are what :func:`read` returns. Errors are those of :func:`read`; damage that shows only in
    decoding is raised when it is reached, after the blocks before it.

    Yields
    ------
    np.ndarray
        (seconds * sample_rate,), float32

    Raises
    ------
    AudioError
        As in :func:`read`.
    ConfigError
        ``seconds`` is not even one sample.
    """
    size = round(seconds * sample_rate)
    if size < 1:
        raise ConfigError(
            f"A block of {seconds} s at {sample_rate} Hz holds no sample. Give seconds of at least 1 / sample_rate."
        )
    held, count = [], 0
    for piece in _resampled(Path(path), sample_rate):
        held.append(piece)
        count += len(piece)
        if count >= size:
            joined = np.concatenate(held)
            whole = count - count % size
            yield from joined[:whole].reshape(-1, size)
            held, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(held)


def check_signal(samples: np.ndarray, path: str | Path) -> None:
    """Refuse a signal without any sound. ``samples`` is (samples,); ``path`` is what the message calls it.

    Raises
    ------
    AudioError
        All samples are zero, or there are none.

    Example
    -------
    >>> check_signal(np.zeros(16000), "pause.wav")
    Traceback (most recent call last):
    speechtools.core.errors.AudioError: pause.wav is silent: all of its 16000 samples are zero. Leave it out.
    """
    if not np.any(samples):
        raise AudioError(f"{path} is silent: all of its {len(samples)} samples are zero. Leave it out.")


def write(path: str | Path, samples: np.ndarray, sample_rate: int = 16000) -> None:
    """Write mono 16-bit PCM, as WAV or FLAC by the suffix of ``path``; the file appears whole or not at all.

    A file that is there with the same content is left alone, so that what goes by its time (a PESQ label) still counts.
    Samples (samples,) lie in [-1, 1]. What :func:`read` got from a 16-bit file is written back bit by bit.

    Raises
    ------
    AudioError
        The samples are not one-dimensional, empty, not finite or beyond [-1, 1] (which would clip), or the suffix or
        rate is one that cannot be.
    CorpusError
        The place cannot be written to: the disk is full, say. No other file would fare better there.
    """
    path = Path(path)
    container = {".wav": "WAV", ".flac": "FLAC"}.get(path.suffix.lower())
    if container is None:
        raise AudioError(f"{path} cannot be written: its suffix {path.suffix!r} is neither .wav nor .flac. Use one.")
    samples = np.asarray(samples)
    if samples.ndim != 1 or not samples.size:
        raise AudioError(
            f"{path} cannot be written: its samples have the shape {samples.shape}, but mono audio of at least one "
            "sample, (samples,), is needed. Average the channels or take one of them."
        )
    peak = float(np.abs(samples).max())
    if not np.isfinite(peak):
        raise AudioError(f"{path} cannot be written: its samples hold NaN or infinity. Mend what made them.")
    if peak > 1:
        raise AudioError(
            f"{path} cannot be written: its peak is {peak:.4g}, and 16-bit audio clips beyond 1. "
            f"Scale the samples by at most {1 / peak:.4g}."
        )
    # Not libsndfile's own conversion: it scales by 32767, so that a file read and written again would differ.
    pcm = np.rint(samples * 32768).clip(-32768, 32767).astype(np.int16)
    encoded = io.BytesIO()  # written by Python, because libsndfile does not say why a write fails
    try:
        soundfile.write(encoded, pcm, sample_rate, format=container, subtype="PCM_16")
    except soundfile.SoundFileError as error:
        raise AudioError(
            f"{path} cannot be written as {container} at {sample_rate} Hz: {error} Use another rate."
        ) from error
    try:
        if path.is_file() and path.read_bytes() == encoded.getbuffer():
            return
        with write_aside(path) as aside:
            aside.write_bytes(encoded.getbuffer())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            reason, remedy = "the disk is full", "Free some space, or write to another disk, and start again"
        else:
            reason, remedy = str(error.strerror), "Write to another place, or mend that one"
        raise CorpusError(f"{path} cannot be written: {reason}. {remedy}; no part of the file was left.") from error


def _open(path: Path) -> soundfile.SoundFile:
    """Open a file and check all that its header tells."""
    try:
        file = soundfile.SoundFile(str(path))
    except (soundfile.SoundFileError, TypeError) as error:  # TypeError: the suffix .raw, which has no header to ask
        raise AudioError(_why_unreadable(path, error)) from error
    try:
        _check_header(file, path)
    except AudioError:
        file.close()
        raise
    return file


def _why_unreadable(path: Path, error: Exception) -> str:
    if path.is_dir():
        return f"{path} is a folder, but an audio file is needed. Give one of the files in it."
    if not path.exists():
        return f"The audio file {path} does not exist. Mend the path."
    if not os.access(path, os.R_OK):
        return f"The audio file {path} may not be read by this user. Change its permissions."
    if path.stat().st_size == 0:
        return f"{path} is empty: the file holds 0 bytes. {_COPY_AGAIN}"
    if path.suffix.lower() == ".raw":
        return f"{path} has no header that tells its rate and sample type. Convert it to WAV or FLAC first."
    return (
        f"{path} cannot be read as audio (libsndfile: {_reason(error)}): it is no audio, damaged, or of a "
        "format that libsndfile does not know. Convert it to WAV or FLAC, or leave it out."
    )


def _reason(error: Exception) -> str:
    return getattr(error, "error_string", str(error)).removeprefix("Error : ").rstrip(".")


def _check_header(file: soundfile.SoundFile, path: Path) -> None:
    if file.frames == 0:
        raise AudioError(f"{path} is empty: it is audio of 0 samples. {_COPY_AGAIN}")
    if file.frames >= _UNKNOWN_FRAMES:
        raise AudioError(
            f"{path} does not say how long it is: it was encoded into a pipe. Encode it again into a file "
            "(for example ffmpeg -i old.flac new.flac)."
        )
    log = file.extra_info
    promised, held, unit = _promised_and_held(file, path, log)
    if promised > held:
        raise AudioError(
            f"{path} is truncated: its header promises {promised} {unit} and the file holds {held}. {_COPY_AGAIN}"
        )
    if any(note in log for note in _CUT_NOTES):
        raise AudioError(f"{path} is truncated: it stops in the middle of its data. {_COPY_AGAIN}")


def _promised_and_held(file: soundfile.SoundFile, path: Path, log: str) -> tuple[int, int, str]:
    """How much the header promises, how much the file holds, and of what; nothing where libsndfile has no doubts."""
    if file.format == "NIST":  # SPHERE: libsndfile counts the bytes and never looks at this field
        with open(path, "rb") as opened:
            field = re.search(rb"\nsample_count -i (\d+)", opened.read(1024))
        return int(field[1]) if field else 0, file.frames, "samples"
    for pattern, unit in _PROMISED_AND_HELD.items():
        if match := pattern.search(log):
            promised = int(match["promised"])
            return promised if promised < _STREAMED_BYTES else 0, int(match["held"]), unit
    return 0, 0, ""


def _decoded(file: soundfile.SoundFile, path: Path) -> Iterator[np.ndarray]:
    """The mean of the channels at the file's own rate, block by block."""
    count = 0
    while count < file.frames:
        wanted = min(_BLOCK_FRAMES, file.frames - count)
        try:
            block = file.read(wanted, dtype="float32", always_2d=True)  # (frames, channels)
        except soundfile.SoundFileError as error:
            raise AudioError(
                f"{path} is truncated or damaged: decoding it failed between the samples {count} and {count + wanted} "
                f"(libsndfile: {_reason(error)}). {_COPY_AGAIN}"
            ) from error
        if len(block) < wanted:
            raise AudioError(
                f"{path} is truncated or damaged: its header promises {file.frames} samples, and decoding ended "
                f"after {count + len(block)}. {_COPY_AGAIN}"
            )
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1)  # (frames,)
        if not np.isfinite(mono).all():
            bad = count + int(np.argmin(np.isfinite(mono)))
            raise AudioError(
                f"{path} holds NaN or infinite samples, the first at {bad / file.samplerate:.3f} s. "
                "Mend what made it, or leave it out."
            )
        count += len(mono)
        yield mono


def _resampled(path: Path, sample_rate: int) -> Iterator[np.ndarray]:
    """The file at ``sample_rate``, in pieces of no fixed length, at least one sample in all."""
    with _open(path) as file:
        if file.samplerate == sample_rate:
            yield from _decoded(file, path)
            return
        resampler = soxr.ResampleStream(file.samplerate, sample_rate, 1, dtype="float32", quality="HQ")
        count = 0
        for mono in _decoded(file, path):
            piece = resampler.resample_chunk(mono)
            count += len(piece)
            yield piece
        piece = resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
        if not count + len(piece):
            raise AudioError(
                f"{path} is empty: its {file.frames} samples at {file.samplerate} Hz are not one at {sample_rate} Hz. "
                "Leave it out."
            )
        yield piece
