"""Plots of speaker verification: error rates and d-vectors."""

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from speechtools.core import metrics
from speechtools.core.plots import LINE_COLORS, MARKERS, color_bar, save, set_title, shorten

#: Error rates (%) on the axes of a DET curve.
_DET_TICKS = (0.1, 0.5, 1, 2, 5, 10, 20, 40, 60, 80)


def det(path: str | Path, curves: Mapping[str, tuple[ArrayLike, ArrayLike]], title: str) -> Path:
    """Draw misses against false alarms on normal-deviate axes, with the EER of each curve.

    The axes show only ticks that the number of trials can resolve; a rate of 0 is drawn at the edge.

    Parameters
    ----------
    path : str or Path
        PNG file to write.
    curves : dict
        Pairs of target and non-target scores, by label.
    title : str
        Title of the figure.
    """
    from scipy.stats import norm

    figure = Figure(figsize=(5.2, 5.6 + 0.22 * len(curves)), layout="constrained")
    axes = figure.add_subplot()
    num_targets, num_nontargets = (max(np.size(sides[side]) for sides in curves.values()) for side in (0, 1))
    # Half a trial below the smallest rate.
    lowest = np.clip(0.5 / max(num_targets, num_nontargets), 0.0005, 0.05)
    edges = tuple(norm.ppf([lowest, 0.9]))
    for (label, (targets, nontargets)), color in zip(curves.items(), itertools.cycle(LINE_COLORS), strict=False):
        p_miss, p_fa, _ = metrics.det_curve(targets, nontargets)
        rate, _ = metrics.eer(targets, nontargets)
        trials = f"{np.size(targets):,} target and {np.size(nontargets):,} non-target trials"
        name = f"{label}: EER {100 * rate:.2f} %, {trials}"
        axes.plot(*(np.clip(norm.ppf(rates), *edges) for rates in (p_fa, p_miss)), color=color, label=name)
        at = np.clip(norm.ppf(rate), *edges)
        # Not clipped at the edge: of a perfect separation nothing else is visible.
        axes.plot(at, at, "o", color=color, markersize=6, clip_on=False, zorder=3)
    axes.plot(edges, edges, color="0.7", linewidth=0.8, linestyle=":", zorder=0)
    for set_ticks, count in ((axes.set_xticks, num_nontargets), (axes.set_yticks, num_targets)):
        ticks = [tick for tick in _DET_TICKS if 100 / count <= tick <= 100 - 100 / count]
        set_ticks(norm.ppf(np.array(ticks) / 100), [f"{tick:g}" for tick in ticks])
    axes.set(xlabel="false alarms (%)", ylabel="misses (%)", xlim=edges, ylim=edges, box_aspect=1)
    set_title(axes, title)
    # Below the panel, where it covers no curve.
    figure.legend(loc="outside lower center", frameon=False, fontsize=9)
    axes.grid(alpha=0.25)
    return save(figure, path)


def score_histogram(path: str | Path, targets: ArrayLike, nontargets: ArrayLike, threshold: float, title: str) -> Path:
    """Draw the shares of target and non-target trials by score, with a threshold.

    Parameters
    ----------
    path : str or Path
        PNG file to write.
    targets, nontargets : array-like
        The scores.
    threshold : float
        Drawn as a line, such as that of the equal error rate.
    title : str
        Title of the figure.
    """
    scores = {"target": np.ravel(targets), "non-target": np.ravel(nontargets)}
    both = np.concatenate(list(scores.values()))
    margin = 0.02 * max(np.ptp(both), 0.05)
    edges: list[float] = np.linspace(both.min() - margin, both.max() + margin, 41).tolist()
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    axes = figure.add_subplot()
    for (name, values), color in zip(scores.items(), (LINE_COLORS[2], LINE_COLORS[1]), strict=True):
        weights = np.full(values.size, 100 / values.size)
        label = f"{values.size:,} {name} trials"
        axes.hist(values, edges, weights=weights, color=color, alpha=0.5, histtype="stepfilled", label=label)
        axes.hist(values, edges, weights=weights, color=color, histtype="step")
    label = f"threshold at the EER: {threshold:.3f}"
    axes.axvline(threshold, color="black", linewidth=1, linestyle="--", label=label)
    axes.set(xlabel="score (cosine)", ylabel="trials of this kind (%)", xlim=(edges[0], edges[-1]))
    set_title(axes, title)
    figure.legend(loc="outside lower center", frameon=False, fontsize=9, ncols=3)
    axes.grid(alpha=0.25)
    return save(figure, path)


def eer_table(path: str | Path, rates: np.ndarray, keywords: Sequence[str], title: str) -> Path:
    """Draw EERs (enrolment keywords, verification keywords) as a heat map, in per cent (the GE2E paper's table 1)."""
    size = 2.6 + 0.75 * len(keywords)
    figure = Figure(figsize=(size + 1.2, size), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(100 * rates, vmin=0, vmax=max(100 * rates.max(), 1e-3), cmap="Blues")
    for row, column in np.ndindex(rates.shape):
        color = "white" if rates[row, column] > 0.6 * rates.max() else "black"
        axes.text(column, row, f"{100 * rates[row, column]:.2f}", ha="center", va="center", color=color)
    labels = [shorten(keyword, 14) for keyword in keywords]
    axes.set_xticks(range(len(labels)), labels, rotation=30, ha="right")
    axes.set_yticks(range(len(labels)), labels)
    axes.set(xlabel="verified with", ylabel="enrolled with")
    set_title(axes, title, 40)
    color_bar(figure, axes, image, "EER (%)")
    return save(figure, path)


def similarity_matrix(
    path: str | Path, dvectors: np.ndarray, speakers: np.ndarray, names: list[str], title: str, max_speakers: int = 16
) -> Path:
    """Draw the cosines between utterances, ordered by speaker (the matrix of the GE2E paper's figure 1).

    Parameters
    ----------
    path : str or Path
        PNG file to write.
    dvectors : np.ndarray
        (utterances, emb).
    speakers : np.ndarray
        Index of each utterance's speaker in ``names``, (utterances,).
    names : list of str
        Names of the speakers.
    title : str
        Title of the figure.
    max_speakers : int
        Only the first so many speakers are drawn.
    """
    labels, members = _select(speakers, max_speakers, 12)
    unit = dvectors[members] / np.maximum(np.linalg.norm(dvectors[members], axis=1, keepdims=True), 1e-12)
    figure = Figure(figsize=(6.4, 5.6), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(unit @ unit.T, vmin=-1, vmax=1, cmap="RdBu_r", interpolation="nearest")
    counts = np.array([np.count_nonzero(speakers[members] == label) for label in labels])
    ends = np.cumsum(counts)
    for end in ends[:-1]:
        axes.axhline(end - 0.5, color="black", linewidth=0.4)
        axes.axvline(end - 0.5, color="black", linewidth=0.4)
    texts = [shorten(names[label], 12) for label in labels]
    axes.set_xticks(ends - counts / 2 - 0.5, texts, rotation=90, fontsize=7)
    axes.set_yticks(ends - counts / 2 - 0.5, texts, fontsize=7)
    axes.set(xlabel="utterances, by speaker", ylabel="utterances, by speaker")
    set_title(axes, title)
    color_bar(figure, axes, image, "cosine of the d-vectors")
    return save(figure, path)


def projection(
    path: str | Path, dvectors: np.ndarray, speakers: np.ndarray, names: list[str], title: str, max_speakers: int = 16
) -> Path:
    """Draw the d-vectors of some speakers on their first two principal components.

    The parameters are those of :func:`similarity_matrix`.
    """
    labels, members = _select(speakers, max_speakers, 100)
    centred = dvectors[members] - dvectors[members].mean(axis=0)
    _, values, components = np.linalg.svd(centred, full_matrices=False)
    points = centred @ components[:2].T
    # (utterances, 2)
    shares = 100 * values**2 / np.maximum((values**2).sum(), 1e-12)
    figure = Figure(figsize=(7.0, 5.2), layout="constrained")
    axes = figure.add_subplot()
    for number, label in enumerate(labels):
        # With 8 markers and 10 colours, no two of 40 speakers look alike, and no two neighbours share either.
        marker, color, name = MARKERS[number % 8], f"C{number % 10}", shorten(names[label], 14)
        x, y = points[speakers[members] == label].T
        axes.scatter(x, y, s=22, marker=marker, color=color, linewidths=0, alpha=0.8, label=name)
    axes.set_xlabel(f"first principal component ({shares[0]:.0f} % of the variance)")
    axes.set_ylabel(f"second principal component ({shares[1]:.0f} %)")
    axes.set_aspect("equal", adjustable="datalim")  # distances count the same in all directions
    set_title(axes, title, 70)
    figure.legend(loc="outside right upper", title="speakers", fontsize=7, frameon=False)
    axes.grid(alpha=0.25)
    return save(figure, path)


def _select(speakers: np.ndarray, max_speakers: int, max_utterances: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels of the first speakers, and indices of their first utterances, ordered by speaker."""
    labels = np.unique(speakers)[:max_speakers]
    return labels, np.concatenate([np.flatnonzero(speakers == label)[:max_utterances] for label in labels])
