"""The test of an enhancer: PESQ and STOI before and after, on speakers and noises that are new to it."""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rich.box
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from speechtools import audio
from speechtools.core.errors import AudioError, CorpusError
from speechtools.core.results import print_outputs, write_json
from speechtools.enhancement.data import JudgedRow, judge
from speechtools.enhancement.plots import spectrograms

#: How many test files are enhanced together.
BATCH_SIZE = 16
#: Names of the metrics in tables.
_COLUMNS = {"pesq": "PESQ", "stoi": "STOI", "predicted": "predicted"}


@dataclass(frozen=True)
class Comparison:
    """A test file before and after enhancement.

    Attributes
    ----------
    row : JudgedRow
        Of the test manifest.
    path : Path
        The enhanced file.
    before, after : dict
        ``pesq``, ``stoi`` and, with a Quality-Net, ``predicted``.
    """

    row: JudgedRow
    path: Path
    before: dict[str, float]
    after: dict[str, float]


# ---------------------------------------------------------------------------------------------------------- metrics


def evaluate(
    enhancer,
    rows: Sequence[JudgedRow],
    folder: str | Path,
    scale: str = "raw_nb",
    quality_net=None,
    num_workers: int | None = None,
    predicted_before: Mapping[str, float] | None = None,
) -> list[Comparison]:
    """Enhance the files of a test manifest and score the results.

    Parameters
    ----------
    enhancer : SpeechEnhancer
        Or any object with ``enhance_waveforms`` and ``sample_rate``.
    rows : sequence of JudgedRow
        Of the test manifest that :func:`speechtools.enhancement.data.prepare` writes.
    folder : str or Path
        Where ``<ID>.wav`` and the PESQ labels are written; ``rejected.csv`` lists files that cannot be scored.
    scale : str
        Of PESQ.
    quality_net : QualityNet, optional
        Its scores are added as ``predicted``.
    predicted_before : mapping, optional
        Its scores of the noisy files by ID, where they are known.

    Raises
    ------
    CorpusError
        No file could be scored.
    """
    folder, rate = Path(folder), enhancer.sample_rate
    rows = sorted(rows, key=lambda row: row.duration)  # files of a batch need little padding
    paths = {row.ID: folder / f"{row.ID}.wav" for row in rows}
    rejected = {}
    for first in tqdm(range(0, len(rows), BATCH_SIZE), "enhancing", unit="batch", disable=None):
        batch = rows[first : first + BATCH_SIZE]
        enhanced = enhancer.enhance_waveforms([audio.read(row.path, rate) for row in batch])
        for row, samples in zip(batch, enhanced, strict=True):
            try:
                audio.write(paths[row.ID], samples / max(1.0, float(np.abs(samples).max())), rate)
            except AudioError as error:
                rejected[row.ID] = str(error)
    pairs = {row.ID: (row.speech, paths[row.ID]) for row in rows}
    judged = judge(pairs, folder / "labels.csv", scale, rate, num_workers, rejected)
    if not judged:
        raise CorpusError(f"No enhanced file could be scored; {folder}/rejected.csv lists the reasons.")
    rows = [row for row in rows if row.ID in judged]
    comparisons = [
        Comparison(row, paths[row.ID], {"pesq": row.score, "stoi": row.stoi}, dataclasses.asdict(judged[row.ID]))
        for row in rows
    ]
    if quality_net is not None:
        predicted_before = predicted_before or predict_scores(quality_net, {row.ID: row.path for row in rows})
        predicted_after = predict_scores(quality_net, {row.ID: paths[row.ID] for row in rows})
        for comparison in comparisons:
            comparison.before["predicted"] = predicted_before[comparison.row.ID]
            comparison.after["predicted"] = predicted_after[comparison.row.ID]
    return comparisons


def predict_scores(quality_net, paths: Mapping[str, Path]) -> dict[str, float]:
    """Predict the quality of files, by their keys in ``paths``.

    Raises
    ------
    AudioError
        A file cannot be scored, for example because it is silent.
    """
    scores = {}
    for name, (_, report) in zip(paths, quality_net.assess_files(list(paths.values())), strict=True):
        if isinstance(report, AudioError):
            raise report
        scores[name] = report.score
    return scores


def enhancement_metrics(comparisons: Sequence[Comparison]) -> dict:
    """Average before and after, and their difference, ``gain``: overall, by SNR and by noise type.

    ``unheard`` are noise types that are new to the enhancer, ``heard`` those of its training; speakers are new in both.
    """
    results = {}
    for name, heard in (("unheard", False), ("heard", True)):
        members = [comparison for comparison in comparisons if comparison.row.heard == heard]
        if members:
            results[name] = {
                "overall": _means(members),
                "by_snr_db": _grouped(members, lambda row: f"{row.snr_db:g}", float),
                "by_noise": _grouped(members, lambda row: row.noise_type, str),
            }
    return results


def _means(comparisons: Sequence[Comparison]) -> dict:
    names = comparisons[0].before
    before = {name: float(np.mean([comparison.before[name] for comparison in comparisons])) for name in names}
    after = {name: float(np.mean([comparison.after[name] for comparison in comparisons])) for name in names}
    gain = {name: after[name] - before[name] for name in names}
    return {"files": len(comparisons), "before": before, "after": after, "gain": gain}


def _grouped(comparisons: Sequence[Comparison], group_of: Callable[[JudgedRow], str], order: Callable) -> dict:
    names = sorted({group_of(comparison.row) for comparison in comparisons}, key=order)
    return {
        name: _means([comparison for comparison in comparisons if group_of(comparison.row) == name]) for name in names
    }


# ----------------------------------------------------------------------------------------------------------- report


def enhancement_report(
    run: str | Path, rows: Sequence[JudgedRow], models: Mapping[str, Any], facts: dict, quality_net=None, **judging: Any
) -> dict:
    """Print the results of a test and write ``results.json``, the enhanced files, an example and its plot to ``run``.

    Parameters
    ----------
    run : str or Path
        The output folder of the training.
    rows : sequence of JudgedRow
        Of the test manifest.
    models : mapping
        SpeechEnhancers by name: the trained one last, and before it one to compare it with, if any.
    facts : dict
        What else goes to ``results.json``; ``trained_on`` names the sets.
    quality_net, **judging
        As :func:`evaluate` takes them.

    Returns
    -------
    dict
        The metrics of the last model.
    """
    # Into a file or a pipe, tables are printed at full width.
    run, console = Path(run), Console(width=None if sys.stdout.isatty() else 120)
    if quality_net is not None:
        judging["predicted_before"] = predict_scores(quality_net, {row.ID: row.path for row in rows})
    results = {}
    for name, model in models.items():
        comparisons = evaluate(model, rows, run / "enhanced" / name, quality_net=quality_net, **judging)
        results[name] = enhancement_metrics(comparisons)
        print_enhancement(results[name], f"{name}: new speakers, {facts['trained_on']}", console)
    last = results.pop(name)
    for other, metrics in results.items():
        console.print(verdict(last, metrics, other), soft_wrap=True)
    write_json(run / "results.json", facts | last | {"compared_with": results})
    print_outputs(run, [plot_example(run, comparisons, model.sample_rate)], console)
    return last


def print_enhancement(results: dict, title: str, console: Console) -> None:
    """Print the metrics of one model as a table."""
    names = list(next(iter(results.values()))["overall"]["gain"])
    table = Table(title=title, title_style="bold", box=rich.box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("group", no_wrap=True)
    table.add_column("files", justify="right")
    for name in names:
        for column in ("before", "after", "gain"):
            table.add_column(f"{_COLUMNS[name]} {column}", justify="right")
    for kind, groups in results.items():
        lines = [(f"{kind} noises", groups["overall"])]
        lines += [(f"  {name} dB", means) for name, means in groups["by_snr_db"].items()]
        lines += [(f"  {name}", means) for name, means in groups["by_noise"].items()]
        for label, means in lines:
            cells = []
            for name in names:
                cells += [f"{means['before'][name]:.3f}", f"{means['after'][name]:.3f}", f"{means['gain'][name]:+.3f}"]
            table.add_row(label, str(means["files"]), *cells)
        table.add_section()
    console.print(table)


def verdict(results: dict, other: dict, name: str) -> str:
    """Describe how true and predicted quality changed from the ``other`` model, called ``name``, on new noises."""
    kind = "unheard" if "unheard" in results else "heard"
    after, before = (metrics[kind]["overall"]["after"] for metrics in (results, other))
    change = {key: after[key] - before[key] for key in after}
    text = f"Against {name}, {kind} noises: true PESQ {change['pesq']:+.3f}, STOI {change['stoi']:+.3f}"
    if "predicted" not in change:
        return text + "."
    text += f", PESQ predicted by the Quality-Net {change['predicted']:+.3f}: "
    if change["pesq"] > 0:
        return text + "the true one went up."
    return text + ("only the predicted one went up." if change["predicted"] > 0 else "neither went up.")


def plot_example(run: Path, comparisons: Sequence[Comparison], rate: int) -> Path:
    """Plot the clean, noisy and enhanced versions of one test file of new noise, and write them to ``run/examples``."""
    unheard = [comparison for comparison in comparisons if not comparison.row.heard] or comparisons
    example = min(unheard, key=lambda comparison: (abs(comparison.row.snr_db), comparison.row.ID))
    row = example.row
    versions = {
        "clean": ("clean", row.speech),
        "noisy": (f"{row.noise_type} noise at {row.snr_db:g} dB, PESQ {example.before['pesq']:.2f}", row.path),
        "enhanced": (f"enhanced, PESQ {example.after['pesq']:.2f}", example.path),
    }
    recordings = []
    for name, (title, path) in versions.items():
        samples = audio.read(path, rate)
        audio.write(run / "examples" / f"{name}.wav", samples, rate)
        recordings.append((title, samples))
    return spectrograms(run / "figures" / "example.png", recordings, rate)
