"""Labelling with worker processes, against a plain loop over ``pesq`` on the same files in the same run.

Run it with ``python benchmarks/bench_pesq_labels.py``. The two are timed in turns, and the best time of each is taken:
on a machine with other work, the disturbance only ever adds. It needs as many idle cores as there are processes.
"""

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pesq
import soundfile

from speechtools.measures.labels import LabelJob, label
from speechtools.measures.pesq import raw_from_nb

SAMPLE_RATE = 16000


def syllables(seconds: float, generator: np.random.Generator) -> np.ndarray:
    """Harmonic bursts with pauses, in which PESQ finds utterances: (samples,)."""
    pieces, count = [], 0
    while count < seconds * SAMPLE_RATE:
        times = np.arange(int(generator.uniform(0.3, 0.9) * SAMPLE_RATE)) / SAMPLE_RATE
        pitch = generator.uniform(90, 220)
        tone = sum(np.sin(2 * np.pi * pitch * k * times + generator.uniform(0, 6)) / k for k in range(1, 15))
        tone *= 0.1 * np.abs(np.sin(2 * np.pi * 3 * times)) * np.hanning(len(times)) ** 0.3
        pieces += [tone, np.zeros(int(0.25 * SAMPLE_RATE))]
        count += len(pieces[-2]) + len(pieces[-1])
    return np.concatenate(pieces)[: int(seconds * SAMPLE_RATE)]


def make_jobs(folder: Path, num_files: int, seconds: float) -> list[LabelJob]:
    """Write pairs of a clean and a noisy file, seeded."""
    generator = np.random.default_rng(0)
    jobs = []
    for index in range(num_files):
        job = LabelJob(f"item{index}", folder / f"clean{index}.wav", folder / f"noisy{index}.wav")
        clean = syllables(seconds, generator)
        noise = generator.standard_normal(len(clean)) * 10 ** generator.uniform(-3, -1)
        soundfile.write(job.reference, clean, SAMPLE_RATE)
        soundfile.write(job.degraded, np.clip(clean + noise, -1, 1), SAMPLE_RATE)
        jobs.append(job)
    return jobs


def plain_loop(jobs: list[LabelJob]) -> dict[str, float]:
    """What one writes without the toolkit."""
    scores = {}
    for job in jobs:
        reference, sample_rate = soundfile.read(job.reference)
        degraded, _ = soundfile.read(job.degraded)
        scores[job.item_id] = float(raw_from_nb(pesq.pesq(sample_rate, reference, degraded, "nb")))
    return scores


def measure(num_files: int = 200, seconds: float = 3.0, num_workers: int = 2, repeats: int = 5) -> dict:
    """Time both, in turns; ``ratio`` is the plain loop's best time over that of :func:`label`."""
    plain_s, label_s = [], []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        jobs = make_jobs(folder, num_files, seconds)
        for repeat in range(repeats):
            start = time.perf_counter()
            expected = plain_loop(jobs)
            plain_s.append(time.perf_counter() - start)
            start = time.perf_counter()
            scores = label(jobs, folder / f"run{repeat}" / "pesq.csv", num_workers=num_workers, progress=False)
            label_s.append(time.perf_counter() - start)
            largest = max(abs(scores[item_id] - expected[item_id]) for item_id in expected)
            if largest > 1e-4:
                raise RuntimeError(f"The labels differ from the plain loop's by up to {largest}.")
    return {
        "what": f"PESQ labels of {num_files} files of {seconds:g} s with {num_workers} processes against a plain loop",
        "ratio": min(plain_s) / min(label_s),
        "ratios": [plain / ours for plain, ours in zip(plain_s, label_s, strict=True)],
        "plain_s": min(plain_s),
        "label_s": min(label_s),
        "reach": 1.8,
    }


if __name__ == "__main__":
    print(json.dumps(measure(), indent=2))
