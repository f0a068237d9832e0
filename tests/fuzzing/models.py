"""Damaged folders of models and checkpoints."""

import hashlib
import json
import logging
import shutil
from pathlib import Path

import numpy as np
import torch
from fuzzing import mutations

from speechtools import build
from speechtools.core.errors import AudioError, ConfigError, SpeechtoolsError
from speechtools.core.model_folder import CONFIG, WEIGHTS, _checksum, write_model
from speechtools.inference import QualityNet
from speechtools.training.checkpoints import AtomicCheckpointer


class ModelFolders:
    """Load damaged folders of models: as they were, or not at all."""

    def __init__(self, folder: Path):
        self.folder = folder
        with torch.random.fork_rng():
            torch.manual_seed(0)
            net = build("quality/blstm", hidden_size=3, linear_size=3)
        features = build("features/magnitude", log1p=True)
        entries = {"sample_rate": 16000, "scale": "raw_nb", "features": features, "quality": net}
        write_model(folder, entries, {"quality": net}, {"seed": 1}, "# A test\n", "QualityNet")
        self.contents = {name: (folder / name).read_bytes() for name in (CONFIG, WEIGHTS)}
        self.state = QualityNet.from_hparams(folder).mods.state_dict()

    def __call__(self, rng: np.random.Generator) -> str:
        """Load one damaged folder; return what became of it."""
        contents = dict(self.contents)
        damage = int(rng.integers(3))
        if damage == 0:
            name = (CONFIG, WEIGHTS)[rng.integers(2)]
            kinds = mutations.TEXT if name == CONFIG else mutations.BYTES
            contents[name] = mutations.mutate(rng, contents[name], kinds)
        else:
            config = json.loads(contents[CONFIG])
            if damage == 1:  # a config that somebody edited
                mutations.mutate_json(rng, config)
            else:  # weights that somebody made
                contents[WEIGHTS] = mutations.mutate(rng, contents[WEIGHTS], mutations.TEXT)
                config["weights_sha256"] = hashlib.sha256(contents[WEIGHTS]).hexdigest()
            config["config_sha256"] = _checksum(config)
            contents[CONFIG] = json.dumps(config).encode()
        for name, content in contents.items():
            (self.folder / name).write_bytes(content)
        try:
            model = QualityNet.from_hparams(self.folder)
        except SpeechtoolsError:
            return "refused"
        if damage == 0:
            state = model.mods.state_dict()
            assert state.keys() == self.state.keys()
            assert all(torch.equal(state[key], self.state[key]) for key in state)
            assert (model.sample_rate, model.scale) == (16000, "raw_nb")
            return "loaded"
        try:
            report = model.assess_samples(np.linspace(-0.5, 0.5, 4000, dtype=np.float32), model.sample_rate)
        except AudioError:
            return "loaded"
        assert report.frame_scores.ndim == 1 and report.score is not None
        return "scored"


LOGGER = logging.getLogger("speechtools.training.checkpoints")


class Checkpoints:
    """Load a checkpoint of which no file or one is damaged: as it was, or not at all."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.net = torch.nn.Linear(3, 2)
        self.weights = self.net.weight.detach().clone()
        saved = AtomicCheckpointer(folder / "original", {"net": self.net}).save_checkpoint(end_of_epoch=True)
        self.files = {path.name: path.read_bytes() for path in saved.path.iterdir()}
        self.name = saved.path.name

    def __call__(self, rng: np.random.Generator) -> str:
        """Load one damaged checkpoint; return what became of it."""
        checkpoints = self.folder / "damaged"
        shutil.rmtree(checkpoints, ignore_errors=True)
        (checkpoints / self.name).mkdir(parents=True)
        damaged = [None, *sorted(self.files)][rng.integers(1 + len(self.files))]
        for name, content in self.files.items():
            content = mutations.mutate(rng, content, mutations.TEXT) if name == damaged else content
            (checkpoints / self.name / name).write_bytes(content)
        torch.nn.init.zeros_(self.net.weight)
        checkpointer = AtomicCheckpointer(checkpoints, {"net": self.net})
        LOGGER.disabled = True  # thousands of warnings
        try:
            checkpoint = checkpointer.recover_if_possible()
        except ConfigError:
            return "refused"
        finally:
            LOGGER.disabled = False
        assert checkpoint is not None
        assert torch.equal(self.net.weight, self.weights)
        return "loaded"
