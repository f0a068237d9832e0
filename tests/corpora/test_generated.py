"""Laws of both generated corpora: the same bytes, resuming, the manifest, errors."""

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
from speechtools.corpora.builtin import builtin
from speechtools.corpora.builtin_keywords import builtin_keywords

pytest.importorskip("espeakng_loader")

SPEECH = {"num_train_speakers": 2, "num_test_speakers": 1, "num_workers": 1}
KEYWORDS = {"num_speakers": 3, "num_test_speakers": 2, "renditions": 3, "num_workers": 1}
CORPORA = {"builtin": (builtin, SPEECH), "builtin-keywords": (builtin_keywords, KEYWORDS)}


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(Path(folder).rglob("*")) if p.is_file()}


@pytest.fixture(scope="module", params=CORPORA)
def corpus(request, tmp_path_factory):
    """A generated corpus: how to make it in another folder, its folder, and its utterances."""
    reader, options = CORPORA[request.param]

    def make(folder, **changes):
        return list(reader(folder, **{**options, **changes}))

    cache = tmp_path_factory.mktemp("cache")
    utterances = make(cache)
    return make, next(cache.iterdir()), utterances


@pytest.mark.parametrize("num_workers", [1, 2])
def test_the_bytes_do_not_depend_on_the_number_of_workers(corpus, tmp_path, num_workers):
    make, folder, _ = corpus
    make(tmp_path, num_workers=num_workers)
    assert contents(tmp_path / folder.name) == contents(folder)


def test_another_seed_gives_other_bytes_and_another_folder(corpus, tmp_path):
    make, folder, utterances = corpus
    others = make(tmp_path, seed=1)
    assert len(others) == len(utterances) and next(tmp_path.iterdir()).name != folder.name
    assert not {u.path.read_bytes() for u in others} & {u.path.read_bytes() for u in utterances}


def test_only_missing_files_are_made_again(corpus, tmp_path, monkeypatch):
    make, folder, _ = corpus
    utterances = make(tmp_path)
    copy = tmp_path / folder.name
    gone, cut, mute = (utterance.path for utterance in utterances[:3])
    gone.unlink()
    cut.write_bytes(cut.read_bytes()[:5000])
    missing = [gone, cut]
    if mute.with_suffix(".TXT").exists():
        mute.with_suffix(".TXT").unlink()
        missing.append(mute)
    (copy / "manifest.csv").unlink()
    (gone.parent / f".{gone.name}.1.part").write_bytes(b"torn")  # of a killed process
    module, made = sys.modules[f"speechtools.corpora.{copy.name.split('-')[0].replace('key', 'builtin_key')}"], []
    write_audio = module.write_audio
    monkeypatch.setattr(module, "write_audio", lambda path, samples: made.append(path) or write_audio(path, samples))
    assert make(tmp_path) == utterances and sorted(made) == sorted(missing)
    assert {name: data for name, data in contents(copy).items() if not name.endswith(".part")} == contents(folder)
    made.clear()
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)  # a complete corpus needs no synthesizer
    assert make(tmp_path) == utterances and not made
    with pytest.raises(SpeechtoolsError, match=r'pip install "speechtools\[recipes\]"'):
        make(tmp_path, seed=2)


def test_the_manifest_lists_every_file_and_the_readme_says_synthetic(corpus):
    _, folder, utterances = corpus
    rows = read_rows(folder / "manifest.csv", _generated.SpokenRow)
    assert [(r.utt_id, r.speaker, r.split, folder / r.path, r.duration, r.text) for r in rows] == [
        (u.utt_id, u.speaker, u.split, u.path, u.duration, u.text) for u in utterances
    ]
    assert "SYNTHETIC" in (folder / "README.txt").read_text()


@pytest.mark.skipif(sys.platform != "linux", reason="the workers are forked on Linux only")
def test_a_killed_run_leaves_no_worker_and_is_resumed(tmp_path):
    options = {**SPEECH, "num_train_speakers": 14, "num_workers": 2}
    code = f"from speechtools.corpora.builtin import builtin; builtin({str(tmp_path)!r}, **{options})"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not list(tmp_path.rglob("*.WAV")):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.02)
        process.kill()
        process.communicate(timeout=20)  # returns when no worker holds the pipe any longer
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("S*.WAV")}
    assert 0 < len(kept) < 150 and not list(tmp_path.rglob("manifest.csv"))
    assert len(list(builtin(tmp_path, **options))) == 150
    assert all(path.stat().st_mtime_ns == modified for path, modified in kept.items())


@pytest.mark.parametrize("num_workers", [1, 2])
def test_after_a_full_disk_the_files_made_are_kept(tmp_path, monkeypatch, num_workers):
    write_bytes, options = Path.write_bytes, {**SPEECH, "num_workers": num_workers}

    def full(path, data):
        if "SX" in path.name:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return write_bytes(path, data)

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(CorpusError, match=r"builtin-\w+: No space left on device; it needs about 4 MB"):
        builtin(tmp_path, **options)
    kept = {name: data for name, data in contents(tmp_path).items() if name.endswith("WAV")}
    assert kept and not any("part" in name or "manifest" in name for name in contents(tmp_path))
    monkeypatch.undo()
    assert len(list(builtin(tmp_path, **options))) == 30 and kept.items() <= contents(tmp_path).items()


def test_a_folder_that_cannot_be_written(corpus, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CorpusError, match=r"file/\w+-\w+: Not a directory.* data_folder"):
        corpus[0](tmp_path / "file")


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("SPEECHTOOLS_CACHE", str(tmp_path / "cache"))
    assert _generated.cache_folder(None) == tmp_path / "cache"
    assert _generated.cache_folder(tmp_path / "mine") == tmp_path / "mine"
    monkeypatch.delenv("SPEECHTOOLS_CACHE")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _generated.cache_folder(None) == tmp_path / ".cache" / "speechtools"


@pytest.mark.parametrize(
    "name, option, value",
    [
        ("builtin", "num_train_speakers", 0),
        ("builtin", "num_test_speakers", 0),
        ("builtin", "seed", -1),
        ("builtin", "seed", 1.5),
        ("builtin", "num_workers", 0),
        ("builtin-keywords", "num_speakers", 0),
        ("builtin-keywords", "num_test_speakers", -1),
        ("builtin-keywords", "renditions", 0),
        ("builtin-keywords", "test_renditions", 0),
        ("builtin-keywords", "seed", 0.5),
        ("builtin-keywords", "num_workers", 0),
        ("builtin-keywords", "keywords", "OK Google"),
        ("builtin-keywords", "keywords", []),
        ("builtin-keywords", "source", "a/b"),
    ],
)
def test_impossible_options(name, option, value, tmp_path):
    reader, options = CORPORA[name]
    with pytest.raises(ConfigError, match=option):
        reader(tmp_path, **{**options, option: value})
    assert not list(tmp_path.iterdir())
