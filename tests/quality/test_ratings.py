"""Laws of the ratings that are learned beside mixtures: their list, splits, batches and loss."""

import logging

import numpy as np
import pytest
import soundfile
import torch

from speechtools import build
from speechtools.core.errors import ConfigError, CorpusError
from speechtools.core.model_folder import write_model
from speechtools.inference import QualityNet
from speechtools.quality.rating_lists import read_ratings, split_ratings
from speechtools.quality.ratings import Ratings


@pytest.fixture
def mine(tmp_path, tone):
    """A list of 30 ratings of 10 speakers; the rating grows with the level of the noise."""
    lines = ["path,score,speaker"]
    (tmp_path / "wavs").mkdir()
    for number in range(30):
        soundfile.write(tmp_path / "wavs" / f"{number}.wav", tone(0.3 + 0.01 * number, seed=number), 16000)
        lines.append(f"wavs/{number}.wav,{1 + number % 9 * 0.5},s{number % 10}")
    return written(tmp_path, "\n".join(lines))


def written(folder, text):
    (folder / "mine.csv").write_text(text, encoding="utf-8")
    return folder / "mine.csv"


def network(**options):
    torch.manual_seed(0)
    small = {"channels": 6, "hidden_size": 4, "linear_size": 5}
    return build("quality/conv-blstm", **small, **{"measures": ["mos"], **options})


# ------------------------------------------------------------------------------------------------------------- lists


def test_ratings_of_a_recording_are_averaged_by_measure(mine):
    written(
        mine.parent,
        f"path,score,measure\nwavs/0.wav,2,\n{mine.parent}/wavs/1.wav,3,\nwavs/0.wav,3,mos\nwavs/0.wav,0.5,stoi\n",
    )
    ratings = [(rating.path.name, rating.measure, rating.score) for rating in read_ratings(mine)]
    assert ratings == [("0.wav", "mos", 2.5), ("1.wav", "mos", 3.0), ("0.wav", "stoi", 0.5)]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "mine.csv is empty"),
        ("path,score\n", "no ratings below its header"),
        ("file,rating\nwavs/0.wav,1\n", "Rename file to path, rating to score"),
        ("path,score\nwavs/0.wav,1\nwavs/1.wav,7\n", "mine.csv, row 3: score=7 .* mos, 1 to 5"),
        ("path,score,measure\nwavs/0.wav,1,moss\n", "row 2: .*moss"),
        ("path,score\nwavs/0.wav,1\nx.wav,2\ny.wav,3\n", "2 of the 3 recordings .*x.wav, .*y.wav"),
    ],
)
def test_wrong_lists_are_refused_before_anything_is_prepared(mine, text, message):
    with pytest.raises(CorpusError, match=message):
        Ratings(written(mine.parent, text))


def test_a_missing_list_is_named():
    with pytest.raises(CorpusError, match="labels=/nowhere/mine.csv is not a file"):
        Ratings("/nowhere/mine.csv")


def test_other_labels_have_no_ratings():
    ratings = Ratings("measure")
    assert not ratings and ratings.measures == [] and ratings.identity == ""
    ratings.prepare(build("quality/blstm"), 512)


def test_splits_share_no_speaker_and_depend_on_their_seed(mine):
    ratings = read_ratings(mine)
    splits = split_ratings(ratings, 0.2, 0.2, seed=0)
    speakers = {split: {rating.speaker for rating in members} for split, members in splits.items()}
    assert [len(speakers[split]) for split in ("train", "valid", "test")] == [6, 2, 2]
    assert len(set.union(*speakers.values())) == 10 and sum(map(len, splits.values())) == 30
    assert splits == split_ratings(ratings, 0.2, 0.2, seed=0) != split_ratings(ratings, 0.2, 0.2, seed=1)


def test_the_splits_of_a_list_are_kept(mine):
    rows = [f"wavs/{n}.wav,{1 + n % 4},{'test' if n < 12 else ''}" for n in range(30)]
    splits = split_ratings(read_ratings(written(mine.parent, "\n".join(["path,score,split", *rows]))), 0.2, 0.2, 0)
    assert {rating.path.stem for rating in splits["test"]} == set(map(str, range(12)))
    assert len(splits["valid"]) == 4 and len(splits["train"]) == 14


def test_few_speakers_are_split_by_recording_with_a_warning(mine, caplog):
    rows = [f"wavs/{n}.wav,{1 + n % 4},{'ab'[n % 2]}" for n in range(30)]
    with caplog.at_level(logging.WARNING):
        ratings = Ratings(written(mine.parent, "\n".join(["path,score,speaker", *rows])))
        ratings.prepare(network(), 512)
    assert {split: len(members) for split, members in ratings.splits.items()} == {"train": 18, "valid": 6, "test": 6}
    assert "recordings are drawn" in caplog.text and "has only 6: its correlation is uncertain" in caplog.text


# ----------------------------------------------------------------------------------------------------------- batches


def test_batches_depend_on_seed_epoch_and_step_alone_and_use_all_ratings(mine):
    one, other = Ratings(mine, max_seconds=1, seed=3), Ratings(mine, max_seconds=1, seed=3)
    later = other.batch(2, 5)
    for value, again in zip(one.batch(2, 5), later, strict=True):
        assert torch.equal(value, again)
    assert not torch.equal(one.batch(2, 6).targets, later.targets)
    assert not torch.equal(Ratings(mine, seed=4).batch(2, 5).targets, later.targets)
    assert one.batch(1, 0, rank=1, world_size=2).targets.tolist() == one.batch(1, 1).targets.tolist()
    # Nine batches of 8 are four times the 18.
    batches = [one.batch(1, step) for step in range(9)]
    lengths = [round(float(length) * batch.wavs.shape[1]) for batch in batches for length in batch.lens]
    assert sorted(lengths) == sorted(4 * [len(one.waveform(rating.path)) for rating in one.splits["train"]])


def test_long_recordings_are_cut_in_training_alone(mine, tone):
    soundfile.write(mine.parent / "wavs" / "0.wav", tone(3.0), 16000)
    ratings = Ratings(mine, max_seconds=1.0)
    assert max(ratings.batch(1, step).wavs.shape[1] for step in range(9)) <= 16000
    assert max(batch.wavs.shape[1] for split in ratings.splits for batch in ratings.batches(split)) == 48000


def test_the_loss_is_that_of_the_rated_measure_in_points_of_pesq(mine):
    text = "\n".join(
        ["path,score,measure", *(f"wavs/{n}.wav,{n},{'mos' if n < 6 else 'si-sdr'}" for n in range(1, 30))]
    )
    ratings = Ratings(written(mine.parent, text), weight=0.5)
    targets = torch.tensor([[3.0, float("nan")], [float("nan"), 20.0]])
    assert ratings.measures == ["mos", "si-sdr"]
    predicted = {"mos": torch.tensor([4.0, 9.0], requires_grad=True), "si-sdr": torch.tensor([9.0, 60.0])}
    loss = ratings.objective(predicted, targets)  # a point of SI-SDR is 40 dB
    assert loss.item() == pytest.approx(0.5 * (1 + 1) / 2)
    loss.backward()
    assert predicted["mos"].grad[1] == 0 and predicted["mos"].grad[0] != 0


def test_validation_of_perfect_predictions(mine):
    ratings = Ratings(mine)
    true = iter([batch.targets[:, 0] for batch in ratings.batches("valid")])
    results = ratings.validate("valid", lambda wavs, lens: {"mos": next(true)})
    assert results == {"rating_mse": 0.0, "mos_lcc": pytest.approx(1.0)}


# ------------------------------------------------------------------------------------------------------- the network


def test_a_network_without_the_measure_is_refused(mine):
    with pytest.raises(ConfigError, match="quality/blstm has no output for mos. .*--quality_name=conv-blstm"):
        Ratings(mine).prepare(build("quality/blstm"), 512)
    with pytest.raises(ConfigError, match="quality_options"):
        Ratings(mine).prepare(network(measures=["stoi"]), 512)


def test_recordings_without_sound_are_named(mine):
    soundfile.write(mine.parent / "wavs" / "3.wav", np.zeros(8000), 16000)
    soundfile.write(mine.parent / "wavs" / "4.wav", np.ones(100) * 0.1, 16000)
    with pytest.raises(CorpusError, match="2 of the 30 .*wavs/3.wav.*wavs/4.wav"):
        Ratings(mine).prepare(network(), 512)


def test_outputs_begin_at_the_mean_rating(mine):
    ratings, net = Ratings(mine), network()
    ratings.prepare(net, 512)
    mean = np.mean([rating.score for rating in ratings.splits["train"]])
    assert net.measure_outputs["mos"].bias.item() == pytest.approx(mean)


@pytest.fixture
def exported(tmp_path):
    net = network(input_size=80, measures=["mos", "si-sdr"])
    entries = {"sample_rate": 16000, "scale": "raw_nb", "features": build("features/mel", level="loud")}
    folder = tmp_path / "pretrained"
    return QualityNet.from_hparams(
        write_model(folder, entries | {"quality": net}, {"quality": net}, {}, "# A test\n", "QualityNet")
    )


def test_reports_have_the_measures_also_of_long_recordings(exported, tone, monkeypatch):
    whole = exported.assess_samples(tone(4.0))
    assert list(whole.measures) == ["mos", "si-sdr"]
    monkeypatch.setattr(exported, "CHUNK_SECONDS", 1.0)
    monkeypatch.setattr(exported, "CONTEXT_SECONDS", 0.1)
    parts = exported.assess_samples(tone(4.0))
    assert parts.measures == pytest.approx(whole.measures, abs=0.05)
    assert parts.measures != whole.measures, "it was scored in chunks"


def test_the_report_compares_with_the_mapped_score(mine, exported):
    ratings = Ratings(mine)
    values = ratings.report(exported)["mos"]
    assert {name: entry["ratings"] for name, entry in values.items()} == {
        "train": 18,
        "valid": 6,
        "test": 6,
        "test_of_mapped_score": 6,
    }
    own = {path: report.score for path, report in exported.assess_files([r.path for r in ratings.splits["test"]])}
    correlation = np.corrcoef([own[r.path] for r in ratings.splits["test"]], [r.score for r in ratings.splits["test"]])
    assert abs(values["test_of_mapped_score"]["lcc"]) == pytest.approx(abs(correlation[0, 1]), abs=1e-3)
