"""A training computes on the cores that are free, and a resumed one on as many as before."""

import os

import psutil
import pytest
import torch

from speechtools.core import processes
from speechtools.training import threads


@pytest.fixture
def busy(monkeypatch):
    """Sets how busy (%) each of four cores is; torch would use all four."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    chosen = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    monkeypatch.setattr(processes, "_busy_cores", 0)

    def use(*percent):
        monkeypatch.setattr(psutil, "cpu_percent", lambda interval, percpu: list(percent))
        return chosen

    return use


@pytest.mark.parametrize("percent, expected", [((0, 3, 2, 0), 4), ((60, 70, 100, 0), 2), ((100, 100, 97, 100), 1)])
def test_busy_cores_are_left_to_others(busy, tmp_path, caplog, percent, expected):
    chosen = busy(*percent)
    with caplog.at_level("INFO"):
        assert threads.use_free_cores(tmp_path) == expected and chosen == [expected]
    assert (f"{expected} of 4 cores" in caplog.text) == (expected < 4)
    assert processes.cores_left(expected) == 0, "none for loader processes"


def test_a_resumed_run_keeps_its_number(busy, tmp_path, caplog):
    busy(100, 100, 0, 0)
    assert threads.use_free_cores(tmp_path) == 2
    busy(0, 0, 0, 0)
    (tmp_path / "save" / "CKPT+1").mkdir(parents=True)
    with caplog.at_level("WARNING"):
        assert threads.use_free_cores(tmp_path) == 2
    assert caplog.text == ""
    (tmp_path / "save" / "CKPT+1").rmdir()
    assert threads.use_free_cores(tmp_path) == 4, "nothing to resume"


@pytest.mark.parametrize("value, expected", [("4", 4), ("0", 1), ("many", 1)])
def test_the_variable_has_precedence_if_it_is_a_number(busy, tmp_path, monkeypatch, value, expected):
    busy(100, 100, 100, 100)
    monkeypatch.setenv("OMP_NUM_THREADS", value)
    assert threads.use_free_cores(tmp_path) == expected


@pytest.mark.parametrize("text", ["", "many", "\udcff"])
def test_a_damaged_record_is_measured_anew(busy, tmp_path, text):
    (tmp_path / "save" / "CKPT+1").mkdir(parents=True)
    (tmp_path / "num_threads.txt").write_text(text, errors="surrogateescape")
    busy(100, 0, 0, 0)
    assert threads.use_free_cores(tmp_path) == 3
    assert (tmp_path / "num_threads.txt").read_text() == "3"


def test_another_number_than_before_is_logged(busy, tmp_path, caplog):
    (tmp_path / "save" / "CKPT+1").mkdir(parents=True)
    (tmp_path / "num_threads.txt").write_text("999")
    busy(0, 0, 0, 0)
    assert threads.use_free_cores(tmp_path) == 4
    assert "began on 999 threads" in caplog.text


def test_idle_shares_add_up():
    assert 0 <= threads.free_cores(0.1) <= psutil.cpu_count()
