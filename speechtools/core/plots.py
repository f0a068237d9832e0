"""What all plots share: PNG files drawn without a display, colours and spectrogram panels."""

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


def show_all_lines(axes: Axes) -> None:
    """Extend the y axis to all values of the lines; it never becomes shorter."""
    low, high = axes.get_ylim()
    margin = 0.02 * (high - low)
    values = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in axes.lines])
    if values.min() < low:
        axes.set_ylim(bottom=values.min() - margin)
    if values.max() > high:
        axes.set_ylim(top=values.max() + margin)


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
        image = draw_spectrogram(column[0], samples, sample_rate)
        set_title(column[0], title)
        column[-1].set(xlabel="time (s)", xlim=(0, len(samples) / sample_rate))
    panels[0, 0].set_ylabel("frequency (kHz)")
    color_bar(figure, panels[0, -1], image, "level (dB re peak)")
    return figure, panels


def draw_spectrogram(axes: Axes, samples: np.ndarray, sample_rate: int) -> AxesImage:
    """Draw the spectrogram of samples (samples,) into a panel, in dB from the loudest point."""
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
