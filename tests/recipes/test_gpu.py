"""On a GPU: the same losses, d-vectors, features and masks as on the CPU, and recipes from end to end."""

import json

import pytest
import runs
import torch

import speechtools
from speechtools.inference import SpeechEnhancer
from speechtools.speaker.dvectors import window_dvectors
from tests.recipes import test_enhancement as test_recipe_enhancement
from tests.recipes.test_ge2e import train

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
VISIBLE = {"CUDA_VISIBLE_DEVICES": "0"}


@pytest.mark.parametrize("name", ["ge2e-softmax", "ge2e-contrast"])
def test_losses_and_their_gradients(name):
    torch.manual_seed(0)
    dvectors = torch.nn.functional.normalize(torch.randn(64, 10, 256), dim=2)
    results = {}
    for device in ("cpu", "cuda"):
        loss = speechtools.build(f"speaker-loss/{name}").to(device)
        embedded = dvectors.to(device).requires_grad_()
        value = loss(embedded)
        value.backward()
        results[device] = value.detach().cpu(), embedded.grad.cpu()
    for one, other in zip(*results.values(), strict=True):
        assert float((one - other).norm() / one.norm()) < 1e-5


def test_features_and_sliding_windows():
    torch.manual_seed(0)
    wavs = 0.1 * torch.randn(3, 40000)
    results = {}
    encoder = speechtools.build("encoder/lstmp", input_size=40, hidden_size=64, proj_size=32).eval()
    for device in ("cpu", "cuda"):
        feats = speechtools.build("features/log-mel").to(device)(wavs.to(device))
        with torch.no_grad():
            windows = window_dvectors(encoder.to(device), list(feats))
        results[device] = torch.cat(windows).cpu()
    assert torch.allclose(results["cpu"], results["cuda"], atol=1e-3)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_recipe(tmp_path, builtin_cache, precision):
    options = ("--device=cuda", f"--precision={precision}", "--augmentation=True")
    runs.succeeded(train(tmp_path / "run", tmp_path / "prepared", *options, variables=VISIBLE))
    assert 0 <= json.loads((tmp_path / "run" / "results.json").read_text())["eer"] <= 1


def test_masks():
    torch.manual_seed(0)
    wavs, lens = 0.1 * torch.randn(3, 40000), torch.tensor([1.0, 0.5, 0.8])
    enhancer = SpeechEnhancer.from_hparams(run_opts={"device": "cpu"})
    on_gpu = SpeechEnhancer.from_hparams(run_opts={"device": "cuda"})
    enhanced = on_gpu.enhance_batch(wavs.cuda(), lens.cuda()).cpu()
    assert torch.allclose(enhancer.enhance_batch(wavs, lens), enhanced, atol=1e-4)


@pytest.mark.parametrize("processes, precision", [(1, "fp32"), (1, "bf16"), (2, "fp32")])
def test_the_enhancement_recipe(tmp_path, builtin_cache, processes, precision):
    """Two processes share the GPU, with gloo between them."""
    arguments = test_recipe_enhancement.arguments(
        "enhancement", "blstm.yaml", tmp_path / "run", tmp_path / "prepared", {}
    )
    options = ("--device=cuda", f"--precision={precision}", "--distributed_backend=gloo")
    folder = test_recipe_enhancement.TIMIT / "enhancement"
    for done in runs.run_processes(processes, *arguments, *options, cwd=folder, variables=VISIBLE):
        runs.succeeded(done)
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    for kind, files in (("unheard", 4), ("heard", 2)):
        assert results[kind]["overall"]["files"] == files
        assert -1 < results[kind]["overall"]["after"]["stoi"] < 1
