"""d-vectors of files by Resemblyzer and by its converted model: ``python benchmarks/converted.py FOLDER``.

FOLDER is searched for recordings. Both sides read, resample, trim and embed every file, one file after the other in
Resemblyzer, which has no other way, and on one thread. They take turns, and the best time of each counts. It is the
time that the processor spent, so that other work on the machine does not matter. Needs the packages ``resemblyzer`` and
``webrtcvad-wheels``.
"""

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from timing import print_table

from speechtools import audio
from speechtools.audio.recordings import find_recordings
from speechtools.core.memory import keep_freed_memory
from speechtools.inference import SpeakerEncoder
from speechtools.speaker import dvectors
from speechtools.speaker.conversion import convert


def processor_seconds(function: Callable[[], object]) -> float:
    """Time that the processor spends in this process, in all threads."""
    start = time.process_time()
    function()
    return time.process_time() - start


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--limit", type=int, default=60, help="so many files")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # of the packages that Resemblyzer uses
    import resemblyzer

    torch.set_num_threads(1)
    keep_freed_memory()
    files = find_recordings([arguments.folder])
    files = files[:: max(1, len(files) // arguments.limit)][: arguments.limit]
    upstream = resemblyzer.VoiceEncoder("cpu", verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(resemblyzer.__file__).with_name("pretrained.pt")
        model = convert("resemblyzer", weights, Path(folder, "model"))
        ours = SpeakerEncoder.from_hparams(model, run_opts={"device": "cpu"})
    samples = [audio.read(path) for path in files]
    seconds = sum(map(len, samples)) / ours.sample_rate

    def plain() -> list[np.ndarray]:
        return [upstream.embed_utterance(resemblyzer.preprocess_wav(path)) for path in files]

    def one_by_one() -> list[torch.Tensor]:
        return [ours.encode_file(path) for path in files]

    def batched() -> list[torch.Tensor]:
        return [result for _, result in ours.encode_files(files)]

    # Without offset on both sides, since the toolkit subtracts it.
    centred = [upstream.embed_utterance(resemblyzer.preprocess_wav(wav - wav.mean())) for wav in samples]
    difference = max(
        float(np.abs(dvectors.unit(one).numpy() - other).max()) for one, other in zip(batched(), centred, strict=True)
    )
    functions = (plain, one_by_one, batched)
    times = [[processor_seconds(function) for function in functions] for _ in range(arguments.repeats)]
    plain_s, single_s, batched_s = np.min(times, axis=0)
    what = f"{len(files)} files, {seconds:.0f} s; d-vectors differ by {difference:.0e}; {{}}"
    rows = [
        (
            what.format(name),
            f"{plain_s:.2f} s, {seconds / plain_s:.0f}x real time",
            f"{ours_s:.2f} s, {seconds / ours_s:.0f}x",
            f"{plain_s / ours_s:.2f}x",
            "",
        )
        for name, ours_s in (("encode_file", single_s), ("encode_files", batched_s))
    ]
    print_table(f"torch {torch.__version__}, 1 thread, processor time", rows)


if __name__ == "__main__":
    main()
