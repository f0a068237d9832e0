"""The voices that are enrolled with a model."""

import copy
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from speechtools.core.errors import ConfigError
from speechtools.speaker.calibration import COSINE, Side
from speechtools.speaker.voices import Voice, Voices, read_voices, unknown_voice, write_voices

_Enrolled = TypeVar("_Enrolled", bound="EnrolledVoices")


class EnrolledVoices:
    """The part of :class:`~speechtools.speaker.verification.SpeakerVerification` that keeps voices.

    Attributes
    ----------
    voices : dict
        Voiceprints (embedding_size,) by name.
    """

    #: What scores are. A subclass with other scores has another name here, so that its voices are not mixed with these.
    SCALE = COSINE
    model_id: str
    embedding_size: int

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.voices: dict[str, Tensor] = {}
        # The voiceprint of each voice with its details, which are outdated when `voices` has another tensor.
        self._details: dict[str, tuple[Tensor, Voice]] = {}

    def voice(self, name: str) -> Tensor:
        """Return the voiceprint (embedding_size,) of an enrolled voice."""
        if name not in self.voices:
            raise ConfigError(unknown_voice(name, self.voices))
        return self.voices[name]

    def details(self, name: str) -> Voice:
        """Return an enrolled voice as files of voices store it, with what is known of its recordings."""
        voiceprint = self.voice(name)
        tensor, details = self._details.get(name, (None, None))
        return details if details and tensor is voiceprint else Voice(voiceprint.detach().cpu().float().numpy())

    def save_voices(self, path: str | Path) -> None:
        """Write the enrolled voices to an .npz file, with the fingerprint of the model and a checksum.

        An earlier file of voices is replaced. :func:`speechtools.speaker.voices.edit_voices` changes a file that other
        processes change, too.

        Raises
        ------
        ConfigError
            The path is a file of another kind.
        """
        voices = {name: self.details(name) for name in self.voices}
        write_voices(path, Voices(self.model_id, voices, self.SCALE))

    def load_voices(self, path: str | Path) -> None:
        """Add the voices of a file written by :meth:`save_voices`.

        Raises
        ------
        ConfigError
            The file is missing or damaged, or its voices were enrolled with another model or scale of scores.
        """
        content = read_voices(path, self.model_id, self.embedding_size, self.SCALE)
        for name, voice in content.voices.items():
            self.restore_voice(name, voice)

    def restore_voice(self, name: str, voice: Voice) -> None:
        """Add or replace a voice that was enrolled with this model, as :meth:`details` returns it."""
        self.voices[name] = torch.from_numpy(voice.voiceprint)
        self._details[name] = self.voices[name], voice

    def without_voices(self: _Enrolled) -> _Enrolled:
        """Return a copy with the same weights and settings, which has no voices and keeps its own."""
        other = copy.copy(self)
        other.voices, other._details = {}, {}
        return other

    def _side(self, name: str) -> Side:
        voice = self.details(name)
        return Side(voice.recordings, voice.seconds, voice.quality)
