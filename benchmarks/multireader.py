"""Speed of the MultiReader and of a very large index of speech: ``python benchmarks/multireader.py``.

``step``: a step of the MultiReader with the two sources of ``multireader.yaml`` against two plain loaders in turn:
first the reading alone, then with the training (MultiReader: one forward pass of both batches and one optimiser step;
plain: one step per source). Medians, both sides in turns. ``delivery``: steps per second that two loader processes
deliver, against those that the network of the recipe can process (features, encoder, loss, backward); the best of
each.

``index``: an index of 630,000 speakers and 150 million utterances, written as a stream and mapped into memory, and
batches of 64 × 10 segments of 0.8 s from it. A batch is the whole work of a loader process: draw, look up, and read
16-bit audio. The audio is a few files of noise, linked under the name of each file that the preparation would write.
"audio in one file" opens no further files; "audio in its own files" opens about a hundred per batch. Everything is in
the page cache, so no disk is timed. This takes minutes and gigabytes of disk in ``--folder``; ``--speakers 6300
--utterances 1500000`` gives a quick estimate.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from hyperpyyaml import load_hyperpyyaml
from timing import in_turns, medians, print_table
from torch.nn.utils.rnn import pad_sequence

import speechtools
from speechtools.core.memory import keep_freed_memory
from speechtools.speaker.batches import SpeakerBatches, StepSampler
from speechtools.speaker.index import SpeakerIndex, read_index, write_index
from speechtools.speaker.multireader import Source
from speechtools.speaker.shards import SHARD_UTTERANCES
from speechtools.speaker.store import SpeakerStore
from speechtools.training.loaders import make_loader

RECIPE = Path(__file__).parents[1] / "recipes" / "keyword" / "GE2E"
KEYWORDS = ["OK Google", "Hey Google"]
SAMPLES = 12800  # 0.8 s
ORIGIN = ["simulated"]
#: Different files of audio; a file system allows some 65,000 names for one.
MAX_NAMES = 60_000
MIN_FILES = 13
BATCHES = 200


# -------------------------------------------------------------------------------------------------- simulated corpora


def index_rows(num_speakers: int, num_utterances: int) -> Iterator[tuple]:
    """Generate the rows of an index: all speakers have the same number of utterances, or one more."""
    fewest, more = divmod(num_utterances, num_speakers)
    suffixes = [f"-{number:05d}" for number in range(fewest + 1)]
    shard, place, path = 0, 0, _shard(0)
    for number in range(num_speakers):
        speaker, word = f"id{number:06d}", KEYWORDS[number % 2]
        for suffix in suffixes[: fewest + (number < more)]:
            if place == SHARD_UTTERANCES:
                shard, place = shard + 1, 0
                path = _shard(shard)
            yield speaker + suffix, speaker, path, place * SAMPLES, SAMPLES, word
            place += 1


def _shard(number: int) -> str:
    return f"shards/train-{number}.npy"


def simulate(folder: Path, num_speakers: int, num_utterances: int) -> None:
    """Write an index and its audio: noise under as many names as there would be files."""
    (folder / "index").mkdir(parents=True)
    (folder / "shards").mkdir()
    write_index(folder / "index", index_rows(num_speakers, num_utterances), ORIGIN)
    num_shards = -(-num_utterances // SHARD_UTTERANCES)
    files = min(num_shards, max(MIN_FILES, -(-num_shards // MAX_NAMES)))
    rng = np.random.default_rng(0)
    for number in range(num_shards):
        if number < files:
            noise = rng.integers(-3000, 3000, SHARD_UTTERANCES * SAMPLES, dtype=np.int16)
            np.save(folder / _shard(number), noise)
        else:
            os.link(folder / _shard(number % files), folder / _shard(number))


def simulated(folder: Path, kind: type[SpeakerStore] = SpeakerStore) -> SpeakerStore:
    """Open the store that :func:`simulate` wrote."""
    index: SpeakerIndex = read_index(folder / "index", ORIGIN)
    return kind(folder / "train.csv", index)


class OfOneFile(SpeakerStore):
    """Reads the audio of all shards from the first one."""

    def _slice(self, shard: int, first: int, samples: int) -> np.ndarray:
        if not self._maps:
            self._maps[0] = self._mapped(0)
        return self._maps[0][first : first + samples]


# --------------------------------------------------------------------------------------- the MultiReader and its recipe


class Recipe:
    """The reader, the plain loaders and the network of ``multireader.yaml``, on simulated sources of their sizes."""

    def __init__(self, folder: Path):
        with open(RECIPE / "hparams" / "multireader.yaml", encoding="utf-8") as stream:
            self.hparams = load_hyperpyyaml(stream, {"output_folder": str(folder / "results")})
        self.sources = []
        for name, source in self.hparams["sources"].items():
            options = source["options"]
            utterances = options["num_speakers"] * options["renditions"] * len(options["keywords"])
            simulate(folder / name, options["num_speakers"], utterances)
            shape = source["num_speakers"], source["num_utterances"], source["weight"], SAMPLES, SAMPLES
            self.sources.append(Source(name, simulated(folder / name), *shape))
        self.reader = speechtools.build("reader/multireader", sources=self.sources, seed=self.hparams["seed"])
        parts = (self.hparams["modules"][name] for name in ("features", "encoder", "loss"))
        self.features, self.encoder, self.loss = (part.train() for part in parts)
        self.optimizer = self.hparams["opt_class"]([*self.encoder.parameters(), *self.loss.parameters()])

    def plain_loaders(self) -> list[Iterator]:
        """Return a loader for each source, as without the MultiReader."""
        return [
            iter(make_loader(SpeakerBatches(*shape, SAMPLES, SAMPLES), steps=StepSampler(10**6)))
            for shape in ((source.store, source.num_speakers, source.num_utterances) for source in self.sources)
        ]

    def backward(self, parts, weights) -> None:
        """Forward, loss and backward of a step (equation 12), as in the recipe."""
        with torch.no_grad():
            feats = [self.features(part.to("cpu").wavs) for part in parts]
        # for each source (speakers * utterances, frames, mels)
        frames = [batch.shape[1] for batch in feats]
        padded = pad_sequence([item for batch in feats for item in batch], batch_first=True)
        lens = torch.cat([padded.new_full((len(b),), n / max(frames)) for b, n in zip(feats, frames, strict=True)])
        dvectors = self.encoder(padded, lens).split([len(batch) for batch in feats])
        losses = (
            self.loss(batch.view(len(part.speakers), -1, batch.shape[1]), part.speakers)
            for batch, part in zip(dvectors, parts, strict=True)
        )
        self.optimizer.zero_grad()
        sum(weight * loss for weight, loss in zip(weights, losses, strict=True)).backward()

    def train(self, parts, weights) -> None:
        """Train a step, without the reading."""
        self.backward(parts, weights)
        torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), self.hparams["max_grad_norm"])
        self.optimizer.step()


def bench_step(recipe: Recipe) -> Iterator[tuple]:
    """Yield rows: two plain loaders in turn and the MultiReader, without and with the training."""
    multireader, plain = iter(make_loader(recipe.reader, steps=StepSampler(10**6))), recipe.plain_loaders()

    def read_plain():
        for loader in plain:
            next(loader)

    def read_multireader():
        next(multireader)

    def train_plain():
        for source, loader in zip(recipe.sources, plain, strict=True):
            recipe.train([next(loader)], [source.weight])

    def train_multireader():
        batches = next(multireader)
        recipe.train(batches.parts, batches.weights)

    shapes = " and ".join(f"{source.num_speakers} × {source.num_utterances}" for source in recipe.sources)
    for what, functions, repeats in (
        ("reading a step", (read_plain, read_multireader), 300),
        ("reading and training a step", (train_plain, train_multireader), 30),
    ):
        one, other = medians(*functions, repeats=repeats)
        yield f"{what}, {shapes}", f"{1000 * one:.1f} ms", f"{1000 * other:.1f} ms", f"{other / one:.2f}×", "≤ 1.05×"


def bench_delivery(recipe: Recipe, repeats: int, num_steps: int = 200) -> tuple:
    """Return a row: steps per second that the network processes, and that two loader processes deliver."""
    batches = recipe.reader[0]
    (step,) = in_turns(lambda: recipe.backward(batches.parts, batches.weights), repeats=repeats)
    steps = StepSampler(num_steps)
    loader = make_loader(recipe.reader, steps=steps, num_workers=2, spare_cores=2)
    rates = []
    for epoch in range(1, repeats + 1):
        steps.set_position(epoch)
        delivered = iter(loader)
        for _ in range(8):  # read ahead before the clock started
            next(delivered)
        began = time.perf_counter()
        count = sum(1 for _ in delivered)
        rates.append(count / (time.perf_counter() - began))
    what = "steps per second: the network 128/64, and 2 loader processes"
    return what, f"{1 / step:.1f}", f"{max(rates):.0f}", f"{max(rates) * step:.1f}×", "≥ 3×"


# --------------------------------------------------------------------------------------- an index of 150 million


def memory() -> dict[str, float]:
    """Return the resident memory of this process in GiB: all, without mapped files, and its peak."""
    # Not ru_maxrss, which a process inherits from its parent.
    with open("/proc/self/status", encoding="ascii") as stream:
        fields = dict(line.split(":", 1) for line in stream)
    kinds = {"resident": "VmRSS", "own": "RssAnon", "peak": "VmHWM"}
    return {name: int(fields[kind].split()[0]) / 2**20 for name, kind in kinds.items()}


def build(folder: Path, num_speakers: int, num_utterances: int) -> None:
    """Write the index, and print time and memory as JSON (in a process of its own)."""
    began = time.perf_counter()
    simulate(folder, num_speakers, num_utterances)
    print(json.dumps({"seconds": time.perf_counter() - began, **memory()}))


def draw(folder: Path) -> None:
    """Open the index, draw batches, and print times (s) and memory as JSON (in a process of its own)."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as in training.start()
    before = memory()
    began = time.perf_counter()
    store = simulated(folder)
    batches = SpeakerBatches(store, 64, 10, SAMPLES, SAMPLES)
    opening = time.perf_counter() - began
    began = time.perf_counter()
    batches[0]
    first = time.perf_counter() - began

    def timed(function, begin: int) -> list[float]:
        times = []
        for step in range(begin, begin + BATCHES):
            began = time.perf_counter()
            function(step)
            times.append(time.perf_counter() - began)
        return [min(times), statistics.median(times)]

    own_files = timed(batches.__getitem__, 1)
    after = memory()
    one_file = SpeakerBatches(simulated(folder, OfOneFile), 64, 10, SAMPLES, SAMPLES)
    one_file.plan(0)
    times = {
        "one_file": timed(one_file.__getitem__, 1 + BATCHES),
        "plan": timed(one_file.plan, 1 + 2 * BATCHES),
        "own_files": own_files,
    }
    print(json.dumps({"opening": opening, "first": first, "before": before, "after": after, **times}))


def bench_index(folder: Path, num_speakers: int, num_utterances: int) -> Iterator[tuple]:
    """Yield rows: writing, opening and drawing from a large index, each in a process of its own."""
    # Per utterance 18 bytes of numbers and an id of 14 bytes and its end; per audio file a name.
    needed = 45 * num_utterances + 100 * num_utterances // SHARD_UTTERANCES + 2 * MIN_FILES * SHARD_UTTERANCES * SAMPLES
    free = shutil.disk_usage(folder).free
    if free < 1.1 * needed:
        sys.exit(
            f"An index of {num_utterances:,} utterances and its audio take {needed / 1e9:.1f} GB, but {folder} has "
            f"only {free / 1e9:.1f} GB free. Pass a folder on another disk by --folder, or fewer --utterances."
        )
    with tempfile.TemporaryDirectory(dir=folder) as name:
        corpus = Path(name, "corpus")
        write_report = in_a_process("--build", corpus, "--speakers", num_speakers, "--utterances", num_utterances)
        size = sum(path.stat().st_size for path in (corpus / "index").iterdir())
        draw_report = in_a_process("--draw", corpus)
    what = f"{num_speakers:,} speakers, {num_utterances:,} utterances: "
    yield what + "writing the index", "", f"{write_report['seconds']:.0f} s", "", ""
    yield "largest memory meanwhile", "", f"{write_report['peak']:.2f} GiB", "", "≤ 8 GiB"
    yield "on disk", "", f"{size / 1e9:.2f} GB, {size / num_utterances:.1f} bytes per utterance", "", ""
    yield "opening it", "", f"{draw_report['opening']:.1f} s", "", ""
    for key, text, reach in (
        ("one_file", "a batch of 64 × 10 × 0.8 s, audio in one file", "≤ 5 ms"),
        ("plan", "of that, drawing it", ""),
        ("own_files", "the same, audio in its own files", ""),
    ):
        best, median = (1000 * seconds for seconds in draw_report[key])
        yield f"{text}: best, median of {BATCHES}", "", f"{best:.2f}, {median:.2f} ms", "", reach
    yield "the first batch of a pass, which shuffles the speakers", "", f"{1000 * draw_report['first']:.0f} ms", "", ""
    before, after = draw_report["before"], draw_report["after"]
    sizes = f"{after['resident']:.2f} GiB ({after['own']:.2f}; {before['resident']:.2f} at the start)"
    yield f"memory after {BATCHES} batches (without mapped files)", "", sizes, "", "≤ 8 GiB"


def in_a_process(*arguments) -> dict:
    """Run this file with these arguments and return what it prints."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def main() -> None:
    """Run the selected benchmarks and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ["step", "delivery", "index"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of the network")
    parser.add_argument("--speakers", type=int, default=630_000)
    parser.add_argument("--utterances", type=int, default=150_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="with free disk space")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--draw", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.speakers < 64 or arguments.utterances < 2 * arguments.speakers:
        parser.error("--speakers must be at least 64, and --utterances at least twice as many")
    if not arguments.folder.is_dir():
        parser.error(f"--folder {arguments.folder} does not exist")
    if arguments.build:
        return build(arguments.build, arguments.speakers, arguments.utterances)
    if arguments.draw:
        return draw(arguments.draw)
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as in training.start()
    rows: list[tuple] = []
    if {"step", "delivery"} & set(arguments.only):
        with tempfile.TemporaryDirectory() as name:
            recipe = Recipe(Path(name))
            rows += bench_step(recipe) if "step" in arguments.only else []
            rows += [bench_delivery(recipe, arguments.repeats)] if "delivery" in arguments.only else []
    if "index" in arguments.only:
        rows += bench_index(arguments.folder, arguments.speakers, arguments.utterances)
    print_table(f"torch {torch.__version__}, {arguments.threads} thread(s)", rows)


if __name__ == "__main__":
    main()
