"""What all pretrained interfaces do with recordings: find and read them, and process many of them. Without torch."""

import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from speechtools.audio import ffmpeg
from speechtools.audio.finding import (
    FFMPEG_SUFFIXES,
    SUFFIXES,
    UNREADABLE_SUFFIXES,
    UnusablePath,
    walk,
    why_irregular,
)
from speechtools.audio.io import OffsetMean, TooLongError, decode
from speechtools.audio.sources import AudioSource, Channel, Recording, is_path
from speechtools.core.errors import AudioError, ConfigError, first_of
from speechtools.core.moved import former_names

__getattr__ = former_names(__name__)

Result = TypeVar("Result")

#: A shorter recording is scored with a warning: models are trained on whole utterances.
SHORT_SECONDS = 0.25


def find_recordings(paths: Iterable[str | Path]) -> list[Path]:
    """List files, and the audio files in folders, each once. A missing file is listed; reading it reports it.

    Files in folders that only ffmpeg reads are listed if it is installed. A warning names the files with sound that are
    left out. What else cannot be read, such as a named pipe or a folder without permission, is listed as an
    :class:`~speechtools.audio.finding.UnusablePath`, and reading it reports the reason.

    Raises
    ------
    ConfigError
        There is no audio file. A folder without one is listed as unusable if there are other recordings.
    """
    recordings: dict[Path, None] = {}
    empty: list[UnusablePath] = []
    for path in map(Path, paths):
        inside = _find_in_folder(path) if os.path.isdir(path) else [path]
        empty += [folder for folder in inside if folder == path and isinstance(folder, UnusablePath)]
        recordings.update(dict.fromkeys(inside))
    if empty and len(empty) == len(recordings):
        raise ConfigError(f"The folder {empty[0]} {empty[0].reason}")
    return list(recordings)


def _find_in_folder(folder: Path) -> list[Path]:
    """List the recordings in a folder, or the folder itself as unusable."""
    suffixes = SUFFIXES | FFMPEG_SUFFIXES if ffmpeg.is_available() else SUFFIXES
    recordings, left_out = [], []
    for path in walk(folder):
        suffix = path.suffix.lower()
        if isinstance(path, UnusablePath) or suffix in suffixes:
            recordings.append(_checked(path))
        elif suffix in FFMPEG_SUFFIXES | UNREADABLE_SUFFIXES:
            left_out.append(path)
    reason = "contains no audio file. Pass files, or a folder of recordings."
    if left_out:
        names = first_of(sorted(str(path.relative_to(folder)) for path in left_out))
        needs_ffmpeg = any(path.suffix.lower() in FFMPEG_SUFFIXES for path in left_out)
        remedy = "Install ffmpeg to read them." if needs_ffmpeg else "Convert them to WAV or FLAC."
        files = "1 file was" if len(left_out) == 1 else f"{len(left_out)} files were"
        if recordings:
            warnings.warn(f"{files} not read in {folder}: {names}. {remedy}", stacklevel=3)
        reason = f"contains no audio file that can be read; {files} not read: {names}. {remedy}"
    if not recordings:
        return [UnusablePath.because(folder, reason)]
    return sorted(recordings)


def _checked(path: Path) -> Path:
    """Return a path in a folder as unusable if it is not a regular file; other problems show when it is read."""
    try:
        reason = None if isinstance(path, UnusablePath) else why_irregular(os.stat(path).st_mode)
    except OSError:
        return path
    return path if reason is None else UnusablePath.because(path, reason)


def as_list(recordings: Iterable[Recording] | Recording) -> Iterable[Recording]:
    """Return several recordings as they are, and a single one in a list.

    >>> as_list("one.wav"), as_list(["a.wav", "b.wav"])
    (['one.wav'], ['a.wav', 'b.wav'])
    """
    is_single = is_path(recordings) or isinstance(recordings, (AudioSource, bytes, bytearray, memoryview))
    if is_single or hasattr(recordings, "read") or hasattr(recordings, "dtype"):
        return [recordings]
    if not isinstance(recordings, Iterable):
        raise AudioError(f"Expected recordings, got {type(recordings).__name__}. Pass a list of files or samples.")
    return recordings


def open_source(
    recording: Recording, default_rate: float, sample_rate: float | None = None, channel: Channel = "mix"
) -> AudioSource:
    """Return a recording as a source that may be a pipe; ``sample_rate`` is that of samples.

    Raises
    ------
    AudioError, ConfigError
        As in :class:`~speechtools.audio.sources.AudioSource`.
    """
    if isinstance(recording, AudioSource):
        return recording
    return AudioSource(recording, default_rate if sample_rate is None else sample_rate, channel, takes_pipes=True)


def read_short(source: AudioSource, sample_rate: int, max_seconds: float, min_samples: int = 1) -> np.ndarray | None:
    """Read a recording (samples,) without its mean, its DC offset; None if it lasts longer than ``max_seconds``.

    A recording shorter than :data:`SHORT_SECONDS` gives a warning if ``min_samples`` are more than one.

    Raises
    ------
    AudioError
        The recording cannot be read, is silent, or has less than ``min_samples``.
    """
    segments, count = [], 0
    try:
        for segment in decode(source, sample_rate, refuse_silence=True, max_seconds=max_seconds):
            segments.append(segment)
            count += len(segment)
            if count > max_seconds * sample_rate:
                return None
    except TooLongError:
        return None
    if count < min_samples:
        raise AudioError(
            f"{source.name} is too short: it lasts {1000 * count / sample_rate:.3g} ms, but at least one window of "
            f"{1000 * min_samples / sample_rate:g} ms is needed. Leave it out."
        )
    if min_samples > 1 and count < SHORT_SECONDS * sample_rate:
        seconds = f"{count / sample_rate:.2f} s"
        warnings.warn(f"{source.name} has only {seconds} of sound, so its result is unreliable.", stacklevel=2)
    samples = segments[0] if len(segments) == 1 else np.concatenate(segments)
    return without_offset(samples)


def without_offset(samples: np.ndarray) -> np.ndarray:
    """Subtract from samples (samples,) their mean, a DC offset, as :class:`~speechtools.audio.io.OffsetMean` does."""
    mean = OffsetMean()
    mean.add(samples)
    return samples - np.float32(mean.value)


def stack(waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Pad waveforms on the right: (batch, samples), float32, and their numbers of samples (batch,).

    >>> wavs, counts = stack([np.ones(4), np.ones(2)])
    >>> wavs.shape, counts.tolist()
    ((2, 4), [4, 2])
    """
    counts = np.array([len(samples) for samples in waveforms])
    wavs = np.zeros((len(counts), counts.max()), dtype=np.float32)
    for row, samples in zip(wavs, waveforms, strict=True):
        row[: len(samples)] = samples
    return wavs, counts


def group_size(batch_size: int) -> int:
    """Recordings in a row that :func:`map_recordings` sorts into batches, independently of all others."""
    return 2 * batch_size


def map_recordings(
    recordings: Iterable[Recording] | Recording,
    sample_rate: int,
    process: Callable[[list[Any]], Sequence[Result]],
    process_long: Callable[[AudioSource], Result],
    max_seconds: float,
    batch_size: int = 32,
    prepare: Callable[[np.ndarray, AudioSource], Sized] | None = None,
    min_samples: int = 1,
    samples_rate: float | None = None,
    channel: Channel = "mix",
) -> Iterator[tuple[Any, Result | AudioError]]:
    """Process many recordings in batches of similar length, while the next ones are read, in bounded memory.

    Whatever fails, fails for one recording: a batch that fails is processed again, one recording at a time.

    Parameters
    ----------
    recordings : iterable
        Paths, open files, bytes or samples, or one of them.
    sample_rate : int
        Rate of the model.
    process : callable
        Process a batch of recordings of at most ``max_seconds``, and return a list of results. A recording is an array
        (samples,), or what ``prepare`` returns.
    process_long : callable
        Process a longer recording.
    prepare : callable, optional
        Prepare a recording in the thread that reads it. The length of what it returns sorts the batches.
    min_samples : int
        Shorter recordings are refused, as in :func:`read_short`.
    samples_rate : float, optional
        Rate of recordings that are samples. Default: that of the model.
    channel : int or "mix"
        A channel, counted from 0, or the mean of all.

    Yields
    ------
    recording : Path or object
        The recordings in their order; names of files as paths.
    result : Result or AudioError
        The result, or the reason why this recording has none.

    Raises
    ------
    ConfigError
        ``batch_size`` is less than 1.
    """
    if batch_size < 1:
        raise ConfigError(f"Invalid batch_size={batch_size}: it must be at least 1.")

    def load(recording: Recording) -> tuple[AudioSource, Sized | None]:
        source = open_source(recording, sample_rate, samples_rate, channel)
        samples = read_short(source, sample_rate, max_seconds, min_samples)
        if samples is None or prepare is None:
            return source, samples
        return source, prepare(samples, source)

    def read_ahead() -> list[tuple[Any, Future]]:
        group = islice(remaining, group_size(batch_size))
        return [(_key(recording), pool.submit(load, recording)) for recording in group]

    remaining = iter(as_list(recordings))
    pool = ThreadPoolExecutor(2)
    try:
        ahead = read_ahead()
        while ahead:  # two groups are in memory at a time
            group, ahead = ahead, read_ahead()
            yield from _process_group(group, process, process_long, batch_size)
    finally:
        pool.shutdown(cancel_futures=True)


def _key(recording: Recording) -> Any:
    """What the result of a recording is returned with."""
    if isinstance(recording, Path) or not is_path(recording):
        return recording
    return Path(os.fsdecode(recording))


def _process_group(
    group: list[tuple[Any, Future]],
    process: Callable[[list[Any]], Sequence[Result]],
    process_long: Callable[[AudioSource], Result],
    batch_size: int,
) -> Iterator[tuple[Any, Result | AudioError]]:
    results: dict[int, Result | AudioError] = {}
    items: list[tuple[int, AudioSource, Sized]] = []
    for number, (recording, future) in enumerate(group):
        try:
            source, item = future.result()
            if item is None:
                results[number] = process_long(source)
            else:
                items.append((number, source, item))
        except Exception as error:
            results[number] = as_audio_error(error, recording)
    items.sort(key=lambda triple: len(triple[2]))
    for first in range(0, len(items), batch_size):
        results.update(_process_batch(items[first : first + batch_size], process))
    for number, (recording, _) in enumerate(group):
        yield recording, results[number]


def _process_batch(
    batch: list[tuple[int, AudioSource, Sized]], process: Callable[[list[Any]], Sequence[Result]]
) -> dict[int, Result | AudioError]:
    """Process a batch, or one recording at a time if it fails: memory may be short, or one of them be the cause."""
    try:
        results = process([item for _, _, item in batch])
    except Exception as error:
        if len(batch) == 1:
            return {batch[0][0]: as_audio_error(error, batch[0][1].name)}
    else:
        return {number: result for (number, _, _), result in zip(batch, results, strict=True)}
    return {number: result for triple in batch for number, result in _process_batch([triple], process).items()}


def as_audio_error(error: Exception, recording: Any) -> AudioError:
    """Return whatever went wrong with a recording as an error that names it."""
    if isinstance(error, AudioError):
        return error
    name = recording if isinstance(recording, (str, Path)) else "The recording"
    audio_error = AudioError(f"{name} cannot be processed ({type(error).__name__}: {error}).")
    audio_error.__cause__ = error
    return audio_error
