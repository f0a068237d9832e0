"""Files are written whole or not at all; fingerprints identify options."""

import contextlib
import errno
import os
from pathlib import Path

import pytest

from speechtools.core.files import fingerprint, write_aside


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "stopped"), KeyboardInterrupt("stopped"), None])
def test_a_file_is_replaced_only_by_a_block_that_ends(tmp_path, error):
    path = tmp_path / "labels.csv"
    path.write_text("old")
    with contextlib.suppress(OSError, KeyboardInterrupt), write_aside(path) as aside:
        aside.write_text("new")
        assert path.read_text() == "old" and aside.parent == path.parent  # a rename is atomic in one file system
        if error:
            raise error
    assert path.read_text() == ("old" if error else "new") and os.listdir(tmp_path) == ["labels.csv"]


def test_a_fingerprint_is_stable_and_blind_to_order():
    options = {"seed": 1, "snrs": [-6, 0], "folder": Path("/corpora/TIMIT"), "scale": "nb"}
    assert fingerprint(options) == fingerprint(dict(reversed(options.items())))
    assert fingerprint(options) == fingerprint({**options, "folder": "/corpora/TIMIT"})
    for change in ({"seed": 2}, {"snrs": [0, -6]}, {"scale": None}, {"more": 1}):
        assert fingerprint({**options, **change}) != fingerprint(options)
    # A folder prepared by an earlier version keeps its name: printf '{"a": 1}' | sha256sum.
    assert fingerprint({"a": 1}) == "f9d86028c6e0"
