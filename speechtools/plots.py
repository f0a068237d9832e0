"""Figures, as PNG files, drawn without a display: predicted against true scores, and scores frame by frame."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from speechtools import metrics
from speechtools.data.manifests import write_aside

#: What the axis of each scale of PESQ is called.
SCALE_NAMES = {"raw_nb": "raw PESQ (P.862)", "nb": "PESQ (P.862.1)", "wb": "wideband PESQ (P.862.2)"}
# Colour-blind safe (Okabe and Ito), one a subset.
COLORS = {"clean": "#009E73", "noisy": "#0072B2", "enhanced": "#D55E00"}
_SPECTRUM_RANGE_DB = 80.0


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as PNG at 150 dots an inch, atomically."""
    with write_aside(path) as aside:
        figure.savefig(aside, format="png", dpi=150)
    return Path(path)


def score_scatter(path: str | Path, predicted, true, subsets: list[str], scale: str, title: str) -> Path:
    """Predicted against true scores, one point an utterance, coloured by subset (the Quality-Net paper's figure 4)."""
    predicted, true = metrics.validate(predicted, true)
    figure = Figure(figsize=(5.2, 5.2), layout="constrained")
    axes = figure.add_subplot()
    subsets = np.asarray(subsets)
    low, high = (f([predicted.min(), true.min()] if f is min else [predicted.max(), true.max()]) for f in (min, max))
    margin = 0.05 * (high - low) + 0.05
    axes.plot([low - margin, high + margin], [low - margin, high + margin], color="0.6", linewidth=1, zorder=0)
    # The smaller subsets on top, where they can be seen.
    for subset in sorted(set(subsets), key=lambda name: -np.count_nonzero(subsets == name)):
        chosen = subsets == subset
        axes.scatter(
            true[chosen],
            predicted[chosen],
            s=9,
            alpha=0.45,
            linewidths=0,
            color=COLORS.get(subset),
            label=f"{subset} ({np.count_nonzero(chosen)})",
        )
    name = SCALE_NAMES.get(scale, scale)
    axes.set(
        xlabel=f"true {name}",
        ylabel=f"predicted {name}",
        xlim=(low - margin, high + margin),
        ylim=(low - margin, high + margin),
        aspect="equal",
    )
    axes.set_title(textwrap.fill(title, 60), fontsize=10)
    axes.legend(loc="upper left", title="utterances", frameon=False, markerscale=2.5)
    axes.text(
        0.97,
        0.03,
        f"LCC {metrics.lcc(predicted, true):.3f}\nSRCC {metrics.srcc(predicted, true):.3f}\n"
        f"MSE {metrics.mse(predicted, true):.3f}",
        transform=axes.transAxes,
        ha="right",
        va="bottom",
    )
    axes.grid(alpha=0.25)
    return save(figure, path)


def frame_scores(
    path: str | Path, recordings: list[tuple[str, np.ndarray, object]], sample_rate: int, marked: dict | None = None
) -> Path:
    """Spectrograms with their frame scores below, one column a recording (the paper's figures 2 and 3).

    Arguments
    ---------
    recordings : list
        Triples of a title, the samples (samples,) and their QualityReport.
    marked : dict
        By title, the start and end (s) of a stretch to frame, such as where noise was added.
    """
    figure = Figure(figsize=(max(5.0 * len(recordings), 7.0), 5.0), layout="constrained")
    axes = figure.subplots(2, len(recordings), sharex="col", sharey="row", squeeze=False)
    image = None
    for column, (title, samples, report) in enumerate(recordings):
        upper, lower = axes[:, column]
        image = _spectrogram(upper, samples, sample_rate)
        upper.set_title(title, fontsize=10)
        lower.plot(report.times, report.frame_scores, color=COLORS["noisy"], linewidth=1, label="frames")
        lower.axhline(report.score, color=COLORS["enhanced"], linewidth=1, linestyle="--")
        lower.annotate(
            f"mean {report.score:.2f}",
            (0.98, report.score),
            xycoords=("axes fraction", "data"),
            xytext=(0, -3),
            textcoords="offset points",
            ha="right",
            va="top",
            color=COLORS["enhanced"],
            bbox={"facecolor": "white", "alpha": 0.8, "edgecolor": "none", "pad": 1},
        )
        lower.set(xlabel="time (s)", xlim=(0, report.duration))
        lower.grid(alpha=0.25)
        if marked and title in marked:
            for ax in (upper, lower):
                ax.axvspan(*marked[title], fill=False, edgecolor="black", linestyle="--", linewidth=1)
    axes[0, 0].set_ylabel("frequency (kHz)")
    axes[1, 0].set_ylabel(f"predicted\n{SCALE_NAMES.get(recordings[0][2].scale, recordings[0][2].scale)}")
    figure.colorbar(image, ax=axes[0, :], label="level (dB below the peak)")
    return save(figure, path)


def _spectrogram(axes, samples: np.ndarray, sample_rate: int):
    # No more columns than a figure can show: an hour takes no more memory than a minute.
    size, hop = 512, max(128, len(samples) // 2000)
    padded = np.pad(samples, (0, max(0, size - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hamming(size)
    # (time, size)
    power = np.abs(np.fft.rfft(frames, axis=1)).T ** 2
    # (bins, time)
    level = 10 * np.log10(np.maximum(power / max(power.max(), 1e-20), 1e-12))
    return axes.imshow(
        level,
        origin="lower",
        aspect="auto",
        extent=(0, len(samples) / sample_rate, 0, sample_rate / 2000),
        vmin=-_SPECTRUM_RANGE_DB,
        vmax=0,
        cmap="magma",
        interpolation="nearest",
    )
