"""`speechtools trials`, with a model that takes the mean of a recording for its voice."""

import csv
import math
import shutil

import pytest
import torch

from speechtools.cli import trials
from speechtools.core import metrics
from speechtools.core.errors import AudioError
from speechtools.speaker.calibration import Calibration
from speechtools.speaker.normalization import ASNorm
from speechtools.speaker.windows import Embedded

#: The angle of the d-vector of each recording: equal for one speaker.
ANGLES = {"a1": 0.0, "a2": 0.1, "b1": 1.5, "b2": 1.6, "c1": 0.2}


class Encoder:
    """The d-vectors of ANGLES; every recording may be embedded once."""

    normalization = calibration = None

    def assess_for_calibration(self):
        """Without a calibration, nothing is assessed."""

    def embed_files(self, paths, batch_size, channel):
        paths = list(paths)
        assert len(set(paths)) == len(paths) and channel in ("mix", 1)
        for path in paths:
            if path.stem in ANGLES and path.exists():
                angle = torch.tensor(ANGLES[path.stem])
                yield path, Embedded(2 * torch.stack([angle.cos(), angle.sin()]), seconds=2.0)
            else:
                yield path, AudioError(f"{path} does not exist.")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "load_model", lambda *_: Encoder())
    for name in ANGLES:
        (tmp_path / f"{name}.wav").touch()
    return tmp_path


def write(folder, *lines):
    path = folder / "list.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


LINES = ["1 a1.wav a2.wav", "1 b1.wav b2.wav", "0 a1.wav b1.wav", "0 a2.wav b2.wav"]


def read(path):
    with open(path, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_error_rates_scores_and_plots(folder, call):
    table, plots = folder / "scores.csv", folder / "plots"
    status, output, errors = call("trials", write(folder, *LINES), "--csv", table, "--png", plots)
    lines = {line.split("\t")[0]: line.split("\t")[1:] for line in output.splitlines()}
    assert status == 0 and not errors
    assert lines["EER"][0] == "0.00 %" and lines["EER"][1].startswith("95 % interval 0.00 to 84.19")
    assert lines["minDCF"] == ["0.0000", "normalised, p_target 0.01"]
    assert lines["trials"] == ["4", "2 target, 2 non-target"] and lines["left out"][0] == "0"
    assert 0.07 < float(lines["threshold"][0]) < 0.995
    rows = read(table)
    assert [float(row["score"]) for row in rows] == pytest.approx([0.995004, 0.995004, 0.070737, 0.070737])
    assert [(row["line"], row["target"]) for row in rows] == [("1", "1"), ("2", "1"), ("3", "0"), ("4", "0")]
    assert all((plots / name).read_bytes().startswith(b"\x89PNG") for name in ("det.png", "scores.png"))
    status, output, _ = call("trials", folder / "list.txt", "--csv", table, "--png", plots, "--p_target", 0.5)
    assert status == 0 and "p_target 0.5" in output


def test_a_calibrated_model_is_rated_by_its_ratios(folder, call, monkeypatch):
    norm = ASNorm(3, 2, top=2)
    norm.set_cohort(torch.eye(3, 2) + 0.5)
    monkeypatch.setattr(Encoder, "normalization", norm)
    monkeypatch.setattr(Encoder, "calibration", Calibration(2.0, -1.0, "as-norm"))
    table = folder / "scores.csv"
    status, output, _ = call("trials", write(folder, *LINES), "--csv", table)
    lines = {line.split("\t")[0]: line.split("\t")[1:] for line in output.splitlines()}
    assert status == 0 and lines["EER"][0] == "0.00 %" and lines["min Cllr"][0] == "0.0000"
    rows = read(table)
    vectors = {name: torch.tensor([math.cos(angle), math.sin(angle)])[None] for name, angle in ANGLES.items()}
    for row in rows:
        sides = [vectors[row[side].removesuffix(".wav")] for side in ("first", "second")]
        expected = norm(torch.tensor([float(row["score"])]), *map(norm.statistics, sides))
        assert float(row["llr"]) == pytest.approx(2 * expected.item() - 1, abs=1e-4)
    ratios = [[float(row["llr"]) for row in rows if row["target"] == kind] for kind in "10"]
    assert float(lines["Cllr"][0]) == pytest.approx(metrics.cllr(*ratios), abs=1e-4)
    misses = sum(ratio < 0 for ratio in ratios[0]) / 2
    assert lines["calibrated"][0] == f"{100 * misses:.2f} %" and "EER 0.00 %" in lines["Cllr"][1]


def test_trials_of_bad_recordings_are_left_out_and_counted(folder, call):
    table = folder / "scores.csv"
    path = write(folder, *LINES, "1 a1.wav gone.wav", "0 gone.wav b1.wav", "0 a1.wav c1.wav")
    status, output, errors = call("trials", path, "--csv", table)
    assert status == 1 and errors.count("not embedded: ") == 1 and "gone.wav does not exist" in errors
    assert "left out\t2\tof 7 trials, for 1 recording of 6" in output and "5\t2 target, 3 non-target" in output
    assert [bool(row["error"]) for row in read(table)] == [False] * 4 + [True] * 2 + [False]
    path = write(folder, *LINES[2:], "1 a1.wav gone.wav")
    status, output, errors = call("trials", path, "--csv", table)
    assert status == 1 and not output and "No target trial" in errors and len(read(table)) == 3


def test_the_root_of_the_recordings(folder, call, refused, tmp_path_factory):
    other = tmp_path_factory.mktemp("lists")
    path = shutil.copy(write(folder, *LINES), other)
    assert "--root" in refused("trials", path)
    assert call("trials", path, "--root", folder, "--channel", 1)[0] == 0
    assert "is not a folder" in refused("trials", path, "--root", folder / "gone")


def test_outputs_that_would_replace_something_are_refused(folder, refused):
    path = write(folder, *LINES)
    assert "would be replaced" in refused("trials", path, "--csv", path)
    assert "would be replaced" in refused("trials", path, "--csv", folder / "a1.wav")
    assert "is a file" in refused("trials", path, "--png", path)
    (folder / "det.png").write_bytes(b"a picture of mine")
    assert "--overwrite" in refused("trials", path, "--png", folder)
    assert "Line 1 of" in refused("trials", write(folder, "a b c d"))
