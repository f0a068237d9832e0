"""A keyword detector as a graph of ONNX: samples and a state in, log probabilities and the next state out."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from speechtools.audio.examples import example_recordings
from speechtools.core.errors import ConfigError
from speechtools.core.onnx_export import OnnxGraph
from speechtools.core.onnx_file import encode_array
from speechtools.core.registry import definition


class DetectorGraph(nn.Module):
    """A step of a stream.

    Shape
    -----
    wavs (batch, samples) of whole frames, a multiple of the stride of the network, and the tensors of the state ->
    log probabilities (batch, steps, num_tokens), and the tensors of the next state
    """

    def __init__(self, model: Any):
        super().__init__()
        self.features, self.network = model.features, model.detector
        _, self.structure = pytree.tree_flatten(self.network.start())

    def forward(self, wavs: Tensor, *state: Tensor) -> tuple[Tensor, ...]:
        """Compute the next steps."""
        log_probs, after = self.network.stream(self.features(wavs), pytree.tree_unflatten(list(state), self.structure))
        return log_probs, *pytree.tree_flatten(after)[0]


def detector_graph(model: Any) -> OnnxGraph:
    """Describe the graph of a keyword detector.

    Raises
    ------
    ConfigError
        The plugin of its tokens has no form in ONNX.
    """
    tokens = definition(model.tokens) or {}
    if tokens.get("plugin") != "tokens/sentencepiece":
        raise ConfigError(
            f"The detector has no form in ONNX: its tokens are {tokens.get('plugin', type(model.tokens).__name__)}, "
            "not tokens/sentencepiece. Export another model."
        )
    states, others = (pytree.tree_flatten(model.detector.start(batch))[0] for batch in (1, 2))
    axes: dict[str, dict[int, str]] = {"wavs": {0: "batch", 1: "samples"}, "log_probs": {0: "batch", 1: "steps"}}
    inputs: dict[str, Tensor] = {}
    for number, (state, other) in enumerate(zip(states, others, strict=True)):
        inputs[f"state_{number}"] = other
        sizes = zip(state.shape, other.shape, strict=True)
        batch = {axis: "batch" for axis, (size, larger) in enumerate(sizes) if size != larger}
        axes |= {f"state_{number}": batch, f"next_state_{number}": batch}
    stride, features = model.detector.stride, model.features
    samples = features.num_samples(20 * stride)
    waveforms = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    return OnnxGraph(
        module=DetectorGraph(model),
        inputs={"wavs": waveforms, **inputs},
        outputs=["log_probs", *(f"next_state_{number}" for number in range(len(states)))],
        axes=axes,
        values={
            "sample_rate": model.sample_rate,
            "threshold": model.threshold,
            "confusions": getattr(model.hparams, "confusions", ""),
            "tokens": {key: value for key, value in tokens.items() if key != "plugin"},
            "stride": stride,
            "win_length": features.win_length,
            "hop_length": features.hop_length,
            "states": [encode_array(state.numpy()) for state in states],
        },
        recordings=example_recordings(model.sample_rate),
        networks=["network"],
    )
