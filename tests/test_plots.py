"""What the figures of speaker verification show, asked of the figures themselves."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy.stats import norm

from speechtools import metrics, plots

SPEAKERS = np.repeat(np.arange(20), 4)
NAMES = [f"a-corpus-of-speech-{number:03d}" for number in range(20)]


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved."""
    figures, save = [], plots.save
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure) or save(figure, path))
    return figures


@pytest.fixture
def dvectors():
    rng = np.random.default_rng(0)
    return rng.standard_normal((20, 16))[SPEAKERS] + 0.3 * rng.standard_normal((len(SPEAKERS), 16))


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 10000


def test_a_det_curve_falls_and_its_mark_lies_at_the_eer(drawn, tmp_path):
    rng = np.random.default_rng(0)
    curves = {str(shift): (rng.normal(shift, 1, 500), rng.normal(0, 1, 4000)) for shift in (1, 3)}
    assert is_picture(plots.det(tmp_path / "det.png", curves, "two systems"))
    lines = drawn[0].axes[0].get_lines()
    for (label, sides), (curve, mark) in zip(curves.items(), (lines[0:2], lines[2:4]), strict=True):
        rate, _ = metrics.eer(*sides)
        assert f"{label} (EER {100 * rate:.2f} %)" == curve.get_label()
        assert (np.diff(curve.get_xdata()) <= 0).all() and (np.diff(curve.get_ydata()) >= 0).all()
        assert norm.cdf(mark.get_xdata()) == pytest.approx(rate) == norm.cdf(mark.get_ydata())


@pytest.mark.parametrize("targets, nontargets", [([9.0, 8.0], [0.0, 1.0]), ([0.0], [1.0]), ([1.0, 1.0], [1.0])])
def test_det_curves_at_the_edges_are_finite(targets, nontargets, drawn, tmp_path):
    assert is_picture(plots.det(tmp_path / "det.png", {"test": (targets, nontargets)}, "extremes"))
    for line in drawn[0].axes[0].get_lines():
        assert np.isfinite(line.get_xydata().astype(float)).all()


def test_the_matrix_shows_the_cosines_speaker_after_speaker(drawn, dvectors, tmp_path):
    order = np.random.default_rng(1).permutation(len(SPEAKERS))
    path = plots.similarity_matrix(tmp_path / "s.png", dvectors[order], SPEAKERS[order], NAMES, "a test", 5)
    assert is_picture(path)
    shown = np.asarray(drawn[0].axes[0].get_images()[0].get_array())
    assert shown.shape == (20, 20) and np.allclose(np.diag(shown), 1) and np.allclose(shown, shown.T)
    own = SPEAKERS[:20, None] == SPEAKERS[:20]
    assert shown[own].min() > shown[~own].max()
    labels = [label.get_text() for label in drawn[0].axes[0].get_yticklabels()]
    assert len(set(labels)) == 5 and all(
        label.startswith("…") and label.endswith(f"00{n}") for n, label in enumerate(labels)
    )


def test_the_projection_tells_its_speakers_apart(drawn, dvectors, tmp_path):
    assert is_picture(plots.projection(tmp_path / "p.png", dvectors, SPEAKERS, NAMES, "a test", 20))
    clouds = drawn[0].axes[0].collections
    assert len(clouds) == 20 and all(len(cloud.get_offsets()) == 4 for cloud in clouds)
    looks = {(to_hex(c.get_facecolor()[0]), c.get_paths()[0].vertices.tobytes()) for c in clouds}
    assert len(looks) == 20
    points = np.concatenate([cloud.get_offsets() for cloud in clouds])
    # The coordinates are the principal components: centred, not correlated, the first the larger.
    assert np.allclose(points.mean(axis=0), 0) and abs(np.corrcoef(points.T)[0, 1]) < 1e-9
    assert points[:, 0].var() >= points[:, 1].var()
    share = points[:, 0].var() / dvectors.var(axis=0).sum()
    assert f"({100 * share:.0f} % of the variance)" in drawn[0].axes[0].get_xlabel()


def test_a_short_name_is_left_as_it_is():
    assert plots._short("anna", 4) == "anna" and plots._short("anna-maria", 6) == "…maria"
