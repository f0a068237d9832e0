"""Time of a block of 100 ms in each stream, on one thread: ``python benchmarks/streams.py``.

A minute of the bundled sample, over and over, goes through each stream block by block. Most blocks of a stream of a
speaker only wait: with a hop of 0.5 s, every fifth is embedded. So the mean counts, and the slowest block in a hundred
is how late a result may come.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from timing import print_table

import speechtools
from speechtools.audio import read
from speechtools.inference import KeywordDetector, QualityNet, SpeakerVerification

RATE, BLOCK = 16000, 1600
TARGET = 5.0  # ms


def block_times(feed: Callable[[np.ndarray], object], samples: np.ndarray) -> np.ndarray:
    """Milliseconds of each block."""
    times = []
    for first in range(0, len(samples) - BLOCK + 1, BLOCK):
        began = time.perf_counter()
        feed(samples[first : first + BLOCK])
        times.append(1000 * (time.perf_counter() - began))
    return np.array(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of each stream (60)")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    samples = read(speechtools.SAMPLE, RATE)
    samples = np.tile(samples, int(arguments.seconds * RATE) // len(samples) + 1)
    quality, detector = QualityNet.from_hparams("quality-net-live"), KeywordDetector.from_hparams()
    verifier = SpeakerVerification.from_hparams()
    verifier.enroll("anna", [speechtools.SAMPLE])
    without_quality = SpeakerVerification.from_hparams()
    without_quality.assess_quality(None)
    without_quality.enroll("anna", [speechtools.SAMPLE])
    quality_stream = quality.stream(sample_rate=RATE)
    streams = {
        "quality-net-live: scores, causes and regions": (quality_stream.feed, f"{quality_stream.latency:.2f} s"),
        "speaker: a verdict for the last 3 s, every 0.5 s": (verifier.stream("anna").feed, "0.5 s at most"),
        "the same without the quality of the speech": (without_quality.stream("anna").feed, "0.5 s at most"),
        "keyword-detector: two keywords": (detector.stream(["ok google", "hey computer"]).feed, "0.5 s"),
    }
    rows = []
    for name, (feed, latency) in streams.items():
        block_times(feed, samples[: 20 * BLOCK])
        times = block_times(feed, samples)
        reached = "yes" if times.mean() <= TARGET else "no"
        rows.append((name, f"{times.mean():.2f} ms", f"{np.quantile(times, 0.99):.2f} ms", latency, reached))
    columns = ("stream", "a block of 100 ms, mean", "slowest in 100", "latency", f"mean ≤ {TARGET:g} ms")
    print_table("Blocks of 100 ms on one thread", rows, columns)


if __name__ == "__main__":
    main()
