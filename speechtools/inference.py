"""Pretrained interfaces: load a trained model and use it on tensors, files and folders.

The names are imported when they are used. Before torch is imported, the interfaces with a form in ONNX are stand-ins
for their classes: ``QualityNet.from_onnx("q.onnx")`` scores without torch, and everything else imports it.
"""

import functools
import importlib
import sys
from typing import TYPE_CHECKING, Any

from speechtools.core.stand_in import StandIn

if TYPE_CHECKING:
    from speechtools.core.pretrained import PretrainedModel
    from speechtools.enhancement.inference import BUNDLED_ENHANCER, SpeechEnhancer
    from speechtools.keyword.inference import BUNDLED_KEYWORD_DETECTOR, KeywordDetector, KeywordStream
    from speechtools.keyword.matching import VoiceHit, VoiceMatch
    from speechtools.keyword.search import Hit
    from speechtools.quality.inference import BUNDLED_QUALITY_NET, QualityNet
    from speechtools.quality.regions import Region
    from speechtools.quality.report import QualityReport
    from speechtools.quality.streams import QualityStream, QualityUpdate
    from speechtools.speaker.diarization import Diarization, SpeakerDiarization
    from speechtools.speaker.inference import BUNDLED_SPEAKER_ENCODER, SpeakerEncoder, WindowDVectors
    from speechtools.speaker.streams import VoiceStream, WindowVoice
    from speechtools.speaker.verdicts import Match, Verdict
    from speechtools.speaker.verification import SpeakerVerification

__all__ = [
    "BUNDLED_ENHANCER",
    "BUNDLED_KEYWORD_DETECTOR",
    "BUNDLED_QUALITY_NET",
    "BUNDLED_SPEAKER_ENCODER",
    "Diarization",
    "Hit",
    "KeywordDetector",
    "KeywordStream",
    "Match",
    "PretrainedModel",
    "QualityNet",
    "QualityReport",
    "QualityStream",
    "QualityUpdate",
    "Region",
    "SpeakerDiarization",
    "SpeakerEncoder",
    "SpeakerVerification",
    "SpeechEnhancer",
    "Verdict",
    "VoiceHit",
    "VoiceMatch",
    "VoiceStream",
    "WindowDVectors",
    "WindowVoice",
]

#: The modules of the names, below ``speechtools``.
_MODULES = {
    "core.pretrained": "PretrainedModel",
    "enhancement.inference": "BUNDLED_ENHANCER SpeechEnhancer",
    "keyword.inference": "BUNDLED_KEYWORD_DETECTOR KeywordDetector KeywordStream",
    "keyword.matching": "VoiceHit VoiceMatch",
    "keyword.search": "Hit",
    "quality.inference": "BUNDLED_QUALITY_NET QualityNet",
    "quality.regions": "Region",
    "quality.report": "QualityReport",
    "quality.streams": "QualityStream QualityUpdate",
    "speaker.diarization": "Diarization SpeakerDiarization",
    "speaker.inference": "BUNDLED_SPEAKER_ENCODER SpeakerEncoder WindowDVectors",
    "speaker.streams": "VoiceStream WindowVoice",
    "speaker.verdicts": "Match Verdict",
    "speaker.verification": "SpeakerVerification",
}
_PLACES = {name: module for module, names in _MODULES.items() for name in names.split()}
#: The forms in ONNX of the interfaces that have one.
_ONNX_FORMS = {
    "KeywordDetector": "keyword.onnx.OnnxKeywordDetector",
    "QualityNet": "quality.onnx.OnnxQualityNet",
    "SpeakerEncoder": "speaker.onnx.OnnxSpeakerEncoder",
    "SpeakerVerification": "speaker.onnx.OnnxSpeakerVerification",
    "SpeechEnhancer": "enhancement.onnx.OnnxSpeechEnhancer",
}


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name in _ONNX_FORMS and "torch" not in sys.modules:
        return StandIn(name, functools.partial(_load, name), functools.partial(_from_onnx, name))
    return _load(name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]


def _load(name: str) -> Any:
    """Import a name, which is an attribute of this module from then on."""
    value = getattr(_module(_PLACES[name]), name)
    if _PLACES[name].startswith(("speaker.", "keyword.")) and "torch" in sys.modules:
        # Quality-Net is in a layer above that of the speaker encoders.
        _module("speaker.inference").SpeakerEncoder.QUALITY_MODEL = staticmethod(_load_quality_net)
    globals()[name] = value
    return value


def _from_onnx(name: str, *args: Any, **kwargs: Any) -> Any:
    """Do what ``from_onnx`` of an interface does."""
    module, _, form = _ONNX_FORMS[name].rpartition(".")
    return getattr(_module(module), form)(*args, **kwargs)


def _load_quality_net(**options: Any) -> Any:
    """Load the bundled Quality-Net."""
    return _load("QualityNet").from_hparams(**options)


def _module(name: str) -> Any:
    return importlib.import_module(f"speechtools.{name}")
