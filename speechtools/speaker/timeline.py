"""The plot of a conversation: its spectrogram, and a row for each speaker with the turns."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from speechtools.audio.turns import Turn
from speechtools.core.plots import LINE_COLORS, color_bar, draw_spectrogram, save, set_title, shorten

#: A colour for each speaker; the last one of the palette, black, hides the bars' edges.
_COLORS = LINE_COLORS[:-1]


def timeline(
    path: str | Path, samples: np.ndarray, sample_rate: int, rows: Mapping[str, Sequence[Turn]], title: str
) -> Path:
    """Draw the spectrogram of a recording, and below it who speaks when.

    Parameters
    ----------
    path : str or Path
        PNG file to write.
    samples : np.ndarray
        The recording, (samples,).
    sample_rate : int
        In Hz.
    rows : dict
        Turns by the name of their origin, such as the reference and a result; each origin has a panel. The speakers
        have the same colours in all of them if they have the same names.
    title : str
        Title of the figure.
    """
    names = {origin: list(dict.fromkeys(turn.speaker for turn in turns)) for origin, turns in rows.items()}
    speakers = list(dict.fromkeys(name for own in names.values() for name in own))
    heights = [0.28 * max(len(own), 1) + 0.1 for own in names.values()]
    figure = Figure(figsize=(9.0, 2.6 + sum(heights) + 0.35 * len(rows)), layout="constrained")
    panels = figure.subplots(
        1 + len(rows), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": [2.0, *heights]}
    )[:, 0]
    image = draw_spectrogram(panels[0], samples, sample_rate)
    set_title(panels[0], title, 90)
    panels[0].set_ylabel("frequency (kHz)")
    color_bar(figure, panels[0], image, "level (dB re peak)")
    for axes, (origin, turns) in zip(panels[1:], rows.items(), strict=True):
        own = names[origin]
        for place, name in enumerate(own):
            bars = [(turn.start, turn.duration) for turn in turns if turn.speaker == name]
            color = _COLORS[speakers.index(name) % len(_COLORS)]
            axes.broken_barh(bars, (place - 0.4, 0.8), facecolors=color, edgecolors="white", linewidth=0.3)
        axes.set_yticks(range(len(own)), [shorten(name, 16) for name in own], parse_math=False)
        axes.set_ylim(max(len(own), 1) - 0.5, -0.5)
        axes.grid(axis="x", alpha=0.25)
        axes.set_axisbelow(True)
        if origin:
            axes.set_ylabel(origin)
        if not own:
            axes.text(0.5, 0.5, "no speech", ha="center", va="center", transform=axes.transAxes, color="0.4")
    panels[-1].set(xlabel="time (s)", xlim=(0, len(samples) / sample_rate))
    return save(figure, path)
