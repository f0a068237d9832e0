"""Predict speech quality without a reference, with a trained Quality-Net.

>>> net = QualityNet.from_hparams()
>>> scores, frame_scores = net.assess_batch(torch.randn(2, 32000))
>>> scores.shape, frame_scores.shape
(torch.Size([2]), torch.Size([2, 124]))
"""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from speechtools.audio.waveforms import check_lens, check_waveforms, remove_offset
from speechtools.core.errors import ConfigError
from speechtools.core.pretrained import BUNDLED_MODELS, PretrainedModel
from speechtools.measures import Scale
from speechtools.quality.onnx import OnnxQualityNet
from speechtools.quality.outputs import all_outputs, gives_details
from speechtools.quality.recordings import RecordingScorer
from speechtools.quality.regions import Region as Region
from speechtools.quality.report import QualityReport as QualityReport
from speechtools.quality.silence import MIN_SILENCE_SECONDS, score_without_silence
from speechtools.quality.streams import QualityStream

#: The bundled model; its README describes its training.
BUNDLED_QUALITY_NET = BUNDLED_MODELS / "quality-net"


class QualityNet(RecordingScorer, PretrainedModel):
    """Speech quality without a reference.

    Examples
    --------
    >>> net = QualityNet.from_hparams()  # the bundled model
    >>> net.scale
    'raw_nb'
    """

    HPARAMS_NEEDED = ["features", "sample_rate", "scale"]
    MODULES_NEEDED = ["quality"]
    COMPONENTS = {"features": "features", "quality": "quality"}
    BUNDLED = BUNDLED_QUALITY_NET
    #: Largest change of a score by 8-bit weights.
    INT8_LIMIT = 0.2

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.features = self.hparams.features.to(self.device)
        self.sample_rate, self.scale = self.hparams.sample_rate, self.hparams.scale
        self.hop = self.features.hop_length / self.sample_rate
        #: What the network can name as a cause of bad quality.
        self.cause_names = tuple(self.mods.quality.causes) if gives_details(self.mods.quality) else ()
        #: The further scores that the network gives.
        self.measure_names = tuple(getattr(self.mods.quality, "measures", ())) if self.cause_names else ()
        if not isinstance(self.scale, str):
            raise ConfigError(f"Invalid scale {self.scale!r}: it must be a name, such as 'raw_nb'.")
        try:
            with torch.no_grad():
                self.assess_batch(torch.zeros(1, self.sample_rate))
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise ConfigError(
                f"The network does not take these features ({reason}). Both must come from one export."
            ) from error
        #: Range and direction of the scores; None for a scale of which neither a plugin nor the model knows them.
        self.measure = Scale.of(self.scale, self.facts.get("measure"))

    @classmethod
    def from_onnx(cls, path: str | Path, threads: int | None = None) -> OnnxQualityNet:
        """Do as :meth:`PretrainedModel.from_onnx`: load a model in ONNX form, to score without torch."""
        return OnnxQualityNet(path, threads)

    def onnx_graph(self) -> Any:
        """Return what :meth:`to_onnx` writes."""
        from speechtools.quality.onnx_graph import quality_graph

        return quality_graph(self)

    def onnx_change(self, expected: list[np.ndarray], results: list[np.ndarray]) -> tuple[float, str]:
        """How far scores (:meth:`onnx_results`) have moved, and the same in words."""
        changes = np.abs(expected[0] - results[0])
        return float(changes.max()), f"scores move by up to {changes.max():.3f} (mean {changes.mean():.3f})"

    def response(self, wavs: Tensor) -> Tensor:
        """The frame scores (1, time) of waveforms (1, samples)."""
        return self.assess_batch(wavs)[1]

    def assess_batch(
        self, wavs: Tensor, wav_lens: Tensor | None = None, levels: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Score waveforms. Gradients flow to ``wavs``, so the score can serve as a perceptual loss.

        Parameters
        ----------
        wavs : Tensor
            (batch, samples) or (samples,) at the model's ``sample_rate``, padded on the right.
        wav_lens : Tensor, optional
            Relative lengths (batch,) in (0, 1]. Default: no padding.
        levels : Tensor, optional
            Levels (batch,) to normalise by. Default: the level of each waveform.

        Returns
        -------
        scores : Tensor
            (batch,)
        frame_scores : Tensor
            (batch, time), 0 beyond the end of a waveform.

        Raises
        ------
        AudioError
            The waveforms have another shape or type, are empty, or contain NaN or infinite samples; or a length is not
            in (0, 1].
        """
        wavs = self._to_signal(check_waveforms(wavs))
        lens = check_lens(wav_lens, wavs)
        scores, frame_scores, *_ = self._score(remove_offset(wavs, lens), lens, levels)
        return scores, frame_scores

    def stream(self, sample_rate: float | None = None) -> QualityStream:
        """Begin a stream that takes blocks of samples, and gives scores, causes and regions as soon as they are known.

        Parameters
        ----------
        sample_rate : float, optional
            Of the blocks, in Hz. Default: that of the model.

        Raises
        ------
        ConfigError
            The model needs whole recordings, or the rate is out of range.
        """
        return QualityStream(self, sample_rate)

    def _score(self, wavs: Tensor, lens: Tensor, levels: Tensor | None, details: bool = False) -> tuple[Tensor, ...]:
        """Score waveforms without offset: scores (batch,), frame scores (batch, time), silent frames (batch, time).

        With ``details``, the probabilities of the causes (batch, time, causes) and the further scores (batch, measures)
        are added if the network gives them.
        """
        feats = self.features(wavs, lens, levels).to(self.dtype)
        lens = self.features.frame_lens(lens, wavs.shape[1])
        min_frames = round(MIN_SILENCE_SECONDS / self.hop)
        if hasattr(self.features, "mean_magnitudes"):
            magnitudes = self.features.mean_magnitudes(feats.detach())
        else:  # silence is not known
            magnitudes = torch.full(feats.shape[:2], torch.inf, device=feats.device)
        network = self._explained if details and self.cause_names else self.mods.quality
        scores, frame_scores, silent, *others = score_without_silence(network, feats, lens, magnitudes, min_frames)
        others = [values.to(wavs.dtype) for values in others]
        return scores.to(wavs.dtype), frame_scores.to(wavs.dtype), silent, *others

    def _explained(self, feats: Tensor, lens: Tensor) -> tuple[Tensor, ...]:
        scores, frame_scores, causes, measures = all_outputs(self.mods.quality, feats, lens)
        assert causes is not None  # as gives_details() says
        further = [measures[name] for name in self.measure_names]
        return (
            scores,
            frame_scores,
            causes.sigmoid(),
            torch.stack(further, 1) if further else scores.new_zeros(len(scores), 0),
        )

    @torch.inference_mode()
    def score_arrays(self, wavs: np.ndarray, counts: np.ndarray, levels: np.ndarray | None = None) -> list[np.ndarray]:
        """Do as :meth:`RecordingScorer.score_arrays` requires."""
        signal = self._to_signal(torch.from_numpy(wavs))
        # float64, since a relative length in float32 can miss a sample of a long recording
        lens = torch.from_numpy(counts / wavs.shape[1]).to(self.device)
        known = None if levels is None else torch.from_numpy(levels).to(self.device)
        return [result.cpu().numpy() for result in self._score(signal, lens, known, details=True)]
