"""A teacher: d-vectors of a trained encoder as a second target beside GE2E.

The student's d-vector of a partial utterance, through a linear layer, approaches the teacher's d-vector of the whole
utterance, in the same voice where the training changes voices. So it learns from speech with and without labels, and,
if the partial utterance is degraded and the teacher heard the recording, to hear the same voice in both (Hinton,
Vinyals, Dean: Distilling the knowledge in a neural network, 2015; for d-vectors, the cosine takes the place of the
divergence).
"""

import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from tqdm import tqdm

from speechtools.core.checks import check_number
from speechtools.core.errors import ConfigError
from speechtools.core.files import disk_errors, fingerprint, write_aside
from speechtools.speaker.augmentation import VoiceSpeed, num_voices
from speechtools.speaker.inference import SpeakerEncoder
from speechtools.speaker.store import SpeakerStore
from speechtools.speaker.vectors import unit

logger = logging.getLogger(__name__)

#: Utterances embedded at a time.
_BATCH = 64


class TeacherLoss(nn.Module):
    """1 − the cosine of the teacher's d-vectors and a linear function of the student's, averaged.

    Parameters
    ----------
    embedding_size, teacher_size : int
        Of the student and of the teacher.

    Shape
    -----
    dvectors (batch, embedding_size), targets (batch, teacher_size) -> scalar

    Examples
    --------
    >>> loss = TeacherLoss(2, 3)
    >>> bool(0 <= loss(torch.randn(4, 2), torch.randn(4, 3)) <= 2)
    True
    """

    def __init__(self, embedding_size: int, teacher_size: int):
        super().__init__()
        self.linear = nn.Linear(embedding_size, teacher_size)

    def forward(self, dvectors: Tensor, targets: Tensor) -> Tensor:
        """Return the loss."""
        return 1 - nn.functional.cosine_similarity(self.linear(dvectors).float(), targets.float()).mean()


def load_teacher(source: str | Path, sample_rate: int, device: str = "cpu") -> SpeakerEncoder:
    """Load a teacher: a folder of a converted or trained encoder, or the name of a bundled one.

    Its windows are side by side, which takes half the time of half overlapping ones.

    Raises
    ------
    ConfigError
        It does not exist, or it has another sample rate or embeds keywords.
    """
    teacher = SpeakerEncoder.from_hparams(source, run_opts={"device": device})
    teacher.check_rate(sample_rate)
    if teacher.segment is not None:
        raise ConfigError(f"The teacher {source} embeds keywords. Use one that embeds all speech.")
    teacher.window_hop_frames = teacher.window_frames
    return teacher


def add_targets(
    teacher: SpeakerEncoder, store: SpeakerStore, speed: VoiceSpeed | None = None, precision: str = "fp32"
) -> None:
    """Set ``store.targets``: the teacher's d-vectors (utterances, voices, size), with all voices of the speakers.

    Those of each voice are kept in a file beside the manifest, which is read the next time.

    Parameters
    ----------
    teacher : SpeakerEncoder
    store : SpeakerStore
    speed : VoiceSpeed, optional
        Makes the voices. By default, each speaker has their own alone.
    precision : str
        ``bf16``: the teacher computes in bfloat16, too.
    """
    with torch.autocast(torch.device(teacher.device).type, torch.bfloat16, enabled=precision == "bf16"):
        voices = [_kept(teacher, store, speed, voice, precision) for voice in range(num_voices(speed))]
    store.targets = np.stack(voices, axis=1)
    # (utterances, voices, size)


def _kept(
    teacher: SpeakerEncoder, store: SpeakerStore, speed: VoiceSpeed | None, voice: int, precision: str
) -> np.ndarray:
    """The d-vectors (utterances, size) of a voice, from the file that is made where it is missing."""
    of = {"teacher": teacher.model_id, "hop": teacher.window_hop_frames, "utterances": len(store)}
    of |= {"samples": int(store.num_samples.sum()), "precision": precision}
    percent = 100 if speed is None else speed.distinct[voice]
    path = store.manifest.parent / f"{store.manifest.stem}.teacher-{fingerprint(of)}-{percent}.npy"
    if not path.exists():
        targets = _targets(teacher, store, None if percent == 100 else speed, voice)
        remedy = "Free some space, and start again."
        with disk_errors(str(path), remedy), write_aside(path) as aside, open(aside, "wb") as stream:
            np.save(stream, targets)
    return np.load(path)


def training_targets(store: SpeakerStore, speaker_share: float = 0.0) -> np.ndarray:
    """The targets of a store for the training: centred, and drawn to the means of their speakers, voice by voice.

    Parameters
    ----------
    store : SpeakerStore
        With the ``targets`` that :func:`add_targets` set.
    speaker_share : float
        Share of the mean of a speaker in the targets of their utterances, in [0, 1].

    Returns
    -------
    np.ndarray
        (utterances, voices, size)

    Raises
    ------
    ConfigError
        The share is out of range.
    """
    check_number("teacher_speaker_share", speaker_share, 0, 1)
    targets = centred(np.asarray(store.targets))
    if not speaker_share:
        return targets
    means = unit(np.add.reduceat(targets, store.first[:-1]))
    # (speakers, voices, size)
    own = np.repeat(means, np.diff(store.first), axis=0)
    # (utterances, voices, size)
    return unit((1 - speaker_share) * targets + speaker_share * own)


def centred(targets: np.ndarray) -> np.ndarray:
    """Subtract the mean of d-vectors (utterances, ..., size) over the utterances, and scale them to length 1.

    What all d-vectors of a corpus have in common would dominate their cosines. In encoders that end in a ReLU, whose
    d-vectors have no negative elements, it is most of them.

    >>> centred(np.array([[1.0, 0.0], [1.0, 2.0]], np.float32)).tolist()
    [[0.0, -1.0], [0.0, 1.0]]
    """
    return unit(targets - targets.mean(axis=0))


@torch.no_grad()
def _targets(teacher: SpeakerEncoder, store: SpeakerStore, speed: VoiceSpeed | None, voice: int) -> np.ndarray:
    targets = np.empty((len(store), teacher.embedding_size), np.float32)
    for first in tqdm(range(0, len(store), _BATCH), "Teacher", unit="batch"):
        utterances = range(first, min(first + _BATCH, len(store)))
        wavs = [torch.from_numpy(store.read(utterance).astype(np.float32) / 2**15) for utterance in utterances]
        if speed is not None:
            wavs = [speed.change(wav.unsqueeze(0), voice)[0] for wav in wavs]
        targets[utterances.start : utterances.stop] = teacher.encode_speech(wavs).numpy()
    return targets
