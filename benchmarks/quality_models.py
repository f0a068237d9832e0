"""Quality models in one form: those of the toolkit and its peers, DNSMOS and Distill-MOS, on one thread.

The peers are installed with ``pip install "speechtools[peers]"``; both packages contain their weights, and both models
take 16 kHz. DNSMOS repeats shorter audio to 9.01 s; Distill-MOS appends zeros to 7.68 s
and normalises the peak.
"""

import contextlib
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from timing import in_turns

import speechtools
from speechtools.core.errors import SpeechtoolsError
from speechtools.core.installation import optional_package
from speechtools.inference import QualityNet

SAMPLE_RATE = 16000


@dataclass(frozen=True)
class Model:
    """A quality model.

    Attributes
    ----------
    outputs : tuple of str
        Names of its scores, unique among the models.
    score : callable
        Scores (outputs,) of samples (samples,) at 16 kHz.
    parameters : int
        How many, approximately.
    net : QualityNet, optional
        The model, if it is one of the toolkit; others predict the mean opinion score (MOS).
    """

    outputs: tuple[str, ...]
    score: Callable[[np.ndarray], Sequence[float]]
    parameters: int
    net: QualityNet | None = None


def of_toolkit(source: str) -> Model:
    """A model of the toolkit: ``name`` of a bundled one, a folder, or ``label=folder``."""
    label, _, folder = source.rpartition("=")
    net = QualityNet.from_hparams(folder, run_opts={"device": "cpu"})
    if net.sample_rate != SAMPLE_RATE:
        raise SpeechtoolsError(f"{source} takes {net.sample_rate} Hz. Only models of {SAMPLE_RATE} Hz are compared.")
    name = label or Path(folder).name
    return Model((name,), lambda samples: (net.assess_samples(samples).score,), _size(net.mods["quality"]), net)


def plain_blstm() -> Model:
    """The network of the Quality-Net paper, untrained: to compare speeds."""
    quality = speechtools.build("quality/blstm")
    hparams = {"features": speechtools.build("features/magnitude"), "sample_rate": SAMPLE_RATE, "scale": "raw_nb"}
    net = QualityNet({"quality": quality}, hparams, {"device": "cpu"})
    return Model(("quality/blstm",), lambda samples: (net.assess_samples(samples).score,), _size(quality), net)


def dnsmos() -> Model:
    """DNSMOS P.835 (Reddy et al., 2022) of the package ``speechmos``: overall, speech and background.

    As ``speechmos.dnsmos.run``, which takes no number of threads, without the other model (P.808) that it runs.
    """
    package = optional_package("speechmos.dnsmos", "DNSMOS", "peers")
    path = Path(package.__file__).parent / "dnsmos_models" / "sig_bak_ovr.onnx"
    options = package.ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = package.ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    size = round(package.INPUT_LENGTH * SAMPLE_RATE)

    def score(samples: np.ndarray) -> Sequence[float]:
        while len(samples) < size:
            samples = np.concatenate([samples, samples])
        num_hops = int(len(samples) // SAMPLE_RATE - package.INPUT_LENGTH) + 1
        starts = [SAMPLE_RATE * hop for hop in range(num_hops)]
        segments = [samples[start : start + size] for start in starts if start + size <= len(samples)]
        raw = [session.run(None, {"input_1": np.float32(segment)[None]})[0][0] for segment in segments]
        sig, bak, ovrl = np.mean(
            [package.DNSMOS.get_polyfit_val(None, *values, is_personalized_MOS=False) for values in raw], axis=0
        )
        return ovrl, sig, bak

    return Model(("DNSMOS OVRL", "DNSMOS SIG", "DNSMOS BAK"), score, path.stat().st_size // 4)  # of float32


def distillmos() -> Model:
    """Distill-MOS (Stahl and Gamper, 2025) of the package ``distillmos``."""
    package = optional_package("distillmos", "Distill-MOS", "peers")
    with contextlib.redirect_stdout(io.StringIO()):  # where its weights are
        net = package.ConvTransformerSQAModel().eval()

    @torch.inference_mode()
    def score(samples: np.ndarray) -> Sequence[float]:
        return (float(net(torch.from_numpy(np.float32(samples))[None])),)

    return Model(("Distill-MOS",), score, _size(net))


PEERS = {"dnsmos": dnsmos, "distillmos": distillmos}


def bench_speed(models: Sequence[Model], waveforms: Sequence[np.ndarray], repeats: int) -> dict[str, dict]:
    """How many times faster than real time each model is on waveforms (samples,): all in a batch, and eight one by one.

    The models are timed in turns, with ``quality/blstm`` among them, and the best time counts.
    """
    some = waveforms[:: max(1, len(waveforms) // 8)][:8]
    seconds = {
        way: sum(len(samples) for samples in chosen) / SAMPLE_RATE
        for way, chosen in (("one", some), ("batch", waveforms))
    }
    models = [*models, plain_blstm()]
    work = {
        (model.outputs[0], "one"): lambda model=model: [model.score(samples) for samples in some] for model in models
    }
    work |= {
        (model.outputs[0], "batch"): lambda net=model.net: list(net.assess_files(waveforms, sample_rate=SAMPLE_RATE))
        for model in models
        if model.net is not None
    }
    times = dict(zip(work, in_turns(*work.values(), repeats=repeats), strict=True))
    results = {}
    for model in models:
        name = model.outputs[0]
        batch = times.get((name, "batch"))
        results[name] = {
            "parameters": model.parameters,
            "one_by_one": seconds["one"] / times[name, "one"],
            "batch": batch and seconds["batch"] / batch,
        }
    return results


def _size(module: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
