"""Plots of speaker verification."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy.stats import norm

from speechtools.core import metrics
from speechtools.speaker import plots

SPEAKERS = np.repeat(np.arange(20), 4)
NAMES = [f"a-corpus-of-speech-{number:03d}" for number in range(20)]


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved."""
    figures, save = [], plots.save
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure) or save(figure, path))
    return figures


@pytest.fixture
def dvectors():
    rng = np.random.default_rng(0)
    return rng.standard_normal((20, 16))[SPEAKERS] + 0.3 * rng.standard_normal((len(SPEAKERS), 16))


def test_det_curves_fall_and_are_marked_at_the_eer(figures, tmp_path):
    rng = np.random.default_rng(0)
    curves = {str(shift): (rng.normal(shift, 1, 50), rng.normal(0, 1, 4000)) for shift in (1, 2)}
    assert plots.det(tmp_path / "det.png", curves, "two systems").read_bytes().startswith(b"\x89PNG")
    axes = figures[0].axes[0]
    lines = axes.get_lines()
    for (label, sides), (curve, mark) in zip(curves.items(), (lines[0:2], lines[2:4]), strict=True):
        rate, _ = metrics.eer(*sides)
        assert curve.get_label() == f"{label}: EER {100 * rate:.2f} %, 50 target and 4,000 non-target trials"
        assert (np.diff(curve.get_xdata()) <= 0).all() and (np.diff(curve.get_ydata()) >= 0).all()
        assert norm.cdf(mark.get_xdata()) == pytest.approx(rate) == norm.cdf(mark.get_ydata())
    assert axes.get_yticklabels()[0].get_text() == "2", "50 trials resolve 2 %"


@pytest.mark.parametrize(("targets", "nontargets"), [([9.0, 8.0], [0.0, 1.0]), ([0.0], [1.0]), ([1.0, 1.0], [1.0])])
def test_det_curves_at_the_edges_are_finite(targets, nontargets, figures, tmp_path):
    plots.det(tmp_path / "det.png", {"test": (targets, nontargets)}, "extremes")
    for line in figures[0].axes[0].get_lines():
        assert np.isfinite(line.get_xydata().astype(float)).all()


@pytest.mark.parametrize(("targets", "nontargets"), [([0.9, 0.8, 0.8, 0.2], [0.0, 0.1]), ([0.5], [0.5])])
def test_the_histogram_contains_every_trial(targets, nontargets, figures, tmp_path):
    assert plots.score_histogram(tmp_path / "s.png", targets, nontargets, 0.45, "scores").is_file()
    axes = figures[0].axes[0]
    assert [line.get_xdata()[0] for line in axes.get_lines()] == [0.45]
    for patch in axes.patches:  # an outline: up at each edge
        heights = patch.get_path().vertices[1:-1:2, 1] if not patch.get_closed() else None
        assert heights is None or heights.sum() == pytest.approx(100)
    texts = [text.get_text() for text in figures[0].legends[0].get_texts()]
    assert f"{len(targets)} target trials" in texts and "threshold at the EER: 0.450" in texts


def test_the_heat_map_shows_the_table(figures, tmp_path):
    rates, words = np.array([[0.0, 0.3, 0.1], [0.2, 0.05, 0.5], [0.123, 0.4, 0.01]]), ["one", "two", "three"]
    plots.eer_table(tmp_path / "t.png", rates, words, "a title")
    axes = figures[0].axes[0]
    assert np.allclose(np.asarray(axes.get_images()[0].get_array()), 100 * rates)
    written = {tuple(text.get_position()): float(text.get_text()) for text in axes.texts}
    assert written == {(column, row): pytest.approx(100 * rates[row, column]) for row, column in np.ndindex(3, 3)}
    assert plots.eer_table(tmp_path / "zero.png", np.zeros((1, 1)), ["ok"], "no errors").is_file()


def test_the_matrix_shows_the_cosines_by_speaker(figures, dvectors, tmp_path):
    order = np.random.default_rng(1).permutation(len(SPEAKERS))
    plots.similarity_matrix(tmp_path / "s.png", dvectors[order], SPEAKERS[order], NAMES, "a test", 5)
    shown = np.asarray(figures[0].axes[0].get_images()[0].get_array())
    assert shown.shape == (20, 20) and np.allclose(np.diag(shown), 1)
    own = SPEAKERS[:20, None] == SPEAKERS[:20]
    assert shown[own].min() > shown[~own].max()
    assert figures[0].axes[0].get_yticklabels()[4].get_text() == "…-speech-004"


def test_the_projection_shows_principal_components(figures, dvectors, tmp_path):
    plots.projection(tmp_path / "p.png", dvectors, SPEAKERS, NAMES, "a test", 20)
    clouds = figures[0].axes[0].collections
    assert len({(to_hex(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in clouds}) == 20
    points = np.concatenate([cloud.get_offsets() for cloud in clouds])
    # Centred and uncorrelated, the first component the larger.
    assert len(points) == 80 and np.allclose(points.mean(axis=0), 0) and abs(np.corrcoef(points.T)[0, 1]) < 1e-9
    share = points[:, 0].var() / dvectors.var(axis=0).sum()
    assert f"({100 * share:.0f} % of the variance)" in figures[0].axes[0].get_xlabel()
