"""Plots of quality scores."""

import dataclasses

import numpy as np
import pytest

from speechtools.core import metrics
from speechtools.quality import plots, region_plots
from speechtools.quality.inference import QualityReport


@pytest.fixture
def figures(monkeypatch):
    """The figures that are saved."""
    figures, save = [], plots.save
    for module in (plots, region_plots):
        monkeypatch.setattr(module, "save", lambda figure, path: figures.append(figure) or save(figure, path))
    return figures


def report(seed, frames=60):
    scores = np.random.default_rng(seed).uniform(1, 4, frames)
    times = (np.arange(frames) + 0.5) / frames
    return QualityReport(float(scores.mean()), scores, times, 1.0, 1 / frames, "raw_nb")


def test_the_scatter_names_metrics_and_counts(figures, tmp_path):
    predicted, true = [1.0, 2.0, 4.0], [1.5, 2.0, 4.5]
    plots.score_scatter(tmp_path / "s.png", predicted, true, ["noisy", "noisy", "clean"], "raw_nb", "a test")
    axes = figures[0].axes[0]
    assert f"LCC {metrics.lcc(predicted, true):.3f}" in axes.texts[0].get_text()
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["noisy (2)", "clean (1)"]


def test_every_model_has_one_colour(figures, tone, tmp_path):
    # The second recording names the models in another order and lacks one.
    columns = [{"a": report(0), "b": report(1), "c": report(2)}, {"b": report(3), "a": report(4)}]
    recordings = [(title, tone(1.0), reports) for title, reports in zip("xy", columns, strict=True)]
    plots.frame_score_curves(tmp_path / "f.png", recordings, 16000, {"y": (0.29, 0.71)})
    panels, colors = figures[0].axes[2:4], {}
    for axes, reports in zip(panels, columns, strict=True):
        texts = [text.get_text() for text in axes.get_legend().get_texts()]
        assert texts == [f"{label} (mean {shown.score:.2f})" for label, shown in reports.items()]
        for (label, shown), line in zip(reports.items(), axes.get_lines(), strict=True):
            assert np.array_equal(line.get_xydata(), np.column_stack([shown.times, shown.frame_scores]))
            assert colors.setdefault(label, line.get_color()) == line.get_color()
        assert axes.get_ylim() == (-0.5, 4.5)
    assert len(set(colors.values())) == 3
    assert [len(axes.patches) for axes in figures[0].axes[:4]] == [0, 1, 0, 1], "the section is framed in both rows"
    assert panels[1].patches[0].get_bbox().intervalx == pytest.approx((0.29, 0.71))


def test_the_learning_curve_shows_means_seeds_extremes_and_gaps(figures, tmp_path):
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


def test_an_explanation_has_a_band_for_each_cause(figures, tone, tmp_path):
    causes = np.zeros((60, 3))
    causes[:, 0], causes[30:, 2] = 0.9, 0.8
    names = ("noise", "reverberation", "loss")
    explained = dataclasses.replace(report(0), causes=causes, cause_names=names)
    region_plots.explained(tmp_path / "e.png", "a.wav", tone(1.0), explained, 16000)
    lanes, scores = figures[0].axes[1:3]
    assert [label.get_text() for label in lanes.get_yticklabels()] == ["cost", "noise", "loss"]
    costs = [float(text.get_text()) for text in lanes.texts]
    assert len(costs) == 2 and sum(costs) == pytest.approx(4.5 - explained.score, abs=0.011)
    spans = [collection.get_paths()[0].get_extents().intervalx.tolist() for collection in lanes.collections[2:]]
    assert spans == [pytest.approx([0, 1]), pytest.approx([0.5, 1])]
    assert scores.get_ylim() == (-0.5, 4.5)
    region_plots.explained(tmp_path / "d.png", "a.wav", tone(1.0), report(0), 16000, below=4.5)
    assert [label.get_text() for label in figures[1].axes[1].get_yticklabels()] == ["cost", "degraded"]


def test_frame_scores_beyond_the_scale_are_shown(figures, tone, tmp_path):
    low, inside = report(0), report(1)
    low = dataclasses.replace(low, frame_scores=low.frame_scores - 4.0)
    plots.frame_scores(tmp_path / "f.png", [("low", tone(1.0), low), ("inside", tone(1.0), inside)], 16000)
    region_plots.explained(tmp_path / "e.png", "low", tone(1.0), low, 16000)
    for axes in (figures[0].axes[2], figures[1].axes[2]):
        bottom, top = axes.get_ylim()
        assert bottom < low.frame_scores.min() and top == 4.5
