"""A plot of where a recording is bad, why, and what each region costs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patheffects import withStroke

from speechtools.core.plots import COLORS, LINE_COLORS, save, show_all_lines, spectrogram_panels
from speechtools.measures import Scale, describe_measure
from speechtools.quality.regions import best_score

if TYPE_CHECKING:
    from speechtools.quality.regions import CauseRegion
    from speechtools.quality.report import QualityReport

#: Inches of a band, and of the digits of a cost.
_BAND_HEIGHT, _COST_WIDTH = 0.26, 0.36
#: Inches of the panels that a figure is not wide at the margins.
_MARGINS = 2.2


def explained(
    path: str | Path,
    title: str,
    samples: np.ndarray,
    report: "QualityReport",
    sample_rate: int,
    below: float | None = None,
) -> Path:
    """Draw the spectrogram, the causes and costs of the regions as bands, and the frame scores below.

    The first band has a box for each region: the darker, the worse its score, with its cost if there is space.

    Parameters
    ----------
    path : str or Path
        PNG file to write.
    title : str
        Title of the figure.
    samples : np.ndarray
        (samples,)
    report : QualityReport
        Of the samples.
    sample_rate : int
        In Hz.
    below : float, optional
        Score below which frames are degraded, for models that do not know causes.
    """
    regions = report.regions(None, below=below)
    bands = _bands(regions, report, below)
    rows = len(bands) + 1
    width = float(np.clip(6.5 + 0.12 * report.duration, 7.5, 13.5))
    heights = 2.2, _BAND_HEIGHT * rows, 1.8
    figure, panels = spectrogram_panels([(title, samples)], sample_rate, sum(heights) + 1.2, rows=3)
    figure.set_figwidth(width)
    spectrum, lanes, scores = panels[:, 0]
    spectrum.get_gridspec().set_height_ratios(heights)
    _draw_costs(lanes, regions, report, (width - _MARGINS) / report.duration)
    for place, (name, spans) in enumerate(bands.items(), start=1):
        lanes.broken_barh(spans, (place - 0.4, 0.8), facecolor=_color(name, report), edgecolor="black", linewidth=0.5)
    lanes.set_yticks(range(rows), ["cost", *bands])
    lanes.set_ylim(rows - 0.45, -0.55)
    lanes.tick_params(axis="y", length=0)
    for boundary in range(1, rows):
        lanes.axhline(boundary - 0.5, color="0.85", linewidth=0.6, zorder=0)
    _draw_scores(scores, regions, report)
    return save(figure, path)


def _bands(
    regions: Sequence["CauseRegion"], report: "QualityReport", below: float | None
) -> dict[str, list[tuple[float, float]]]:
    """Start and length of what each band marks, by its name: a cause, or ``degraded``."""
    if report.causes is None:
        is_better = -1 if report.higher_is_better else 1
        worse = [region for region in regions if below is not None and is_better * (region.score - below) > 0]
        return {"degraded": [(region.start, region.end - region.start) for region in worse]} if worse else {}
    bands: dict[str, list[tuple[float, float]]] = {}
    for name in report.cause_names:
        spans: list[tuple[float, float]] = []
        for region in regions:
            if name not in region.causes:
                continue
            if spans and abs(sum(spans[-1]) - region.start) < 1e-6:  # the set of causes changes, this one goes on
                spans[-1] = spans[-1][0], region.end - spans[-1][0]
            else:
                spans.append((region.start, region.end - region.start))
        if spans:
            bands[name] = spans
    return bands


def _color(name: str, report: "QualityReport") -> str:
    """A cause has the same colour in all figures of a model."""
    place = report.cause_names.index(name) if name in report.cause_names else 1
    return LINE_COLORS[place % len(LINE_COLORS)]


def _draw_costs(
    axes: Axes, regions: Sequence["CauseRegion"], report: "QualityReport", inches_per_second: float
) -> None:
    """Draw a box for each region, from white (the best score) to dark (the worst one), with its cost."""
    best = best_score(report)
    scale = Scale.of(report.scale)
    span = scale.maximum - scale.minimum if scale else max(abs(best - float(report.frame_scores.min())), 1e-6)
    for region in regions:
        badness = float(np.clip(abs(best - region.score) / span, 0, 1))
        seconds = region.end - region.start
        shade = str(1 - 0.85 * badness)
        axes.broken_barh([(region.start, seconds)], (-0.4, 0.8), facecolor=shade, edgecolor="black", linewidth=0.5)
        if seconds * inches_per_second >= _COST_WIDTH:
            ink = "white" if badness > 0.55 else "black"
            center = (region.start + region.end) / 2
            axes.text(center, 0, f"{region.cost:.2f}", ha="center", va="center", fontsize=8, color=ink)


def _draw_scores(axes: Axes, regions: Sequence["CauseRegion"], report: "QualityReport") -> None:
    """Draw the frame scores, with the mean of each region as a step."""
    axes.plot(report.times, report.frame_scores, color=COLORS["noisy"], linewidth=0.6, alpha=0.7, label="frames")
    edges = [regions[0].start, *(region.end for region in regions)]
    means = [region.score for region in regions]
    halo = [withStroke(linewidth=3.5, foreground="white")]
    axes.stairs(means, edges, baseline=None, color="black", linewidth=1.6, label="regions", path_effects=halo)
    axes.axhline(report.score, color=COLORS["enhanced"], linewidth=1, linestyle="--", label=f"mean {report.score:.2f}")
    axes.set_ylabel(f"predicted\n{describe_measure(report.scale)}")
    if scale := Scale.of(report.scale):
        axes.set_ylim(scale.minimum, scale.maximum)
        show_all_lines(axes)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=3, frameon=False)
    axes.grid(alpha=0.25)
