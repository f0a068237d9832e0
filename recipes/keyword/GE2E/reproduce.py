"""Tables 1 and 2 of the GE2E paper: mixed sources against the MultiReader, and three nets and losses with both.

python reproduce.py                                             # the built-in synthetic keywords
python reproduce.py --corpus=speech-commands --data_folder=/corpora/commands --keywords="[yes, no]" --device=cuda

Every network is trained with every seed and both readers. Table 1 shows the runs of the last network. The hop is 20 ms
instead of 10, so that everything takes half an hour on two cores. Started again, the script skips finished runs and
resumes the others. Unknown options are passed on to train.py.
"""

import argparse
import re
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import rich.box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from speechtools.core.errors import SpeechtoolsError
from speechtools.core.results import write_json
from speechtools.training.reproduction import check_options, run_logged, with_defaults

HERE = Path(__file__).parent
YAML = "hparams/multireader.yaml"
READERS = ("mixed", "multireader")
#: TE2E needs twelve times the steps of GE2E, and from a learning rate of 0.001 on, the d-vectors of mixed sources may
#: collapse to one.
TE2E = {"loss_name": "te2e", "tuples_per_speaker": 6, "lr": 0.0005, "halve_every": 1200}
TE2E |= {"number_of_epochs": 70, "patience": 70}
#: Rows of table 2: options of train.py, and the paper's EER in % with each reader.
NETS = {
    "(512,) + 128, TE2E": (
        TE2E | {"encoder_name": "lstm", "num_layers": 1, "hidden_size": 512, "proj_size": 128},
        (3.30, 2.78),
    ),
    "(128, 64) x 3, TE2E": (TE2E, (3.55, 2.67)),
    "(128, 64) x 3, GE2E": ({"loss_name": "ge2e-softmax"}, (3.10, 2.38)),
}
#: Cells of table 1, enrolled and verified with the first or the second keyword: the paper's EER in %.
CELLS = {"1 → 1": (1.16, 0.82), "1 → 2": (4.47, 2.99), "2 → 1": (3.30, 2.30), "2 → 2": (1.69, 1.15)}
_TRAIN_SECONDS = re.compile(r"train (?:total )?seconds: ([\d.e+-]+)")


def train(folder: Path, net: str, reader: str, seed: int, jobs: int, options: list[str]) -> dict:
    """Run the recipe once, and return its results.json with the seconds of training."""
    run = folder / re.sub(r"[^a-z0-9]+", "-", net.lower()).strip("-") / reader / str(seed)
    defaults = {"hop_ms": 20, **NETS[net][0]}
    command = [sys.executable, "train.py", YAML, f"--reader_name={reader}", f"--seed={seed}", "--noprogressbar"]
    try:
        result = run_logged(run, command + with_defaults(options, defaults), jobs, cwd=HERE)
    except SpeechtoolsError as error:
        sys.exit(f"error: {error}")
    return result | {"seconds": float(_TRAIN_SECONDS.findall((run / "train_log.txt").read_text())[-1])}


def spread(rates: list[float]) -> str:
    """Mean and standard deviation of error rates, in %."""
    deviation = f" ± {100 * np.std(rates, ddof=1):.2f}" if len(rates) > 1 else ""
    return f"{100 * np.mean(rates):.2f}{deviation}"


def gain(mixed: list[float], multireader: list[float]) -> str:
    """Relative reduction of the mean by the MultiReader."""
    return f"{100 * (1 - np.mean(multireader) / np.mean(mixed)):.0f} %" if np.mean(mixed) else "-"


def baseline(results: list[dict]) -> str:
    """EER of an untrained network in %, the same for all results."""
    return f"{100 * results[0]['untrained_eer']:.1f}" if "untrained_eer" in results[0] else "-"


def against(paper: tuple[float, float] | None) -> str:
    """The paper's two rates, and its gain."""
    return f"{paper[0]:.2f} / {paper[1]:.2f}, {gain([paper[0]], [paper[1]])}" if paper else ""


def new_table(title: str, first: str, *columns: str) -> Table:
    """Make a table whose first column has names, the only ones that may wrap."""
    table = Table(title=title, title_style="bold", box=rich.box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(first)
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True)
    return table


def table1(runs: dict, title: str) -> Table:
    """EER of every pair of keywords, mixed and MultiReader. ``runs`` has the results of the last network by reader."""
    table = new_table(title, "enrol → verify", "untrained", "mixed", "MultiReader", "gain", "paper's")
    pairs = list(runs["mixed"][0]["pairs"])
    papers = list(CELLS.values()) if len(pairs) == len(CELLS) else [None] * len(pairs)
    for pair, paper in zip(pairs, papers, strict=True):
        cells = [[run["pairs"][pair] for run in runs[reader]] for reader in READERS]
        rates = [[cell["eer"] for cell in of_reader] for of_reader in cells]
        name = Text(pair.replace("->", "→"))
        table.add_row(name, baseline(cells[0]), *map(spread, rates), gain(*rates), against(paper))
    table.add_section()
    rates = [[run["eer"] for run in runs[reader]] for reader in READERS]
    paper = tuple(np.mean(papers, axis=0)) if papers[0] else None
    means = spread(rates[0]), spread(rates[1])
    table.add_row("mean", baseline(runs["mixed"]), *means, gain(*rates), against(paper), style="bold")
    return table


def table2(runs: dict, title: str) -> Table:
    """Mean EER of every network with both readers, and the seconds of its training."""
    table = new_table(title, "net", "untrained", "mixed", "MultiReader", "gain", "seconds", "paper's")
    for net, paper in [(net, paper) for net, (_, paper) in NETS.items() if (net, READERS[0]) in runs]:
        rates = [[run["eer"] for run in runs[net, reader]] for reader in READERS]
        seconds = " / ".join(f"{np.mean([run['seconds'] for run in runs[net, reader]]):.0f}" for reader in READERS)
        shown = baseline(runs[net, "mixed"]), spread(rates[0]), spread(rates[1]), gain(*rates), seconds
        table.add_row(Text(net), *shown, f"{paper[0]:.2f} / {paper[1]:.2f}")
    return table


def main() -> None:
    """Train what is missing, print both tables and write ``tables.json``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--seeds", default="1,2,3", help="comma-separated (1,2,3)")
    parser.add_argument("--nets", nargs="+", choices=list(NETS), default=list(NETS), help="rows of table 2 (all)")
    parser.add_argument("--output_folder", type=Path, default=HERE / "results" / "tables")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (2), each on its share of the CPU")
    arguments, options = parser.parse_known_args()
    check_options(parser, options, HERE / YAML)
    folder, console, began = arguments.output_folder.absolute(), Console(), time.monotonic()
    seeds = [int(seed) for seed in arguments.seeds.split(",")]
    # The network of table 1 first: its results are printed while the others train.
    nets = [net for net in reversed(NETS) if net in arguments.nets]
    todo = [(net, reader, seed) for net in nets for seed in seeds for reader in READERS]

    def job(number: int) -> dict:
        net, reader, seed = todo[number]
        result = train(folder, net, reader, seed, arguments.jobs, options)
        console.print(
            f"{time.monotonic() - began:5.0f} s  {number + 1}/{len(todo)}  {net}, {reader}, seed {seed}: "
            f"EER {100 * result['eer']:.2f} %, {result['seconds']:.0f} s of training",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
        return result

    # The first run alone, since it prepares the sources for all.
    with ThreadPoolExecutor(arguments.jobs) as pool:
        results = [job(0), *pool.map(job, range(1, len(todo)))]
    runs: dict[tuple[str, str], list[dict]] = {}
    for (net, reader, _), result in zip(todo, results, strict=True):
        runs.setdefault((net, reader), []).append(result)
    last = nets[0]
    origin, seed_text = results[0]["trained_on"], f"{len(seeds)} seeds, mean ± standard deviation"
    console.print(
        table1({reader: runs[last, reader] for reader in READERS}, f"Table 1: EER in %, {last}, {seed_text}; {origin}"),
        table2(runs, f"Table 2: mean EER of all pairs in %, {seed_text}; {origin}"),
    )
    trained = [{"net": net, "reader": reader, "runs": results} for (net, reader), results in runs.items()]
    write_json(folder / "tables.json", {"trained_on": origin, "seeds": seeds, "nets": trained})
    console.print(f"results: {folder / 'tables.json'}", soft_wrap=True)


if __name__ == "__main__":
    main()
