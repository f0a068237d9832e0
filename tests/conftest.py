"""What several test files share: a cache of their own for the built-in corpus, and a tiny model."""

import os

import numpy as np
import pytest
import soundfile

# Small nets run fastest on one thread, and the test processes do not get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def builtin_cache(tmp_path_factory):
    """The built-in corpus and noises are made in a temporary folder, once for all tests, never in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("SPEECHTOOLS_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory):
    """A `pretrained` folder of a tiny Quality-Net with random weights."""
    import torch

    from speechtools import build
    from speechtools.core.model_folder import write_model

    torch.manual_seed(0)
    net = build("quality/blstm", hidden_size=6, linear_size=5)
    entries = {"sample_rate": 16000, "scale": "raw_nb", "features": build("features/magnitude", log1p=True)}
    folder = tmp_path_factory.mktemp("pretrained")
    return write_model(folder, entries | {"quality": net}, {"quality": net}, {}, "# A test\n", "QualityNet")


@pytest.fixture
def tone():
    """Samples (samples,) of a sound that changes: ``tone(seconds, rate)``."""

    def make(seconds, rate=16000, seed=0):
        time = np.arange(round(seconds * rate)) / rate
        rng = np.random.default_rng(seed)
        wave = 0.3 * np.sin(2 * np.pi * (200 + 50 * np.sin(time)) * time) * (np.sin(3 * time) > -0.5)
        return (wave + 0.01 * rng.standard_normal(len(time))).astype(np.float32)

    return make


@pytest.fixture(
    params=[
        ("gone.wav", "does not exist"),
        ("empty.wav", "is empty"),
        ("nan.wav", "NaN or infinite samples"),
        ("silent.wav", "is silent: all of its 16000 samples are zero"),
        ("cut.flac", "truncated"),
        ("text.wav", "cannot be read as audio"),
    ],
    ids=lambda param: param[0],
)
def bad_file(request, tone, tmp_path):
    """A file that no model takes, and what every interface says of it."""
    path, message = tmp_path / request.param[0], request.param[1]
    samples = {"empty.wav": np.zeros(0), "nan.wav": np.array([0.1, np.nan]), "silent.wav": np.zeros(16000)}
    if path.name in samples:
        soundfile.write(path, samples[path.name], 16000, subtype="FLOAT" if path.name == "nan.wav" else None)
    elif path.name == "cut.flac":
        soundfile.write(tmp_path / "whole.flac", tone(3.0), 16000)
        path.write_bytes((tmp_path / "whole.flac").read_bytes()[:20000])
    elif path.name == "text.wav":
        path.write_text("no audio")
    return path, message


@pytest.fixture
def registry_restored(monkeypatch):
    """Plugins and kinds that a test registers are forgotten after it."""
    import speechtools
    from speechtools.core import registry

    speechtools.available()  # everything is imported before the copy, so that restoring loses nothing
    monkeypatch.setattr(registry, "_plugins", dict(registry._plugins))
    monkeypatch.setattr(registry, "_contracts", dict(registry._contracts))
