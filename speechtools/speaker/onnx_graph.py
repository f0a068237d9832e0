"""A speaker encoder as a graph of ONNX: waveforms in, d-vectors out, with detection of speech and windows."""

from typing import Any

import torch
from torch import Tensor, nn

from speechtools.audio.examples import example_recordings
from speechtools.audio.frames import length_mask, moved_to_front
from speechtools.audio.vad import EnergyVAD
from speechtools.core.errors import ConfigError
from speechtools.core.onnx_export import OnnxGraph
from speechtools.core.onnx_file import encode_array
from speechtools.core.registry import definition
from speechtools.speaker.encoders import LSTMP, folded
from speechtools.speaker.normalization import ASNorm


class EncoderGraph(nn.Module):
    """All that :class:`~speechtools.inference.SpeakerEncoder` computes from waveforms.

    Shape
    -----
    wavs (batch, samples), lengths (batch,) in samples -> d-vectors (batch, emb), those of the windows (batch, windows,
    emb), their number (batch,), speech (batch, time) and its number of samples (batch,). The waveforms are padded on
    the right and have no DC offset.
    """

    def __init__(self, model: Any):
        super().__init__()
        self.features, self.vad = model.features, model.vad
        encoder = model.mods.encoder
        # ONNX has no LSTM with projection; folded, it is the same function.
        self.network = folded(encoder) if isinstance(encoder, LSTMP) else encoder
        self.window, self.hop = model.window_frames, model.window_hop_frames

    def forward(self, wavs: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        """Embed a padded batch."""
        lens = lengths.to(wavs.dtype) / wavs.shape[1]
        if hasattr(self.features, "levelled"):
            wavs = self.features.levelled(wavs, lens)
        speech = self.vad(wavs, lens)
        # (batch, time)
        cut, counts = self._speech(wavs, speech, lengths)
        options = {"level": False} if hasattr(self.features, "levelled") else {}
        feats = self.features(cut, counts.to(wavs.dtype) / cut.shape[1], **options)
        # (batch, frames, size)
        dvectors, windows, numbers = self._windows(feats, self.features.num_frames(counts))
        return dvectors, windows, numbers, speech, counts

    def _speech(self, wavs: Tensor, speech: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Waveforms (batch, samples) without what is not speech, and their lengths (batch,), at least 1."""
        hop, time = self.vad.hop_length, speech.shape[1]
        blocks = nn.functional.pad(wavs, (0, time * hop - wavs.shape[1])).reshape(wavs.shape[0], -1, hop)
        starts = torch.arange(time) * hop
        sizes = (lengths.unsqueeze(1) - starts).clamp(0, hop)
        # (batch, time): only the last block is shorter
        counts = (sizes * speech.long()).sum(dim=1).clamp(min=1)
        _, order = moved_to_front(speech)
        cut = blocks.gather(1, order.unsqueeze(2).expand(-1, -1, hop)).flatten(1)
        return cut, counts

    def _windows(self, feats: Tensor, counts: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """d-vectors (batch, emb) of feats (batch, frames, size), of their windows, and the number of these (batch,)."""
        last = (counts - self.window).clamp(min=0)
        numbers = 1 + (last + self.hop - 1) // self.hop
        starts = torch.minimum(torch.arange(numbers.max()) * self.hop, last.unsqueeze(1))
        # (batch, windows)
        padded = nn.functional.pad(feats, (0, 0, 0, self.window))
        rows = torch.arange(feats.shape[0]) * padded.shape[1]
        places = rows.view(-1, 1, 1) + starts.unsqueeze(2) + torch.arange(self.window)
        windows = padded.flatten(0, 1).index_select(0, places.flatten()).reshape(-1, self.window, feats.shape[2])
        # (batch * windows, window, size)
        lens = (counts.clamp(max=self.window).to(feats.dtype) / self.window).unsqueeze(1).expand_as(starts)
        dvectors = nn.functional.normalize(self.network(windows, lens.flatten()), dim=1)
        dvectors = dvectors.reshape(feats.shape[0], -1, dvectors.shape[1])
        dvectors = dvectors * length_mask(numbers, dvectors.shape[1]).unsqueeze(2)
        return dvectors.sum(dim=1) / numbers.unsqueeze(1), dvectors, numbers


def encoder_graph(model: Any) -> OnnxGraph:
    """Describe the graph of a speaker encoder.

    Raises
    ------
    ConfigError
        It has a component without a form in ONNX.
    """
    normalization = model.normalization
    reason = ""
    if model.segment is not None:
        reason = "it looks for a keyword in a segment"
    elif not isinstance(model.vad, EnergyVAD):
        reason = f"its speech detector is {_plugin(model.vad)}, not vad/energy"
    elif model.min_coverage is not None:
        reason = "its windows follow the rule min_coverage of Resemblyzer"
    elif normalization is not None and not isinstance(normalization, ASNorm):
        reason = f"its scores are normalised by {_plugin(normalization)}, not score-norm/as-norm"
    if reason:
        raise ConfigError(f"The speaker encoder has no form in ONNX: {reason}. Export another model.")
    rate, hparams = model.sample_rate, vars(model.hparams)
    waveforms = torch.randn(2, 4 * rate, generator=torch.Generator().manual_seed(0))
    batch = {0: "batch"}
    return OnnxGraph(
        module=EncoderGraph(model),
        inputs={"wavs": 0.1 * waveforms, "lengths": torch.tensor([4 * rate, 3 * rate])},
        outputs=["dvectors", "windows", "numbers", "speech", "speech_samples"],
        axes={
            "wavs": {0: "batch", 1: "samples"},
            **{name: batch for name in ("lengths", "dvectors", "numbers", "speech_samples")},
            "windows": {0: "batch", 1: "windows"},
            "speech": {0: "batch", 1: "time"},
        },
        values={
            "sample_rate": rate,
            "embedding_size": model.embedding_size,
            "vad_hop_length": model.vad.hop_length,
            "threshold": hparams.get("threshold"),
            "calibration": hparams.get("calibration"),
            "cohort": None if normalization is None else encode_array(normalization.cohort.numpy()),
            "cohort_top": None if normalization is None else normalization.top,
        },
        recordings=example_recordings(rate),
        networks=["network"],
    )


def _plugin(component: Any) -> str:
    """The name of the plugin that a component was built by."""
    return str((definition(component) or {}).get("plugin", type(component).__name__))
