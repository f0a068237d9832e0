"""Weights of a trained encoder to start a training from."""

from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from speechtools.core import registry
from speechtools.core.errors import ConfigError
from speechtools.speaker import dvectors
from speechtools.speaker.inference import SpeakerEncoder


def start_from(source: str | Path, features: nn.Module, encoder: nn.Module, sample_rate: int) -> None:
    """Replace the weights of an encoder by those of a trained one, which must be the same function of a waveform.

    Parameters
    ----------
    source : str or Path
        A folder that ``SpeakerEncoder.from_hparams`` loads, or the name of a bundled model.
    features, encoder : nn.Module
        Those of the recipe.
    sample_rate : int
        In Hz.

    Raises
    ------
    ConfigError
        The model does not exist, has another sample rate, or other plugins or options; the message names them.
    """
    start = SpeakerEncoder.from_hparams(source, run_opts={"device": "cpu"})
    start.check_rate(sample_rate)
    trained = start.mods.encoder
    differences = [
        difference
        for kind, ours, its in (("encoder", encoder, trained), ("features", features, start.features))
        for difference in _differences(kind, ours, its)
    ]
    shapes, own = ({key: value.shape for key, value in net.state_dict().items()} for net in (trained, encoder))
    if shapes == own:
        before = {key: value.clone() for key, value in encoder.state_dict().items()}
        encoder.load_state_dict(trained.state_dict())
        was_training = encoder.training
        probes = (
            dvectors.probe(features, encoder.eval(), sample_rate, next(encoder.parameters()).device),
            dvectors.probe(start.features, trained, sample_rate),
        )
        encoder.train(was_training)
        if np.allclose(*probes, rtol=0, atol=SpeakerEncoder.PROBE_TOLERANCE):
            return  # options that differ, such as the initial bias of a gate, do not matter
        encoder.load_state_dict(before)
    reason = "; ".join(differences) or "another version of a plugin"
    raise ConfigError(
        f"The model that start_from names does not fit this run: it has {reason}. Use the options that it was trained "
        "with (converted.yaml has those of Resemblyzer), or leave start_from out."
    )


def _differences(kind: str, ours: Any, its: Any) -> list[str]:
    """What a component of the model has, and ours has not."""
    mine, trained = (registry.full_definition(built) or {"plugin": type(built).__name__} for built in (ours, its))
    if mine["plugin"] != trained["plugin"]:
        return [f"{trained['plugin']}, and this run has {mine['plugin']}"]
    return [
        f"{key}={trained[key]!r} in its {kind}, and this run has {mine.get(key)!r}"
        for key in trained
        if trained[key] != mine.get(key)
    ]
