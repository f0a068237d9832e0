"""Paired comparisons of scores."""

import dataclasses
import json

import numpy as np
import pytest

from speechtools.core import metrics
from speechtools.core.errors import ConfigError, CorpusError, SpeechtoolsError
from speechtools.quality import plots
from speechtools.quality.comparison import NO_GROUP, compare
from speechtools.quality.score_tables import ScoreTable, pair_paths


def write(path, *lines):
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


@pytest.fixture
def scores():
    """Scores of 60 recordings of three kinds: B is better by 0.8, equal on average, and worse by 0.3."""
    rng = np.random.default_rng(0)
    a, b = {}, {}
    for kind, gain in (("noise", 0.8), ("loss", 0.0), ("codec", -0.3)):
        for number in range(20):
            a[f"a/{kind}/{number}.wav"] = score = rng.uniform(1, 4)
            b[f"b/{kind}/{number}.wav"] = score + gain + rng.normal(0, 0.1)
    return a, b


# -------------------------------------------------------------------------------------------------------- intervals


def test_the_interval_is_that_of_many_resamples():
    values = np.random.default_rng(1).exponential(1, 200)
    low, high = metrics.mean_interval(values)
    assert (low, high) == metrics.mean_interval(values) != metrics.mean_interval(values, seed=1)
    half = 1.96 * values.std() / np.sqrt(values.size)
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.15 * half)
    wider = metrics.mean_interval(values, level=0.99)
    assert wider[0] < low < values.mean() < high < wider[1]
    assert metrics.mean_interval([0.5] * 9) == (0.5, 0.5)
    np.testing.assert_allclose(metrics.mean_interval(-values), (-high, -low))
    for wrong in ([1.0], [1.0, np.nan], []):
        with pytest.raises(SpeechtoolsError):
            metrics.mean_interval(wrong)


# ------------------------------------------------------------------------------------------------------------ pairs


@pytest.mark.parametrize(
    ("a", "b", "pairs"),
    [
        (["x.wav", "s/x.wav"], ["s/x.wav", "x.wav"], {"x.wav": "x.wav", "s/x.wav": "s/x.wav"}),
        (["a/s1/x.wav", "a/s2/x.wav"], ["/b/s2/x.wav"], {"a/s2/x.wav": "/b/s2/x.wav"}),
        (["a/x.wav", "a/s/x.wav"], ["b/x.wav", "b/s/x.wav"], {"a/x.wav": "b/x.wav", "a/s/x.wav": "b/s/x.wav"}),
        (["p/x.wav", "q/y.wav"], ["r/y.wav", "x.wav"], {"p/x.wav": "x.wav", "q/y.wav": "r/y.wav"}),
        (["a/./x.wav"], ["a//x.wav"], {"a/./x.wav": "a//x.wav"}),
        (["s1/x.wav", "s2/x.wav"], ["s2/x.wav", "s3/x.wav"], {"s2/x.wav": "s2/x.wav"}),
        (["in/x.flac", "in/y.mp3"], ["out/x.wav", "out/y.wav"], {"in/x.flac": "out/x.wav", "in/y.mp3": "out/y.wav"}),
        (["x.flac", "x.wav"], ["out/x.wav"], {"x.wav": "out/x.wav"}),
        (["x.flac", "x.mp3"], ["out/x.wav"], {}),
    ],
)
def test_pairs_have_equal_paths_ends_or_names(a, b, pairs):
    assert pair_paths(a, b)[0] == pairs
    assert pair_paths(b, a)[0] == {second: first for first, second in pairs.items()}


def test_nothing_is_dropped_silently():
    first = {"s1/x.wav": 1.0, "s2/x.wav": 1.0, "y.wav": 1.0, "z.wav": 1.0, "e.wav": np.nan}
    table = {"s3/x.wav": 2.0, "z.wav": 2.0, "e.wav": 2.0, "new.wav": 2.0, "nan.wav": np.nan}
    comparison = compare(first, table)
    reasons = {(item.table, item.file): item.reason for item in comparison.left_out}
    assert [pair.name for pair in comparison.pairs] == ["z.wav"]
    assert reasons == {
        ("A", "s1/x.wav"): "ambiguous name in",
        ("A", "s2/x.wav"): "ambiguous name in",
        ("B", "s3/x.wav"): "ambiguous name in",
        ("A", "y.wav"): "only in",
        ("A", "e.wav"): "no score in",
        ("B", "new.wav"): "only in",
        ("B", "nan.wav"): "only in",
    }


# --------------------------------------------------------------------------------------------------------- verdicts


def test_groups_and_their_verdicts(scores):
    comparison = compare(*scores, group="folder")
    groups = {group.group: group for group in comparison.groups}
    assert [*groups] == ["codec", "loss", "noise"] and comparison.total.files == 60
    assert groups["noise"].verdict.startswith("B is better by 0.") and groups["noise"].share_better == 1
    assert groups["codec"].verdict.startswith("B is worse by 0.") and groups["codec"].share_worse > 0.9
    assert groups["loss"].verdict.startswith("No difference can be seen")
    for group in groups.values():
        assert group.interval[0] < group.difference < group.interval[1]
        assert group.difference == pytest.approx(group.mean_b - group.mean_a)


def test_laws_of_a_comparison(scores):
    a, b = scores
    total = compare(a, b).total
    shuffled = compare(dict(reversed(a.items())), b).total
    assert shuffled == total, "the order of the rows changes nothing"
    swapped = compare(b, a).total
    assert swapped.difference == pytest.approx(-total.difference)
    np.testing.assert_allclose(swapped.interval, [-limit for limit in reversed(total.interval)])
    assert (swapped.share_better, swapped.share_worse) == (total.share_worse, total.share_better)
    lower = compare(a, b, higher_is_better=False).total
    assert lower.interval == total.interval and lower.share_better == total.share_worse
    assert {total.verdict.split(" by ")[0], lower.verdict.split(" by ")[0]} == {"B is better", "B is worse"}


def test_few_and_equal_differences():
    assert "too few" in compare({"x": 1.0}, {"x": 2.0}).verdict
    assert compare({"x": 1.0}, {"x": 2.0}).total.interval is None
    same = {"x": 1.0, "y": 2.0}
    assert "no difference" in compare(same, same).verdict
    assert compare(same, {"x": 1.25, "y": 2.25}).verdict == "B is better by 0.25 in every recording."


# ----------------------------------------------------------------------------------------------------------- tables


def test_tables_of_many_forms(tmp_path):
    comma = write(tmp_path / "a.csv", "file,score", "x.wav,1.5", "y.wav,2")
    others = [
        write(tmp_path / "b.csv", "\ufeffname;score;room", "x.wav;1.5;hall", '"y.wav";2;'),
        write(tmp_path / "c.tsv", "path\tscore", "x.wav\t1.5", "", "y.wav\t2"),
        write(
            tmp_path / "d.jsonl",
            *map(json.dumps, ({"file": f, "score": s, "times": [0]} for f, s in (("x.wav", 1.5), ("y.wav", 2)))),
        ),
    ]
    for other in others:
        assert ScoreTable.read(other).scores == ScoreTable.read(comma).scores == {"x.wav": 1.5, "y.wav": 2.0}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no rows"),
        ("file,score\n", "no rows"),
        ("file,score\nx.wav\n", "row 2 has 1 cells"),
        ("file,score\nx.wav,loud\n", "score=loud is not a number"),
        ("file,score\nx.wav,1\n./x.wav,2\n", "two rows for ./x.wav: 2 and 3"),
        ("file,score\n,1\n", "file is empty"),
        ("file,score,score\nx.wav,1,2\n", "'score' twice"),
        ('{"file": "x.wav", "score": 1}\n{"fil', "line 2 is not JSON"),
        ("file,scor\nx.wav,1\n", "Did you mean 'scor'?"),
        ("call,score\nx.wav,1\n", "--key"),
        ("\0\1\2", "neither CSV nor JSON lines"),
    ],
)
def test_bad_tables_are_explained(tmp_path, content, message):
    path = tmp_path / "a.csv"
    path.write_text(content)
    with pytest.raises((CorpusError, ConfigError), match=r"a\.csv") as error:
        ScoreTable.read(path)
    assert message in str(error.value)


def test_scales_and_models(tmp_path):
    a = write(tmp_path / "a.csv", "file,score,scale,model", "x.wav,1,raw_nb,one", "y.wav,2,raw_nb,one")
    b = write(tmp_path / "b.csv", "file,score,scale,model", "x.wav,2,raw_nb,two", "y.wav,4,raw_nb,two")
    c = write(tmp_path / "c.csv", "file,score,scale", "x.wav,2,stoi", "y.wav,4,stoi")
    with pytest.warns(UserWarning, match="the models differ"):
        assert compare(a, b).scale == "raw_nb"
    with pytest.raises(ConfigError, match="The scales differ"):
        compare(a, c)
    with pytest.raises(CorpusError, match="No recording has a score in both"):
        compare(a, {"z.wav": 1.0})
    with pytest.raises(CorpusError, match="no rows"):
        compare(a, {})


def test_groups_of_columns_and_of_a_table(tmp_path):
    a = write(tmp_path / "a.csv", "file,score,kind", "a/x.wav,1,noise", "a/y.wav,2,", "a/z.wav,2,loss")
    b = write(tmp_path / "b.csv", "file,score,kind", "b/x.wav,2,noise", "b/y.wav,3,", "b/z.wav,2,loss")
    assert {p.name: p.group for p in compare(a, b, group="kind").pairs} == {
        "x.wav": "noise",
        "y.wav": NO_GROUP,
        "z.wav": "loss",
    }
    kinds = write(tmp_path / "kinds.csv", "path,group,room", "z.wav,late,hall", "x.wav,early,hall", "other.wav,early,")
    assert [p.group for p in compare(a, b, groups=kinds).pairs] == ["early", NO_GROUP, "late"]
    assert [p.group for p in compare(a, b, groups=kinds, group="room").pairs] == ["hall", NO_GROUP, "hall"]
    assert [p.group for p in compare(a, b, group="folder").pairs] == ["."] * 3
    other = write(tmp_path / "c.csv", "file,score,kind", "x.wav,2,codec")
    for arguments in ({"group": "kidn"}, {"groups": kinds, "group": "kind"}):
        with pytest.raises(ConfigError, match="--group"):
            compare(a, b, **arguments)
    with pytest.raises(ConfigError, match="kind='noise'"):
        compare(a, other, group="kind")
    with pytest.raises(CorpusError, match="names none of the 3 recordings"):
        compare(a, b, groups=write(tmp_path / "none.csv", "file,group", "q.wav,1"))


def test_the_plot_has_a_row_for_each_group(scores, tmp_path, monkeypatch):
    figures = []
    save = plots.save
    monkeypatch.setattr(plots, "save", lambda figure, path: figures.append(figure) or save(figure, path))
    comparison = compare(*scores, group="folder", higher_is_better=False)
    comparison.plot(tmp_path / "compare.png")
    (axes,) = figures[0].axes
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels == ["all  (60)", "noise  (20)", "loss  (20)", "codec  (20)"]
    assert axes.get_xlabel().startswith("← B is better")
    many = dataclasses.replace(comparison, groups=comparison.groups * 20)
    many.plot(tmp_path / "many.png")
    assert len(figures[1].axes[0].get_yticks()) == 41 and "20 other groups" in figures[1].get_suptitle()
