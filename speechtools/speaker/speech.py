"""Whether a recording has enough speech for a d-vector, without torch."""

import numpy as np

from speechtools.audio import voicing
from speechtools.core.errors import AudioError


def check_seconds(name: str, seconds: float, speech_seconds: float, least: float) -> None:
    """Raise an AudioError if a recording of some seconds has less than ``least`` seconds of speech."""
    if speech_seconds < least:
        raise AudioError(
            f"{name} ({seconds:.2f} s) contains {speech_seconds:.2f} s of speech, but at least {least} s are needed. "
            "Use a longer or louder recording."
        )


def check_voice(name: str, samples: np.ndarray, speech: np.ndarray, hop_length: int, sample_rate: int) -> None:
    """Raise an AudioError if what a VAD took for speech sounds like noise.

    Parameters
    ----------
    name : str
        Of the recording, for the message.
    samples : np.ndarray
        (samples,), without offset. At other rates than 16 kHz, nothing is checked.
    speech : np.ndarray
        Booleans (time,) of the VAD, one per ``hop_length`` samples.
    """
    if sample_rate != voicing.SAMPLE_RATE:
        return
    if voicing.speech_log_odds(samples, speech, hop_length) < voicing.LIMIT:
        raise AudioError(
            f"No speech was found in {name}: what is loud in it sounds like noise. Use a recording of a voice with "
            "less noise."
        )
