"""Compare models in ONNX form with torch: speed, differences, and the time from a new process to the first score.

python benchmarks/onnx_models.py
python benchmarks/onnx_models.py --only start
"""

import argparse
import functools
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from timing import in_turns

import speechtools
from speechtools.audio import read
from speechtools.inference import QualityNet, SpeakerEncoder, SpeechEnhancer

RATE, SECONDS, BATCH = 16000, 4.0, 32
#: From a new process to the score of a file, with the seconds of each step.
START = """
import sys, time
began = time.perf_counter()
from speechtools.inference import QualityNet
net = QualityNet.from_onnx(sys.argv[1]) if sys.argv[1] else QualityNet.from_hparams()
loaded = time.perf_counter()
net.assess_file(sys.argv[2])
print(loaded - began, time.perf_counter() - loaded)
"""


def recordings() -> list[np.ndarray]:
    """Return 32 recordings of 4 s: parts of the bundled sample at several levels, with noise."""
    speech, generator = np.tile(read(speechtools.SAMPLE, RATE), 2), np.random.default_rng(0)
    count = round(SECONDS * RATE)
    rows = []
    for number in range(BATCH):
        part = np.roll(speech, 1000 * number)[:count] * generator.uniform(0.1, 1)
        rows.append((part + 0.003 * generator.standard_normal(count)).astype(np.float32))
    return rows


def compare(folder: Path, repeats: int) -> None:
    """Print speed and differences of the bundled models."""
    rows = recordings()
    for name, interface, method in (
        ("quality-net", QualityNet, lambda net: [report.score for report in net._assess(rows)]),
        ("speaker", SpeakerEncoder, lambda net: [np.asarray(vector) for _, vector in net.encode_files(rows)]),
        ("enhancer", SpeechEnhancer, lambda net: net.enhance_waveforms(rows)),
    ):
        net = interface.from_hparams(name, run_opts={"device": "cpu"})
        forms = {"torch": net}
        for form in ("onnx", "int8"):
            path = net.to_onnx(folder / f"{name}-{form}.onnx", int8=form == "int8").path
            forms[form] = interface.from_onnx(path, threads=1)
        works = [functools.partial(method, model) for model in forms.values()]
        times = dict(zip(forms, in_turns(*works, repeats=repeats), strict=True))
        results = {form: np.stack(method(model)) for form, model in forms.items()}
        for form, seconds in times.items():
            difference = np.abs(results[form] - results["torch"]).max()
            size = "" if form == "torch" else f", {(folder / f'{name}-{form}.onnx').stat().st_size / 1e6:.1f} MB"
            print(
                f"{name}, {form}: {1000 * seconds:.0f} ms, {BATCH * SECONDS / seconds:.0f} x real time, "
                f"{times['torch'] / seconds:.2f} x torch, difference {difference:.1g}{size}"
            )


def start(folder: Path, repeats: int) -> None:
    """Print the time from the import to the first score of a file of 4 s, in new processes."""
    path = folder / "q.onnx"
    if not path.exists():
        QualityNet.from_hparams(run_opts={"device": "cpu"}).to_onnx(path)
    soundfile.write(folder / "call.wav", recordings()[0], RATE)
    for name, model in (("onnx", str(path)), ("torch", "")):
        command = [sys.executable, "-c", START, model, str(folder / "call.wav")]
        runs = [
            [float(word) for word in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]
            for _ in range(repeats)
        ]
        total = [sum(run) for run in runs]
        best = runs[int(np.argmin(total))]
        print(
            f"{name}: {min(total):.2f} s at best, median {statistics.median(total):.2f} "
            f"(import and loading {best[0]:.2f}, first score {best[1]:.2f})"
        )


def main() -> None:
    """Run the benchmarks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=["speed", "start"], help="run one of them")
    parser.add_argument("--repeats", type=int, default=7, metavar="NUMBER", help="repetitions (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.only != "start":
            compare(Path(folder), options.repeats)
        if options.only != "speed":
            start(Path(folder), options.repeats)


if __name__ == "__main__":
    main()
