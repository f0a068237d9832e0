"""Plots of speech enhancement."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from speechtools.core.plots import save, spectrogram_panels


def spectrograms(path: str | Path, recordings: Sequence[tuple[str, np.ndarray]], sample_rate: int) -> Path:
    """Draw spectrograms side by side; ``recordings`` are pairs of a title and the samples (samples,)."""
    figure, _ = spectrogram_panels(recordings, sample_rate, height=3.2)
    return save(figure, path)
