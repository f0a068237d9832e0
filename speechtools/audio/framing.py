"""Where the frames of a waveform lie, without torch."""

from typing import Any

import numpy as np


class FrameGrid:
    """Frames of a waveform.

    Attributes
    ----------
    win_length, hop_length : int
        Window and step in samples.
    padding : int
        Zeros, at most, that are added to a waveform to fill its windows.
    """

    win_length: int
    hop_length: int
    padding: int = 0

    def num_frames(self, samples: Any) -> Any:
        """Number of frames of a waveform of ``samples`` samples (int or integer tensor)."""
        beyond = samples + self.padding - self.win_length
        beyond = beyond.clamp(min=0) if hasattr(beyond, "clamp") else max(beyond, 0)
        return 1 + beyond // self.hop_length

    def num_samples(self, frames: int) -> int:
        """Number of samples that ``frames`` whole windows cover."""
        return self.win_length + (frames - 1) * self.hop_length

    def frame_times(self, samples: int) -> np.ndarray:
        """Middle of each frame of a waveform of ``samples`` samples, in samples."""
        return np.minimum(np.arange(self.num_frames(samples)) * self.hop_length + self.win_length / 2, samples)
