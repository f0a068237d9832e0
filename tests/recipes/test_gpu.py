"""On a GPU: the same losses, d-vectors, features and masks as on the CPU, and recipes from end to end."""

import pytest
import runs
import torch

import speechtools
from speechtools.inference import SpeechEnhancer
from speechtools.speaker.dvectors import window_dvectors
from tests.recipes.small import ENHANCEMENT, SPEAKER, results

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
VISIBLE = {"CUDA_VISIBLE_DEVICES": "0"}


@pytest.mark.parametrize("name", ["ge2e-softmax", "ge2e-contrast"])
def test_losses_and_their_gradients(name):
    torch.manual_seed(0)
    dvectors = torch.nn.functional.normalize(torch.randn(64, 10, 256), dim=2)
    computed = {}
    for device in ("cpu", "cuda"):
        loss = speechtools.build(f"speaker-loss/{name}").to(device)
        embedded = dvectors.to(device).requires_grad_()
        value = loss(embedded)
        value.backward()
        computed[device] = value.detach().cpu(), embedded.grad.cpu()
    for one, other in zip(*computed.values(), strict=True):
        assert float((one - other).norm() / one.norm()) < 1e-5


def test_features_and_sliding_windows():
    torch.manual_seed(0)
    wavs = 0.1 * torch.randn(3, 40000)
    windows = {}
    encoder = speechtools.build("encoder/lstmp", input_size=40, hidden_size=64, proj_size=32).eval()
    for device in ("cpu", "cuda"):
        feats = speechtools.build("features/log-mel").to(device)(wavs.to(device))
        with torch.no_grad():
            windows[device] = torch.cat(window_dvectors(encoder.to(device), list(feats))).cpu()
    assert torch.allclose(windows["cpu"], windows["cuda"], atol=1e-3)


def test_masks():
    torch.manual_seed(0)
    wavs, lens = 0.1 * torch.randn(3, 40000), torch.tensor([1.0, 0.5, 0.8])
    enhancer = SpeechEnhancer.from_hparams(run_opts={"device": "cpu"})
    on_gpu = SpeechEnhancer.from_hparams(run_opts={"device": "cuda"})
    enhanced = on_gpu.enhance_batch(wavs.cuda(), lens.cuda()).cpu()
    assert torch.allclose(enhancer.enhance_batch(wavs, lens), enhanced, atol=1e-4)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_the_speaker_recipe(tmp_path, builtin_cache, precision):
    options = ("--device=cuda", f"--precision={precision}", "--augmentation=True")
    runs.succeeded(SPEAKER.train(tmp_path / "run", tmp_path / "prepared", *options, variables=VISIBLE))
    assert 0 <= results(tmp_path / "run")["eer"] <= 1


@pytest.mark.parametrize("processes, precision", [(1, "fp32"), (1, "bf16"), (2, "fp32")])
def test_the_enhancement_recipe(tmp_path, builtin_cache, processes, precision):
    """Two processes share the GPU, with gloo between them."""
    options = ("--device=cuda", f"--precision={precision}", "--distributed_backend=gloo")
    arguments = ENHANCEMENT.arguments(tmp_path / "run", tmp_path / "prepared", *options)
    for done in runs.run_processes(processes, *arguments, cwd=ENHANCEMENT.folder, variables=VISIBLE):
        runs.succeeded(done)
    for kind, files in (("unheard", 4), ("heard", 2)):
        overall = results(tmp_path / "run")[kind]["overall"]
        assert overall["files"] == files and -1 < overall["after"]["stoi"] < 1
