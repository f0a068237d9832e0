"""Read recordings as float32 mono at the requested rate.

libsndfile decodes the usual formats, and the program ``ffmpeg``, where it is installed, the others. A damaged file
raises an :class:`AudioError` that names it; it never yields fewer samples.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr

from speechtools.audio.finding import SUFFIXES as SUFFIXES
from speechtools.audio.finding import existing_folder as existing_folder
from speechtools.audio.finding import find_audio as find_audio
from speechtools.audio.finding import is_audio_name as is_audio_name
from speechtools.audio.sources import AudioSource, Channel, Recording
from speechtools.audio.writing import write as write
from speechtools.audio.writing import writer as writer
from speechtools.core.errors import AudioError, ConfigError

#: Of a block. Samples of 32-bit integers that are not divided have less; more overflows in resampling and in spectra.
_LARGEST_ENERGY = 1e30


def duration(path: Recording) -> float:
    """Length of a recording in seconds, from its header; what has none, such as m4a, is decoded.

    Raises
    ------
    AudioError
        The file is missing, not audio, empty, or truncated as far as the header shows.
    """
    seconds = 0.0
    for stream in _source(path).streams():
        frames = sum(len(block) for block in stream.blocks()) if stream.frames is None else stream.frames
        seconds += frames / stream.rate
    return seconds


def read(
    path: Recording, sample_rate: int = 16000, refuse_silence: bool = False, channel: Channel = "mix"
) -> np.ndarray:
    """Read a recording: the mean of its channels, resampled to ``sample_rate`` by soxr (HQ).

    Parameters
    ----------
    path : str, bytes, PathLike, BinaryIO, np.ndarray, Tensor or AudioSource
        A path, an open binary file, the bytes of a file, or samples at ``sample_rate``, as in
        :class:`~speechtools.audio.sources.AudioSource`.
    channel : int or "mix"
        A channel, counted from 0, instead of the mean of all.

    Returns
    -------
    np.ndarray
        (samples,), float32

    Raises
    ------
    AudioError
        The file is missing, not audio, empty, truncated, contains NaN or infinite samples, lacks the channel, or is
        silent although ``refuse_silence`` is true.
    """
    segments = list(decode(_source(path, sample_rate, channel), sample_rate, refuse_silence))
    return segments[0] if len(segments) == 1 else np.concatenate(segments)


def blocks(
    path: Recording,
    sample_rate: int = 16000,
    seconds: float = 30.0,
    refuse_silence: bool = False,
    channel: Channel = "mix",
) -> Iterator[np.ndarray]:
    """Read a recording in consecutive blocks of ``seconds``, in bounded memory; the last one may be shorter.

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
    for segment in decode(_source(path, sample_rate, channel), sample_rate, refuse_silence):
        rest = np.concatenate([rest, segment])
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


def chunks(path: Recording, sample_rate: int, size: int, before: int = 0, after: int = 0) -> Iterator[Chunk]:
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


class OffsetMean:
    """The DC offset of a recording: the mean of the samples that differ from their neighbour, or of all if none does.

    In digital silence, all samples are equal, and its offset need not be that of the sound.

    Examples
    --------
    >>> mean = OffsetMean()
    >>> mean.add(np.array([0.0, 0.0, 1.0, 3.0, 1.0, 3.0, 3.0]))
    >>> mean.value
    2.0
    """

    def __init__(self) -> None:
        self.varying, self.all = [0.0, 0], [0.0, 0]  # sum and number

    def add(self, samples: np.ndarray) -> None:
        """Add a segment (samples,)."""
        varies = np.diff(samples) != 0
        varies = np.concatenate([varies[:1], varies])  # the first sample has its neighbour behind it
        for total, values in ((self.varying, samples[: len(varies)][varies]), (self.all, samples)):
            total[0] += float(values.sum(dtype=np.float64))
            total[1] += len(values)

    @property
    def value(self) -> float:
        """The offset of the segments so far."""
        total, count = self.varying if self.varying[1] else self.all
        return total / count


def offset(path: Recording, sample_rate: int) -> float:
    """DC offset of a recording (:class:`OffsetMean`), in bounded memory.

    Raises
    ------
    AudioError
        As in :func:`read`.
    """
    mean = OffsetMean()
    for segment in decode(_source(path, sample_rate), sample_rate):
        mean.add(segment)
    return mean.value


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


class TooLongError(Exception):
    """A recording is longer than the limit of :func:`decode`."""


def decode(
    source: AudioSource, sample_rate: int, refuse_silence: bool = False, max_seconds: float = math.inf
) -> Iterator[np.ndarray]:
    """Decode a recording at ``sample_rate`` in segments (samples,) of varying length, with at least one sample in all.

    Raises
    ------
    AudioError
        As in :func:`read`.
    TooLongError
        A header declares more than ``max_seconds``.
    """
    count, frames, rate, channels = 0, 0, 0.0, 1
    power = mono_power = 0.0
    first, is_constant = None, True
    for stream in source.streams():
        rate, channels = stream.rate, max(channels, stream.channels)
        if stream.frames is not None and stream.frames > max_seconds * rate:
            raise TooLongError
        resampler = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, quality="HQ")
        is_mix = source.channel == "mix" and stream.channels > 1
        for block in stream.blocks():
            mono = source.mono(block)  # (frames,)
            energy = float(np.vdot(mono, mono))
            if not energy < _LARGEST_ENERGY:  # also NaN
                is_finite = np.isfinite(mono)
                if is_finite.all():
                    reason = f"contains samples of {np.abs(mono).max():.3g} instead of [-1, 1]. Export it again."
                else:
                    seconds = (frames + int(np.argmin(is_finite))) / rate
                    reason = f"contains NaN or infinite samples, the first at {seconds:.3f} s. Export it again."
                raise AudioError(f"{source.name} {reason}")
            first = mono[0] if first is None else first
            is_constant = is_constant and mono[-1] == first and bool((mono == first).all())
            frames += len(mono)
            if is_mix:
                power += float(np.vdot(block, block)) / stream.channels
                mono_power += energy
            segment = mono if resampler is None else resampler.resample_chunk(mono)
            count += len(segment)
            yield segment
        if resampler is not None:
            segment = resampler.resample_chunk(np.zeros(0, dtype=np.float32), last=True)
            count += len(segment)
            yield segment
    if not count:
        raise AudioError(
            f"{source.name} is empty: its {frames} samples at {rate:g} Hz are less than one at {sample_rate} Hz. "
            "Leave it out."
        )
    cancels = mono_power == 0 < power
    if is_constant and refuse_silence and not cancels and (first == 0 or frames > 1):
        values = "zero" if first == 0 else "the same"
        raise AudioError(f"{source.name} is silent: all of its {count} samples are {values}. Leave it out.")
    source.check_cancellation(power, mono_power, channels, refuse_silence)


def _source(recording: Recording, sample_rate: float = 16000, channel: Channel = "mix") -> AudioSource:
    return recording if isinstance(recording, AudioSource) else AudioSource(recording, sample_rate, channel)
