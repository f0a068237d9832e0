"""Checkpoints appear whole or not at all, and contain what an exact resume needs."""

import errno
import random
import resource
import signal

import numpy as np
import pytest
import torch
from torch import nn

from speechtools import training
from speechtools.core.errors import ConfigError, CorpusError


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


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 16
    path.write_bytes(content)


DAMAGE = {
    "cut short": lambda path: path.write_bytes(path.read_bytes()[: path.stat().st_size // 2]),
    "empty": lambda path: path.write_bytes(b""),
    "one bit": flip,
    "missing": lambda path: path.unlink(),
}


@pytest.mark.parametrize("file", ["CKPT.yaml", "net.ckpt", "checksums.json"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_leaves_the_checkpoint_before(checkpointer, caplog, file, damage):
    if (file, damage) == ("checksums.json", "missing"):
        pytest.skip("a checkpoint of an earlier version")
    net = checkpointer.recoverables["net"]
    first, weight = checkpointer.save_checkpoint({"epoch": 1, "mse": 0.5}), net.weight.detach().clone()
    nn.init.zeros_(net.weight)
    second = checkpointer.save_checkpoint({"epoch": 2, "mse": 0.1})
    DAMAGE[damage](second.path / file)
    again = training.AtomicCheckpointer(checkpointer.checkpoints_dir, {"net": net})
    assert again.recover_if_possible().path == first.path and torch.equal(net.weight, weight)
    assert again.find_checkpoint(min_key="mse").path == first.path
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 and str(second.path) in warnings[0] and "damaged" in warnings[0]
    again.save_and_keep_only({"epoch": 3, "mse": 0.2}, min_keys=["mse"])
    assert len(again.list_checkpoints()) == 1


def test_checkpoints_of_earlier_versions_load(checkpointer, caplog):
    net = checkpointer.recoverables["net"]
    paths = [checkpointer.save_checkpoint({"epoch": epoch}).path for epoch in (1, 2)]
    for path in paths:
        (path / "checksums.json").unlink()
    assert checkpointer.recover_if_possible().path == paths[1]
    assert "damaged" not in caplog.text
    (paths[1] / "net.ckpt").write_bytes((paths[1] / "net.ckpt").read_bytes()[:50])
    again = training.AtomicCheckpointer(checkpointer.checkpoints_dir, {"net": net})
    assert again.recover_if_possible().path == paths[0] and str(paths[1]) in caplog.text


def test_a_folder_without_a_whole_checkpoint_does_not_start_anew(checkpointer):
    path = checkpointer.save_checkpoint().path
    flip(path / "CKPT.yaml")
    with pytest.raises(ConfigError, match=r"CKPT\+.*Delete that folder"):
        checkpointer.recover_if_possible()


@pytest.mark.parametrize("file_size", [0, 20_000])
def test_a_full_disk_is_one_message_and_loses_nothing(tmp_path, monkeypatch, file_size):
    checkpointer = training.AtomicCheckpointer(tmp_path / "save", {"net": nn.Linear(100, 100)})
    first = checkpointer.save_checkpoint()
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file_size, limits[1]))
    try:
        with pytest.raises(CorpusError, match=r"Cannot write a checkpoint in .*start again"):
            checkpointer.save_checkpoint()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [path.name for path in (tmp_path / "save").iterdir()] == [first.path.name]
    assert checkpointer.recover_if_possible().path == first.path


def test_no_space_is_named(checkpointer, monkeypatch):
    def full(obj, path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(checkpointer.custom_save_hooks, "net", full)
    with pytest.raises(CorpusError, match="No space left on device.*Free some space"):
        checkpointer.save_checkpoint()
    assert not list(checkpointer.checkpoints_dir.iterdir())


def test_an_interruption_leaves_no_litter(checkpointer, monkeypatch):
    def interrupted(obj, path):
        path.write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setitem(checkpointer.custom_save_hooks, "net", interrupted)
    with pytest.raises(KeyboardInterrupt):
        checkpointer.save_checkpoint()
    assert not list(checkpointer.checkpoints_dir.iterdir())


@pytest.mark.parametrize("damage", DAMAGE)
def test_weights_of_a_first_stage_are_checked(tmp_path, damage):
    net, path, calls = nn.Linear(2, 2), tmp_path / "save" / "features.ckpt", []
    training.fit_once(net, path, lambda: calls.append(1))
    training.fit_once(net, path, lambda: calls.append(2))
    assert calls == [1]
    DAMAGE[damage](path)
    if damage == "missing":
        training.fit_once(net, path, lambda: calls.append(2))
        assert calls == [1, 2]
        return
    with pytest.raises(ConfigError, match="features.ckpt.*Delete it"):
        training.fit_once(net, path, lambda: calls.append(2))


def test_random_state_is_restored(tmp_path):
    state = training.RandomState()
    state.save(tmp_path / "state.ckpt")
    drawn = random.random(), np.random.rand(), torch.rand(1)
    state.load(tmp_path / "state.ckpt", end_of_epoch=True)
    assert (random.random(), np.random.rand(), torch.rand(1)) == drawn
