"""Rows of manifests come back as they were written; wrong cells are named by row and column."""

import dataclasses
import os
import shutil
from pathlib import Path

import pytest

from speechtools.core import checksums
from speechtools.core import rows as row_models
from speechtools.core.errors import CorpusError
from speechtools.core.rows import Row, check_manifest, iterate_rows, read_rows, write_rows


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording(Row):
    former_columns = {"wav": "Rename wav to path."}

    ID: str
    path: Path
    samples: int
    is_clean: bool
    level: float = 0.5
    snr_db: float | None = None
    text: str = ""

    def check(self):
        if self.samples < 1:
            yield f"samples={self.samples} is below 1."


ROWS = [
    Recording(ID="a", path=Path("/data/with, comma.wav"), samples=3, is_clean=True, text='she said "no"'),
    Recording(ID="ü", path=Path("Grüße.wav"), samples=4, is_clean=False, level=0.1 + 0.2, snr_db=-6.0, text="a\nb"),
]
HEADER = "ID,path,samples,is_clean,level\n"


def test_rows_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "new" / "train.csv"
    for rows in ([], ROWS):
        write_rows(path, Recording, iter(rows))
        assert read_rows(str(path), Recording, check=True) == list(iterate_rows(path, Recording)) == rows
    with pytest.raises(AttributeError):
        write_rows(path, Recording, [ROWS[0], None])
    assert read_rows(path, Recording) == ROWS and os.listdir(path.parent) == ["train.csv"]


def test_missing_and_empty_cells_get_defaults_and_other_columns_are_ignored(tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(b"\xef\xbb\xbfdialect,ID,samples,path,is_clean,snr_db\n1,a,3,a.wav,YES, \n\n")  # an editor's mark
    assert read_rows(path, Recording) == [Recording(ID="a", path=Path("a.wav"), samples=3, is_clean=True)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rating(Row):
    usual_names = {"path": ("file",), "score": ("rating",)}

    path: Path
    score: float


@pytest.mark.parametrize(
    "content, message",
    [
        ("File,rating\n", "Rename File to path, rating to score"),
        ("a.wav,4\n", "Begin the file with path,score"),
        ("path,score\na.wav,good\n", "row 2: score='good' .* Correct the row.$"),
    ],
)
def test_a_list_that_people_write_is_not_made_again_by_a_recipe(tmp_path, content, message):
    path = tmp_path / "labels.csv"
    path.write_text(content)
    with pytest.raises(CorpusError, match=message) as caught:
        read_rows(path, Rating)
    assert "recipe" not in str(caught.value)


@pytest.mark.parametrize(
    "content, message",
    [
        ("", "no column ID, path"),
        ("ID,wav,samples,is_clean\n", "no column path.* Rename wav to path"),
        ("\udcff\udcfe", "not a CSV file"),
        (HEADER + "a,a.wav", "row 2: It has 2 cells"),
        (HEADER + "a,a.wav,3,yes,1\nb,b.wav,1.5,yes,1", "row 3: samples='1.5' is not a whole number"),
        (HEADER + "a,a.wav,3,maybe,1", "is_clean='maybe' is not yes or no"),
        (HEADER + "a, ,3,yes,1", "path is empty"),
        (HEADER + "a,a.wav,0,yes,1", "row 2: samples=0 is below 1"),
        (HEADER + "a,a.wav,3,yes,nan", "level='nan' is not a finite number"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, content, message):
    path = tmp_path / "train.csv"
    with pytest.raises(CorpusError, match=r"train\.csv does not exist"):
        read_rows(path, Recording)
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(CorpusError, match=message):
        read_rows(path, Recording, check=True)


@pytest.mark.parametrize(
    "models, message",
    [({"recordings": Recording}, "The nearest is recordings, which also needs is_clean"), ({}, "Import the module")],
)
def test_a_manifest_of_no_known_model_is_refused(tmp_path, monkeypatch, models, message):
    monkeypatch.setattr(row_models, "MODELS", models)
    (tmp_path / "train.csv").write_text("ID,path,samples\n")
    with pytest.raises(CorpusError, match=message):
        check_manifest(tmp_path / "train.csv")


@pytest.fixture
def listed(monkeypatch):
    """A model of manifests that other tests do not know."""
    monkeypatch.setattr(row_models, "MODELS", {})

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Listed(Row, manifest="listed"):
        ID: str
        path: Path
        noise: Path | None = None

    return Listed


def test_a_folder_with_its_manifest_can_be_copied(tmp_path, listed):
    made, outside = tmp_path / "made", tmp_path / "corpus" / "b.wav"
    write_rows(made / "train.csv", listed, [listed(ID="a", path=made / "audio" / "a.wav", noise=outside)])
    assert "a,audio/a.wav," in (made / "train.csv").read_text()
    shutil.copytree(made, tmp_path / "copy")
    for folder in (made, tmp_path / "copy"):
        (row,) = read_rows(folder / "train.csv", listed)
        assert row.path == folder / "audio" / "a.wav" and row.noise == outside


def test_paths_of_earlier_manifests_are_absolute(tmp_path, listed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.csv").write_text(f"ID,path\na,{tmp_path}/old/a.wav\n")
    assert [row.path for row in read_rows("train.csv", listed)] == [tmp_path / "old" / "a.wav"]


@pytest.mark.parametrize("content", [b"\0" * 1000, b"\1" * 500, None])
def test_check_manifest_reads_every_file(tmp_path, listed, content, monkeypatch):
    monkeypatch.setattr(checksums, "SAMPLE_BYTES", 0)
    for number in range(3):
        (tmp_path / f"{number}.wav").write_bytes(bytes([number]) * 1000)
    write_rows(tmp_path / "train.csv", listed, [listed(ID=str(n), path=tmp_path / f"{n}.wav") for n in range(2)])
    checksums.write_checksums(tmp_path, tmp_path.glob("*.wav"))
    assert check_manifest(tmp_path / "train.csv")[2] == []
    path = tmp_path / "1.wav"
    time = path.stat().st_mtime_ns
    if content is None:
        path.unlink()
    else:
        path.write_bytes(content)
        os.utime(path, ns=(time, time))
    (problem,) = check_manifest(tmp_path / "train.csv")[2]
    assert problem.startswith("row 3 (1): path=1.wav")
