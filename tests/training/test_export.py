"""Exported models contain what inference needs, and are replaced only when the export succeeds."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from torch import nn

from speechtools import training


def test_export_holds_the_definitions_and_no_training(tmp_path):
    (tmp_path / "hyperparams.yaml").write_text(
        "scale: nb\nlr: 0.1\nhead: !new:torch.nn.Linear\n    in_features: 2\n    out_features: 1\n"
        "\n# ---- Training\npatience: 3\n"
    )
    net = nn.Linear(2, 1)
    folder = training.export({"output_folder": tmp_path}, ["scale", "head"], {"head": net}, {"trained_on": "a test"})
    text = (folder / "hyperparams.yaml").read_text()
    assert "scale: nb" in text and "trained_on: a test" in text
    assert "lr" not in text and "Training" not in text and str(tmp_path) not in text
    assert isinstance(load_hyperpyyaml(text)["modules"]["head"], nn.Linear)
    assert torch.equal(torch.load(folder / "head.ckpt", weights_only=True)["weight"], net.weight)


def test_a_failed_export_leaves_the_earlier_one(tmp_path, monkeypatch):
    (tmp_path / "hyperparams.yaml").write_text("head: !new:torch.nn.Linear {in_features: 2, out_features: 1}\n")
    folder = training.export({"output_folder": tmp_path}, ["head"], {"head": nn.Linear(2, 1)})
    before = (folder / "head.ckpt").read_bytes()

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="No space left"):
        training.export({"output_folder": tmp_path}, ["head"], {"head": nn.Linear(2, 1)})
    assert (folder / "head.ckpt").read_bytes() == before
