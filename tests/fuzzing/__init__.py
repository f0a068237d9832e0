"""Random damage to files, and what the toolkit must do with it; see ``tests/fuzz.py``."""

from fuzzing.arrays import DVectorFiles, VoiceFiles
from fuzzing.models import Checkpoints, ModelFolders
from fuzzing.recordings import Recordings
from fuzzing.texts import ChecksumLists, Manifests, Tables, TrialLists

#: What makes the cases of a kind in a folder, and the percentage of the kind among all cases.
KINDS = {
    "recordings": (Recordings, 60),
    "voices": (VoiceFiles, 8),
    "dvectors": (DVectorFiles, 6),
    "manifests": (Manifests, 8),
    "trials": (TrialLists, 5),
    "tables": (Tables, 6),
    "checksums": (ChecksumLists, 2),
    "models": (ModelFolders, 4),
    "checkpoints": (Checkpoints, 1),
}
