"""Files that have changed since their checksums were written are found, and intact ones are read seldom."""

import os
import shutil

import pytest

from speechtools.core import checksums
from speechtools.core.checksums import find_damaged, refuse_damaged, write_checksums
from speechtools.core.errors import CorpusError


@pytest.fixture
def folder(tmp_path):
    paths = [tmp_path / "set" / "audio" / f"{number}.wav" for number in range(5)]
    paths[0].parent.mkdir(parents=True)
    for number, path in enumerate(paths):
        path.write_bytes(bytes([number]) * 1000)
    write_checksums(tmp_path / "set", paths)
    return tmp_path / "set"


def test_an_intact_folder_and_one_without_a_list(folder, tmp_path):
    assert find_damaged(folder) == find_damaged(folder, full=True) == find_damaged(tmp_path) == {}
    refuse_damaged(folder, "Delete it.")


@pytest.mark.parametrize(
    "content, reason",
    [(b"\0" * 1000, "another content"), (b"\1" * 999, "999 bytes instead of 1000"), (None, "missing")],
)
def test_changed_files_are_named(folder, content, reason):
    path = folder / "audio" / "1.wav"
    path.unlink() if content is None else path.write_bytes(content)
    assert find_damaged(folder).keys() == {os.path.join("audio", "1.wav")}
    with pytest.raises(CorpusError, match=rf"1\.wav.*{reason}.*Delete it"):
        refuse_damaged(folder, "Delete it.")


def test_a_change_that_keeps_size_and_time_is_found_by_a_full_check(folder, monkeypatch):
    path = folder / "audio" / "1.wav"
    status = path.stat()
    path.write_bytes(b"\0" * 1000)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    monkeypatch.setattr(checksums, "SAMPLE_BYTES", 0)
    assert find_damaged(folder) == {} and len(find_damaged(folder, full=True)) == 1
    monkeypatch.setattr(checksums, "SAMPLE_BYTES", 5000)
    assert len(find_damaged(folder)) == 1


def test_a_copy_is_read_once(folder, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy, copy_function=shutil.copyfile)
    for path in copy.glob("audio/*"):
        os.utime(path, ns=(1, 1))
    monkeypatch.setattr(checksums, "SAMPLE_BYTES", 0)
    assert find_damaged(copy) == {}
    monkeypatch.setattr(checksums, "digest", None)
    assert find_damaged(copy) == {}


@pytest.mark.parametrize("content", ["{", '["a"]', '{"a": 1}', '{"a": ["0", Infinity, 1]}', "[" * 100_000])
def test_a_damaged_list_is_named(folder, content):
    (folder / checksums.LIST).write_text(content)
    with pytest.raises(CorpusError, match="checksums.json is damaged"):
        find_damaged(folder)
