"""An enhancer in ONNX form, which enhances recordings without torch."""

import numpy as np

from speechtools.audio.framing import FrameGrid
from speechtools.core.onnx_file import OnnxModel
from speechtools.enhancement.recordings import RecordingEnhancer


class OnnxSpeechEnhancer(RecordingEnhancer, OnnxModel):
    """Speech enhancement by spectral masks, computed by ONNX Runtime.

    ``SpeechEnhancer.from_onnx("e.onnx")`` loads it. ``enhance_file``, ``enhance_blocks``, ``enhance_stretches`` and
    ``enhance_files`` do what those of :class:`~speechtools.inference.SpeechEnhancer` do.
    """

    INTERFACES = ("SpeechEnhancer",)

    def _prepare(self) -> None:
        self.spectrum = FrameGrid()
        self.spectrum.win_length = int(self.values["win_length"])
        self.spectrum.hop_length = int(self.values["hop_length"])
        self.spectrum.padding = int(self.values["padding"])

    def enhance_arrays(self, wavs: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Do as :meth:`RecordingEnhancer.enhance_arrays` requires."""
        return self._run({"wavs": wavs, "lengths": counts.astype(np.int64)})["enhanced"]
