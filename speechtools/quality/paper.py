"""The tables and figures of the Quality-Net paper from finished runs, with the paper's values beside the measured ones.

The recipe's ``reproduce.py`` writes them.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from speechtools.core import metrics
from speechtools.core.rows import read_rows
from speechtools.quality import localization, plots
from speechtools.quality.evaluation import PredictedRow
from speechtools.quality.inference import QualityNet
from speechtools.quality.plots import learning_curve

#: The run of the paper's own model.
BASE = "constraint"
#: The paper's MSE, LCC, SRCC and variance of frame scores on clean speech (tables 1 and 3).
PAPER = {
    "no-constraint": (0.1441, 0.8559, 0.8607, 4.1128),
    BASE: (0.1266, 0.8749, 0.8807, 0.2468),
    "autoencoder-nn": (0.1529, 0.8434, 0.8675, None),
}
#: LCC of the noisy and of the enhanced test speech, from the abstract.
PAPER_LCC = {"noisy": 0.90, "enhanced": 0.84}


@dataclass
class Runs:
    """Finished runs, in ``folder/<name>/<seed>``.

    Attributes
    ----------
    folder, output : Path
        Of the runs, and of the figures.
    results : dict
        The contents of ``results.json`` by name and seed.
    """

    folder: Path
    output: Path
    results: dict[tuple[str, int], dict] = field(default_factory=dict)

    def of(self, name: str) -> list[dict]:
        """Results of a run, one per seed."""
        return [result for (run, _), result in sorted(self.results.items()) if run == name]

    def seeds(self, name: str) -> list[int]:
        """Seeds of a run."""
        return sorted(seed for run, seed in self.results if run == name)

    def net(self, name: str, seed: int | None = None) -> QualityNet:
        """Load the exported model of a run, by default that of the first seed."""
        seed = self.seeds(name)[0] if seed is None else seed
        return QualityNet.from_hparams(self.folder / name / str(seed) / "pretrained")

    def predictions(self, name: str) -> list[PredictedRow]:
        """Read the true and predicted scores of a run's first seed."""
        return read_rows(self.folder / name / str(self.seeds(name)[0]) / "predictions.csv", PredictedRow)


def spread(values, digits: int = 4) -> str:
    """Format the mean and standard deviation of values, or a single value."""
    values = [value for value in values if value is not None]
    if not values:
        return "–"
    deviation = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{deviation}"


def table(header: list[str], rows: list[list[str]]) -> str:
    """Format a Markdown table."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def overall(results: list[dict], *keys: str) -> list[str]:
    """Cells of metrics over the whole test."""
    return [spread([result["overall"][key] for result in results]) for key in keys]


def localized(results: list[dict], *keys: str) -> list[str]:
    """Cells of localization metrics; a dash for runs without them."""
    return [spread([(result.get("localization") or {}).get(key) for result in results], 3) for key in keys]


def with_paper(cells: list[str], paper) -> list[str]:
    """Add the paper's values to cells."""
    return [f"{cell} ({value})" if value is not None else cell for cell, value in zip(cells, paper, strict=True)]


def table1(runs: Runs) -> str:
    """Table 1: with and without the frame constraint."""
    rows = []
    for name, label in (("no-constraint", "without constraint"), (BASE, "with constraint")):
        results = runs.of(name)
        cells = overall(results, "mse", "lcc", "srcc") + [spread([r["clean_frame_variance"] for r in results])]
        rows.append([label, *with_paper(cells, PAPER[name])])
    variances = [np.mean([r["clean_frame_variance"] for r in runs.of(name)]) for name in ("no-constraint", BASE)]
    return (
        "## Table 1: effects of the frame constraint\n\n"
        + table(["", "MSE", "LCC", "SRCC", "variance of frame quality, clean speech"], rows)
        + f"\nThe constraint lowers the variance {variances[0] / variances[1]:.1f} times (paper: 16.7 times).\n"
    )


def table2(runs: Runs, biases: dict[str, float]) -> str:
    """Table 2: the forget-gate bias."""
    rows = []
    for name, bias in biases.items():
        cells = overall(runs.of(name), "mse", "lcc", "srcc")
        cells += localized(runs.of(name), "clean_drop", "noisy_drop", "auc", "auc_within")
        rows.append([f"{bias:g}", *cells])
    header = ["forget-gate bias", "MSE", "LCC", "SRCC", "drop of clean frames", "drop of noisy frames", "AUC"]
    return (
        "## Table 2: effects of the forget-gate bias\n\n"
        + table([*header, "AUC within an utterance"], rows)
        + "\nDrops and AUC are of clean test utterances with noise at 0 dB in their middle 42 % (as in figure 3): how "
        "much the noise lowers the scores of the clean and of the noisy frames, and the probability that a clean frame "
        "scores above a noisy one, over all utterances and within one. The paper does not report them. Its table 2 is "
        "not legible in our copy; its text says that the bias hardly changes the utterance score.\n"
    )


def table3(runs: Runs) -> str:
    """Table 3: Quality-Net and the two-stage baseline."""
    rows = [
        [label, *with_paper(overall(runs.of(name), "mse", "lcc", "srcc"), PAPER[name][:3])]
        for name, label in (("autoencoder-nn", "subband autoencoder + NN"), (BASE, "Quality-Net"))
    ]
    return "## Table 3: Quality-Net and the two-stage model\n\n" + table(["", "MSE", "LCC", "SRCC"], rows)


def figure2(runs: Runs) -> str:
    """Figure 2: frame scores of a clean utterance, with and without the constraint."""
    nets = {"without constraint": runs.net("no-constraint"), "with constraint": runs.net(BASE)}
    speech, _, _ = example(runs)
    rate = next(iter(nets.values())).sample_rate
    reports = {label: net.assess_samples(speech) for label, net in nets.items()}
    plots.frame_score_curves(runs.output / "figure2.png", [("clean speech", speech, reports)], rate)
    return "## Figure 2: frame scores of clean speech\n\n![figure 2](figure2.png)\n"


def figure3(runs: Runs, biases: dict[str, float]) -> str:
    """Figure 3: frame scores of a partly noisy utterance for several forget-gate biases."""
    nets = {f"forget-gate bias {bias:g}": runs.net(name) for name, bias in biases.items()}
    speech, noisy, (start, end) = example(runs)
    rate = next(iter(nets.values())).sample_rate
    title = "noise at 0 dB inside the dashed frame"
    recordings = [
        (name, samples, {label: net.assess_samples(samples) for label, net in nets.items()})
        for name, samples in (("clean speech", speech), (title, noisy))
    ]
    marked = {title: (start / rate, end / rate)}
    plots.frame_score_curves(runs.output / "figure3.png", recordings, rate, marked)
    return "## Figure 3: partly noisy speech\n\n![figure 3](figure3.png)\n"


def example(runs: Runs):
    """Clean and partly noisy samples of a test utterance, with street noise if available, and where the noise is."""
    utterance = localization.example(runs.predictions(BASE), runs.net(BASE).sample_rate)
    return utterance.clean, utterance.noisy, (utterance.start, utterance.end)


def figure4(runs: Runs) -> str:
    """Figure 4: predicted and true scores of noisy and clean, and of enhanced speech, for the first seed."""
    rows = runs.predictions(BASE)
    text = "## Figure 4: predicted against true scores\n\n"
    cells = []
    for letter, subsets in (("a", ("clean", "noisy")), ("b", ("enhanced",))):
        members = [row for row in rows if row.subset in subsets]
        if not members:
            continue
        predicted, true = [row.predicted for row in members], [row.score for row in members]
        path, name = runs.output / f"figure4{letter}.png", " and ".join(subsets)
        scale = runs.net(BASE).scale
        plots.score_scatter(path, predicted, true, [row.subset for row in members], scale, f"Test, {name} speech")
        text += f"![figure 4 {letter}](figure4{letter}.png)\n"
        cells.append([f"({letter}) {name}", str(len(members)), f"{metrics.lcc(predicted, true):.4f}", ""])
    by_subset = [result["by_subset"] for result in runs.of(BASE)]
    for name, paper in PAPER_LCC.items():
        if all(name in subsets for subsets in by_subset):
            lcc = spread([subsets[name]["lcc"] for subsets in by_subset])
            cells.append([f"{name}, all seeds", str(by_subset[0][name]["utterances"]), lcc, f"{paper:.2f}"])
    return text + "\n" + table(["speech", "utterances", "LCC", "paper's"], cells)


def figure5(runs: Runs, points: dict[str, int]) -> str:
    """Figure 5: the learning curve."""
    curve = [
        {"utterances": count}
        | {key: [result["overall"][key] for result in runs.of(name)] for key in ("lcc", "srcc", "mse")}
        for name, count in points.items()
    ]
    learning_curve(runs.output / "figure5.png", curve, f"Quality-Net, {runs.of(BASE)[0]['trained_on']}")
    rows = [
        [str(point["utterances"]), *(spread(point[key]) for key in ("mse", "lcc", "srcc"))]
        for point in sorted(curve, key=lambda point: point["utterances"])
    ]
    return (
        "## Figure 5: how many training utterances\n\n![figure 5](figure5.png)\n\n"
        + table(["training utterances", "MSE", "LCC", "SRCC"], rows)
        + "\nThe paper's curve has an LCC of 0.7 at 100 utterances and begins to saturate at 1000. Smaller sets are "
        "trained for more epochs here, so that all see about as many batches.\n"
    )


def options_table(runs: Runs, options: dict[str, str]) -> str:
    """Table of runs that differ from the paper as the authors' released code does; ``options`` maps runs to labels."""
    rows = []
    seeds = len(runs.seeds(next(iter(options))))
    for name, label in ({BASE: "the base of these runs"} | options).items():
        results = runs.of(name)[:seeds]
        cells = overall(results, "mse", "lcc", "srcc") + [spread([r["clean_frame_variance"] for r in results])]
        cells += localized(results, "clean_drop", "auc")
        rows.append([label, *cells])
    header = ["", "MSE", "LCC", "SRCC", "variance, clean", "drop of clean frames", "AUC"]
    return "## What the authors' released code does otherwise\n\n" + table(header, rows)
