"""Pretrained interfaces: load a trained model and use it on tensors, files and folders."""

from speechtools.core.pretrained import PretrainedModel
from speechtools.enhancement.inference import BUNDLED_ENHANCER, SpeechEnhancer
from speechtools.keyword.inference import KeywordDetector, KeywordStream
from speechtools.keyword.matching import VoiceHit, VoiceMatch
from speechtools.keyword.search import Hit
from speechtools.quality.inference import BUNDLED_QUALITY_NET, QualityNet, QualityReport, Region
from speechtools.quality.streams import QualityStream, QualityUpdate
from speechtools.speaker.diarization import Diarization, SpeakerDiarization
from speechtools.speaker.inference import BUNDLED_SPEAKER_ENCODER, SpeakerEncoder, WindowDVectors
from speechtools.speaker.streams import VoiceStream, WindowVoice
from speechtools.speaker.verification import Match, SpeakerVerification, Verdict

__all__ = [
    "BUNDLED_ENHANCER",
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

# Quality-Net is in a layer above that of the speaker encoders.
SpeakerEncoder.QUALITY_MODEL = QualityNet.from_hparams
