"""Checkpoints appear whole or not at all, and contain what an exact resume needs."""

import random

import numpy as np
import pytest
import torch
from torch import nn

from speechtools import training
from speechtools.core.errors import ConfigError


@pytest.fixture
def checkpointer(tmp_path):
    torch.manual_seed(0)
    return training.AtomicCheckpointer(tmp_path / "save", {"net": nn.Linear(2, 2)})


def test_a_checkpoint_appears_whole_or_not_at_all(checkpointer, monkeypatch):
    first = checkpointer.save_checkpoint()
    assert first.path.is_dir() and all(file.exists() for file in first.paramfiles.values())

    def killed(obj, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt("while saving")

    monkeypatch.setitem(checkpointer.custom_save_hooks, "net", killed)
    with pytest.raises(KeyboardInterrupt, match="while saving"):
        checkpointer.save_checkpoint()
    assert [checkpoint.path for checkpoint in checkpointer.list_checkpoints()] == [first.path]
    monkeypatch.delitem(checkpointer.custom_save_hooks, "net")
    second = checkpointer.save_checkpoint()
    assert not list(checkpointer.checkpoints_dir.glob(".saving-*")), "leftovers are removed"
    assert checkpointer.find_checkpoint().path == second.path
    checkpointer.recover_if_possible()


def test_a_checkpoint_that_does_not_load_is_one_message(checkpointer):
    file = checkpointer.save_checkpoint().paramfiles["net"]
    other = training.AtomicCheckpointer(checkpointer.checkpoints_dir, {"net": nn.Linear(3, 2)})
    with pytest.raises(ConfigError, match="another size"):
        other.recover_if_possible()
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(ConfigError, match=r"CKPT\+.*Delete that folder"):
        checkpointer.recover_if_possible()


def test_random_state_is_restored(tmp_path):
    state = training.RandomState()
    state.save(tmp_path / "state.ckpt")
    drawn = random.random(), np.random.rand(), torch.rand(1)
    state.load(tmp_path / "state.ckpt", end_of_epoch=True)
    assert (random.random(), np.random.rand(), torch.rand(1)) == drawn
