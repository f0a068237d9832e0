"""Exported models contain what inference needs, and are replaced only when the export succeeds."""

import json

import pytest
import safetensors.torch
import torch
from safetensors.torch import load_file
from torch import nn

import speechtools
from speechtools import training
from speechtools.core.errors import ConfigError
from speechtools.inference import QualityNet


@pytest.fixture
def hparams(tmp_path):
    """What a run has: plugins, values, and what only training needs."""
    net = speechtools.build("quality/blstm", offered={"hidden_size": 4, "unknown": 1}, linear_size=3)
    features = speechtools.build("features/magnitude")
    return {
        "output_folder": tmp_path,
        "scale": "nb",
        "sample_rate": 16000,
        "lr": 0.1,
        "quality": net,
        "features": features,
    }


def export(hparams, facts=None, keys=("sample_rate", "scale", "features", "quality")):
    wrapped = nn.Module()
    wrapped.module = hparams["quality"]  # as DDP does
    return training.export(hparams, keys, {"quality": wrapped}, facts, QualityNet)


def test_export_has_the_definitions_and_no_training(hparams):
    facts = {"trained_on": "a test", "reached": {"mse": 0.25, "lcc": float("nan")}}
    folder = export(hparams, facts)
    text = (folder / "config.json").read_text()
    config = json.loads(text)
    assert config["components"]["quality"] == {"plugin": "quality/blstm", "hidden_size": 4, "linear_size": 3}
    assert config["values"] == {"sample_rate": 16000, "scale": "nb"} and config["facts"]["reached"]["lcc"] is None
    assert "lr" not in text and str(hparams["output_folder"]) not in text
    saved, net = load_file(folder / "model.safetensors"), hparams["quality"]
    assert torch.equal(saved["quality.output.weight"], net.output.weight)
    card = (folder / "README.md").read_text()
    assert "a test" in card and "| mse |" in card and "QualityNet.from_hparams" in card and "16000 Hz" in card
    assert QualityNet.from_hparams(folder).facts["trained_on"] == "a test"


def test_a_failed_export_leaves_the_earlier_one(hparams, monkeypatch):
    folder = export(hparams)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}

    def full(*arguments):
        raise OSError(28, "No space left on device")

    nn.init.zeros_(hparams["quality"].output.weight)
    monkeypatch.setattr(safetensors.torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        export(hparams)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    "changes, token",
    [
        ({"scale": nn.Identity()}, "scale is a Identity"),
        ({"sample_rate": float("nan")}, "sample_rate is a float"),
        ({"quality": nn.Linear(2, 1)}, "quality was not built by speechtools.build|quality is a Linear"),
    ],
)
def test_what_a_config_cannot_contain_is_refused(hparams, changes, token):
    with pytest.raises(ConfigError, match=token):
        export(hparams | changes)
    with pytest.raises(ConfigError, match="Did you mean 'scale'"):
        export(hparams, keys=["scael"])


def test_components_with_weights_of_their_own_are_exported_with_them(hparams):
    class Scaled(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(2))

    hparams["features"] = Scaled()
    speechtools.core.registry.remember(hparams["features"], "features/scaled", {})
    folder = export(hparams)
    assert "features.scale" in load_file(folder / "model.safetensors")
    assert json.loads((folder / "config.json").read_text())["weights"] == ["quality", "features"]
