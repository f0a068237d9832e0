"""Laws of further measures that are learned beside the score: their names, labels and loss."""

import math
from dataclasses import replace

import pytest
import torch

from speechtools import audio, build
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.rows import check_manifest, write_rows
from speechtools.measures import labels as measure_labels
from speechtools.quality import evaluation
from speechtools.quality.further import FurtherMeasures, further_names, parse_measures, update_text
from speechtools.quality.ratings import Ratings
from speechtools.quality.rows import QualityRow
from tests.corpora.layouts import put, put_text
from tests.quality.test_data import prepare, quality_row, read

MEASURES = ["stoi", "si-sdr"]
SMALLER = {
    "corpus_options": {"builtin": {"num_train_speakers": 2, "num_test_speakers": 6}},
    "num_train_noises": 4,
    "num_clean_train": 2,
    "num_valid_utterances": 1,
    "num_test_utterances": 1,
    "test_snrs_db": (0,),
}


def network(**options):
    torch.manual_seed(0)
    return build("quality/conv-blstm", channels=6, hidden_size=4, linear_size=5, **{"measures": MEASURES} | options)


# ------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "names, message",
    [
        (["stio"], "further_measures: Unknown measure 'stio'. Did you mean 'stoi'"),
        ([3], "further_measures: Unknown measure 3"),
        (5, "further_measures=5 is not a list of measures"),
        (["mos"], "listeners give these scores. .*--labels=mine.csv"),
        (["pesq-raw"], "pesq-raw is the scale of the score already"),
        (["stoi", "measure/stoi"], "stoi is named twice"),
    ],
)
def test_names_that_cannot_be_are_refused(names, message):
    with pytest.raises(ConfigError, match=message):
        further_names(names, "raw_nb")


def test_names_are_those_of_plugins():
    assert further_names("wb", "raw_nb") == ["pesq-wb"]
    assert further_names(None, "raw_nb") == [] == FurtherMeasures().all_names


def test_measures_and_ratings_are_learned_together_but_not_the_same(tmp_path):
    lines = ["path,score,measure"]
    for number in range(8):
        put(tmp_path / f"{number}.wav", 8000)
        lines.append(f"{number}.wav,1.0,{'stoi' if number % 2 else 'mos'}")
    put_text(tmp_path / "mine.csv", "\n".join(lines))
    ratings = Ratings(tmp_path / "mine.csv")
    assert FurtherMeasures(["si-sdr"], ratings=ratings).all_names == ["mos", "stoi", "si-sdr"]
    with pytest.raises(ConfigError, match=r"stoi is in further_measures and in .*mine\.csv"):
        FurtherMeasures(MEASURES, ratings=ratings)


def test_a_network_without_the_outputs_is_refused():
    further = FurtherMeasures(MEASURES)
    further.check(network())
    FurtherMeasures().check(build("quality/blstm"))
    with pytest.raises(ConfigError, match="quality/blstm has no output for stoi, si-sdr. .*--quality_name=conv-blstm"):
        further.check(build("quality/blstm"))
    with pytest.raises(ConfigError, match="no output for si-sdr. .*quality_options"):
        further.check(network(measures=["stoi"]))


# ------------------------------------------------------------------------------------------------------------ labels


@pytest.fixture(scope="module")
def sets(tmp_path_factory, builtin_cache):
    """Sets that got further measures later, their folder, and the files that the first preparation left."""
    folder = tmp_path_factory.mktemp("prepared")
    made = prepare(folder, **SMALLER)
    rows = {split: read(made, split) for split in made.manifests}
    before = {path: path.read_bytes() for path in made.folder.rglob("*") if path.is_file()}
    assert prepare(folder, **SMALLER, further_measures=MEASURES) == made, "the measures make no other sets"
    return made, folder, rows, before


def test_existing_sets_get_only_the_measures(sets):
    made, _, rows, before = sets
    changed = {path.name for path, content in before.items() if path.read_bytes() != content}
    assert changed == {"train.csv", "valid.csv", "test.csv"}, "no file is made and no PESQ computed again"
    for split, earlier in rows.items():
        assert [replace(row, measures=None) for row in read(made, split)] == earlier
        assert check_manifest(made.manifests[split])[2] == []
    for row in read(made)[::2]:
        speech, degraded = audio.read(row.speech), audio.read(row.path)
        scores = {name: build(f"measure/{name}")(speech, degraded, 16000) for name in MEASURES}
        assert parse_measures(row.measures) == pytest.approx(scores, abs=1e-5)


def test_no_measure_is_computed_twice_and_a_further_one_is_added(sets, monkeypatch):
    made, folder, _, _ = sets
    labelled = []

    def label(jobs, output_csv, measure, *arguments, **options):
        labelled.append(measure)
        return measure_labels.label(jobs, output_csv, measure, *arguments, **options)

    monkeypatch.setattr("speechtools.quality.further.label", label)
    before = {path: path.stat().st_mtime_ns for path in made.folder.rglob("*")}
    prepare(folder, **SMALLER)
    prepare(folder, **SMALLER, further_measures=["si-sdr"])
    assert {path: path.stat().st_mtime_ns for path in made.folder.rglob("*")} == before and not labelled
    prepare(folder, **SMALLER, further_measures=["pesq-nb", "stoi"])
    assert labelled == ["pesq-nb"]
    assert {frozenset(parse_measures(row.measures)) for row in read(made)} == {frozenset(["pesq-nb", *MEASURES])}


def test_an_interrupted_labelling_continues(sets):
    made, folder, _, _ = sets
    texts = {split: path.read_text() for split, path in made.manifests.items()}
    made.folder.joinpath("labels-stoi.csv").unlink()
    journal = made.folder / "labels-stoi.csv.journal"
    lines = journal.read_text().splitlines(keepends=True)
    journal.write_text("".join(lines[:-3]))
    prepare(folder, **SMALLER, further_measures=["stoi"])
    again = journal.read_text().splitlines(keepends=True)
    assert len(again) == len(lines) and again[:-3] == lines[:-3], "three files were labelled"
    assert {split: path.read_text() for split, path in made.manifests.items()} == texts


def test_a_file_that_a_measure_cannot_score_keeps_its_other_labels(sets):
    made, _, _, _ = sets
    further, rows = FurtherMeasures(MEASURES), read(made)
    rows[0] = replace(rows[0], measures=update_text(rows[0].measures, {"stoi": None}))
    targets = torch.stack([further.targets(row) for row in rows])
    assert targets.shape == (len(rows), 2) and targets.isnan().nonzero().tolist() == [[0, 0]]
    with pytest.raises(CorpusError, match=r"None of the 1 training files has a stoi label: rejected-stoi\.csv"):
        further.start(network(), rows[:1])


def test_recordings_with_scores_have_no_reference_to_compare_with(tmp_path):
    options = {"corpus": "labelled", "data_folder": tmp_path, "labels": "corpus", "scale": "mos"}
    with pytest.raises(ConfigError, match="labels=corpus takes recordings without"):
        prepare(tmp_path / "sets", **options, further_measures=["stoi"])


@pytest.mark.parametrize(
    "text, message",
    [("stoi=0.5 unknown-here=7.0", ""), ("stoi", "'stoi' is not the name"), ("stoi=5", "score=5 is outside")],
)
def test_the_column_of_a_manifest_is_checked(tmp_path, text, message):
    put(tmp_path / "a.wav", 16000)
    write_rows(tmp_path / "x.csv", QualityRow, [quality_row(path=tmp_path / "a.wav", measures=text)])
    problems = check_manifest(tmp_path / "x.csv")[2]
    assert len(problems) == bool(message) and all(message in problem for problem in problems)


# ---------------------------------------------------------------------------------------------------------- training


def test_the_loss_is_in_points_of_pesq_and_ignores_unknown_labels():
    further = FurtherMeasures(MEASURES, weight=0.5)
    targets = torch.tensor([[0.5, math.nan], [math.nan, 20.0]])
    predicted = {"stoi": torch.tensor([0.7, 9.0], requires_grad=True), "si-sdr": torch.tensor([9.0, 60.0])}
    predicted["mos"] = torch.tensor([1.0, 1.0])
    loss = further.objective(predicted, targets)  # a point of SI-SDR is 40 dB, and one of STOI 1
    assert loss.item() == pytest.approx(0.5 * (0.2**2 + 1))
    loss.backward()
    assert predicted["stoi"].grad[1] == 0 and predicted["stoi"].grad[0] != 0
    assert further.objective(predicted, torch.full((2, 2), math.nan)).item() == 0


def test_outputs_begin_at_the_mean_label():
    rows = [quality_row(measures=f"si-sdr={value} stoi={0.01 * value}") for value in (-10.0, 30.0)]
    net = network(measures=["mos", *MEASURES])
    before = {name: output.weight.detach().clone() for name, output in net.measure_outputs.items()}
    FurtherMeasures(MEASURES).start(net, rows)
    biases = {name: net.measure_outputs[name].bias.item() for name in MEASURES}
    assert biases == pytest.approx({"stoi": 0.1, "si-sdr": 10.0})
    torch.testing.assert_close(net.measure_outputs["si-sdr"].weight, before["si-sdr"] * 20)
    torch.testing.assert_close(net.measure_outputs["mos"].weight, before["mos"])


def test_labels_are_limited_for_training_and_tests():
    """The 100 dB of clean speech count as 40, and a point is a fifth of the limited range."""
    rows = [quality_row(measures=f"si-sdr={value} stoi=0.9") for value in (100.0, 10.0, -50.0)]
    further = FurtherMeasures(["si-sdr", "stoi"], weight=1.0, limits={"si-sdr": [-20, 40], "pesq-nb": (2, 4)})
    assert [further.labels(row)["si-sdr"] for row in rows] == [40.0, 10.0, -20.0]
    targets = torch.stack([further.targets(row) for row in rows])
    torch.testing.assert_close(targets, torch.tensor([[40.0, 0.9], [10.0, 0.9], [-20.0, 0.9]]))
    predicted = {"si-sdr": torch.tensor([40.0, 22.0, -20.0]), "stoi": targets[:, 1]}
    assert further.objective(predicted, targets).item() == pytest.approx(1 / 3)  # 12 dB in one of three files
    net = network()
    further.start(net, rows)
    assert net.measure_outputs["si-sdr"].bias.item() == pytest.approx(10.0)
    scores = [{"si-sdr": value, "stoi": 0.9} for value in (40.0, 10.0, -20.0)]
    metrics = evaluation.measure_metrics(further, scores, rows)
    assert metrics["si-sdr"]["overall"]["mse"] == 0 and further.reached(metrics)["measures_mse"] == 0
    assert FurtherMeasures(["si-sdr"]).labels(rows[0]) == {"si-sdr": 100.0}
    assert parse_measures(rows[0].measures)["si-sdr"] == 100.0


@pytest.mark.parametrize(
    "limits, message",
    [
        ([-20, 40], "is not a mapping"),
        ({"si-sdd": [-20, 40]}, "measure_limits: Unknown measure 'si-sdd'. Did you mean 'si-sdr'"),
        ({"si-sdr": 40}, "is not a pair"),
        ({"si-sdr": [-20, 0, 40]}, "is not a pair"),
        ({"si-sdr": [40, -20]}, "upper one of si-sdr"),
        ({"si-sdr": [-20, "high"]}, "upper one of si-sdr"),
        ({"si-sdr": [-200, 40]}, "lower one of si-sdr"),
        ({"stoi": [0.5, 2]}, "upper one of stoi"),
    ],
)
def test_limits_that_cannot_be_are_refused(limits, message):
    with pytest.raises(ConfigError, match=message):
        FurtherMeasures(MEASURES, limits=limits)


def test_metrics_are_those_of_the_rows_with_a_label():
    values = [0.1, 0.4, 0.9]
    rows = [quality_row(measures=f"stoi={value}") for value in values] + [quality_row(subset="noisy", noise_type="a")]
    predicted = [{"stoi": value + 0.1} for value in [*values, 0.0]]
    metrics = evaluation.measure_metrics(
        FurtherMeasures(MEASURES), [scores | {"si-sdr": 1.0} for scores in predicted], rows
    )
    assert metrics["stoi"]["overall"] == pytest.approx({"utterances": 3, "mse": 0.01, "lcc": 1.0, "srcc": 1.0})
    assert list(metrics["stoi"]["by_subset"]) == ["clean"]
    assert metrics["si-sdr"]["overall"] == {"utterances": 0, "mse": None, "lcc": None, "srcc": None}
    reached = FurtherMeasures(MEASURES).reached(metrics)
    assert reached == pytest.approx({"stoi_mse": 0.01, "stoi_lcc": 1.0, "stoi_srcc": 1.0, "measures_mse": 0.01})
