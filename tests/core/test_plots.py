"""The shared plots."""

import numpy as np
import pytest

from speechtools.core import plots


def test_the_learning_curve_shows_means_seeds_extremes_and_gaps(monkeypatch, tmp_path):
    figures, save = [], plots.save
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure) or save(figure, path))
    rng = np.random.default_rng(0)
    points = [
        {"utterances": n, **{key: rng.uniform(0.4, 0.9, seeds).tolist() for key in ("lcc", "srcc", "mse")}}
        for n, seeds in ((100, 3), (1000, 1), (4620, 2))
    ]
    assert plots.learning_curve(tmp_path / "l.png", points[::-1], "a test").read_bytes().startswith(b"\x89PNG")
    upper, lower = figures[0].axes
    assert [label.get_text() for label in lower.get_xticklabels()] == ["100", "1,000", "4,620"]
    lines = [*upper.get_lines(), *lower.get_lines()]
    collections = [*upper.collections, *lower.collections]
    for key, line, band, seeds in zip(("lcc", "srcc", "mse"), lines, collections[::2], collections[1::2], strict=True):
        assert line.get_ydata() == pytest.approx([np.mean(point[key]) for point in points])
        assert np.allclose(seeds.get_offsets(), [(p["utterances"], value) for p in points for value in p[key]])
        assert {*band.get_paths()[0].vertices[:, 1]} >= {min(points[0][key]), max(points[0][key])}
    points[0]["lcc"] = [None]
    plots.learning_curve(tmp_path / "l.png", points, "a test")
    assert np.isnan(figures[1].axes[0].get_lines()[0].get_ydata()).tolist() == [True, False, False]
