"""The recipes in the sizes of a test."""

import json
import shlex
from pathlib import Path
from typing import NamedTuple

import runs
import torch
from safetensors.torch import load_file

ROOT = Path(__file__).parents[2]
#: Options of both recipes in TIMIT.
SPEECH = """
    --corpus_options='{builtin: {num_train_speakers: 2, num_test_speakers: 6}}' --valid_noises=2 --enhancer_noises=2
"""


class Recipe(NamedTuple):
    """A recipe's folder, yaml, exported module and plots, and the options that make its run short."""

    folder: Path
    yaml: str
    module: str
    plots: str
    small: str

    def options(self, *without):
        """The short run's, except for some names."""
        return [word for word in shlex.split(self.small) if word.partition("=")[0] not in without]

    def arguments(self, run, prepared, *options, yaml=None):
        """Those of train.py; ``options`` replace those of ``small``."""
        small = self.options(*(option.partition("=")[0] for option in options))
        folders = [f"--output_folder={run}", f"--prepared_folder={prepared}", "--noprogressbar"]
        return [str(yaml or self.yaml), *folders, *small, *options]

    def train(self, run, prepared, *options, yaml=None, **how):
        return runs.run(*self.arguments(run, prepared, *options, yaml=yaml), cwd=self.folder, **how)

    def weights(self, run):
        tensors = load_file(Path(run) / "pretrained" / "model.safetensors")
        return {key.partition(".")[2]: value for key, value in tensors.items()}

    def same_weights(self, run, other):
        one, two = self.weights(run), self.weights(other)
        return one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def results(run):
    return json.loads((Path(run) / "results.json").read_text())


QUALITY = Recipe(
    ROOT / "recipes/TIMIT/quality",
    "hparams/qnet.yaml",
    "quality",
    "scatter frame_scores",
    """
    --corpus_options='{builtin: {num_train_speakers: 5, num_test_speakers: 6}}' --num_clean_train=10
    --num_train_noises=20 --num_valid_utterances=1 --num_test_utterances=2 --test_snrs_db='[0, 12]' --hidden_size=8
    --number_of_epochs=2 --batch_size=8 --input_dropout=0.1 --average_decay=0.5 --lr_decay=0.9
    """,
)
ENHANCER = """
    --num_train_utterances=3 --num_valid_utterances=1 --num_test_utterances=1 --snrs_db='[0]' --hidden_size=6
    --num_layers=1 --number_of_epochs=2 --batch_size=2 --average_decay=0.5 --lr=0.01
"""
ENHANCEMENT = Recipe(ROOT / "recipes/TIMIT/enhancement", "hparams/blstm.yaml", "enhancer", "example", SPEECH + ENHANCER)
ENHANCER_OPTIONS = ", ".join(word[2:].replace("=", ": ") for word in shlex.split(ENHANCER))
#: Quality-Net on enhanced speech, whose enhancer is the one above.
PAPER = QUALITY._replace(
    yaml="hparams/paper.yaml",
    small=f"""
    {SPEECH} --num_clean_train=4 --num_valid_utterances=1 --num_test_utterances=1 --test_snrs_db='[0]' --hidden_size=8
    --number_of_epochs=2 --batch_size=8 --average_decay=0.5 --num_frames=1000
    --enhancer_options='{{{ENHANCER_OPTIONS}}}'
    """,
)
SPEAKER = Recipe(
    ROOT / "recipes/TI-SV/GE2E",
    "hparams/ge2e.yaml",
    "encoder",
    "det similarity projection",
    """
    --corpus_options='{builtin: {num_train_speakers: 10, num_test_speakers: 3}}' --valid_share=0.2 --hidden_size=8
    --proj_size=6 --num_layers=1 --speakers_per_batch=4 --utterances_per_speaker=2 --steps_per_epoch=4
    --number_of_epochs=2
    """,
)
KEYWORD = Recipe(
    ROOT / "recipes/keyword/GE2E",
    "hparams/multireader.yaml",
    "encoder",
    "det eer_table",
    """
    --num_speakers=6 --num_test_speakers=3 --renditions=3 --test_renditions=3 --speaker_ratio=2 --utterance_ratio=2
    --hidden_size=8 --proj_size=6 --num_layers=1 --speakers_per_batch=4 --utterances_per_speaker=2
    --other_speakers_per_batch=4 --other_utterances_per_speaker=2 --steps_per_epoch=4 --number_of_epochs=2
    --num_enrolment=2
    """,
)
DETECTION = Recipe(
    ROOT / "recipes/keyword/detection",
    "hparams/ctc.yaml",
    "detector",
    "misses",
    """
    --corpus_options='{builtin-phrases: {num_phrases: 24, num_test_phrases: 6, num_speakers: 8, num_test_speakers: 2}}'
    --hidden_size=12 --detector_options='{channels: 10}' --batch_size=6 --number_of_epochs=2 --average_decay=0.5
    --valid_share=0.25
    """,
)
RECIPES = {
    "quality": QUALITY,
    "enhancement": ENHANCEMENT,
    "speaker": SPEAKER,
    "keyword": KEYWORD,
    "detection": DETECTION,
}
