"""What the figures of frame scores, of learning and of speaker verification show, asked of the figures themselves."""

import numpy as np
import pytest
from matplotlib.colors import to_hex
from scipy.stats import norm

from speechtools.core import metrics, plots
from speechtools.quality.inference import QualityReport

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


def report(seed, frames=60):
    scores = np.random.default_rng(seed).uniform(1, 4, frames)
    times = (np.arange(frames) + 0.5) / frames
    return QualityReport(float(scores.mean()), scores, times, 1.0, 1 / frames, "raw_nb")


def test_every_model_has_one_colour_and_a_line_of_its_frame_scores(drawn, tone, tmp_path):
    # The second recording names the models in another order, and lacks one.
    columns = [{"a": report(0), "b": report(1), "c": report(2)}, {"b": report(3), "a": report(4)}]
    recordings = [(title, tone(1.0), reports) for title, reports in zip("xy", columns, strict=True)]
    marked = {"y": (0.29, 0.71)}
    assert is_picture(plots.frame_score_curves(tmp_path / "f.png", recordings, 16000, marked))
    spectrograms, panels = drawn[0].axes[:2], drawn[0].axes[2:4]
    colors = {}
    for axes, reports in zip(panels, columns, strict=True):
        texts = [text.get_text() for text in axes.get_legend().get_texts()]
        assert texts == [f"{label} (mean {one.score:.2f})" for label, one in reports.items()]
        for (label, one), line in zip(reports.items(), axes.get_lines(), strict=True):
            assert np.array_equal(line.get_xdata(), one.times) and np.array_equal(line.get_ydata(), one.frame_scores)
            assert colors.setdefault(label, line.get_color()) == line.get_color()
    assert len(set(colors.values())) == 3
    for pair in (spectrograms, panels):
        assert [len(axes.patches) for axes in pair] == [0, 1]
        edges = pair[1].patches[0].get_extents().transformed(pair[1].transData.inverted())
        assert (edges.x0, edges.x1) == pytest.approx(marked["y"])
    assert panels[0].get_ylim() == panels[1].get_ylim(), "recordings are compared by height"


def test_the_learning_curve_runs_through_the_means_of_the_seeds(drawn, tmp_path):
    rng = np.random.default_rng(0)
    points = [
        {"utterances": n, **{key: rng.uniform(0.4, 0.9, seeds).tolist() for key in ("lcc", "srcc", "mse")}}
        for n, seeds in ((100, 3), (1000, 1), (4620, 2))
    ]
    assert is_picture(plots.learning_curve(tmp_path / "l.png", points[::-1], "a test"))
    upper, lower = drawn[0].axes
    assert upper.get_xscale() == "log" == lower.get_xscale()
    assert [label.get_text() for label in lower.get_xticklabels()] == ["100", "1,000", "4,620"]
    shown = dict(zip(("lcc", "srcc"), upper.get_lines(), strict=True)) | {"mse": lower.get_lines()[0]}
    bands = dict(zip(("lcc", "srcc"), upper.collections[::2], strict=True)) | {"mse": lower.collections[0]}
    clouds = dict(zip(("lcc", "srcc"), upper.collections[1::2], strict=True)) | {"mse": lower.collections[1]}
    for key, line in shown.items():
        assert line.get_xdata().tolist() == [100, 1000, 4620]
        assert line.get_ydata() == pytest.approx([np.mean(point[key]) for point in points])
        every = [(point["utterances"], value) for point in points for value in point[key]]
        assert np.allclose(clouds[key].get_offsets(), every)
        edges = bands[key].get_paths()[0].vertices
        assert {*edges[:, 1]} >= {f(points[0][key]) for f in (min, max)}, "from the worst seed to the best"


def test_an_undefined_correlation_leaves_a_gap(drawn, tmp_path):
    points = [{"utterances": n, "lcc": [value], "srcc": [value], "mse": [1.0]} for n, value in ((10, None), (100, 0.5))]
    assert is_picture(plots.learning_curve(tmp_path / "l.png", points, "a test"))
    assert np.isnan(drawn[0].axes[0].get_lines()[0].get_ydata()).tolist() == [True, False]


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
