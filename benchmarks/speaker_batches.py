"""Cost of a GE2E batch in a small corpus and in one of a million utterances: ``python benchmarks/speaker_batches.py``.

The small corpus has 64 speakers with 20 utterances of 3 s each. The large one is simulated: 50,000 speakers in as many
audio files as the preparation would write, all links to the files of the small corpus, so that the audio stays in
memory and no disk is timed. Both sides are timed in turns on new batches, and the best time of each counts.
"""

import argparse
import csv
import itertools
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from timing import in_turns, print_table

from speechtools.core.memory import keep_freed_memory
from speechtools.speaker.batches import SpeakerBatches
from speechtools.speaker.index import SpeakerRow
from speechtools.speaker.shards import SHARD_UTTERANCES
from speechtools.speaker.store import SpeakerStore

PER_SPEAKER = 20
SAMPLES = 48000  # 3 s
SMALL = 64 * PER_SPEAKER


def write_audio(folder: Path, num_utterances: int) -> list[Path]:
    """Write files of noise, each with the utterances of one shard."""
    rng, paths = np.random.default_rng(0), []
    folder.mkdir(parents=True)
    for first in range(0, num_utterances, SHARD_UTTERANCES):
        paths.append(folder / f"train-{len(paths)}.npy")
        count = min(SHARD_UTTERANCES, num_utterances - first)
        np.save(paths[-1], rng.integers(-3000, 3000, count * SAMPLES, dtype=np.int16))
    return paths


def write_manifest(folder: Path, num_utterances: int) -> Path:
    """A manifest of so many utterances, with the ids and paths (80 characters) of a large corpus."""
    folder.mkdir(exist_ok=True)
    manifest = folder / "train.csv"
    with open(manifest, "w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(SpeakerRow.columns()[:-1])
        for number in range(num_utterances):
            shard, place = divmod(number, SHARD_UTTERANCES)
            speaker = f"id{number // PER_SPEAKER:05d}"
            utt_id = f"{speaker}-{number:011d}-{number % PER_SPEAKER:05d}"
            path = f"/corpora/a-corpus-of-many-voices/dev/aac/{speaker}/{utt_id}.flac".ljust(80, "x")
            writer.writerow(
                [utt_id, speaker, path, SAMPLES / 16000, f"shards/train-{shard}.npy", place * SAMPLES, SAMPLES]
            )
    return manifest


def next_steps(function: Callable[[int], object], count: int) -> Callable[[], None]:
    """Return a function that calls ``function`` with the next ``count`` step numbers."""
    steps = itertools.count()

    def call():
        for step in itertools.islice(steps, count):
            function(step)

    return call


def main() -> None:
    """Write both corpora, time the batches and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=1_000_000)
    parser.add_argument("--batches", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as in training.start()
    with tempfile.TemporaryDirectory() as name:
        small_folder, large_folder = Path(name, "small"), Path(name, "large")
        paths = write_audio(small_folder / "shards", SMALL)
        (large_folder / "shards").mkdir(parents=True)
        full = [path for path in paths if path.stat().st_size == paths[0].stat().st_size]
        for shard in range(-(-arguments.utterances // SHARD_UTTERANCES)):
            os.link(full[shard % len(full)], large_folder / "shards" / f"train-{shard}.npy")
        small = SpeakerStore(write_manifest(small_folder, SMALL))
        manifest = write_manifest(large_folder, arguments.utterances)
        began = time.perf_counter()
        large = SpeakerStore(manifest)
        opening = time.perf_counter() - began
        both = [SpeakerBatches(store) for store in (small, large)]
        count = arguments.batches
        calls = [next_steps(dataset.__getitem__, count) for dataset in both]
        small_s, large_s = (seconds / count for seconds in in_turns(*calls, repeats=arguments.repeats))
        calls = [next_steps(dataset.plan, count) for dataset in both]
        small_plan, large_plan = (seconds / count for seconds in in_turns(*calls, repeats=arguments.repeats))
    rows = [
        (what, f"{1000 * one:.2f} ms", f"{1000 * other:.2f} ms", f"{other / one:.2f}×", target)
        for what, one, other, target in (
            ("a batch of 64 × 10 partial utterances", small_s, large_s, "≤ 1.20×"),
            ("of that, drawing it", small_plan, large_plan, ""),
        )
    ]
    sizes = [
        f"{sum(path.stat().st_size for path in store.manifest.with_suffix('.index').iterdir()) / len(store):.0f} bytes"
        for store in (small, large)
    ]
    rows.append(("index in memory, per utterance", *sizes, "", "≤ 200 bytes"))
    rows.append(("opening the store", "", f"{opening:.1f} s", "", ""))
    columns = ("what", f"{SMALL:,} utterances", f"{len(large):,} utterances", "ratio", "target")
    print_table(f"torch {torch.__version__}, {arguments.threads} thread(s)", rows, columns)


if __name__ == "__main__":
    main()
