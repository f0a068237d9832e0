"""Speed of labelling with two processes against a plain loop over ``pesq``: ``python benchmarks/pesq_labels.py``.

Both sides label the same files in turns, and the best time of each counts. Two idle cores are needed.
"""

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pesq
import soundfile
from timing import in_turns, print_table

from speechtools.measures.labels import LabelJob, label
from speechtools.measures.pesq import raw_from_nb

SAMPLE_RATE = 16000


def syllables(seconds: float, generator: np.random.Generator) -> np.ndarray:
    """Generate harmonic bursts with pauses, in which PESQ finds utterances: (samples,)."""
    bursts, count = [], 0
    while count < seconds * SAMPLE_RATE:
        times = np.arange(int(generator.uniform(0.3, 0.9) * SAMPLE_RATE)) / SAMPLE_RATE
        pitch = generator.uniform(90, 220)
        tone = sum(np.sin(2 * np.pi * pitch * k * times + generator.uniform(0, 6)) / k for k in range(1, 15))
        tone *= 0.1 * np.abs(np.sin(2 * np.pi * 3 * times)) * np.hanning(len(times)) ** 0.3
        bursts += [tone, np.zeros(int(0.25 * SAMPLE_RATE))]
        count += len(bursts[-2]) + len(bursts[-1])
    return np.concatenate(bursts)[: int(seconds * SAMPLE_RATE)]


def make_jobs(folder: Path, num_files: int, seconds: float) -> list[LabelJob]:
    """Write pairs of a clean and a noisy file."""
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
    """Label without the toolkit."""
    scores = {}
    for job in jobs:
        reference, sample_rate = soundfile.read(job.reference)
        degraded, _ = soundfile.read(job.degraded)
        scores[job.item_id] = float(raw_from_nb(pesq.pesq(sample_rate, reference, degraded, "nb")))
    return scores


def bench_labels(num_files: int = 200, seconds: float = 3.0, repeats: int = 5) -> list[tuple]:
    """Return the row of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder, runs = Path(name), itertools.count()
        jobs = make_jobs(folder, num_files, seconds)

        def toolkit() -> dict[str, float]:
            return label(jobs, folder / f"run{next(runs)}" / "pesq.csv", num_workers=2, progress=False)

        expected = plain_loop(jobs)
        difference = max(abs(score - expected[item_id]) for item_id, score in toolkit().items())
        plain_s, label_s = in_turns(lambda: plain_loop(jobs), toolkit, repeats=repeats)
    what = f"PESQ labels of {num_files} files of {seconds:g} s, 2 processes; labels differ by {difference:.0e}"
    return [(what, f"{plain_s:.2f} s loop", f"{label_s:.2f} s", f"{plain_s / label_s:.2f}×", "≥ 1.8×")]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    print_table("PESQ", bench_labels(arguments.files, repeats=arguments.repeats))
