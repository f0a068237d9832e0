"""Figures, as PNG files, drawn without a display: scores of quality, and of speaker verification."""

import textwrap
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from speechtools.core import metrics
from speechtools.core.files import write_aside

#: What the axis of each scale of PESQ is called.
SCALE_NAMES = {"raw_nb": "raw PESQ (P.862)", "nb": "PESQ (P.862.1)", "wb": "wideband PESQ (P.862.2)"}
# Colour-blind safe (Okabe and Ito), one a subset.
COLORS = {"clean": "#009E73", "noisy": "#0072B2", "enhanced": "#D55E00"}
#: The same and the others of their table, for lines that are no subsets, one a model or figure of merit.
LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = "osD^vP*X"
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

    Parameters
    ----------
    recordings : list
        Triples of a title, the samples (samples,) and their QualityReport.
    marked : dict
        By title, the start and end (s) of a stretch to frame, such as where noise was added.
    """
    figure, panels = _spectrograms_over_panels(recordings, sample_rate, marked)
    for axes, (_, _, report) in zip(panels, recordings, strict=True):
        axes.plot(report.times, report.frame_scores, color=COLORS["noisy"], linewidth=1, label="frames")
        axes.axhline(report.score, color=COLORS["enhanced"], linewidth=1, linestyle="--")
        axes.annotate(
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
    panels[0].set_ylabel(_predicted_label(recordings[0][2]))
    return save(figure, path)


def frame_score_curves(
    path: str | Path, recordings: list[tuple[str, np.ndarray, dict]], sample_rate: int, marked: dict | None = None
) -> Path:
    """As :func:`frame_scores`, but of several models on the same recordings, one line a model.

    It serves the paper's figure 2 (with and without the frame constraint) and figure 3 (two forget-gate biases).

    Parameters
    ----------
    recordings : list
        Triples of a title, the samples (samples,) and the QualityReports by the label of their model, on one scale. A
        label has one colour in all columns.
    marked : dict
        By title, the start and end (s) of a stretch to frame.
    """
    labels = list(dict.fromkeys(label for _, _, reports in recordings for label in reports))
    figure, panels = _spectrograms_over_panels(recordings, sample_rate, marked, extra_height=0.22 * len(labels))
    for axes, (_, _, reports) in zip(panels, recordings, strict=True):
        for label, report in reports.items():
            axes.plot(
                report.times,
                report.frame_scores,
                color=LINE_COLORS[labels.index(label) % len(LINE_COLORS)],
                linewidth=1.2,
                label=f"{label} (mean {report.score:.2f})",
            )
        # Below the axes: inside, it would cover the curves.
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.22), frameon=False)
    panels[0].set_ylabel(_predicted_label(next(iter(recordings[0][2].values()))))
    return save(figure, path)


def spectrograms(path: str | Path, recordings: list[tuple[str, np.ndarray]], sample_rate: int) -> Path:
    """Spectrograms side by side; ``recordings`` are pairs of a title and the samples (samples,)."""
    figure = Figure(figsize=(max(4.2 * len(recordings), 7.0), 3.4), layout="constrained")
    axes = figure.subplots(1, len(recordings), sharey=True, squeeze=False)[0]
    image = None
    for ax, (title, samples) in zip(axes, recordings, strict=True):
        image = _spectrogram(ax, samples, sample_rate)
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("time (s)")
    axes[0].set_ylabel("frequency (kHz)")
    figure.colorbar(image, ax=axes, label="level (dB below the peak)")
    return save(figure, path)


def _predicted_label(report) -> str:
    return f"predicted\n{SCALE_NAMES.get(report.scale, report.scale)}"


def _spectrograms_over_panels(recordings, sample_rate: int, marked: dict | None, extra_height: float = 0.0):
    """A figure of the recordings' spectrograms, one a column, and the axes below them to draw into."""
    figure = Figure(figsize=(max(5.0 * len(recordings), 7.0), 5.0 + extra_height), layout="constrained")
    axes = figure.subplots(2, len(recordings), sharex="col", sharey="row", squeeze=False)
    image = None
    for (upper, lower), (title, samples, _) in zip(axes.T, recordings, strict=True):
        image = _spectrogram(upper, samples, sample_rate)
        upper.set_title(title, fontsize=10)
        lower.set(xlabel="time (s)", xlim=(0, len(samples) / sample_rate))
        lower.grid(alpha=0.25)
        if marked and title in marked:
            for ax in (upper, lower):
                ax.axvspan(*marked[title], fill=False, edgecolor="black", linestyle="--", linewidth=1)
    axes[0, 0].set_ylabel("frequency (kHz)")
    figure.colorbar(image, ax=axes[0, :], label="level (dB below the peak)")
    return figure, axes[1]


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


def learning_curve(path: str | Path, points: list[dict], title: str) -> Path:
    """LCC, SRCC and MSE over the number of training utterances, on a logarithmic axis (the paper's figure 5).

    Every seed is a point, the line runs through their means, and the band from the worst seed to the best.

    Parameters
    ----------
    points : list
        ``{"utterances": n, "lcc": [...], "srcc": [...], "mse": [...]}``, in any order, with one value a seed. Where a
        value is None or NaN, the mean is not known, and the line has a gap.
    """
    points = sorted(points, key=lambda point: point["utterances"])
    counts = [point["utterances"] for point in points]
    figure = Figure(figsize=(6.4, 6.0), layout="constrained")
    upper, lower = figure.subplots(2, 1, sharex=True)
    curves = (("lcc", "LCC", upper), ("srcc", "SRCC", upper), ("mse", "MSE", lower))
    for (key, name, axes), color, marker in zip(curves, LINE_COLORS, _MARKERS, strict=False):
        seeds = [np.asarray(point[key], dtype=np.float64) for point in points]
        axes.plot(counts, [values.mean() for values in seeds], color=color, linewidth=1.3, label=name)
        lowest, highest = ([f(values) for values in seeds] for f in (np.min, np.max))
        axes.fill_between(counts, lowest, highest, color=color, alpha=0.15, linewidth=0)
        axes.scatter(
            np.repeat(counts, [len(values) for values in seeds]),
            np.concatenate(seeds),
            s=16,
            marker=marker,
            color=color,
            alpha=0.6,
            linewidths=0,
        )
    lower.set_xscale("log")
    names = [f"{count:,}" for count in counts]
    lower.set_xticks(counts, names, fontsize=8, rotation=45, ha="right", rotation_mode="anchor")
    lower.set_xticks([], minor=True)
    lower.set(xlabel="training utterances", ylabel="mean squared error")
    upper.set(ylabel="correlation with the true scores")
    upper.legend(loc="lower right", title="mean and every seed", frameon=False)
    for axes in (upper, lower):
        axes.grid(alpha=0.25)
    upper.set_title(textwrap.fill(title, 60), fontsize=10)
    return save(figure, path)


# --------------------------------------------------------------------------------------------- speaker verification

#: Error rates (in %) that the axes of a DET curve name.
_DET_TICKS = (0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80)


def det(path: str | Path, curves: dict[str, tuple], title: str) -> Path:
    """Misses against false alarms on normal-deviate axes, the EER of each curve marked.

    ``curves`` are pairs of target and non-target scores, by label.
    """
    from scipy.stats import norm

    figure = Figure(figsize=(5.2, 5.6 + 0.22 * len(curves)), layout="constrained")
    axes = figure.add_subplot()
    # An error rate of 0 has no place on these axes: it stands at their edge.
    edges = norm.ppf([0.0005, 0.9])
    for label, (targets, nontargets) in curves.items():
        p_miss, p_fa, _ = metrics.det_curve(targets, nontargets)
        rate, _ = metrics.eer(targets, nontargets)
        (line,) = axes.plot(
            np.clip(norm.ppf(p_fa), *edges),
            np.clip(norm.ppf(p_miss), *edges),
            linewidth=1.3,
            label=f"{label} (EER {100 * rate:.2f} %)",
        )
        at = np.clip(norm.ppf(rate), *edges)
        # Not cut off at the edge: of a perfect separation it is all there is to see.
        axes.plot(at, at, "o", color=line.get_color(), markersize=6, clip_on=False, zorder=3)
    axes.plot(edges, edges, color="0.7", linewidth=0.8, linestyle=":", zorder=0)
    ticks = norm.ppf(np.array(_DET_TICKS) / 100)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in _DET_TICKS])
    axes.set_yticks(ticks, [f"{tick:g}" for tick in _DET_TICKS])
    axes.set(xlabel="false alarms (%)", ylabel="misses (%)", xlim=edges, ylim=edges, box_aspect=1)
    axes.set_title(textwrap.fill(title, 60), fontsize=10)
    # Below the axes: inside, it would cover the curves of good or of poor systems.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.1), frameon=False)
    axes.grid(alpha=0.25)
    return save(figure, path)


def eer_table(path: str | Path, rates: np.ndarray, keywords: list[str], title: str) -> Path:
    """EERs (enrolment keywords, verification keywords) as a heat map, in per cent (the GE2E paper's table 1)."""
    size = 2.6 + 0.75 * len(keywords)
    figure = Figure(figsize=(size + 1.2, size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(100 * rates, vmin=0, vmax=max(100 * rates.max(), 1e-3), cmap="Blues")
    for row, column in np.ndindex(rates.shape):
        dark = rates[row, column] > 0.6 * rates.max()
        label = f"{100 * rates[row, column]:.2f}"
        axes.text(column, row, label, ha="center", va="center", color="white" if dark else "black")
    labels = [_short(keyword, 14) for keyword in keywords]
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="verified with", ylabel="enrolled with")
    axes.set_title(textwrap.fill(title, 40), fontsize=10)
    figure.colorbar(image, ax=axes, label="EER (%)")
    return save(figure, path)


def similarity_matrix(
    path: str | Path, dvectors: np.ndarray, speakers: np.ndarray, names: list[str], title: str, max_speakers: int = 16
) -> Path:
    """Cosines of utterances with each other, speaker after speaker (the matrix of the GE2E paper's figure 1).

    ``dvectors`` (utterances, emb) and the label of each one's speaker (utterances,); the first ``max_speakers`` only.
    """
    chosen, members = _chosen(speakers, max_speakers, 12)
    unit = dvectors[members] / np.maximum(np.linalg.norm(dvectors[members], axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit.T
    # (utterances, utterances)
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(cosines, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
    counts = np.array([np.count_nonzero(speakers[members] == label) for label in chosen])
    ends = np.cumsum(counts)
    for end in ends[:-1]:
        axes.axhline(end - 0.5, color="black", linewidth=0.4)
        axes.axvline(end - 0.5, color="black", linewidth=0.4)
    labels = [_short(names[label], 12) for label in chosen]
    axes.set_xticks(ends - counts / 2 - 0.5, labels, rotation=90, fontsize=7)
    axes.set_yticks(ends - counts / 2 - 0.5, labels, fontsize=7)
    axes.set(xlabel="utterances, by speaker", ylabel="utterances, by speaker")
    axes.set_title(textwrap.fill(title, 60), fontsize=10)
    figure.colorbar(image, ax=axes, label="cosine of the d-vectors")
    return save(figure, path)


def projection(
    path: str | Path, dvectors: np.ndarray, speakers: np.ndarray, names: list[str], title: str, max_speakers: int = 16
) -> Path:
    """The d-vectors of some speakers on the two axes along which they differ most (principal components)."""
    chosen, members = _chosen(speakers, max_speakers, 100)
    centred = dvectors[members] - dvectors[members].mean(axis=0)
    _, values, axes_of_change = np.linalg.svd(centred, full_matrices=False)
    points = centred @ axes_of_change[:2].T
    # (utterances, 2)
    shares = 100 * values**2 / np.maximum((values**2).sum(), 1e-12)
    figure = Figure(figsize=(7.0, 5.2), layout="constrained")
    axes = figure.add_subplot()
    for number, label in enumerate(chosen):
        mine = speakers[members] == label
        axes.scatter(
            *points[mine].T,
            s=22,
            # Of 8 markers and 10 colours: no two of 40 speakers share both, and no two neighbours share one.
            marker=_MARKERS[number % 8],
            color=f"C{number % 10}",
            linewidths=0,
            alpha=0.8,
            label=_short(names[label], 14),
        )
    axes.set(
        xlabel=f"first principal component ({shares[0]:.0f} % of the variance)",
        ylabel=f"second principal component ({shares[1]:.0f} %)",
    )
    axes.set_aspect("equal", adjustable="datalim")  # distances count the same in all directions
    axes.set_title(textwrap.fill(title, 70), fontsize=10)
    figure.legend(loc="outside right upper", title="speakers", fontsize=7, frameon=False)
    axes.grid(alpha=0.25)
    return save(figure, path)


def _chosen(speakers: np.ndarray, max_speakers: int, max_utterances: int) -> tuple[np.ndarray, np.ndarray]:
    """The first speakers' labels, and the indices of their first utterances, speaker after speaker."""
    chosen = np.unique(speakers)[:max_speakers]
    return chosen, np.concatenate([np.flatnonzero(speakers == label)[:max_utterances] for label in chosen])


def _short(name: str, length: int) -> str:
    """The end of a name, which tells speakers apart, with a sign of what is left out."""
    name = str(name)
    return name if len(name) <= length else "…" + name[1 - length :]
