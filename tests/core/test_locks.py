"""The lock around reading, changing and writing a file."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

import pytest

from speechtools.core import locks
from speechtools.core.errors import ConfigError


def add_ones(path, times):
    for _ in range(times):
        with locks.locked(path):
            count = int(path.read_text())
            time.sleep(0.0005)
            path.write_text(str(count + 1))


def test_no_change_of_several_processes_is_lost(tmp_path):
    path = tmp_path / "count.txt"
    path.write_text("0")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=add_ones, args=(path, 50)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert path.read_text() == "200" and os.listdir(tmp_path) == ["count.txt"]


@pytest.mark.skipif(locks.fcntl is None, reason="kernel locks of POSIX")
def test_a_lock_ends_with_its_process_and_has_a_time_limit(tmp_path):
    path = tmp_path / "voices.npz"
    program = (
        "import sys, time\nfrom speechtools.core.locks import locked\n"
        "with locked(sys.argv[1]):\n    print('locked', flush=True)\n    time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program, path], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(ConfigError, match="Another process has locked"), locks.locked(path, timeout=0.1):
            pass
        process.send_signal(signal.SIGKILL)
        process.wait(30)
    assert os.listdir(tmp_path) == [".voices.npz.lock"]
    with locks.locked(path, timeout=10):
        assert os.listdir(tmp_path) == [".voices.npz.lock"]
    assert os.listdir(tmp_path) == []


def test_the_lock_of_a_link_is_that_of_its_target_and_a_failure_unlocks(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "new" / "target")
    with pytest.raises(ZeroDivisionError), locks.locked(tmp_path / "link"):
        assert os.listdir(tmp_path / "new") == [".target.lock"]
        raise ZeroDivisionError
    assert os.listdir(tmp_path / "new") == []
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"), locks.locked(tmp_path / "file" / "voices.npz"):
        pass


@pytest.mark.skipif(locks.fcntl is None, reason="kernel locks of POSIX")
def test_a_file_system_without_locks_gives_a_warning(tmp_path, monkeypatch):
    def flock(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(locks.fcntl, "flock", flock)
    with pytest.warns(UserWarning, match="no file locks"), locks.locked(tmp_path / "voices.npz"):
        pass
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(locks.fcntl is None, reason="kernel locks of POSIX")
def test_the_lock_file_of_another_user_locks(tmp_path, monkeypatch):
    lock, flags, real_open = tmp_path / ".voices.npz.lock", [], os.open

    def open_read_only(path, mode, *more):
        flags.append(mode)
        if mode & os.O_RDWR:
            raise PermissionError(13, "Permission denied")
        return real_open(path, mode, *more)

    lock.touch()
    monkeypatch.setattr(os, "open", open_read_only)
    with locks.locked(tmp_path / "voices.npz"):
        assert flags == [os.O_RDWR | os.O_CREAT, os.O_RDONLY]
    assert not lock.exists()
    with pytest.raises(ConfigError, match="Permission denied"), locks.locked(tmp_path / "voices.npz"):
        pass


def test_windows_locks_with_filelock(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "fcntl", None)
    path = tmp_path / "voices.npz"
    with locks.locked(path), pytest.raises(ConfigError, match="Another process"), locks.locked(path, timeout=0.1):
        pass
    with locks.locked(tmp_path / "voices.npz", timeout=1):
        pass
