"""TI-SV/GE2E on a GPU: the same losses, d-vectors and features as on the CPU, and the recipe from end to end."""

import json

import pytest
import torch
from test_recipe_ge2e import train

import speechtools
from speechtools import dvectors

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.mark.parametrize("name", ["ge2e-softmax", "ge2e-contrast"])
def test_losses_and_their_gradients(name):
    torch.manual_seed(0)
    given = torch.nn.functional.normalize(torch.randn(64, 10, 256), dim=2)
    found = {}
    for device in ("cpu", "cuda"):
        loss = speechtools.build(f"loss/{name}").to(device)
        embedded = given.to(device).requires_grad_()
        value = loss(embedded)
        value.backward()
        found[device] = value.detach().cpu(), embedded.grad.cpu()
    for one, other in zip(*found.values(), strict=True):
        assert float((one - other).norm() / one.norm()) < 1e-5


def test_features_and_sliding_windows():
    torch.manual_seed(0)
    wavs = 0.1 * torch.randn(3, 40000)
    found = {}
    encoder = speechtools.build("encoder/lstmp", input_size=40, hidden_size=64, proj_size=32).eval()
    for device in ("cpu", "cuda"):
        feats = speechtools.build("features/log-mel").to(device)(wavs.to(device))
        with torch.no_grad():
            windows = dvectors.window_dvectors(encoder.to(device), list(feats))
        found[device] = torch.cat(windows).cpu()
    assert torch.allclose(found["cpu"], found["cuda"], atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_recipe(tmp_path, builtin_cache, precision):
    done = train(
        tmp_path / "run",
        tmp_path / "prepared",
        "--device=cuda",
        f"--precision={precision}",
        "--augmentation=True",
        visible="0",
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert 0 <= json.loads((tmp_path / "run" / "results.json").read_text())["eer"] <= 1
