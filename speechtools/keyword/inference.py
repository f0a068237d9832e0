"""Find phrases in recordings and streams with a trained keyword detector."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechtools.audio.sources import Channel, Recording
from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError
from speechtools.core.pretrained import BUNDLED_MODELS, PretrainedModel
from speechtools.keyword.confusions import Confusions, unpack_confusions
from speechtools.keyword.onnx import OnnxKeywordDetector
from speechtools.keyword.spotting import KeywordSpotter
from speechtools.keyword.spotting import KeywordStream as KeywordStream

#: The bundled model; its README describes its training and its limits.
BUNDLED_KEYWORD_DETECTOR = BUNDLED_MODELS / "keyword-detector"


class KeywordDetector(KeywordSpotter, PretrainedModel):
    """Finds any phrases in recordings and streams.

    Examples
    --------
    >>> detector = KeywordDetector.from_hparams()  # the bundled model
    >>> detector.spot_file("kitchen.wav", ["ok google", "hey computer:0.6"])  # doctest: +SKIP
    [Hit(keyword='ok google', score=0.83, start=3.21, end=3.87)]
    """

    BUNDLED = BUNDLED_KEYWORD_DETECTOR
    HPARAMS_NEEDED = ["features", "sample_rate", "tokens", "threshold"]
    MODULES_NEEDED = ["detector"]
    #: Largest change of a probability by 8-bit weights.
    INT8_LIMIT = 0.2
    FITTED = ("threshold", "confusions")
    COMPONENTS = {"features": "features", "tokens": "tokens", "detector": "detector"}

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.features, self.sample_rate = self.hparams.features, self.hparams.sample_rate
        self.tokens, self.threshold = self.hparams.tokens, self.hparams.threshold
        self.detector: Any = self.mods.detector
        check_number("threshold", self.threshold, 0, 1)
        if packed := getattr(self.hparams, "confusions", ""):
            self.confusions = unpack_confusions(packed, len(self.tokens))
        self.features.to(self.device)
        if getattr(self.features, "mean_norm", False) or getattr(self.features, "level", None) is not None:
            raise ConfigError("The features of a detector cannot depend on a whole recording. Set mean_norm: False.")
        self.win_length, self.hop_length = self.features.win_length, self.features.hop_length

    def set_confusions(self, confusions: Confusions) -> None:
        """Search by how tokens are misheard; :meth:`save` writes it with the model. Set the threshold anew."""
        self.hparams.confusions = confusions.pack()
        self.confusions = unpack_confusions(self.hparams.confusions, len(self.tokens))

    @property
    def step_seconds(self) -> float:
        """Seconds from one step of the log probabilities to the next."""
        return float(self.detector.stride * self.features.hop_length / self.sample_rate)

    def begin(self) -> Any:
        """Do as :meth:`KeywordSpotter.begin` requires."""
        return self.detector.start()

    @torch.no_grad()
    def listen(self, samples: np.ndarray, state: Any) -> tuple[np.ndarray, Any]:
        """Do as :meth:`KeywordSpotter.listen` requires."""
        feats = self.features(torch.from_numpy(samples).unsqueeze(0).to(self.device))
        # (1, frames, mels)
        log_probs, state = self.detector.stream(feats.to(self.dtype), state)
        return log_probs[0].float().cpu().numpy(), state

    def log_probs(self, path: Recording, *, sample_rate: float | None = None, channel: Channel = "mix") -> Tensor:
        """Return the log probabilities (steps, num_tokens) that :meth:`spot_file` searches, with 0.3 s of silence."""
        return torch.from_numpy(self.all_log_probs(path, sample_rate=sample_rate, channel=channel))

    @classmethod
    def from_onnx(cls, path: str | Path, threads: int | None = None) -> OnnxKeywordDetector:
        """Do as :meth:`PretrainedModel.from_onnx`: load a model in ONNX form, to spot without torch."""
        return OnnxKeywordDetector(path, threads)

    def onnx_graph(self) -> Any:
        """Return what :meth:`to_onnx` writes."""
        from speechtools.keyword.onnx_graph import detector_graph

        return detector_graph(self)

    def onnx_change(self, expected: list[np.ndarray], results: list[np.ndarray]) -> tuple[float, str]:
        """How far probabilities of tokens (:meth:`onnx_results`) have moved, and the same in words."""
        change = max(float(np.abs(a - b).max()) for a, b in zip(expected, results, strict=True))
        return change, f"probabilities of tokens move by up to {change:.3f}"
