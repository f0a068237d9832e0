"""A keyword detector in ONNX form, which finds phrases without torch."""

from typing import Any

import numpy as np

from speechtools.core.onnx_file import OnnxModel, decode_array
from speechtools.keyword.confusions import unpack_confusions
from speechtools.keyword.spotting import KeywordSpotter
from speechtools.keyword.tokens import SentencePieceTokens


class OnnxKeywordDetector(KeywordSpotter, OnnxModel):
    """Finds any phrases in recordings and streams, computed by ONNX Runtime.

    ``KeywordDetector.from_onnx("k.onnx")`` loads it. ``spot_file``, ``spot``, ``stream`` and ``transcribe`` do what
    those of :class:`~speechtools.inference.KeywordDetector` do.
    """

    INTERFACES = ("KeywordDetector",)

    def _prepare(self) -> None:
        values = self.values
        self.tokens = SentencePieceTokens(**values["tokens"])
        self.threshold = float(values["threshold"])
        if packed := values.get("confusions"):  # lacking in files of earlier versions
            self.confusions = unpack_confusions(packed, len(self.tokens))
        self.win_length, self.hop_length = int(values["win_length"]), int(values["hop_length"])
        self.block_frames = int(values["stride"])
        self._states = [decode_array(state) for state in values["states"]]

    @property
    def step_seconds(self) -> float:
        """Seconds from one step of the log probabilities to the next."""
        return self.block_frames * self.hop_length / self.sample_rate

    def begin(self) -> Any:
        """Do as :meth:`KeywordSpotter.begin` requires."""
        return self._states

    def listen(self, samples: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Do as :meth:`KeywordSpotter.listen` requires."""
        named = {f"state_{number}": array for number, array in enumerate(state)}
        results = self._run({"wavs": samples[None], **named})
        return results["log_probs"][0], [results[f"next_state_{number}"] for number in range(len(state))]
