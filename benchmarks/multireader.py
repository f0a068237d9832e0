"""Speed of the MultiReader and of a very large index of speech: ``python benchmarks/multireader.py``.

``step``: a step of the MultiReader with two sources, as ``multireader.yaml`` has them, against two plain loaders taken
in turn: the reading alone, and with the training (ours: one forward of both batches and one step of the optimiser;
plain: a step for each). Both sides in turns, medians. ``delivery``: steps a second that two loader processes hand over
while nothing else runs, against those that the net of the recipe can take: features, encoder, loss and backward. The
best of each: other work on the machine only adds.

``index``: an index of 630,000 speakers and 150 million utterances, written by streaming and mapped into memory, and
batches of 64 × 10 segments of 0.8 s from it. A batch is all that a loader process does: draw, look up, and read the
audio, of 16 bits, which becomes floats on the device. The audio is a few files of noise, under one name for each file
that the preparation would make. "of one file" reads all of it from a single one, so no time goes into opening; "of its
own files" opens about a hundred for every batch, as none is likely to be used soon again. Everything lies in the page
cache: no disk is timed. That
takes minutes and gigabytes of disk in ``--folder``, and ``--speakers 6300 --utterances 1500000`` gives a quick idea.
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
from quality import in_turns
from rich.console import Console
from rich.table import Table
from torch.nn.utils.rnn import pad_sequence

import speechtools
from speechtools.core.memory import keep_freed_memory
from speechtools.keyword.multireader import Source
from speechtools.speaker.batches import SpeakerBatches, StepSampler, speaker_loader
from speechtools.speaker.index import SpeakerIndex, read_index, write_index
from speechtools.speaker.shards import SHARD_UTTERANCES
from speechtools.speaker.store import SpeakerStore

RECIPE = Path(__file__).parents[1] / "recipes" / "keyword" / "GE2E"
KEYWORDS = ["OK Google", "Hey Google"]
SAMPLES = 12800  # 0.8 s
ORIGIN = ["simulated"]
#: Different files of audio; a file system allows some 65,000 names for one.
MAX_NAMES = 60_000
MIN_FILES = 13
BATCHES = 200


# -------------------------------------------------------------------------------------------------- simulated corpora


def rows(num_speakers: int, num_utterances: int) -> Iterator[tuple]:
    """The rows of an index: every speaker has as many utterances as the next, or one more."""
    each, more = divmod(num_utterances, num_speakers)
    suffixes = [f"-{number:05d}" for number in range(each + 1)]
    shard, place, path = 0, 0, _shard(0)
    for number in range(num_speakers):
        speaker, word = f"id{number:06d}", KEYWORDS[number % 2]
        for suffix in suffixes[: each + (number < more)]:
            if place == SHARD_UTTERANCES:
                shard, place = shard + 1, 0
                path = _shard(shard)
            yield speaker + suffix, speaker, path, place * SAMPLES, SAMPLES, word
            place += 1


def _shard(number: int) -> str:
    return f"shards/train-{number}.npy"


def simulate(folder: Path, num_speakers: int, num_utterances: int) -> None:
    """An index and its audio: noise under as many names as there would be files."""
    (folder / "index").mkdir(parents=True)
    (folder / "shards").mkdir()
    write_index(folder / "index", rows(num_speakers, num_utterances), ORIGIN)
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
    """The store that :func:`simulate` made."""
    index: SpeakerIndex = read_index(folder / "index", ORIGIN)
    return kind(folder / "train.csv", index)


class OfOneFile(SpeakerStore):
    """Reads the audio of all shards from the first one, mapped as those of a smaller store are."""

    def _piece(self, shard: int, first: int, samples: int) -> np.ndarray:
        if not self._maps:
            self._maps[0] = self._mapped(0)
        return self._maps[0][first : first + samples]


# --------------------------------------------------------------------------------------- the MultiReader and its recipe


class Recipe:
    """The reader, the plain loaders and the net of ``multireader.yaml``, on simulated sources of its sizes."""

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
        """One for each source, as they are without the MultiReader."""
        return [
            iter(speaker_loader(SpeakerBatches(*shape, SAMPLES, SAMPLES), StepSampler(10**6)))
            for shape in ((each.store, each.num_speakers, each.num_utterances) for each in self.sources)
        ]

    def backward(self, parts, weights) -> None:
        """Forward, loss and backward of a step (equation 12), as the recipe does it."""
        with torch.no_grad():
            feats = [self.features(part.to("cpu").wavs) for part in parts]
        # for each source (speakers * utterances, frames, mels)
        frames = [each.shape[1] for each in feats]
        padded = pad_sequence([frame for each in feats for frame in each], batch_first=True)
        lens = torch.cat([padded.new_full((len(e),), n / max(frames)) for e, n in zip(feats, frames, strict=True)])
        embedded = self.encoder(padded, lens).split([len(each) for each in feats])
        losses = (
            self.loss(each.view(len(part.speakers), -1, each.shape[1]), part.speakers)
            for each, part in zip(embedded, parts, strict=True)
        )
        self.optimizer.zero_grad()
        sum(weight * loss for weight, loss in zip(weights, losses, strict=True)).backward()

    def train(self, parts, weights) -> None:
        """A whole step, without the reading."""
        self.backward(parts, weights)
        torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), self.hparams["max_grad_norm"])
        self.optimizer.step()


def medians(*functions, repeats: int) -> list[float]:
    """The median time (s) of each function; they are called in turns, after a round that is not timed."""
    times = [[] for _ in functions]
    for _ in range(repeats + 1):
        for each, function in zip(times, functions, strict=True):
            began = time.perf_counter()
            function()
            each.append(time.perf_counter() - began)
    return [statistics.median(each[1:]) for each in times]


def bench_step(recipe: Recipe) -> Iterator[tuple]:
    """Rows: two plain loaders in turn and the MultiReader, without and with the training."""
    ours, plain = iter(speaker_loader(recipe.reader, StepSampler(10**6))), recipe.plain_loaders()

    def read_plain():
        for loader in plain:
            next(loader)

    def read_ours():
        next(ours)

    def train_plain():
        for source, loader in zip(recipe.sources, plain, strict=True):
            recipe.train([next(loader)], [source.weight])

    def train_ours():
        batches = next(ours)
        recipe.train(batches.parts, batches.weights)

    shapes = " and ".join(f"{each.num_speakers} × {each.num_utterances}" for each in recipe.sources)
    for what, functions, repeats in (
        ("reading a step", (read_plain, read_ours), 300),
        ("reading and training a step", (train_plain, train_ours), 30),
    ):
        one, other = medians(*functions, repeats=repeats)
        yield f"{what}, {shapes}", f"{1000 * one:.1f} ms", f"{1000 * other:.1f} ms", f"{other / one:.2f}×", "≤ 1.05×"


def bench_delivery(recipe: Recipe, repeats: int, num_steps: int = 200) -> tuple:
    """A row: the steps a second that the net needs, and those that two loader processes deliver."""
    batches = recipe.reader[0]
    (step,) = in_turns(lambda: recipe.backward(batches.parts, batches.weights), repeats=repeats)
    steps = StepSampler(num_steps)
    loader = speaker_loader(recipe.reader, steps, num_workers=2, spare_cores=2)
    found = []
    for epoch in range(1, repeats + 1):
        steps.set_position(epoch)
        delivered = iter(loader)
        for _ in range(8):  # what was read ahead before the clock began
            next(delivered)
        began = time.perf_counter()
        count = sum(1 for _ in delivered)
        found.append(count / (time.perf_counter() - began))
    what = "steps a second: taken by the net 128/64, delivered by 2 loader processes"
    return what, f"{1 / step:.1f}", f"{max(found):.0f}", f"{max(found) * step:.1f}×", "≥ 3×"


# --------------------------------------------------------------------------------------- an index of 150 million


def memory() -> dict[str, float]:
    """Resident memory of this process, of that the part which is not mapped files, and its peak, in GiB."""
    # Not ru_maxrss: a process inherits the one of that which started it.
    with open("/proc/self/status", encoding="ascii") as stream:
        fields = dict(line.split(":", 1) for line in stream)
    kinds = {"resident": "VmRSS", "own": "RssAnon", "peak": "VmHWM"}
    return {name: int(fields[kind].split()[0]) / 2**20 for name, kind in kinds.items()}


def build(folder: Path, num_speakers: int, num_utterances: int) -> None:
    """In a process of its own: write the index and print time and memory as JSON."""
    began = time.perf_counter()
    simulate(folder, num_speakers, num_utterances)
    print(json.dumps({"seconds": time.perf_counter() - began, **memory()}))


def draw(folder: Path) -> None:
    """In a process of its own: open the index, draw batches, and print times (s) and memory as JSON."""
    torch.set_num_threads(1)
    keep_freed_memory()  # as training.start() does
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
    """Rows: writing, opening and drawing from a large index, each in a process of its own."""
    # An utterance: 18 bytes of numbers, an id of 14 and its end; a file of audio has a name of its own.
    needed = 45 * num_utterances + 100 * num_utterances // SHARD_UTTERANCES + 2 * MIN_FILES * SHARD_UTTERANCES * SAMPLES
    free = shutil.disk_usage(folder).free
    if free < 1.1 * needed:
        sys.exit(
            f"An index of {num_utterances:,} utterances and its audio take {needed / 1e9:.1f} GB, but {folder} has "
            f"only {free / 1e9:.1f} GB free. Give a folder on another disk by --folder, or fewer --utterances."
        )
    with tempfile.TemporaryDirectory(dir=folder) as name:
        corpus = Path(name, "corpus")
        built = in_a_process("--build", corpus, "--speakers", num_speakers, "--utterances", num_utterances)
        size = sum(path.stat().st_size for path in (corpus / "index").iterdir())
        drawn = in_a_process("--draw", corpus)
    what = f"{num_speakers:,} speakers, {num_utterances:,} utterances: "
    yield what + "writing the index", "", f"{built['seconds']:.0f} s", "", ""
    yield "largest memory meanwhile", "", f"{built['peak']:.2f} GiB", "", "≤ 8 GiB"
    yield "on disk", "", f"{size / 1e9:.2f} GB, {size / num_utterances:.1f} bytes an utterance", "", ""
    yield "opening it", "", f"{drawn['opening']:.1f} s", "", ""
    for key, text, reach in (
        ("one_file", "a batch of 64 × 10 × 0.8 s, its audio of one file", "≤ 5 ms"),
        ("plan", "of that, drawing it", ""),
        ("own_files", "the same, its audio of its own files", ""),
    ):
        best, median = (1000 * seconds for seconds in drawn[key])
        yield f"{text}: best, median of {BATCHES}", "", f"{best:.2f}, {median:.2f} ms", "", reach
    yield "the first of a pass, which orders the speakers anew", "", f"{1000 * drawn['first']:.0f} ms", "", ""
    before, after = drawn["before"], drawn["after"]
    sizes = f"{after['resident']:.2f} GiB ({after['own']:.2f}; {before['resident']:.2f} at the start)"
    yield f"memory after {BATCHES} batches (without mapped files)", "", sizes, "", "≤ 8 GiB"


def in_a_process(*arguments) -> dict:
    """What this file prints when called with these arguments."""
    command = [sys.executable, __file__, *map(str, arguments)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])


def main() -> None:
    """Run what was asked for and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parts = ["step", "delivery", "index"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2, help="of the net")
    parser.add_argument("--speakers", type=int, default=630_000)
    parser.add_argument("--utterances", type=int, default=150_000_000)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="where there is disk")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--draw", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.speakers < 64 or arguments.utterances < 2 * arguments.speakers:
        parser.error("a batch takes 64 --speakers, and each has at least 2 --utterances")
    if not arguments.folder.is_dir():
        parser.error(f"--folder {arguments.folder} is no folder: make it first")
    if arguments.build:
        return build(arguments.build, arguments.speakers, arguments.utterances)
    if arguments.draw:
        return draw(arguments.draw)
    torch.set_num_threads(arguments.threads)
    keep_freed_memory()  # as training.start() does
    table = Table(title=f"torch {torch.__version__}, {arguments.threads} thread(s)")
    for column in ("what", "plain", "ours", "ratio", "to reach"):
        table.add_column(column)
    found = []
    if {"step", "delivery"} & set(arguments.only):
        with tempfile.TemporaryDirectory() as name:
            recipe = Recipe(Path(name))
            found += bench_step(recipe) if "step" in arguments.only else []
            found += [bench_delivery(recipe, arguments.repeats)] if "delivery" in arguments.only else []
    if "index" in arguments.only:
        found += bench_index(arguments.folder, arguments.speakers, arguments.utterances)
    for cells in found:
        table.add_row(*cells)
    Console(width=150).print(table)


if __name__ == "__main__":
    main()
