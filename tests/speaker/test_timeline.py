"""The plot of a conversation."""

import numpy as np

from speechtools.audio.turns import Turn
from speechtools.core.plots import is_plot
from speechtools.speaker.timeline import timeline


def test_many_speakers_strange_names_and_none_are_drawn(tmp_path):
    turns = [Turn(number * 0.5, number * 0.5 + 1.0, f"$speaker {number} with a long name") for number in range(12)]
    samples = np.random.default_rng(0).standard_normal(8 * 16000).astype(np.float32)
    path = timeline(tmp_path / "all.png", samples, 16000, {"reference": turns, "result": []}, "a $title")
    assert is_plot(path)
