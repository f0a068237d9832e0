"""Blocks of a stream, of any size and rate, as samples at the rate of a model."""

import numpy as np
import soxr

from speechtools.audio.sources import Recording, check_sample_rate, check_samples
from speechtools.core.errors import AudioError

#: Pole of :class:`OffsetFilter`.
_POLE = 0.995


class OffsetFilter:
    """Removes the offset (DC) of a stream, with a filter of one pole: -3 dB at 13 Hz, at 16 kHz.

    The mean of a recording is known at its end only. The samples before a stream are as its first.
    """

    def __init__(self) -> None:
        self.state: np.ndarray | None = None

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Return the next samples (samples,) without offset."""
        from scipy.signal import lfilter  # slow to import

        if not len(samples):
            return samples
        if self.state is None:
            self.state = np.array([-float(samples[0])])
        filtered, self.state = lfilter([1, -1], [1, -_POLE], samples.astype(np.float64), zi=self.state)
        return filtered.astype(np.float32)


class Blocks:
    """The samples of a stream that comes in blocks; any blocks give the same samples.

    Parameters
    ----------
    rate : int
        Of the samples that are returned, in Hz.
    sample_rate : float, optional
        Of the blocks. Default: ``rate``.

    Attributes
    ----------
    is_finished : bool
        Whether the stream has ended.

    Examples
    --------
    >>> blocks = Blocks(16000, sample_rate=8000)
    >>> len(blocks.take(np.zeros(4000))) + len(blocks.finish())
    8000
    """

    def __init__(self, rate: int, sample_rate: float | None = None):
        sample_rate = rate if sample_rate is None else check_sample_rate(sample_rate)
        self._resampler = None if sample_rate == rate else soxr.ResampleStream(sample_rate, rate, 1, quality="HQ")
        self.is_finished = False

    def take(self, block: Recording) -> np.ndarray:
        """Return the samples (samples,) that are known after a further block, the mean of its channels.

        Parameters
        ----------
        block : np.ndarray or Tensor
            Any number of samples, (samples,) or (channels, samples), floats in [-1, 1] or signed integers.

        Raises
        ------
        AudioError
            The block has another shape or type, or contains NaN or infinite samples; or the stream is finished.
        """
        if self.is_finished:
            raise AudioError("The stream is finished. Begin another one.")
        if np.prod(np.shape(block)) == 0:
            return np.zeros(0, dtype=np.float32)
        samples = check_samples(block, "The block").mean(axis=0)
        return samples if self._resampler is None else self._resampler.resample_chunk(samples)

    def finish(self) -> np.ndarray:
        """End the stream, and return the samples (samples,) that the resampling still had."""
        rest = np.zeros(0, dtype=np.float32)
        if self._resampler is not None and not self.is_finished:
            rest = self._resampler.resample_chunk(rest, last=True)
        self.is_finished = True
        return rest
