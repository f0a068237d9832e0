"""Laws of the manifests: whole or absent, and refused when they are not what they say."""

import os

import pytest

from speechtools.core.errors import CorpusError
from speechtools.core.rows import read_rows, write_rows

FIELDS = ["ID", "wav", "text"]
ROWS = [
    {"ID": "a", "wav": "/data/with, comma.wav", "text": 'she said "no"'},
    {"ID": "b", "wav": "/data/b.wav", "text": ""},
    {"ID": "ü", "wav": "/data/Grüße.wav", "text": "two\nlines"},
]


# -------------------------------------------------------------------------------------------------------- CSV files


def test_rows_come_back_as_they_were_written(tmp_path):
    path = tmp_path / "new" / "folder" / "train.csv"
    write_rows(path, FIELDS, ROWS)
    assert read_rows(path, FIELDS) == ROWS
    assert read_rows(str(path), ["text"]) == ROWS


def test_no_rows_are_rows(tmp_path):
    write_rows(tmp_path / "empty.csv", FIELDS, [])
    assert read_rows(tmp_path / "empty.csv", FIELDS) == []


def test_numbers_survive_as_text(tmp_path):
    write_rows(tmp_path / "train.csv", ["ID", "duration"], [{"ID": "a", "duration": 0.1 + 0.2}])
    (row,) = read_rows(tmp_path / "train.csv", ["duration"])
    assert float(row["duration"]) == 0.1 + 0.2


def test_a_missing_manifest_is_named(tmp_path):
    with pytest.raises(CorpusError, match="nothing.csv does not exist. Run the preparation first"):
        read_rows(tmp_path / "nothing.csv", FIELDS)


def test_a_missing_column_is_named(tmp_path):
    write_rows(tmp_path / "train.csv", FIELDS, ROWS)
    with pytest.raises(CorpusError, match="has no column pesq, snr; its header is"):
        read_rows(tmp_path / "train.csv", ["ID", "pesq", "snr"])


def test_an_empty_file_has_no_columns(tmp_path):
    (tmp_path / "train.csv").touch()
    with pytest.raises(CorpusError, match="has no column ID"):
        read_rows(tmp_path / "train.csv", ["ID"])


@pytest.mark.parametrize("torn", ["b,/data/b", "b,/data/b.wav,text,more"])
def test_a_torn_row_is_named(tmp_path, torn):
    (tmp_path / "train.csv").write_text(f"ID,wav,text\na,/data/a.wav,yes\n{torn}")
    with pytest.raises(CorpusError, match=r"Row 3 of the manifest .*train.csv has not as many cells as its header"):
        read_rows(tmp_path / "train.csv", FIELDS)


def test_rows_that_end_in_an_error_leave_the_old_manifest(tmp_path):
    path = tmp_path / "train.csv"
    write_rows(path, FIELDS, ROWS)

    def failing():
        yield ROWS[0]
        raise RuntimeError("the disk is gone")

    with pytest.raises(RuntimeError, match="the disk is gone"):
        write_rows(path, FIELDS, failing())
    assert read_rows(path, FIELDS) == ROWS
    assert os.listdir(tmp_path) == ["train.csv"]
