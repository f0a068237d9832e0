"""An enhancer as a graph of ONNX: waveforms in, enhanced waveforms out."""

from typing import Any

import torch
from torch import Tensor, nn

from speechtools.audio.examples import example_recordings
from speechtools.core.onnx_export import OnnxGraph


class EnhancerGraph(nn.Module):
    """All that :class:`~speechtools.inference.SpeechEnhancer` computes from waveforms.

    Shape
    -----
    wavs (batch, samples), lengths (batch,) in samples -> enhanced (batch, samples). The waveforms are padded on the
    right and have no DC offset.
    """

    def __init__(self, enhancer: Any):
        super().__init__()
        self.spectrum, self.network = enhancer.spectrum, enhancer.mods.enhancer
        self.enhance = enhancer._enhance

    def forward(self, wavs: Tensor, lengths: Tensor) -> Tensor:
        """Enhance a padded batch."""
        return self.enhance(wavs, lengths.to(wavs.dtype) / wavs.shape[1])


def enhancer_graph(enhancer: Any) -> OnnxGraph:
    """Describe the graph of an enhancer."""
    rate, spectrum = enhancer.sample_rate, enhancer.spectrum
    waveforms = torch.randn(2, 2 * rate, generator=torch.Generator().manual_seed(0))
    return OnnxGraph(
        module=EnhancerGraph(enhancer),
        inputs={"wavs": 0.1 * waveforms, "lengths": torch.tensor([2 * rate, rate])},
        outputs=["enhanced"],
        axes={
            "wavs": {0: "batch", 1: "samples"},
            "lengths": {0: "batch"},
            "enhanced": {0: "batch", 1: "samples"},
        },
        values={
            "sample_rate": rate,
            "win_length": spectrum.win_length,
            "hop_length": spectrum.hop_length,
            "padding": spectrum.padding,
        },
        recordings=example_recordings(rate),
        networks=["network"],
    )
