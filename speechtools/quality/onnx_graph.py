"""A Quality-Net as a graph of ONNX: waveforms in, scores out."""

from typing import Any

import torch
from torch import Tensor, nn

from speechtools.audio.examples import example_recordings
from speechtools.core.errors import ConfigError
from speechtools.core.onnx_export import OnnxGraph


class QualityGraph(nn.Module):
    """All that :class:`~speechtools.inference.QualityNet` computes from waveforms.

    Shape
    -----
    wavs (batch, samples), lengths (batch,) in samples, levels (batch,) -> scores (batch,), frame scores (batch, time),
    silent (batch, time); with causes, also causes (batch, time, causes) and measures (batch, measures). The waveforms
    are padded on the right and have no DC offset. NaN as level stands for that of the waveform.
    """

    def __init__(self, net: Any):
        super().__init__()
        self.features, self.network = net.features, net.mods.quality
        self.score = net._score

    def forward(self, wavs: Tensor, lengths: Tensor, levels: Tensor) -> tuple[Tensor, ...]:
        """Score a padded batch."""
        return self.score(wavs, lengths.to(wavs.dtype) / wavs.shape[1], levels, details=True)


def quality_graph(net: Any) -> OnnxGraph:
    """Describe the graph of a Quality-Net.

    Raises
    ------
    ConfigError
        Its features have no levels.
    """
    features = net.features
    if not hasattr(features, "levels") or not hasattr(features, "level"):
        raise ConfigError(
            f"Features of the type {type(features).__name__} have no form in ONNX: they need level and levels(), as "
            "features/magnitude has them."
        )
    outputs = ["scores", "frame_scores", "silent", *(["causes", "measures"] if net.cause_names else [])]
    if not net.measure_names:
        outputs = outputs[:4]  # an output without elements would be none in ONNX
    batch = {0: "batch"}
    waveforms = torch.randn(2, 2 * net.sample_rate, generator=torch.Generator().manual_seed(0))
    measure = net.measure
    return OnnxGraph(
        module=QualityGraph(net),
        inputs={
            "wavs": 0.1 * waveforms,
            "lengths": torch.tensor([2 * net.sample_rate, net.sample_rate]),
            "levels": torch.full((2,), torch.nan),
        },
        outputs=outputs,
        axes={
            "wavs": {0: "batch", 1: "samples"},
            **{name: batch for name in ("lengths", "levels", "scores", "measures")},
            **{name: {0: "batch", 1: "time"} for name in ("frame_scores", "silent", "causes")},
        },
        values={
            "sample_rate": net.sample_rate,
            "scale": net.scale,
            "measure": None if measure is None else vars(measure),
            "cause_names": list(net.cause_names),
            "measure_names": list(net.measure_names),
            "level": features.level,
            "n_fft": features.n_fft,
            "win_length": features.win_length,
            "hop_length": features.hop_length,
            "padding": features.padding,
        },
        recordings=example_recordings(net.sample_rate),
        networks=["network"],
    )
