"""Files are written whole or not at all; fingerprints identify options."""

import contextlib
import errno
import os
import stat
import subprocess
import sys
import threading
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


posix = pytest.mark.skipif(os.name != "posix", reason="pipes, links and modes of POSIX")


@posix
def test_a_link_is_followed_and_the_mode_of_its_target_remains(tmp_path):
    shared, link = tmp_path / "shared", tmp_path / "link.csv"
    shared.mkdir()
    (shared / "target.csv").write_text("old")
    (shared / "target.csv").chmod(0o640)
    link.symlink_to(shared / "target.csv")
    with write_aside(link) as aside:
        assert aside.parent == shared
        aside.write_text("new")
    assert link.is_symlink() and (shared / "target.csv").read_text() == "new"
    assert stat.S_IMODE((shared / "target.csv").stat().st_mode) == 0o640 and os.listdir(shared) == ["target.csv"]


@posix
def test_a_dangling_link_creates_its_target(tmp_path):
    link = tmp_path / "link.csv"
    link.symlink_to(tmp_path / "target.csv")
    with write_aside(link) as aside:
        aside.write_text("new")
    assert link.is_symlink() and (tmp_path / "target.csv").read_text() == "new"


@posix
def test_a_pipe_is_written_and_stays_a_pipe(tmp_path):
    pipe, content = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: content.append(pipe.read_text()), daemon=True)
    reader.start()
    with write_aside(pipe) as aside:
        aside.write_text("new")
    reader.join(timeout=10)
    assert content == ["new"] and stat.S_ISFIFO(pipe.stat().st_mode)


@posix
@pytest.mark.parametrize("device", ["/dev/null", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"])
def test_a_device_is_written_and_stays_a_device(device, tmp_path):
    code = (
        f"from speechtools.core.files import write_aside\nwith write_aside({device!r}) as path: path.write_text('new')"
    )
    before = os.lstat("/dev/null")
    with open(tmp_path / "out.txt", "w") as out:  # a regular file
        subprocess.run([sys.executable, "-c", code], check=True, stdout=out, timeout=60)
    piped = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60)
    expected = "" if device == "/dev/null" else "new"
    assert piped.stdout == expected and (tmp_path / "out.txt").read_text() == expected
    assert os.lstat("/dev/null").st_mode == before.st_mode


@pytest.mark.parametrize("name", ["x" * 251 + ".csv", "\N{SNOWMAN}" * 80 + ".csv", "a b$_$ [c]*.csv", "-x.csv"])
def test_names_of_any_length_and_any_characters(name, tmp_path):
    for content in ("old", "new"):
        with write_aside(tmp_path / name) as aside:
            aside.write_text(content)
    assert (tmp_path / name).read_text() == "new" and os.listdir(tmp_path) == [name]


@posix
def test_a_name_that_is_not_utf8(tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.csv"))
    try:
        path.write_text("old")
    except OSError:
        pytest.skip("this file system takes UTF-8 names alone")
    with write_aside(path) as aside:
        aside.write_text("new")
    assert path.read_text() == "new"


def test_threads_write_the_same_file_whole(tmp_path):
    def write(text):
        for _ in range(20):
            with write_aside(tmp_path / "x.txt") as aside:
                aside.write_text(text * 1000)

    threads = [threading.Thread(target=write, args=(letter,)) for letter in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=30)
    assert len(set((tmp_path / "x.txt").read_text())) == 1 and os.listdir(tmp_path) == ["x.txt"]


def test_folders_are_refused(tmp_path):
    with pytest.raises(IsADirectoryError), write_aside(tmp_path):
        pass


@posix
@pytest.mark.skipif(hasattr(os, "getuid") and os.getuid() == 0, reason="root may write everything")
def test_write_protected_files_are_refused(tmp_path):
    path = tmp_path / "labels.csv"
    path.write_text("old")
    path.chmod(0o440)
    with pytest.raises(PermissionError), write_aside(path):
        pass
    assert path.read_text() == "old"


@posix
def test_what_a_killed_process_left_is_removed(tmp_path):
    code = (
        "import os, signal, sys\nfrom speechtools.core.files import write_aside\n"
        "with write_aside(sys.argv[1]) as aside:\n"
        "    aside.write_text('half'); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "a.csv")], check=False, timeout=60)
    assert len(os.listdir(tmp_path)) == 1
    (tmp_path / ".mine.part").write_text("a file of another program")
    with write_aside(tmp_path / "b.csv") as running:
        running.write_text("b")
        with write_aside(tmp_path / "a.csv") as aside:
            aside.write_text("a")
    assert sorted(os.listdir(tmp_path)) == [".mine.part", "a.csv", "b.csv"]
