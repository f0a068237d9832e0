"""What several test files share: a cache of their own for the built-in corpus, and a tiny model."""

import os

import numpy as np
import pytest

# Small nets run fastest on one thread, and the test processes do not get in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session", autouse=True)
def builtin_cache(tmp_path_factory):
    """The built-in corpus and noises are made in a temporary folder, once for all tests, never in the user's cache."""
    folder = tmp_path_factory.mktemp("cache")
    before = os.environ.get("SPEECHTOOLS_CACHE")
    os.environ["SPEECHTOOLS_CACHE"] = str(folder)
    yield folder
    if before is None:
        del os.environ["SPEECHTOOLS_CACHE"]
    else:
        os.environ["SPEECHTOOLS_CACHE"] = before


PRETRAINED_YAML = """
sample_rate: 16000
scale: raw_nb
features: !apply:speechtools.build {plugin: features/magnitude, log1p: true}
quality: !apply:speechtools.build {plugin: quality/blstm, hidden_size: 6, linear_size: 5}
modules:
    quality: !ref <quality>
"""


@pytest.fixture(scope="session")
def pretrained(tmp_path_factory):
    """A `pretrained` folder of a tiny Quality-Net with random weights."""
    import torch

    import speechtools

    folder = tmp_path_factory.mktemp("pretrained")
    (folder / "hyperparams.yaml").write_text(PRETRAINED_YAML)
    torch.manual_seed(0)
    net = speechtools.build("quality/blstm", hidden_size=6, linear_size=5)
    torch.save(net.state_dict(), folder / "quality.ckpt")
    return folder


@pytest.fixture
def tone():
    """Samples (samples,) of a sound that changes: ``tone(seconds, rate)``."""

    def make(seconds, rate=16000, seed=0):
        time = np.arange(round(seconds * rate)) / rate
        rng = np.random.default_rng(seed)
        wave = 0.3 * np.sin(2 * np.pi * (200 + 50 * np.sin(time)) * time) * (np.sin(3 * time) > -0.5)
        return (wave + 0.01 * rng.standard_normal(len(time))).astype(np.float32)

    return make
