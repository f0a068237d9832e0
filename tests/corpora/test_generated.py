"""Laws of both generated corpora: the same bytes, resuming, the manifest, errors."""

import dataclasses
import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from speechtools.core.errors import ConfigError, CorpusError, SpeechtoolsError
from speechtools.core.rows import read_rows
from speechtools.corpora import _generated
from tests.corpora.layouts import SMALL, generate

pytest.importorskip("espeakng_loader")
every_corpus = pytest.mark.parametrize("name", SMALL)


def contents(folder):
    """All files but the list of checksums, which has their times."""
    paths = [path for path in sorted(Path(folder).rglob("*")) if path.is_file() and path.name != "checksums.json"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


@every_corpus
def test_the_bytes_depend_on_the_seed_and_not_on_the_number_of_workers(name, builtin_cache, tmp_path):
    utterances = generate(name)
    generate(name, tmp_path, num_workers=2)
    (copy,) = tmp_path.iterdir()
    folder = builtin_cache / copy.name
    assert contents(copy) == contents(folder) and "SYNTHETIC" in (folder / "README.txt").read_text()
    rows = [dataclasses.astuple(row) for row in read_rows(folder / "manifest.csv", _generated.SpokenRow)]
    assert rows == [(u.utt_id, u.speaker, u.split, u.path.relative_to(folder), u.duration, u.text) for u in utterances]
    others = generate(name, tmp_path, seed=1)
    assert len(others) == len(utterances)
    assert not {u.path.read_bytes() for u in others} & {u.path.read_bytes() for u in utterances}


@every_corpus
def test_only_missing_files_are_made_again(name, builtin_cache, tmp_path, monkeypatch):
    utterances = generate(name, tmp_path)
    (folder,) = tmp_path.iterdir()
    missing, cut = (utterance.path for utterance in utterances[:2])
    missing.unlink()
    cut.write_bytes(cut.read_bytes()[:5000])
    (folder / "manifest.csv").unlink()
    (missing.parent / f".{missing.name}.1.part").write_bytes(b"torn")  # of a killed process
    made, write_audio = [], _generated.write_audio
    monkeypatch.setattr(_generated, "write_audio", lambda path, wave: made.append(path) or write_audio(path, wave))
    assert generate(name, tmp_path) == utterances and sorted(made) == sorted([missing, cut])
    whole = {file: data for file, data in contents(folder).items() if not file.endswith(".part")}
    assert whole == contents(builtin_cache / folder.name)
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)  # a complete corpus needs no synthesizer
    assert generate(name, tmp_path) == utterances and len(made) == 2
    with pytest.raises(SpeechtoolsError, match=r'pip install "speechtools\[recipes\]"'):
        generate(name, tmp_path, seed=2)


def test_a_missing_transcript_is_made_again(builtin_cache, tmp_path):
    generate("builtin", tmp_path)[3].path.with_suffix(".TXT").unlink()
    generate("builtin", tmp_path)
    (folder,) = tmp_path.iterdir()
    assert contents(folder) == contents(builtin_cache / folder.name)


@pytest.mark.skipif(sys.platform != "linux", reason="the workers are forked on Linux only")
def test_a_killed_run_leaves_no_worker_and_is_resumed(tmp_path):
    options = {"num_train_speakers": 14, "num_test_speakers": 1, "num_workers": 2}
    code = f"from speechtools.corpora.builtin import builtin; builtin({str(tmp_path)!r}, **{options})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.rglob("*.WAV")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.communicate(timeout=20)  # returns when every worker has closed the pipe
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("S*.WAV")}
    assert 0 < len(kept) < 150 and not list(tmp_path.rglob("manifest.csv"))
    assert len(generate("builtin", tmp_path, **options)) == 150
    assert all(path.stat().st_mtime_ns == modified for path, modified in kept.items())


def test_after_a_full_disk_the_files_made_are_kept(tmp_path, monkeypatch):
    write_bytes = Path.write_bytes

    def full(path, data):
        if "SX" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CorpusError, match=r"builtin-\w+: No space left on device; it needs about 4 MB"):
        generate("builtin", tmp_path, num_workers=2)
    kept = {file: data for file, data in contents(tmp_path).items() if file.endswith("WAV")}
    assert kept and not any("part" in file or "manifest" in file for file in contents(tmp_path))
    monkeypatch.undo()
    assert len(generate("builtin", tmp_path)) == 30 and kept.items() <= contents(tmp_path).items()


def test_the_cache_folder(monkeypatch, tmp_path):
    assert _generated.cache_folder(tmp_path) == tmp_path
    monkeypatch.setenv("SPEECHTOOLS_CACHE", str(tmp_path / "cache"))
    assert _generated.cache_folder(None) == tmp_path / "cache"
    monkeypatch.delenv("SPEECHTOOLS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _generated.cache_folder(None) == tmp_path / ".cache" / "speechtools"


@pytest.mark.parametrize(
    "name, option, value",
    [
        ("builtin", "seed", -1),
        ("builtin-keywords", "test_renditions", 0),
        ("builtin-keywords", "keywords", "OK Google"),
        ("builtin-keywords", "source", "a/b"),
    ],
)
def test_impossible_options(name, option, value, tmp_path):
    with pytest.raises(ConfigError, match=option):
        generate(name, tmp_path, **{option: value})
    assert not list(tmp_path.iterdir())
