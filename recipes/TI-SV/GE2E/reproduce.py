"""Table 3 of the GE2E paper: softmax, TE2E and GE2E, each trained for the same number of seconds.

python reproduce.py                                             # the built-in synthetic corpus
python reproduce.py --corpus=librispeech --data_folder=/corpora/LibriSpeech --budget_seconds=20000 --device=cuda

The networks are those of small_corpus.yaml, which learn in minutes. Its augmentation is off: it makes several voices of
a speaker, which does not suit a classifier over speakers. TE2E has a smaller learning rate (see OPTIONS). Started
again, the script skips finished runs and resumes the others. Unknown options are passed on to train.py.
"""

import argparse
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from speechtools.core.errors import ConfigError
from speechtools.core.results import write_json
from speechtools.training.reproduction import check_options, run_once, with_defaults

HERE = Path(__file__).parent
LOSSES = {"softmax": 4.06, "te2e": 3.64, "ge2e-softmax": 3.30}  # the paper's EER in %
#: Options of a loss. With Adam at 0.002, as for the others, the d-vectors of TE2E collapse to one within 200 steps: the
#: sigmoids saturate, and their gradients vanish.
OPTIONS = {"softmax": {}, "te2e": {"lr": 0.0005}, "ge2e-softmax": {}}
_LOG_LINE = re.compile(r"train (?:total )?seconds: ([\d.e+-]+) .*valid eer: ([\d.e+-]+)")


def learning_curve(run: Path) -> list[tuple[float, float]]:
    """Seconds of training and validation EER after every epoch of a run."""
    return [(float(seconds), float(eer)) for seconds, eer in _LOG_LINE.findall((run / "train_log.txt").read_text())]


def seconds_to(curve: list[tuple[float, float]], eer: float) -> float | None:
    """Seconds of training until the validation EER was at most ``eer``; None if it never was."""
    return next((seconds for seconds, reached in curve if reached <= eer), None)


def train(yaml: str, loss: str, folder: Path, budget_seconds: float, options: list[str]) -> dict:
    """Run the recipe with one loss, and return its results.json."""
    # Enough epochs for any budget, and no early stopping, so that all losses train for the same time.
    defaults = {"number_of_epochs": 1000000, "patience": 1000000, "augmentation": False, **OPTIONS[loss]}
    command = [sys.executable, "train.py", yaml, f"--loss_name={loss}", f"--budget_seconds={budget_seconds}"]
    return run_once(folder / loss, command + with_defaults(options, defaults), cwd=HERE)


def main() -> None:
    """Train what is missing, print the table and write ``table3.json``."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--yaml", default="hparams/small_corpus.yaml")
    parser.add_argument("--budget_seconds", type=float, default=300.0, help="of training, for each loss (300)")
    parser.add_argument("--output_folder", type=Path, default=HERE / "results" / "table3")
    arguments, options = parser.parse_known_args()
    check_options(parser, options, HERE / arguments.yaml)
    folder = arguments.output_folder.absolute()
    try:
        results = {loss: train(arguments.yaml, loss, folder, arguments.budget_seconds, options) for loss in LOSSES}
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)  # train.py has printed the reason
    except ConfigError as error:
        sys.exit(f"error: {error}")
    curves = {loss: learning_curve(folder / loss) for loss in LOSSES}
    # The lowest EER that all losses have reached.
    common = max(min(eer for _, eer in curve) for curve in curves.values())
    rows = {
        loss: {
            **{key: result[key] for key in ("eer", "eer_low", "eer_high", "untrained_eer") if key in result},
            "valid_eer": min(eer for _, eer in curves[loss]),
            "seconds_to_common_eer": seconds_to(curves[loss], common),
            "paper_eer": LOSSES[loss] / 100,
        }
        for loss, result in results.items()
    }
    origin = next(iter(results.values()))["trained_on"]
    facts = {"trained_on": origin, "budget_seconds": arguments.budget_seconds, "common_valid_eer": common}
    write_json(folder / "table3.json", facts | {"losses": rows})
    table = Table(title=f"Table 3: {arguments.budget_seconds:g} s of training each, on {origin}", title_style="bold")
    for column in (
        "loss",
        "test EER (%)",
        "95 % interval",
        f"s to a validation EER of {100 * common:.2f} %",
        "paper's EER (%)",
    ):
        table.add_column(column, justify="left" if column == "loss" else "right")
    for loss, row in rows.items():
        interval = f"{100 * row['eer_low']:.1f} to {100 * row['eer_high']:.1f}" if "eer_low" in row else "-"
        reached = f"{row['seconds_to_common_eer']:.0f}"
        table.add_row(loss, f"{100 * row['eer']:.2f}", interval, reached, f"{100 * row['paper_eer']:.2f}")
    untrained = [row["untrained_eer"] for row in rows.values() if "untrained_eer" in row]
    if untrained:
        table.add_section()
        table.add_row("untrained", f"{100 * untrained[0]:.2f}", "", "", "")
    Console().print(table)
    Console().print(f"results: {folder / 'table3.json'}", soft_wrap=True)


if __name__ == "__main__":
    main()
