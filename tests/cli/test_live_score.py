"""``speechtools score --raw`` and ``--live``."""

import io
import sys
import types

import numpy as np
import pytest

from speechtools import cli
from tests.quality.test_streams import RATE, write


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write(tmp_path_factory.mktemp("live") / "pretrained")


def spoken(seconds):
    time = np.arange(round(seconds * RATE)) / RATE
    return (3000 * np.sin(700 * time) * np.sin(9 * time)).astype("<i2")


def score(monkeypatch, samples, *words):
    stream = io.BufferedReader(io.BytesIO(samples if isinstance(samples, bytes) else samples.tobytes()))
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=stream))
    return cli.main(["score", "--raw", str(RATE), *map(str, words)])


def test_a_line_for_each_second(model, monkeypatch, capsys):
    assert score(monkeypatch, spoken(3.4), "--model", model) == 0
    output = capsys.readouterr()
    lines = [line.split("\t") for line in output.out.splitlines() if not line.startswith("#")]
    assert [line[0] for line in lines] == ["1", "2", "3", "4"]
    assert all(float(line[1]) > -1 for line in lines)
    assert output.err.splitlines()[-1] == f"score {float(lines[-1][2]):.2f} in 3.4 s"


def test_a_terminal_has_a_line_that_moves(model, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert score(monkeypatch, spoken(2.5), "--model", model) == 0
    output = capsys.readouterr().out
    assert output.count("\r\x1b[K") >= 3 and "now" in output


@pytest.mark.parametrize("samples", [b"", np.zeros(2 * RATE, "<i2")])
def test_nothing_was_heard(model, monkeypatch, capsys, samples):
    assert score(monkeypatch, samples, "--model", model) == 1
    assert "Nothing was heard" in capsys.readouterr().err


def test_the_bundled_model_is_the_default(monkeypatch, capsys):
    assert score(monkeypatch, spoken(1.2)) == 0
    assert len(capsys.readouterr().out.splitlines()) >= 2


def test_an_odd_number_of_bytes(model, monkeypatch, capsys):
    assert score(monkeypatch, spoken(1.0).tobytes()[:-1], "--model", model) == 0


def test_mistakes(model, monkeypatch, capsys):
    assert score(monkeypatch, b"", "--model", "quality-net") == 1
    assert "as a whole" in capsys.readouterr().err
    assert score(monkeypatch, b"", "call.wav") == 2
    assert cli.main(["score", "--live", "--sample"]) == 2
    assert "--raw HZ" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert cli.main(["score", "--live", "--model", str(model)]) == 1
    assert "speechtools[live]" in capsys.readouterr().err
