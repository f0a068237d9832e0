"""Encode and decode speech in memory: with soundfile, with PyAV, or with the program ffmpeg.

A *coding* is an encoder with its bit rate, sample rate and options. :func:`code` sends samples of any rate and level
through a coding, and removes its delay.
"""

import functools
import io
import math
import shutil
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Hashable
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import NamedTuple, Protocol

import numpy as np
import soundfile
import soxr

from speechtools.core.errors import SpeechtoolsError
from speechtools.core.installation import optional_package

#: The largest sample that an encoder receives: what it adds must not clip.
PEAK = 0.8
#: Silence behind the speech, longer than the delay of any of the codings.
TAIL_SECONDS = 0.15
#: Encoders in the wheels of PyAV; the others need a program ffmpeg.
AV_ENCODERS = ("aac", "libopencore_amrnb", "libopus")
#: ffmpeg is ended if it takes longer than this.
TIME_LIMIT_SECONDS = 60.0


class Coding(Hashable, Protocol):
    """An encoder and its decoder: hashable, and of few settings, since the delay of each is measured once."""

    @property
    def rate(self) -> int:
        """The sample rate of the encoder in Hz."""

    def round_trip(self, samples: np.ndarray) -> np.ndarray:
        """Encode and decode samples (samples,) float32 at ``rate``; the result may be delayed, longer or shorter."""


@dataclass(frozen=True)
class SoundfileCoding:
    """A coding of libsndfile.

    Parameters
    ----------
    rate : int
        In Hz.
    container, subtype : str
        As in ``soundfile.write``.
    level : float, optional
        libsndfile's compression level, from 0 (the highest bit rate) to 1 (the lowest).
    gain : float
        What the encoder multiplies samples by.
    """

    rate: int
    container: str
    subtype: str
    level: float | None = None
    gain: float = 1.0

    def round_trip(self, samples: np.ndarray) -> np.ndarray:
        """Encode and decode samples (samples,) float32."""
        file = io.BytesIO()
        options: dict = {} if self.level is None else {"compression_level": self.level}
        if self.subtype == "MPEG_LAYER_III":
            options["bitrate_mode"] = "CONSTANT"
        soundfile.write(file, samples, self.rate, format=self.container, subtype=self.subtype, **options)
        file.seek(0)
        decoded, _ = soundfile.read(file, dtype="float32")
        return decoded / np.float32(self.gain)


class Coders(NamedTuple):
    """FFmpeg's names of an encoder, its decoder and its container."""

    encoder: str
    decoder: str
    container: str


@dataclass(frozen=True)
class FFmpegCoding(ABC):
    """A coding of FFmpeg.

    Parameters
    ----------
    rate : int
        In Hz.
    coders : Coders
        FFmpeg's names.
    bit_rate : int
        In bit/s.
    options : tuple of (str, str)
        Options of the encoder.
    delay_bit_rate : int, optional
        The bit rate in bit/s at which the delay is measured, of encoders that follow the waveform at high ones only.
    """

    rate: int
    coders: Coders
    bit_rate: int
    options: tuple[tuple[str, str], ...] = ()
    delay_bit_rate: int | None = None

    @abstractmethod
    def round_trip(self, samples: np.ndarray) -> np.ndarray:
        """Encode and decode samples (samples,) float32."""


class AvCoding(FFmpegCoding):
    """A coding of FFmpeg's libraries, through PyAV."""

    def round_trip(self, samples: np.ndarray) -> np.ndarray:
        """Encode and decode samples (samples,) float32."""
        av = optional_package("av", f"The encoder {self.coders.encoder}", "degradations")
        encoder = av.CodecContext.create(self.coders.encoder, "w")
        encoder.sample_rate, encoder.layout, encoder.bit_rate = self.rate, "mono", self.bit_rate
        encoder.format, encoder.options = encoder.codec.audio_formats[0], dict(self.options)
        encoder.open()
        decoder = av.CodecContext.create(self.coders.decoder, "r")
        decoder.sample_rate, decoder.layout = self.rate, "mono"
        if encoder.extradata:
            decoder.extradata = encoder.extradata
        size = encoder.frame_size or self.rate // 50
        samples = np.pad(samples, (0, -len(samples) % size))
        if encoder.format.name.startswith("s16"):
            samples = np.round(np.clip(samples, -1, 1) * 32767).astype(np.int16)
        decoded = []
        for start in range(0, len(samples) + 1, size):
            frame = None  # flushes the encoder
            if start < len(samples):
                block = np.ascontiguousarray(samples[None, start : start + size])  # (1, size)
                frame = av.AudioFrame.from_ndarray(block, format=encoder.format.name, layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = self.rate, start, Fraction(1, self.rate)
            for packet in encoder.encode(frame):
                decoded += [frame.to_ndarray().ravel() for frame in decoder.decode(packet)]
        decoded += [frame.to_ndarray().ravel() for frame in decoder.decode(None)]
        result = np.concatenate([block for block in decoded if block.size] or [np.zeros(1, np.float32)])
        if result.dtype == np.int16:
            result = result.astype(np.float32) / 32768
        return _resample(result, decoder.sample_rate, self.rate)


class ProgramCoding(FFmpegCoding):
    """A coding of the program ffmpeg, through pipes: two short processes for every call."""

    def round_trip(self, samples: np.ndarray) -> np.ndarray:
        """Encode and decode samples (samples,) float32."""
        raw = ["-f", "f32le", "-ar", str(self.rate), "-ac", "1"]
        options = [word for name, value in self.options for word in (f"-{name}", value)]
        encoder, _, container = self.coders
        coded = self._run(
            [*raw, "-i", "pipe:0", "-c:a", encoder, "-b:a", str(self.bit_rate), *options, "-f", container],
            samples.astype("<f4").tobytes(),
        )
        decoded = self._run(["-i", "pipe:0", *raw], coded)
        return np.frombuffer(decoded, dtype="<f4").astype(np.float32)

    def _run(self, arguments: list[str], data: bytes) -> bytes:
        command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-threads", "1", *arguments, "pipe:1"]
        try:
            done = subprocess.run(command, input=data, capture_output=True, timeout=TIME_LIMIT_SECONDS, check=True)
        except (OSError, subprocess.SubprocessError) as error:
            lines = (getattr(error, "stderr", None) or b"").decode(errors="replace").splitlines()
            reason = lines[0] if lines else str(error)
            message = f"ffmpeg cannot code with {self.coders.encoder}: {reason}. Check the program."
            raise SpeechtoolsError(message) from error
        return done.stdout


def ffmpeg_coding(
    name: str,
    rate: int,
    coders: Coders,
    bit_rate: int,
    options: tuple[tuple[str, str], ...] = (),
    delay_bit_rate: int | None = None,
) -> FFmpegCoding:
    """Return a coding of PyAV, or of the program ffmpeg where PyAV lacks the encoder.

    Parameters
    ----------
    name : str
        The codec's name in messages.
    rate, coders, bit_rate, options, delay_bit_rate
        As in :class:`FFmpegCoding`.

    Raises
    ------
    SpeechtoolsError
        Neither is installed with this encoder.
    """
    encoder = coders.encoder
    if av_has(encoder):
        return AvCoding(rate, coders, bit_rate, options, delay_bit_rate)
    if program_has(encoder):
        return ProgramCoding(rate, coders, bit_rate, options, delay_bit_rate)
    if encoder in AV_ENCODERS:
        optional_package("av", f"The codec {name}", "degradations")
    raise SpeechtoolsError(
        f"The codec {name} needs a program ffmpeg that has the encoder {encoder}; the package av has none. "
        "Install such an ffmpeg, or choose another codec."
    )


@functools.lru_cache(maxsize=1)
def av_is_installed() -> bool:
    """Whether PyAV can be imported."""
    try:
        import av  # noqa: F401
    except ImportError:
        return False
    return True


@functools.lru_cache(maxsize=64)
def av_has(encoder: str) -> bool:
    """Whether PyAV is installed and has an encoder of this name."""
    if not av_is_installed():
        return False
    av = optional_package("av", f"The encoder {encoder}", "degradations")
    try:
        av.Codec(encoder, "w")
    except ValueError:  # av.codec.UnknownCodecError
        return False
    return True


@functools.lru_cache(maxsize=64)
def program_has(encoder: str) -> bool:
    """Whether there is a program ffmpeg on PATH, with an encoder of this name."""
    program = shutil.which("ffmpeg")
    if program is None:
        return False
    command = [program, "-hide_banner", "-h", f"encoder={encoder}"]
    try:
        done = subprocess.run(command, capture_output=True, timeout=TIME_LIMIT_SECONDS, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError):
        return False
    return f"Encoder {encoder} ".encode() in done.stdout


def code(clean: np.ndarray, sample_rate: int, coding: Coding) -> np.ndarray:
    """Send samples (samples,) through a coding: float32 of the same length, level and rate, without delay.

    Silence is returned as it is.
    """
    peak = float(np.abs(clean).max(initial=0.0))
    if peak == 0:
        return clean.astype(np.float32)
    scaled = _resample((clean * (PEAK / peak)).astype(np.float32), sample_rate, coding.rate)
    largest = float(np.abs(scaled).max(initial=0.0))
    if largest > 1:  # between the samples, the peak is higher
        scaled, peak = scaled / np.float32(largest), peak * largest
    decoded = coding.round_trip(np.pad(scaled, (0, math.ceil(TAIL_SECONDS * coding.rate))))
    decoded = _resample(_fit(decoded[delay(coding) :], len(scaled)), coding.rate, sample_rate)
    return _fit(decoded, len(clean)) * np.float32(peak / PEAK)


@functools.lru_cache(maxsize=1024)
def delay(coding: Coding) -> int:
    """The delay of a coding in samples at its rate, at the peak of a cross-correlation: measured once."""
    bit_rate = getattr(coding, "delay_bit_rate", None)
    if bit_rate not in (None, getattr(coding, "bit_rate", None)):
        return delay(replace(coding, bit_rate=bit_rate))  # type: ignore[type-var]
    voice = _voice(coding.rate)
    decoded = coding.round_trip(np.pad(voice, (0, math.ceil(TAIL_SECONDS * coding.rate))))
    size = 2 ** (len(voice) + len(decoded)).bit_length()
    product = np.conj(np.fft.rfft(voice, size)) * np.fft.rfft(decoded, size)
    return int(np.fft.irfft(product, size)[: math.ceil(TAIL_SECONDS * coding.rate)].argmax())


def _voice(rate: int) -> np.ndarray:
    """A second of syllables of many pitches and vowels, so that only one shift agrees: (samples,) float32."""
    draws = np.random.default_rng(5)
    syllables = []
    for pitch in draws.permutation(np.linspace(90, 220, 8)):
        time = np.arange(rate // 8) / rate
        harmonics = pitch * np.arange(1, int(3400 / pitch) + 1)[:, None]  # (harmonics, 1)
        formants = np.array([draws.uniform(300, 800), draws.uniform(1000, 2200)])
        levels = np.exp(-0.5 * np.square((harmonics - formants) / 150)) @ [1.0, 0.5] + 0.01  # (harmonics,)
        phases = 2 * np.pi * harmonics * (time + 0.2 * np.square(time))  # a rising pitch
        syllables.append((levels[:, None] * np.cos(phases)).sum(axis=0) * np.sin(8 * np.pi * time))
    voice = np.concatenate(syllables)
    return (PEAK * voice / np.abs(voice).max()).astype(np.float32)


def _resample(samples: np.ndarray, rate: int, new_rate: int) -> np.ndarray:
    return samples if rate == new_rate else soxr.resample(samples, rate, new_rate)


def _fit(samples: np.ndarray, length: int) -> np.ndarray:
    return np.pad(samples[:length], (0, max(0, length - len(samples)))).astype(np.float32, copy=False)
