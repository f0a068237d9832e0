"""Tables 1 and 2 of the GE2E paper: mixed sources against the MultiReader, and three nets and losses with both.

python reproduce.py                                             # the built-in synthetic keywords
python reproduce.py --corpus=speech-commands --data_folder=/corpora/commands --keywords="[yes, no]" --device=cuda

Every net is trained with every seed and both readers; table 1 is made of the last net's runs. So that all fit into half
an hour on two cores, there is a frame every 20 ms instead of 10. What is finished is kept: started again, it goes on
where it was. Options that it does not know go to train.py.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from speechtools.core.errors import ConfigError
from speechtools.core.results import write_json
from speechtools.training.reproduction import check_options, run_once, with_defaults

HERE = Path(__file__).parent
YAML = "hparams/multireader.yaml"
READERS = ("mixed", "multireader")
#: Rows of table 2: what train.py is told, and the paper's EER in %, with each reader.
NETS = {
    "(512,) + 128, TE2E": (
        {"encoder_name": "lstm", "num_layers": 1, "hidden_size": 512, "proj_size": 128, "loss_name": "te2e"},
        (3.30, 2.78),
    ),
    "(128, 64) x 3, TE2E": ({"loss_name": "te2e"}, (3.55, 2.67)),
    "(128, 64) x 3, GE2E": ({"loss_name": "ge2e-softmax"}, (3.10, 2.38)),
}
#: With Adam at 0.002, as GE2E has it, the d-vectors of TE2E may all become one: its sigmoids saturate.
TE2E_LR = 0.0005
#: Cells of table 1, enrolled and verified with the first or the second keyword: the paper's EER in %.
CELLS = {"1 → 1": (1.16, 0.82), "1 → 2": (4.47, 2.99), "2 → 1": (3.30, 2.30), "2 → 2": (1.69, 1.15)}
_TRAIN_SECONDS = re.compile(r"train seconds: ([\d.e+-]+)")


def train(folder: Path, net: str, reader: str, seed: int, threads: int, options: list[str]) -> dict:
    """Run the recipe once, its output in ``output.txt``, and return results.json with the seconds of training."""
    run = folder / re.sub(r"[^a-z0-9]+", "-", net.lower()).strip("-") / reader / str(seed)
    run.mkdir(parents=True, exist_ok=True)
    ours = {"hop_ms": 20, **NETS[net][0]}
    if ours["loss_name"] == "te2e":
        ours["lr"] = TE2E_LR
    command = [sys.executable, "train.py", YAML, f"--reader_name={reader}", f"--seed={seed}"]
    command += ["--noprogressbar", *with_defaults(options, ours)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    try:
        with open(run / "output.txt", "a", encoding="utf-8") as output:
            result = run_once(run, command, cwd=HERE, env=environment, stdout=output, stderr=subprocess.STDOUT)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    except subprocess.CalledProcessError:
        said = "".join((run / "output.txt").read_text().splitlines(keepends=True)[-5:])
        sys.exit(f"{net} with the {reader} reader and seed {seed} failed. The end of {run / 'output.txt'}:\n{said}")
    log = (run / "train_log.txt").read_text()
    return result | {"seconds": float(_TRAIN_SECONDS.findall(log)[-1])}


def spread(rates: list[float]) -> str:
    """Mean and standard deviation of error rates, in %."""
    deviation = f" ± {100 * np.std(rates, ddof=1):.2f}" if len(rates) > 1 else ""
    return f"{100 * np.mean(rates):.2f}{deviation}"


def gain(mixed: list[float], multireader: list[float]) -> str:
    """How much lower the MultiReader's mean is, as a share of the mixed one's."""
    return f"{100 * (1 - np.mean(multireader) / np.mean(mixed)):.0f} %" if np.mean(mixed) else "-"


def against(paper: tuple[float, float] | None) -> str:
    """The paper's two rates, and its gain."""
    return f"{paper[0]:.2f} / {paper[1]:.2f}, {gain([paper[0]], [paper[1]])}" if paper else ""


def new_table(title: str, first: str, *columns: str) -> Table:
    """With a first column of names, which alone may be broken."""
    table = Table(title=title, title_style="bold", box=rich.box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def table1(runs: dict, title: str) -> Table:
    """EER of every pair of keywords, mixed and MultiReader; ``runs`` holds the last net's results by reader."""
    table = new_table(title, "enrol → verify", "mixed", "MultiReader", "gain", "paper's")
    pairs = list(runs["mixed"][0]["pairs"])
    papers = list(CELLS.values()) if len(pairs) == len(CELLS) else [None] * len(pairs)
    for pair, paper in zip(pairs, papers, strict=True):
        rates = [[run["pairs"][pair]["eer"] for run in runs[reader]] for reader in READERS]
        table.add_row(Text(pair.replace("->", "→")), *map(spread, rates), gain(*rates), against(paper))
    table.add_section()
    rates = [[run["eer"] for run in runs[reader]] for reader in READERS]
    paper = tuple(np.mean(papers, axis=0)) if papers[0] else None
    table.add_row("mean", *map(spread, rates), gain(*rates), against(paper), style="bold")
    return table


def table2(runs: dict, title: str) -> Table:
    """Mean EER of every net with both readers, and the seconds that its training took."""
    table = new_table(title, "net", "mixed", "MultiReader", "gain", "seconds", "paper's")
    for net, (_, paper) in NETS.items():
        rates = [[run["eer"] for run in runs[net, reader]] for reader in READERS]
        seconds = " / ".join(f"{np.mean([run['seconds'] for run in runs[net, reader]]):.0f}" for reader in READERS)
        table.add_row(Text(net), *map(spread, rates), gain(*rates), seconds, f"{paper[0]:.2f} / {paper[1]:.2f}")
    return table


def main() -> None:
    """Train what is missing and print both tables; ``tables.json`` keeps their numbers."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated (1,2,3)")
    parser.add_argument("--output_folder", type=Path, default=HERE / "results" / "tables")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (2), each on its share of the CPU")
    arguments, options = parser.parse_known_args()
    check_options(parser, options, HERE / YAML)
    folder, console, began = arguments.output_folder.absolute(), Console(), time.monotonic()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    # The net of table 1 first: its figures are there when the others still train.
    todo = [(net, reader, seed) for net in reversed(NETS) for seed in seeds for reader in READERS]
    threads = max(1, (os.cpu_count() or 1) // arguments.jobs)

    def job(number: int) -> dict:
        net, reader, seed = todo[number]
        result = train(folder, net, reader, seed, threads, options)
        console.print(
            f"{time.monotonic() - began:5.0f} s  {number + 1}/{len(todo)}  {net}, {reader}, seed {seed}: "
            f"EER {100 * result['eer']:.2f} %, {result['seconds']:.0f} s of training",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        return result

    # The first one alone: it prepares the sources for all.
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = [job(0), *pool.map(job, range(1, len(todo)))]
    runs: dict[tuple[str, str], list[dict]] = {}
    for (net, reader, _), result in zip(todo, results, strict=True):
        runs.setdefault((net, reader), []).append(result)
    last = list(NETS)[-1]
    origin, seed_text = results[0]["trained_on"], f"{len(seeds)} seeds, mean ± standard deviation"
    console.print(
        table1({reader: runs[last, reader] for reader in READERS}, f"Table 1: EER in %, {last}, {seed_text}; {origin}"),
        table2(runs, f"Table 2: mean EER of all pairs in %, {seed_text}; {origin}"),
    )
    kept = [{"net": net, "reader": reader, "runs": each} for (net, reader), each in runs.items()]
    write_json(folder / "tables.json", {"trained_on": origin, "seeds": seeds, "nets": kept})
    console.print(f"results: {folder / 'tables.json'}", soft_wrap=True)


if __name__ == "__main__":
    main()
