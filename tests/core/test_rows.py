"""Rows of manifests come back as they were written; wrong cells are named by row and column."""

import dataclasses
import os
from pathlib import Path

import pytest

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
