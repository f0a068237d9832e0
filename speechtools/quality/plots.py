"""Plots of speech quality: predicted against true scores, frame scores, the learning curve, and comparisons."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from speechtools.core import metrics
from speechtools.core.plots import (
    COLORS,
    LINE_COLORS,
    MARKERS,
    save,
    set_title,
    shorten,
    show_all_lines,
    spectrogram_panels,
)
from speechtools.measures import Scale, describe_measure

if TYPE_CHECKING:
    from speechtools.quality.comparison import Comparison
    from speechtools.quality.report import QualityReport

Marks = Mapping[str, tuple[float, float]]
#: Groups of a comparison that a figure can show.
_MOST_GROUPS = 40


def score_scatter(
    path: str | Path, predicted: ArrayLike, true: ArrayLike, subsets: Sequence[str], scale: str, title: str
) -> Path:
    """Draw predicted against true scores, one point per utterance, coloured by subset (the paper's figure 4)."""
    predicted, true = metrics.validate(predicted, true)
    figure = Figure(figsize=(5.2, 5.2), layout="constrained")
    axes = figure.add_subplot()
    names = np.asarray(subsets)
    low, high = min(predicted.min(), true.min()), max(predicted.max(), true.max())
    margin = 0.05 * (high - low) + 0.05
    limits = low - margin, high + margin
    axes.plot(limits, limits, color="0.6", linewidth=1, zorder=0)
    # Small subsets are drawn last, on top.
    for subset in sorted(set(subsets), key=lambda name: -np.count_nonzero(names == name)):
        rows = names == subset
        label = f"{subset} ({np.count_nonzero(rows)})"
        color = COLORS.get(subset)
        axes.scatter(true[rows], predicted[rows], s=9, alpha=0.45, linewidths=0, color=color, label=label)
    name = describe_measure(scale)
    axes.set(xlabel=f"true {name}", ylabel=f"predicted {name}", xlim=limits, ylim=limits, aspect="equal")
    set_title(axes, title)
    axes.legend(loc="upper left", title="utterances", frameon=False, markerscale=2.5)
    values = {"LCC": metrics.lcc, "SRCC": metrics.srcc, "MSE": metrics.mse}
    text = "\n".join(f"{label} {metric(predicted, true):.3f}" for label, metric in values.items())
    axes.text(0.97, 0.03, text, transform=axes.transAxes, ha="right", va="bottom")
    axes.grid(alpha=0.25)
    return save(figure, path)


def frame_scores(
    path: str | Path,
    recordings: "Sequence[tuple[str, np.ndarray, QualityReport]]",
    sample_rate: int,
    marked: Marks | None = None,
) -> Path:
    """Draw spectrograms with their frame scores below, one column per recording (the paper's figures 2 and 3).

    The axis of the scores is the range of their scale, so that figures can be compared; frames beyond it extend it.

    Parameters
    ----------
    path : str or Path
        PNG file to write.
    recordings : sequence
        Triples of a title, the samples (samples,) and their QualityReport.
    sample_rate : int
        In Hz.
    marked : dict
        Start and end in seconds of a section to frame, by title, for example where noise was added.
    """
    figure, panels = _score_panels(recordings, sample_rate, 5.0, recordings[0][2].scale, marked or {})
    for axes, (_, _, report) in zip(panels, recordings, strict=True):
        axes.plot(report.times, report.frame_scores, color=COLORS["noisy"], linewidth=1)
        axes.axhline(report.score, color=COLORS["enhanced"], linewidth=1, linestyle="--")
        axes.set_title(f"mean {report.score:.2f}", loc="right", fontsize=10, color=COLORS["enhanced"])
        axes.grid(alpha=0.25)
        show_all_lines(axes)
    return save(figure, path)


def frame_score_curves(
    path: str | Path,
    recordings: "Sequence[tuple[str, np.ndarray, Mapping[str, QualityReport]]]",
    sample_rate: int,
    marked: Marks | None = None,
) -> Path:
    """Draw the frame scores of several models on the same recordings, one line per model.

    For the paper's figure 2 (with and without the frame constraint) and figure 3 (two forget-gate biases).

    Parameters
    ----------
    path, sample_rate, marked
        See :func:`frame_scores`.
    recordings : sequence
        Triples of a title, the samples (samples,) and the QualityReports by the label of their model, on one scale.
        A label has one colour in all columns.
    """
    labels = list(dict.fromkeys(label for _, _, reports in recordings for label in reports))
    scale = recordings[0][2][labels[0]].scale
    figure, panels = _score_panels(recordings, sample_rate, 5.0 + 0.22 * len(labels), scale, marked or {})
    for axes, (_, _, reports) in zip(panels, recordings, strict=True):
        for label, report in reports.items():
            color = LINE_COLORS[labels.index(label) % len(LINE_COLORS)]
            name = f"{label} (mean {report.score:.2f})"
            axes.plot(report.times, report.frame_scores, color=color, linewidth=1.2, label=name)
        show_all_lines(axes)
        # Below the panel, where it covers no curve.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), frameon=False)
        axes.grid(alpha=0.25)
    return save(figure, path)


def _score_panels(
    recordings: Sequence[tuple[str, np.ndarray, Any]], sample_rate: int, height: float, scale: str, marked: Marks
) -> tuple[Figure, np.ndarray]:
    """Make a figure of spectrograms with panels for scores below; the sections ``marked`` by title are framed."""
    pairs = [(title, samples) for title, samples, _ in recordings]
    figure, panels = spectrogram_panels(pairs, sample_rate, height, rows=2)
    for column, (title, _) in zip(panels.T, pairs, strict=True):
        for axes in column if title in marked else ():
            axes.axvspan(*marked[title], fill=False, edgecolor="black", linestyle="--", linewidth=1)
    panels[1, 0].set(ylabel=f"predicted\n{describe_measure(scale)}")
    if measure := Scale.of(scale):
        panels[1, 0].set(ylim=(measure.minimum, measure.maximum))
    return figure, panels[1]


def learning_curve(path: str | Path, points: list[dict], title: str) -> Path:
    """Draw LCC, SRCC and MSE over the number of training utterances (the Quality-Net paper's figure 5).

    Each seed is a point, the line runs through their means, and the band from the worst to the best seed.

    Parameters
    ----------
    path : str or Path
        PNG file to write.
    points : list
        ``{"utterances": n, "lcc": […], "srcc": […], "mse": […]}`` in any order, with one value per seed. Where a value
        is None or NaN, the line has a gap.
    title : str
        Title of the figure.
    """
    points = sorted(points, key=lambda point: point["utterances"])
    counts = [point["utterances"] for point in points]
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    curves = (("lcc", "LCC", upper), ("srcc", "SRCC", upper), ("mse", "MSE", lower))
    for (key, name, axes), color, marker in zip(curves, LINE_COLORS, MARKERS, strict=False):
        seeds = [np.asarray(point[key], dtype=np.float64) for point in points]
        axes.plot(counts, [values.mean() for values in seeds], color=color, linewidth=1.3, label=name)
        lowest, highest = ([extreme(values) for values in seeds] for extreme in (np.min, np.max))
        axes.fill_between(counts, lowest, highest, color=color, alpha=0.15, linewidth=0)
        repeated = np.repeat(counts, [len(values) for values in seeds])
        axes.scatter(repeated, np.concatenate(seeds), s=16, marker=marker, color=color, alpha=0.6, linewidths=0)
        axes.grid(alpha=0.25)
    lower.set_xscale("log")
    labels = [f"{count:,}" for count in counts]
    lower.set_xticks(counts, labels, fontsize=8, rotation=45, ha="right", rotation_mode="anchor")
    lower.set_xticks([], minor=True)
    lower.set(xlabel="training utterances", ylabel="mean squared error")
    upper.set_ylabel("correlation with the true scores")
    upper.legend(loc="lower right", title="mean and seeds", frameon=False)
    set_title(upper, title)
    return save(figure, path)


def paired_differences(path: str | Path, comparison: "Comparison") -> Path:
    """Draw how the scores of B differ from those of A: a point for each recording, with means and intervals by group.

    Parameters
    ----------
    path : str or Path
        PNG file to write.
    comparison : Comparison
        Of its groups, the 40 with the most recordings are drawn.
    """
    groups = sorted(comparison.groups, key=lambda group: -group.files)[:_MOST_GROUPS]
    rows = [comparison.total, *sorted(groups, key=lambda group: group.difference, reverse=True)]
    figure = Figure(figsize=(7.0, 1.9 + 0.42 * len(rows)), layout="constrained")
    axes = figure.add_subplot()
    axes.axvline(0, color="black", linewidth=1, zorder=1)
    rng = np.random.default_rng(0)
    for place, row in enumerate(rows):
        is_total = place == 0
        pairs = [pair for pair in comparison.pairs if is_total or pair.group == row.group]
        # Beside the bar, and apart from equal differences.
        heights = place + rng.choice((-1, 1), len(pairs)) * rng.uniform(0.13, 0.34, len(pairs))
        alpha = float(np.clip(6 / len(pairs) ** 0.5, 0.12, 0.6))
        differences = [pair.difference for pair in pairs]
        axes.scatter(differences, heights, s=9, alpha=alpha, linewidths=0, color=COLORS["noisy"], zorder=2)
        if row.interval:
            axes.hlines(place, *row.interval, color=COLORS["enhanced"], linewidth=6, zorder=3)
        axes.vlines(row.difference, place - 0.2, place + 0.2, color="black", linewidth=1.4, zorder=4)
    if len(rows) > 1:
        axes.axhline(0.5, color="0.6", linewidth=0.8)
    labels = [f"{shorten(row.group, 28)}  ({row.files})" for row in rows]
    axes.set_yticks(range(len(rows)), labels, parse_math=False)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    sides = ("B is worse", "B is better") if comparison.total.higher_is_better else ("B is better", "B is worse")
    measure = comparison.column if comparison.scale is None else describe_measure(comparison.scale)
    axes.set_xlabel(f"← {sides[0]}        B − A: {measure}        {sides[1]} →", parse_math=False)
    hidden = len(comparison.groups) - len(groups)
    lines = [comparison.verdict, f"points: recordings; bars: means with {100 * comparison.level:g} % intervals"]
    lines += [f"{hidden} other groups are not shown"] if hidden else []
    figure.suptitle("\n".join(lines), fontsize=10, parse_math=False)
    axes.grid(axis="x", alpha=0.25)
    return save(figure, path)
