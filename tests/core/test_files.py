"""Files are written whole or not at all; fingerprints identify options."""

import errno
import os
import string
from pathlib import Path

import pytest

from speechtools.core.files import fingerprint, write_aside


def test_what_is_written_aside_appears_when_the_block_ends(tmp_path):
    path = tmp_path / "labels.csv"
    with write_aside(path) as aside:
        aside.write_text("new")
        assert not path.exists()
        assert aside.parent == path.parent  # a rename is atomic within one file system only
    assert path.read_text() == "new"
    assert os.listdir(tmp_path) == ["labels.csv"]


@pytest.mark.parametrize(
    "error", [RuntimeError("stopped"), OSError(errno.ENOSPC, "stopped"), KeyboardInterrupt("stopped")]
)
def test_a_block_that_raises_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "labels.csv"
    path.write_text("old")
    with pytest.raises(type(error), match="stopped"), write_aside(path) as aside:
        aside.write_text("half of the n")
        raise error
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["labels.csv"]


def test_a_fingerprint_is_stable_and_blind_to_order():
    options = {"seed": 1, "snrs": [-6, 0], "folder": Path("/corpora/TIMIT"), "scale": "nb"}
    assert fingerprint(options) == fingerprint(dict(reversed(options.items())))
    assert fingerprint(options) == fingerprint({**options, "folder": "/corpora/TIMIT"})
    # A folder prepared by an earlier version keeps its name: printf '{"a": 1}' | sha256sum.
    assert fingerprint({"a": 1}) == "f9d86028c6e0"
    assert len(fingerprint(options)) == 12 and set(fingerprint(options)) <= set(string.hexdigits)


@pytest.mark.parametrize("change", [{"seed": 2}, {"snrs": [0, -6]}, {"snrs": [-6]}, {"scale": None}, {"more": 1}])
def test_any_change_changes_the_fingerprint(change):
    options = {"seed": 1, "snrs": [-6, 0], "scale": "nb"}
    assert fingerprint({**options, **change}) != fingerprint(options)
