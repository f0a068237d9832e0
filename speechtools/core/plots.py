"""What all plots share: PNG files drawn without a display, colours, spectrogram panels, and the learning curve."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from speechtools.core.files import write_aside
from speechtools.core.moved import former_names

#: Colours of the subsets, safe for colour-blind readers (Okabe and Ito).
COLORS = {"clean": "#009E73", "noisy": "#0072B2", "enhanced": "#D55E00"}
#: Colours of other lines, from the same palette.
LINE_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "osD^vP*X"
_SPECTRUM_RANGE_DB = 80.0
_SOFTWARE = "speechtools"  # stored in the PNG files
__getattr__ = former_names(__name__)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure as a PNG file with 150 dpi, atomically."""
    with write_aside(path) as aside:
        figure.savefig(aside, format="png", dpi=150, metadata={"Software": _SOFTWARE})
    return Path(path)


def is_plot(path: str | Path) -> bool:
    """Whether a file is a plot that :func:`save` wrote, which may be replaced by a newer one."""
    with open(path, "rb") as file:
        return _SOFTWARE.encode() in file.read(256)


def set_title(axes: Axes, title: str, width: int = 60) -> None:
    """Set the title of a panel, wrapped at ``width`` characters; ``$`` is a character like others."""
    axes.set_title(textwrap.fill(title, width), fontsize=10, parse_math=False)


def color_bar(figure: Figure, axes: Axes, image: AxesImage, label: str) -> None:
    """Draw the colour bar of an image to the right of its panel, at the same height."""
    width = 0.12 / axes.get_position().width / figure.get_size_inches()[0]
    figure.colorbar(image, cax=axes.inset_axes((1 + width, 0, width, 1)), label=label)


def shorten(name: str, length: int) -> str:
    """Keep the end of a long name, which tells speakers apart.

    >>> shorten("anna", 4), shorten("anna-maria", 6)
    ('anna', '…maria')
    """
    return name if len(name) <= length else "…" + name[1 - length :]


def spectrogram_panels(
    recordings: Sequence[tuple[str, np.ndarray]], sample_rate: int, height: float, rows: int = 1
) -> tuple[Figure, np.ndarray]:
    """Make a figure with one column per recording: its spectrogram, and empty panels below.

    Parameters
    ----------
    recordings : sequence
        Pairs of a title and the samples (samples,).
    sample_rate : int
        In Hz.
    height : float
        Height of the figure in inches.
    rows : int
        Rows of panels, the spectrograms included.

    Returns
    -------
    figure : Figure
    panels : np.ndarray
        The axes, (rows, recordings).
    """
    figure = Figure(figsize=(max(4.6 * len(recordings), 7.0), height), layout="constrained")
    panels = figure.subplots(rows, len(recordings), sharex="col", sharey="row", squeeze=False)
    for column, (title, samples) in zip(panels.T, recordings, strict=True):
        image = _draw_spectrogram(column[0], samples, sample_rate)
        set_title(column[0], title)
        column[-1].set(xlabel="time (s)", xlim=(0, len(samples) / sample_rate))
    panels[0, 0].set_ylabel("frequency (kHz)")
    color_bar(figure, panels[0, -1], image, "level (dB re peak)")
    return figure, panels


def _draw_spectrogram(axes: Axes, samples: np.ndarray, sample_rate: int) -> AxesImage:
    # At most as many columns as a figure can show, so that an hour needs no more memory than a minute.
    size, hop = 512, max(128, len(samples) // 2000)
    padded = np.pad(samples, (0, max(0, size - len(samples))))
    frames = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop] * np.hamming(size)
    # (time, size)
    power = np.abs(np.fft.rfft(frames, axis=1)).T ** 2
    # (bins, time)
    return axes.imshow(
        10 * np.log10(np.maximum(power / max(power.max(), 1e-20), 1e-12)),
        origin="lower",
        aspect="auto",
        extent=(0, len(samples) / sample_rate, 0, sample_rate / 2000),
        vmin=-_SPECTRUM_RANGE_DB,
        vmax=0,
        cmap="magma",
        interpolation="nearest",
    )


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
