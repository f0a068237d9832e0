"""The DC offset and the level of a long recording, in bounded memory and without torch."""

import numpy as np

from speechtools.audio.io import OffsetMean


class LevelMeter:
    """Measures a recording segment by segment, as :class:`~speechtools.audio.features.Magnitude` measures a waveform.

    Parameters
    ----------
    block : int
        Samples of a block. All segments but the last one have a multiple of it.

    Examples
    --------
    >>> meter = LevelMeter(2)
    >>> meter.add(np.array([1.0, 3.0, 1.0, 5.0]))
    >>> meter.offset, meter.level("peak")
    (2.5, 2.5)
    """

    def __init__(self, block: int):
        self.block, self.count = block, 0
        self._offset = OffsetMean()
        self._sums: list[np.ndarray] = []
        self._energies: list[np.ndarray] = []
        self._limits: list[np.ndarray] = []

    def add(self, samples: np.ndarray) -> None:
        """Add a segment (samples,)."""
        self._offset.add(samples)
        samples = samples.astype(np.float64)
        starts = np.arange(0, len(samples), self.block)
        self._sums.append(np.add.reduceat(samples, starts))
        self._energies.append(np.add.reduceat(np.square(samples), starts))
        self._limits.append(np.stack([np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)]))
        self.count += len(samples)

    @property
    def offset(self) -> float:
        """The DC offset of the segments so far."""
        return self._offset.value

    def level(self, rule: str) -> float:
        """Level of the segments so far, without their offset, by a rule of ``features/magnitude``."""
        peaks = np.abs(np.concatenate(self._limits, axis=1) - self.offset).max(axis=0)
        # (blocks,)
        if rule == "loud":
            return self._loudest_rms() / 0.3
        if rule != "robust-peak":
            return float(peaks.max())
        rank = min(max(-(-self.count // self.block) // 10, 1), 10)
        limit = 1.5 * np.sort(peaks)[-rank]
        return float(peaks[peaks <= limit].max())

    def _loudest_rms(self) -> float:
        """RMS of the loudest tenth of the blocks."""
        sums, energies = np.concatenate(self._sums), np.concatenate(self._energies)
        lengths = np.full(len(energies), self.block)
        lengths[-1] = self.count - self.block * (len(energies) - 1)
        energies = np.maximum(energies - 2 * self.offset * sums + lengths * self.offset**2, 0)
        num_blocks = max(self.count // (10 * self.block), 1)
        samples = min(num_blocks * self.block, self.count)
        return float(np.sqrt(np.sort(energies)[-num_blocks:].sum() / samples))
