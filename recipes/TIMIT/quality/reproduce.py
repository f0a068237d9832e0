"""Every table and figure of the Quality-Net paper, by one command.

python reproduce.py --quick                                      # the built-in corpus; half an hour on 2 cores
python reproduce.py --corpus=timit --data_folder=/corpora/TIMIT --noise_folder=/corpora/Nonspeech --device=cuda

It writes RESULTS.md, results.json and the plots into its output folder, with the numbers that the paper prints. Started
again, it skips finished runs and resumes the others. Unknown options are passed on to train.py.
"""

import argparse
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.files import write_aside
from speechtools.core.results import write_json
from speechtools.quality import paper
from speechtools.training.reproduction import check_options, run_logged, with_defaults

HERE = Path(__file__).parent
#: Differences of the authors' released code from the paper.
OPTIONS = {
    "dropout": ("dropout 0.3 before the last layer", {"dropout": 0.3}),
    "norm-limit": ("recurrent weights of norm 0.00001 at most", {"recurrent_max_norm": 0.00001}),
    "batch-1": ("batches of one utterance", {"batch_size": 1}),
}
#: The frame term of equation 1, as printed and as in the authors' released code.
FRAME_TERM = {"sum": "the sum over the frames, as printed", "mean": "the mean over the frames, not the sum"}
#: Options of the BLSTM that the baseline's model does not have.
BLSTM_OPTIONS = ("--hidden_size", "--linear_size")
#: Defaults of --quick.
QUICK = {
    "enhancer_options": "{num_train_utterances: 100, number_of_epochs: 1, num_test_utterances: 4}",
    "num_valid_utterances": 4,
    "num_test_utterances": 50,
}


@dataclass(frozen=True)
class Run:
    """A training: its name and options, whether --quick runs it with all seeds, and a factor on the epochs."""

    name: str
    options: dict = field(default_factory=dict)
    all_seeds: bool = True
    longer: float = 1.0


def train(run: Run, seed: int, arguments: argparse.Namespace, options: list[str]) -> dict:
    """Return results.json of the run; train first if it does not exist."""
    folder = arguments.output_folder / "runs" / run.name / str(seed)
    epochs = round(arguments.epochs * run.longer)
    defaults = {"number_of_epochs": epochs, "patience": epochs, "frame_reduction": arguments.frame_reduction}
    if "quality_name" in run.options:
        options = [option for option in options if not option.startswith(BLSTM_OPTIONS)]
    command = [sys.executable, "train.py", arguments.yaml, f"--seed={seed}", "--noprogressbar"]
    if not (folder / "results.json").is_file():
        print(f"{run.name}, seed {seed}: training; output in {folder / 'output.txt'}", flush=True)
    return run_logged(folder, command + with_defaults(options, defaults | run.options), arguments.jobs, cwd=HERE)


def whole_numbers(text: str) -> list[int]:
    """Parse comma-separated whole numbers."""
    return [int(number) for number in text.split(",")]


def main() -> None:
    """Train what is missing, and write the tables and plots."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--quick", action="store_true", help="few seeds and epochs")
    parser.add_argument("--seeds", type=whole_numbers, help="comma-separated (1,2,3; quick: 1,2)")
    parser.add_argument("--epochs", type=int, help="of a training on all utterances (20; quick: 5)")
    parser.add_argument(
        "--frame_reduction",
        choices=FRAME_TERM,
        help="of all runs but one (sum, as printed; quick: mean, which needs fewer batches)",
    )
    parser.add_argument("--biases", type=whole_numbers, default=[1, -3], help="forget-gate biases of table 2 (1,-3)")
    points = [100, 250, 500, 1000, 2000]
    parser.add_argument("--points", type=whole_numbers, default=points, help="of figure 5, besides all utterances")
    parser.add_argument("--yaml", default="hparams/paper.yaml")
    parser.add_argument("--output_folder", type=Path, help="(results/paper; quick: results/paper-quick)")
    parser.add_argument(
        "--no_options", action="store_true", help="leave out the last table, what the authors' released code changes"
    )
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time (2), each on its share of the CPU")
    arguments, options = parser.parse_known_args()
    check_options(parser, options, HERE / arguments.yaml)
    quick = arguments.quick
    arguments.seeds = arguments.seeds or ([1, 2] if quick else [1, 2, 3])
    if arguments.jobs < 1:
        parser.error(f"--jobs={arguments.jobs} must be at least 1.")
    arguments.epochs = arguments.epochs or (5 if quick else 20)
    arguments.frame_reduction = arguments.frame_reduction or ("mean" if quick else "sum")
    other = "sum" if arguments.frame_reduction == "mean" else "mean"
    differing = {f"frame-{other}": (FRAME_TERM[other], {"frame_reduction": other})} | OPTIONS
    if arguments.no_options:
        differing = {}
    arguments.output_folder = (
        arguments.output_folder or HERE / "results" / ("paper-quick" if quick else "paper")
    ).absolute()
    options = with_defaults(options, QUICK if quick else {})
    runs, began = paper.Runs(arguments.output_folder / "runs", arguments.output_folder), time.monotonic()

    def job(item: tuple[Run, int]) -> None:
        run, seed = item
        if (run.name, seed) in runs.results:
            return
        result = runs.results[run.name, seed] = train(run, seed, arguments, options)
        metrics = ", ".join(f"{key.upper()} {paper.spread([result['overall'][key]])}" for key in ("lcc", "mse"))
        print(f"{time.monotonic() - began:5.0f} s  {run.name}, seed {seed}: {metrics}", flush=True)

    def train_all(runs: list[Run]) -> None:
        todo = [(run, seed) for run in runs for seed in arguments.seeds[: None if run.all_seeds or not quick else 1]]
        with ThreadPoolExecutor(arguments.jobs) as pool:
            list(pool.map(job, todo))

    biases = {paper.BASE if bias == -3 else f"bias{bias}": bias for bias in arguments.biases}
    baseline = YAML().load((HERE / "hparams" / "autoencoder_nn.yaml").read_text(encoding="utf-8"))
    baseline = {key: value for key, value in baseline.items() if key not in ("base", "name")}
    rows = [
        Run("no-constraint", {"alpha": 0}),
        *(Run(name, {"forget_gate_bias": bias}) for name, bias in biases.items() if name != paper.BASE),
        Run("autoencoder-nn", baseline),
        *(Run(name, changed, all_seeds=False) for name, (_, changed) in differing.items()),
    ]
    varied = {"seed", "num_train_utterances"} | {key for run in rows for key in run.options}
    for key in sorted(varied & {option.split("=")[0].lstrip("-") for option in options}):
        raise ConfigError(f"Cannot set --{key}, which differs between the runs. Leave it out, or use train.py.")
    # The paper's own model first and alone, since it prepares the sets for all.
    job((Run(paper.BASE), arguments.seeds[0]))
    available = runs.of(paper.BASE)[0]["train_utterances"]
    points = {f"utterances-{point}": point for point in arguments.points if point < available}
    for point in (point for point in arguments.points if point >= available):
        print(f"Figure 5 has no point at {point} utterances: the training set has {available}.")
    train_all(
        [Run(paper.BASE), *rows]
        # About as many batches as with all utterances.
        + [Run(n, {"num_train_utterances": k}, all_seeds=False, longer=available / k) for n, k in points.items()]
    )
    origin = runs.of(paper.BASE)[0]["trained_on"]
    text = [
        f"# Quality-Net, reproduced on {origin}\n",
        f"`python reproduce.py {' '.join(sys.argv[1:])}`, {len(arguments.seeds)} seeds (mean ± standard deviation), "
        f"{available} training utterances, {runs.of(paper.BASE)[0]['overall']['utterances']} to test; equation 1 with "
        f"{FRAME_TERM[arguments.frame_reduction]}. In brackets: the paper, on TIMIT.\n",
        paper.table1(runs),
        paper.table2(runs, biases),
        paper.table3(runs),
        paper.figure2(runs),
        paper.figure3(runs, biases),
        paper.figure4(runs),
        paper.figure5(runs, points | {paper.BASE: available}),
    ]
    if differing:
        text.append(paper.options_table(runs, {name: label for name, (label, _) in differing.items()}))
    with write_aside(arguments.output_folder / "RESULTS.md") as aside:
        aside.write_text("\n".join(text), encoding="utf-8")
    results = [{"run": name, "seed": seed, **result} for (name, seed), result in sorted(runs.results.items())]
    write_json(arguments.output_folder / "results.json", {"trained_on": origin, "runs": results})
    print(f"results: {arguments.output_folder / 'RESULTS.md'}")


if __name__ == "__main__":
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        # Let Ctrl-C end this process and its trainings at once. Python would wait for the threads.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        main()
    except SpeechtoolsError as error:
        sys.exit(f"error: {error}")
