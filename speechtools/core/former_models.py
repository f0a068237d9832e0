"""Models of earlier versions: ``hyperparams.yaml``, which can run any program, and a ``.ckpt`` file for each module."""

import pickle
from pathlib import Path
from typing import Any

import ruamel.yaml
import torch
from hyperpyyaml import load_hyperpyyaml
from torch import nn

from speechtools.core import registry
from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.model_folder import Model

YAML = "hyperparams.yaml"
#: Keys of the yaml that only describe the model.
_FACTS = ("trained_on", "tested_on", "reader", "reached", "seed", "heard")
#: Classes that were built without their plugin's name.
_PLUGINS = {"!new:speechtools.audio.features.Magnitude": "features/magnitude"}


def read_former_model(folder: Path, hparams_file: str) -> Model:
    """Load a model of an earlier version. Its yaml is trusted: it may import and call anything.

    Raises
    ------
    ConfigError
        The yaml is missing or not valid, or a checkpoint is missing, damaged or of another model.
    """
    hparams = _load_yaml(folder / hparams_file)
    modules = hparams.pop("modules", {})
    hparams.pop("pretrainer", None)
    for name, module in modules.items():
        _load_weights(module, folder / f"{name}.ckpt")
    facts = {key: hparams.pop(key) for key in _FACTS if key in hparams}
    components = {key: value for key, value in hparams.items() if registry.definition(value)}
    values = {key: value for key, value in hparams.items() if key not in components}
    return Model(values, components, modules, facts)


def _load_yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path.parent} has no {path.name}. Pass the `pretrained` folder that a recipe writes.")
    try:
        text = path.read_text(encoding="utf-8")
        hparams = load_hyperpyyaml(text) or {}
        for key, node in (ruamel.yaml.YAML().load(text) or {}).items():
            plugin = _PLUGINS.get(getattr(getattr(node, "tag", None), "value", None) or "")
            if plugin:
                registry.remember(hparams[key], plugin, dict(node))
        return hparams
    except SpeechtoolsError:
        raise
    except Exception as error:  # of the parser, or of anything that the yaml builds
        reason = f"{type(error).__name__}: {error}"
        raise ConfigError(f"{path} cannot be loaded ({reason}). Export the model again.") from error


def _load_weights(module: nn.Module, path: Path) -> None:
    if not path.is_file():
        raise ConfigError(f"The weights {path} are missing. Copy the whole folder, or export the model again.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, pickle.UnpicklingError) as error:
        size = path.stat().st_size
        raise ConfigError(
            f"The checkpoint {path} ({size} bytes) cannot be read: it is damaged. Copy it again."
        ) from error
    try:
        module.load_state_dict(state)
    except (RuntimeError, AttributeError, TypeError) as error:
        remedy = "Both files must come from one export."
        raise ConfigError(f"The checkpoint {path} does not fit the model in its yaml file: {error} {remedy}") from error
