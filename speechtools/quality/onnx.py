"""A Quality-Net in ONNX form, which scores recordings without torch."""

import numpy as np

from speechtools.audio.framing import FrameGrid
from speechtools.core.onnx_file import OnnxModel
from speechtools.measures import Scale
from speechtools.quality.recordings import RecordingScorer


class OnnxQualityNet(RecordingScorer, OnnxModel):
    """Speech quality without a reference, computed by ONNX Runtime.

    ``QualityNet.from_onnx("q.onnx")`` loads it. ``assess_samples``, ``assess_file`` and ``assess_files`` return what
    those of :class:`~speechtools.inference.QualityNet` return.
    """

    INTERFACES = ("QualityNet",)

    def _prepare(self) -> None:
        values = self.values
        self.features = _Features(values)
        self.scale = str(values["scale"])
        self.hop = self.features.hop_length / self.sample_rate
        self.cause_names = tuple(values["cause_names"])
        self.measure_names = tuple(values["measure_names"])
        self.measure = None if values["measure"] is None else Scale(**values["measure"])

    def score_arrays(self, wavs: np.ndarray, counts: np.ndarray, levels: np.ndarray | None = None) -> list[np.ndarray]:
        """Do as :meth:`RecordingScorer.score_arrays` requires."""
        results = self._run(
            {
                "wavs": wavs,
                "lengths": counts.astype(np.int64),
                "levels": np.full(len(wavs), np.nan, np.float32) if levels is None else levels.astype(np.float32),
            }
        )
        arrays = [results[name] for name in ("scores", "frame_scores", "silent")]
        if self.cause_names:
            arrays += [results["causes"], results.get("measures", np.zeros((len(wavs), 0), np.float32))]
        return arrays


class _Features(FrameGrid):
    """The frames of the features, and their level."""

    def __init__(self, values: dict):
        self.win_length, self.hop_length = int(values["win_length"]), int(values["hop_length"])
        self.padding, self.n_fft, self.level = int(values["padding"]), int(values["n_fft"]), str(values["level"])
