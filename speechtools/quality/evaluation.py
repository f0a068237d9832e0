"""The test of Quality-Net: metrics overall and by group, on the screen and as JSON, and the paper's plots of it."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from speechtools import audio
from speechtools.core import metrics
from speechtools.core.errors import ConfigError
from speechtools.core.results import print_outputs, write_json
from speechtools.core.rows import write_rows
from speechtools.quality import localization, plots
from speechtools.quality.further import FurtherMeasures, measures_text
from speechtools.quality.rows import QualityRow

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class PredictedRow(QualityRow):
    """A row of ``predictions.csv``: the test manifest with the predicted scores."""

    predicted: float
    predicted_measures: str | None = None

    @classmethod
    def of(cls, row: QualityRow, predicted: float, measures: Mapping[str, float] | None = None) -> "PredictedRow":
        """Add a prediction to a row, and those of further measures."""
        columns = {name: getattr(row, name) for name in row.columns()}
        return cls(**columns, predicted=round(float(predicted), 6), predicted_measures=measures_text(measures or {}))


# ---------------------------------------------------------------------------------------------------------- metrics


def quality_metrics(predicted, true, rows: Sequence[QualityRow], clean_variances: Sequence[float]) -> dict:
    """MSE, LCC and SRCC overall, by subset, by noise type and by SNR (Quality-Net paper, section 3).

    Parameters
    ----------
    predicted, true : array-like
        Utterance scores (utterances,).
    rows : sequence of QualityRow
        Their manifest rows, in the same order.
    clean_variances : sequence of float
        The variance of the frame scores of every clean utterance; their mean is the last column of table 1.

    Returns
    -------
    dict
        ``overall``; ``by_subset``, ``by_noise`` and ``by_snr_db``, which map groups to their metrics; and
        ``clean_frame_variance``. An undefined correlation (of a constant) is None.
    """
    predicted, true = metrics.validate(predicted, true)
    snrs = ["" if row.snr_db is None else f"{row.snr_db:g}" for row in rows]
    return {
        "overall": _metrics(predicted, true),
        "by_subset": _grouped(predicted, true, [row.subset for row in rows]),
        "by_noise": _grouped(predicted, true, [row.noise_type for row in rows]),
        "by_snr_db": _grouped(predicted, true, snrs, float),
        "clean_frame_variance": float(np.mean(clean_variances)) if len(clean_variances) else None,
    }


def measure_metrics(
    further: FurtherMeasures, predicted: Sequence[Mapping[str, float]], rows: Sequence[QualityRow]
) -> dict:
    """MSE, LCC and SRCC of further measures, over the rows that have their labels, which are within their limits.

    Parameters
    ----------
    further : FurtherMeasures
    predicted : sequence of dict
        The predictions for each row, by measure.
    rows : sequence of QualityRow

    Returns
    -------
    dict
        By measure: ``overall`` and ``by_subset``, as :func:`quality_metrics` has them; what is undefined is None.
    """
    labels, results = [further.labels(row) for row in rows], {}
    for name in further.names:
        known = [index for index, scores in enumerate(labels) if name in scores]
        true = np.array([labels[index][name] for index in known])
        values = np.array([predicted[index][name] for index in known])
        results[name] = {
            "overall": _metrics(values, true),
            "by_subset": _grouped(values, true, [rows[index].subset for index in known]),
        }
    return results


def _metrics(predicted: np.ndarray, true: np.ndarray) -> dict:
    if not len(true):
        return {"utterances": 0, "mse": None, "lcc": None, "srcc": None}
    values = {name: getattr(metrics, name)(predicted, true) for name in ("mse", "lcc", "srcc")}
    return {"utterances": len(true)} | {name: None if math.isnan(value) else value for name, value in values.items()}


def _grouped(predicted: np.ndarray, true: np.ndarray, groups: list[str], order=str) -> dict:
    masks = {name: np.asarray(groups) == name for name in sorted(set(groups) - {""}, key=order)}
    return {name: _metrics(predicted[mask], true[mask]) for name, mask in masks.items()}


# ----------------------------------------------------------------------------------------------------------- report


def quality_report(
    run: str | Path,
    results: dict,
    predicted,
    true,
    rows: Sequence[QualityRow],
    net,
    facts: dict,
    measures: Sequence[Mapping[str, float]] = (),
) -> None:
    """Print the results of a test and write ``results.json``, ``predictions.csv`` and plots to the folder ``run``.

    Parameters
    ----------
    run : str or Path
        The output folder of the training.
    results : dict
        From :func:`quality_metrics`. How well the frame scores locate noise is added as ``localization``. It is null
        for recordings that come with scores, and where the test lacks clean utterances or noises, with a warning.
        ``measures`` are those of :func:`measure_metrics`, if any.
    predicted, true : array-like
        Utterance scores (utterances,).
    rows : sequence of QualityRow
        Their manifest rows.
    net : QualityNet
        The exported model.
    facts : dict
        What else goes to ``results.json``; ``trained_on`` names the sets.
    measures : sequence of dict
        For each row, the predictions of further measures; none by default.
    """
    run = Path(run)
    results = results | {"localization": _localization(net, rows)}
    further = measures or [{}] * len(rows)
    predictions = [PredictedRow.of(*values) for values in zip(rows, predicted, further, strict=True)]
    write_rows(run / "predictions.csv", PredictedRow, predictions)
    write_json(run / "results.json", facts | {"scale": net.scale} | results)
    paths = plot_test(run / "figures", predicted, true, rows, net, facts["trained_on"])
    console = Console()
    print_metrics(results, f"Test on {facts['trained_on']}", console)
    print_outputs(run, paths, console)


def print_metrics(results: dict, title: str, console: Console) -> None:
    """Print metrics as a table."""
    groups = [{"all": results["overall"]}, results["by_subset"], results["by_noise"]]
    groups.append({f"{name} dB": values for name, values in results["by_snr_db"].items()})
    console.print(_table(title, groups))
    if measured := results.get("measures"):
        subsets = [
            {
                f"{name}: {group}": metrics
                for group, metrics in ({"all": values["overall"]} | values["by_subset"]).items()
            }
            for name, values in measured.items()
        ]
        console.print(_table("Further measures", subsets))
    if results["clean_frame_variance"] is not None:
        console.print(f"Variance of frame scores on clean speech (mean): {results['clean_frame_variance']:.4f}")
    if located := results.get("localization"):
        console.print(
            f"Noise at 0 dB in the middle of clean speech: AUC of its frames {located['auc']:.4f}, within an utterance "
            f"{located['auc_within']:.4f}; drop of the clean frames beside it {located['clean_drop']:.4f}"
        )


def _table(title: str, groups: Sequence[dict]) -> Table:
    table = Table(title=title, title_style="bold")
    table.add_column("group")
    for column in ("utterances", "MSE", "LCC", "SRCC"):
        table.add_column(column, justify="right")
    for group in groups:
        for name, values in group.items():
            cells = ("–" if values[key] is None else f"{values[key]:.4f}" for key in ("mse", "lcc", "srcc"))
            table.add_row(name, str(values["utterances"]), *cells)
        table.add_section()
    return table


def _localization(net, rows: Sequence[QualityRow]) -> dict | None:
    if all(row.subset == "corpus" for row in rows):  # recordings with scores: none is known to be clean
        return None
    try:
        examples = localization.partly_noisy_set(rows, net.sample_rate)
        return localization.localization_metrics(net, examples, net.measure is None or net.measure.higher_is_better)
    except ConfigError as error:
        logger.warning("The localization of noise was not tested. %s", error)
        return None


# ------------------------------------------------------------------------------------------------------------ plots


def plot_test(folder: str | Path, predicted, true, rows: Sequence[QualityRow], net, origin: str) -> list[Path]:
    """Plot the paper's figure 4 of a test, and its figures 2 and 3 for one utterance, clean and partly noisy.

    The noise fills the middle third, at 0 dB there; it is street noise where the test has it. The recordings of the
    plots are written to ``examples`` beside ``folder``.
    """
    folder = Path(folder)
    subsets = [row.subset for row in rows]
    scatter = plots.score_scatter(folder / "scatter.png", predicted, true, subsets, net.scale, f"Test on {origin}")
    if "clean" not in subsets or not any(row.noise for row in rows):
        return [scatter]
    rate = net.sample_rate
    partly, throughout = localization.example(rows, rate, 1 / 3, 2 / 3), localization.example(rows, rate, 0, 1)
    versions = {"clean": partly.clean, "partly_noisy": partly.noisy, "noisy_0dB": throughout.noisy}
    for name, samples in versions.items():
        audio.write(folder.parent / "examples" / f"{name}.wav", samples, rate)
    name = f"{partly.noise_type} noise at 0 dB inside the dashed frame"
    titled = {"clean speech": partly.clean, name: partly.noisy}
    recordings = [(title, samples, net.assess_samples(samples)) for title, samples in titled.items()]
    marked = {name: (partly.start / rate, partly.end / rate)}
    return [scatter, plots.frame_scores(folder / "frame_scores.png", recordings, rate, marked=marked)]
