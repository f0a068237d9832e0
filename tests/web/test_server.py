"""The endpoint ``POST /score``, and what refuses to start."""

import io
import socket
import sys
import threading

import numpy as np
import pytest
import soundfile

from speechtools import SAMPLE, cli
from speechtools.core.errors import AudioError, ConfigError
from speechtools.inference import QualityNet
from speechtools.web.analysis import Limits, Models, score
from speechtools.web.server import make_app, serve

pytest.importorskip("gradio", reason="needs the extra web")
from fastapi.testclient import TestClient


@pytest.fixture(scope="module")
def models():
    return Models(Limits(megabytes=0.5, seconds=5.0))


@pytest.fixture(scope="module")
def client(models):
    return TestClient(make_app(models), raise_server_exceptions=False)


def test_a_recording_is_scored(client):
    expected = QualityNet.from_hparams().assess_file(SAMPLE)
    answers = [
        client.post("/score", content=SAMPLE.read_bytes()),
        client.post("/score", files={"file": ("street.flac", SAMPLE.read_bytes())}),
    ]
    assert [answer.json()["file"] for answer in answers] == ["the upload", "street.flac"]
    for answer in answers:
        found = answer.json()
        assert answer.status_code == 200
        assert found["score"] == pytest.approx(expected.score, abs=1e-4)
        assert found["frame_scores"] == pytest.approx(expected.frame_scores, abs=1e-4)
        costs = sum(region["cost"] for region in found["regions"])
        assert costs == pytest.approx(expected.best - expected.score, abs=0.05)
        assert set(found["causes"]) == set(expected.cause_names)


@pytest.mark.parametrize(
    ("content", "status", "reason"),
    [
        (b"", 422, "no recording"),
        (b"a text", 422, "cannot be read as audio"),
        (str(SAMPLE).encode(), 422, "cannot be read as audio"),  # never a file of the server
        (SAMPLE.read_bytes()[:5000], 422, "audio|truncated|damaged"),
        (bytes(2**20), 413, "larger than 0.5 MB"),
    ],
)
def test_uploads_that_cannot_be_scored(client, content, status, reason):
    for how in ({"content": content}, {"files": {"file": ("x.wav", content)}}):
        answer = client.post("/score", **how)
        assert answer.status_code == status
        assert any(part in answer.json()["error"] for part in reason.split("|")), answer.json()
    assert client.post("/score", content=SAMPLE.read_bytes()).status_code == 200


def test_an_endless_upload_is_cut_off(client):
    sent = []

    def parts():
        for _ in range(1000):
            sent.append(1)
            yield bytes(2**14)

    assert client.post("/score", content=parts()).status_code == 413


def test_a_form_without_a_file(client):
    assert "no recording" in client.post("/score", data={"name": "x"}, files={"other": b"x"}).json()["error"]


def test_long_and_silent_recordings(client):
    for seconds, gain, reason in ((8, 0.1, "longer than 5 s"), (1, 0.0, "silent")):
        data = io.BytesIO()
        soundfile.write(data, gain * np.random.default_rng(0).standard_normal(seconds * 8000), 8000, format="FLAC")
        answer = client.post("/score", content=data.getvalue())
        assert answer.status_code == 422 and reason in answer.json()["error"]


def test_many_users_at_once(client):
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(client.post("/score", content=SAMPLE.read_bytes())))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert [answer.status_code for answer in answers] == [200] * 6
    assert len({answer.json()["score"] for answer in answers}) == 1


def test_users_do_not_share_voices(models):
    one, other = models.verifier(), models.verifier()
    one.enroll("anna", [SAMPLE])
    assert list(one.voices) == ["anna"] and not other.voices and not models.verifier().voices


def test_a_region_is_a_part_of_the_recording(models):
    found = score(models, SAMPLE)
    assert found.name == "street.flac" and found.regions
    assert len(found.samples) == round(found.report.duration * 16000)
    with pytest.raises(AudioError, match="does not exist"):
        score(models, "gone.wav")


def test_an_address_in_use(models):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"--port={port} cannot be used"):
            serve(models, port=port)


def test_without_gradio(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert cli.main(["serve", "--port", "0"]) == 1
    assert "speechtools[web]" in capsys.readouterr().err


def test_a_model_that_cannot_be_loaded(capsys):
    assert cli.main(["serve", "--port", "0", "--model", "gone"]) == 1
    assert "gone" in capsys.readouterr().err
