"""Enhance recordings in batches and long ones in chunks, by any form of an enhancer. Without torch."""

import abc
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from speechtools import audio
from speechtools.audio.io import chunks, offset
from speechtools.audio.recordings import as_audio_error, map_recordings, open_source, read_short, stack, without_offset
from speechtools.audio.sources import AudioSource, Channel, Recording
from speechtools.core.errors import AudioError, CorpusError
from speechtools.enhancement.stretches import FADE_SECONDS, Stretches, StretchReplacer


class RecordingEnhancer(abc.ABC):
    """Enhances recordings; a base of :class:`~speechtools.inference.SpeechEnhancer` in torch and in ONNX form.

    Attributes
    ----------
    spectrum : FrameGrid
        The frames of its spectra.
    sample_rate : int
        In Hz.
    """

    #: Longer recordings are enhanced in chunks of this length.
    CHUNK_SECONDS = 60.0
    #: Context of a chunk on both sides, and the length of the cross-fade between chunks.
    CONTEXT_SECONDS = 5.0

    spectrum: Any
    sample_rate: int

    @abc.abstractmethod
    def enhance_arrays(self, wavs: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Enhance waveforms (batch, samples) without offset, of ``counts`` (batch,) samples each."""

    def enhance_waveforms(self, waveforms: list[np.ndarray]) -> list[np.ndarray]:
        """Enhance waveforms (samples,) of any lengths in one batch."""
        enhanced = self.enhance_arrays(*stack([without_offset(samples) for samples in waveforms]))
        return [row[: len(samples)].copy() for row, samples in zip(enhanced, waveforms, strict=True)]

    def onnx_results(self, recordings: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Results that are compared between torch and ONNX: of recordings in one batch, and of the first one alone."""
        return self.enhance_waveforms([*recordings]) + self.enhance_waveforms([*recordings[:1]])

    def enhance_file(
        self, path: Recording, *, sample_rate: float | None = None, channel: Channel = "mix"
    ) -> np.ndarray:
        """Enhance a recording: mono samples (samples,) at the model's ``sample_rate``, without its DC offset.

        Parameters
        ----------
        path : str, bytes, PathLike, BinaryIO, np.ndarray or Tensor
            A path, an open binary file, the bytes of a file, or samples: floats in [-1, 1] or signed integers,
            (samples,) or (channels, samples).
        sample_rate : float, optional
            Rate of samples in Hz, from which they are resampled. Default: that of the model. Files state their own.
        channel : int or "mix"
            A channel, counted from 0, or the mean of all.

        Raises
        ------
        AudioError
            The recording is missing, not audio, truncated, shorter than a window, silent, or lacks the channel; the
            message names it.
        """
        source = open_source(path, self.sample_rate, sample_rate, channel)
        samples = read_short(source, self.sample_rate, self.CHUNK_SECONDS, self.spectrum.win_length)
        if samples is not None:
            return self.enhance_waveforms([samples])[0]
        return np.concatenate(list(self.enhance_blocks(source)))

    def enhance_blocks(
        self, path: Recording, *, sample_rate: float | None = None, channel: Channel = "mix"
    ) -> Iterator[np.ndarray]:
        """Enhance a recording of any length in bounded memory.

        Yields
        ------
        np.ndarray
            Consecutive blocks (samples,) of about :attr:`CHUNK_SECONDS`.

        Raises
        ------
        AudioError
            As in :meth:`enhance_file`.
        """
        source = open_source(path, self.sample_rate, sample_rate, channel)
        for _, enhanced in self._chunks(source, [(0.0, math.inf)]):
            if enhanced is not None:  # every block is in that stretch
                yield enhanced

    def _chunks(self, source: AudioSource, stretches: Stretches) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield a recording in consecutive blocks, with its offset, and each block enhanced, without.

        A block that no stretch (start and end in seconds) touches is not enhanced, which None says.
        """
        hop = self.spectrum.hop_length
        size = max(1, round(self.CHUNK_SECONDS * self.sample_rate / hop)) * hop
        context = max(1, round(self.CONTEXT_SECONDS * self.sample_rate / hop)) * hop
        mean = np.float32(offset(source, self.sample_rate))
        # A chunk is enhanced by its own level and averages, so neighbours are cross-faded.
        rise = np.linspace(0, 1, context, dtype=np.float32)
        fading = None
        for chunk in chunks(source, self.sample_rate, size, before=context, after=2 * context):
            original = chunk.samples[chunk.first - chunk.start :]
            original = original if chunk.is_last else original[:size]
            # The next chunk is faded in after its first sample, so what is enhanced there needs this one, too.
            first, end = chunk.first / self.sample_rate, (chunk.first + len(original) + context) / self.sample_rate
            if not any(start < end and stop > first for start, stop in stretches):
                fading = None
                yield original, None
                continue
            enhanced = self._enhance_chunk(chunk.samples - mean)[chunk.first - chunk.start :]
            if fading is not None:
                enhanced[:context] = rise * enhanced[:context] + fading
            if not chunk.is_last:
                enhanced, fading = enhanced[:size], (1 - rise) * enhanced[size : size + context]
            yield original, enhanced

    def enhance_stretches(
        self,
        path: Recording,
        stretches: Stretches,
        fade: float = FADE_SECONDS,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
    ) -> np.ndarray:
        """Enhance stretches of a recording alone: mono samples (samples,) at the model's ``sample_rate``.

        Outside, the samples are those of :func:`speechtools.audio.read`, bit by bit. Inside, they are those of
        :meth:`enhance_file` with the DC offset of the recording, amplified to the level of its speech and cross-faded
        as by :func:`speechtools.enhancement.stretches.replace_stretches`.

        Parameters
        ----------
        path, sample_rate, channel
            As in :meth:`enhance_file`.
        stretches : sequence of (float, float)
            Start and end of each stretch in seconds. They may overlap, and end at ``math.inf``.
        fade : float
            Length of a cross-fade in seconds. There is none where a stretch begins at 0 or ends at infinity.

        Raises
        ------
        AudioError
            As in :meth:`enhance_file`.
        ConfigError
            A stretch ends before it begins, or ``fade`` is negative.
        """
        blocks = self.enhance_stretch_blocks(path, stretches, fade, sample_rate=sample_rate, channel=channel)
        return np.concatenate(list(blocks))

    def enhance_stretch_blocks(
        self,
        path: Recording,
        stretches: Stretches,
        fade: float = FADE_SECONDS,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
    ) -> Iterator[np.ndarray]:
        """Enhance stretches of a recording of any length, as :meth:`enhance_stretches` does, in bounded memory.

        Yields
        ------
        np.ndarray
            Consecutive blocks (samples,) of about :attr:`CHUNK_SECONDS`.
        """
        StretchReplacer(stretches, self.sample_rate, fade)  # errors come before the recording is read
        source = open_source(path, self.sample_rate, sample_rate, channel)
        samples = read_short(source, self.sample_rate, self.CHUNK_SECONDS, self.spectrum.win_length)
        pairs: Iterable[tuple[np.ndarray, np.ndarray | None]]
        if samples is None:
            pairs = self._chunks(source, stretches)
        else:
            whole = self.enhance_waveforms([samples])[0] if len(stretches) else None
            pairs = [(audio.read(source, self.sample_rate), whole)]
        mean = offset(source, self.sample_rate)
        replace = StretchReplacer(stretches, self.sample_rate, fade, mean, ramp=self.CONTEXT_SECONDS)
        for original, enhanced in pairs:
            yield replace(original, enhanced)

    def write_stretches(
        self,
        path: Recording,
        output: str | Path,
        stretches: Stretches,
        *,
        channel: Channel = "mix",
        comment: str = "",
    ) -> None:
        """Enhance stretches of a recording into a file (.wav, .flac) with a comment, in bounded memory.

        The rest of a 16-bit file at the model's sample rate is copied bit by bit. Of a compressed or resampled one that
        exceeds full scale, the whole is scaled.

        Raises
        ------
        AudioError, CorpusError, ConfigError
            As in :meth:`enhance_stretches`; or the output cannot be written.
        """
        source = open_source(path, self.sample_rate, None, channel)
        self._write_long(lambda: self.enhance_stretch_blocks(source, stretches), output, comment)

    def _enhance_chunk(self, samples: np.ndarray) -> np.ndarray:
        return self.enhance_arrays(samples[None], np.array([len(samples)]))[0]

    def enhance_files(
        self,
        files: Iterable[tuple[Recording, str | Path]],
        batch_size: int = 8,
        *,
        sample_rate: float | None = None,
        channel: Channel = "mix",
        comment: str = "",
    ) -> Iterator[tuple[Any, AudioError | None]]:
        """Enhance many recordings in batches, and write them; ``files`` are pairs of input and output (.wav, .flac).

        The outputs store the ``comment``. A long recording is written block by block. What would clip is scaled: a
        long recording that does is enhanced again, with the gain that its peak needs.

        Yields
        ------
        path : Path or object
            In the order of ``files``: a path, or the file or samples that were passed.
        error : AudioError or None
            The reason why this recording was not enhanced.
        """
        files = list(files)
        results: Iterator[tuple[Any, np.ndarray | AudioSource | AudioError]] = map_recordings(
            [recording for recording, _ in files],
            self.sample_rate,
            process=self.enhance_waveforms,
            process_long=lambda source: source,  # written below
            max_seconds=self.CHUNK_SECONDS,
            batch_size=batch_size,
            min_samples=self.spectrum.win_length,
            samples_rate=sample_rate,
            channel=channel,
        )
        for (recording, result), (_, output) in zip(results, files, strict=True):
            error = result if isinstance(result, AudioError) else None
            try:
                if isinstance(result, AudioSource):
                    self._write_long(functools.partial(self.enhance_blocks, result), output, comment)
                elif not isinstance(result, AudioError):
                    audio.write(output, result / max(1.0, float(np.abs(result).max())), self.sample_rate, comment)
            except CorpusError:  # the disk is full: the others would fail, too
                raise
            except Exception as reason:
                error = as_audio_error(reason, result.name if isinstance(result, AudioSource) else recording)
            yield recording, error

    def _write_long(self, blocks: Callable[[], Iterator[np.ndarray]], output: str | Path, comment: str) -> None:
        """Write the blocks of a recording into a file; they are computed again if they clip."""
        gain, clips = 1.0, True
        while clips:
            peak = 0.0
            try:
                with audio.writer(output, self.sample_rate, comment) as writer:
                    for block in blocks():
                        peak = max(peak, gain * float(np.abs(block).max()))
                        writer.write(np.clip(gain * block, -1, 1))
                    clips = peak > 1.0001  # less than 1 / 32768 is rounding
                    if clips:
                        raise _ClippedError
            except _ClippedError:
                gain /= peak


class _ClippedError(Exception):
    """The samples exceed full scale, so the file must not replace another."""
