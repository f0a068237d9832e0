"""Pretrained interfaces: load a trained model and use it on tensors, files and folders."""

from speechtools.inference.enhancement import BUNDLED_ENHANCER, SpeechEnhancer
from speechtools.inference.pretrained import PretrainedModel
from speechtools.inference.quality import BUNDLED_QUALITY_NET, QualityNet, QualityReport, Region
from speechtools.inference.speaker import (
    BUNDLED_SPEAKER_ENCODER,
    SpeakerEncoder,
    SpeakerVerification,
    Verdict,
    WindowDVectors,
)

__all__ = [
    "BUNDLED_ENHANCER",
    "BUNDLED_QUALITY_NET",
    "BUNDLED_SPEAKER_ENCODER",
    "PretrainedModel",
    "QualityNet",
    "QualityReport",
    "Region",
    "SpeakerEncoder",
    "SpeechEnhancer",
    "SpeakerVerification",
    "Verdict",
    "WindowDVectors",
]
