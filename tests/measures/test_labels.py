"""Labels: right scores in the order of the jobs, and bad files, crashes and kills that cost only themselves."""

import csv
import faulthandler
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import runs
import soundfile

from speechtools import audio
from speechtools.core.errors import ConfigError, CorpusError, SpeechtoolsError
from speechtools.core.journal import Journal
from speechtools.measures.labels import LabelJob, add_rejected, label
from speechtools.measures.pesq import nb_from_raw, pesq_score
from tests.measures.signals import CLEAN, RATE, noisy

pytest.importorskip("pesq")
pytest.importorskip("pebble")


class Scripted:
    """A measure whose score, or misdeed, depends on the first sample of the degraded signal."""

    name, minimum, maximum, higher_is_better, sample_rates = "scripted", 0.0, 1.0, True, None

    def __init__(self, actions=None, log=os.devnull, seconds=0.0):
        self.actions, self.log, self.seconds = actions or {}, log, seconds

    def __call__(self, reference, degraded, sample_rate):
        number = round(100 * float(degraded[0]))
        with open(self.log, "a") as file:
            file.write(f"{number}\n")
        action = self.actions.get(number)
        time.sleep(60 if action == "sleep" else self.seconds)
        if isinstance(action, signal.Signals):
            faulthandler.disable()  # pytest's, which would print the stack
            os.kill(os.getpid(), action)
        elif action:
            raise action
        return number / 100


def write(path, samples):
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return path


def make_jobs(folder, count):
    """Files with more and more noise, whose first sample is their number in percent."""
    reference = write(folder / "clean.wav", CLEAN)
    degraded = [np.r_[number / 100, noisy(CLEAN, 0.002 * (number + 1))[1:]] for number in range(count)]
    return [LabelJob(f"good{n}", reference, write(folder / f"good{n}.wav", d)) for n, d in enumerate(degraded)]


def direct(job):
    return pesq_score(soundfile.read(job.reference)[0], soundfile.read(job.degraded)[0], RATE)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reasons(folder):
    return {row["id"]: row["reason"] for row in rows(folder / "rejected.csv")}


def journal_lines(output):
    return Path(f"{output}.journal").read_text().splitlines()


def run(jobs, output, measure="raw_nb", **options):
    return label(jobs, output, measure, **{"num_workers": 2, "progress": False, **options})


def test_labels_equal_direct_calls_in_the_order_of_the_jobs(tmp_path, capfd):
    jobs = make_jobs(tmp_path, 5)
    scores = run(jobs, tmp_path / "out" / "labels.csv", progress=True)
    assert "5/5" in capfd.readouterr().err
    assert list(scores) == [job.item_id for job in jobs]
    assert scores == pytest.approx({job.item_id: direct(job) for job in jobs}, abs=1e-5)
    table = [(row["id"], row["measure"], float(row["score"])) for row in rows(tmp_path / "out" / "labels.csv")]
    assert table == [(name, "pesq-raw", score) for name, score in scores.items()]


@pytest.mark.parametrize("measure", ["stoi", "wb"])
def test_any_measure_labels_at_its_rate(tmp_path, measure):
    scores = run(make_jobs(tmp_path, 4), tmp_path / "labels.csv", measure, sample_rate=32000)
    assert list(scores.values()) == sorted(scores.values(), reverse=True), "more noise scores lower"


@pytest.mark.parametrize("measure", ["raw_nb", "wb", "stoi"])
@pytest.mark.parametrize("rate", [8000, 11025, 44100])
def test_files_of_another_rate_than_their_reference_are_labelled(tmp_path, measure, rate):
    jobs = []
    for length in range(4):  # an odd number of samples at one of the rates
        reference = write(tmp_path / f"clean{length}.wav", CLEAN[: len(CLEAN) - length])
        degraded = tmp_path / f"degraded{length}.wav"
        audio.write(degraded, audio.read(reference, rate), rate)
        jobs.append(LabelJob(f"{length}", reference, degraded))
    scores = run(jobs, tmp_path / "labels.csv", measure, sample_rate=rate)
    best = {"raw_nb": 4.5, "wb": 4.644, "stoi": 1.0}[measure]
    assert scores == pytest.approx({job.item_id: best for job in jobs}, abs=0.05)


def test_bad_files_are_rejected_with_their_reasons(tmp_path, caplog):
    good = make_jobs(tmp_path, 2)
    long = write(tmp_path / "long.wav", np.tile(CLEAN, 240)[: 300 * RATE])
    (tmp_path / "text.wav").write_text("no audio at all")
    bad = [
        LabelJob("degraded signal is silent", good[0].reference, write(tmp_path / "silent.wav", 0 * CLEAN)),
        LabelJob("lasts 30[0-9] s", long, long),
        LabelJob("nowhere.wav", good[0].reference, tmp_path / "nowhere.wav"),
        LabelJob("text.wav", good[0].reference, tmp_path / "text.wav"),
    ]
    assert list(run([good[0], *bad, good[1]], tmp_path / "labels.csv")) == ["good0", "good1"]
    rejected = reasons(tmp_path)
    assert list(rejected) == [job.item_id for job in bad]
    assert all(re.search(name, reason) for name, reason in rejected.items()), rejected
    assert "4 of 6 files" in caplog.text
    add_rejected(tmp_path / "rejected.csv", {"unmade": "no noise"})
    assert reasons(tmp_path) == rejected | {"unmade": "no noise"}
    write(tmp_path / "nowhere.wav", CLEAN)  # scored once it is there
    assert run([good[0], *bad, good[1]], tmp_path / "labels.csv").keys() == {"good0", "good1", "nowhere.wav"}


def test_a_crash_a_hang_and_an_unforeseen_error_cost_only_their_files(tmp_path):
    jobs, output = make_jobs(tmp_path, 7), tmp_path / "labels.csv"
    fragile = Scripted({1: signal.SIGKILL, 2: signal.SIGSEGV, 3: "sleep", 4: MemoryError("no room")})
    assert list(run(jobs, output, fragile, timeout_s=2.0)) == ["good0", "good5", "good6"]
    rejected = reasons(tmp_path)
    assert "signal 9" in rejected["good1"] and "signal 11" in rejected["good2"] and "2 s" in rejected["good3"]
    assert "MemoryError: no room" in rejected["good4"]
    # A crash is not tried again, an unforeseen error is, and a hang with more time.
    assert list(run(jobs, output, Scripted(), timeout_s=2.0)) == ["good0", "good4", "good5", "good6"]
    assert list(run(jobs, output, Scripted(), timeout_s=30.0)) == ["good0", "good3", "good4", "good5", "good6"]


@pytest.mark.parametrize(
    "options, token",
    [({"measure": "raw"}, "raw_nb"), ({"measure": "mos"}, "labels: corpus"), ({"num_workers": 0}, "num_workers=0")],
)
def test_bad_options(tmp_path, options, token):
    with pytest.raises(ConfigError, match=token):
        run(make_jobs(tmp_path, 1), tmp_path / "labels.csv", **options)


def test_no_jobs_give_empty_tables_and_ids_must_be_unique(tmp_path):
    output = tmp_path / "labels.csv"
    assert run([], output) == {} and rows(output) == rows(tmp_path / "rejected.csv") == []
    with pytest.raises(CorpusError, match="'good0'"):
        run(make_jobs(tmp_path, 1) * 2, output)


@pytest.mark.parametrize("package", ["pesq", "pebble"])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SpeechtoolsError, match=rf"'{package}'.*speechtools\[recipes\]"):
        run(make_jobs(tmp_path, 1), tmp_path / "labels.csv")


# ---------------------------------------------------------------------------------------------------------- resuming


def test_a_complete_set_starts_and_writes_nothing(tmp_path, monkeypatch):
    jobs, output = make_jobs(tmp_path, 3), tmp_path / "labels.csv"
    first = run(jobs, output, Scripted())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    monkeypatch.setattr("pebble.ProcessPool", None)
    assert run(jobs, output, Scripted()) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_other_files_and_measures_never_get_stale_labels(tmp_path):
    jobs, output = make_jobs(tmp_path, 3), tmp_path / "labels.csv"
    raw = run(jobs, output)
    mapped = run(jobs, output, "nb")
    assert list(mapped.values()) == pytest.approx(nb_from_raw(list(raw.values())), abs=1e-6)
    assert {row["measure"] for row in rows(output)} == {"pesq-nb"}
    assert run(jobs, output) == raw
    assert len(journal_lines(output)) == 6, "both measures are remembered"
    write(jobs[1].degraded, noisy(CLEAN, 0.2))  # of the same size
    os.utime(jobs[1].degraded, ns=(1, 1))
    assert run(jobs, output)["good1"] == pytest.approx(direct(jobs[1]), abs=1e-5) != raw["good1"]
    assert len(journal_lines(output)) == 7
    swapped = [LabelJob("good0", jobs[0].reference, jobs[2].degraded)]
    assert run(swapped, output)["good0"] == pytest.approx(raw["good2"], abs=1e-6)


def test_torn_lines_are_skipped(tmp_path):
    jobs, output = make_jobs(tmp_path, 3), tmp_path / "labels.csv"
    scores = run(jobs, output, Scripted())
    journal = Path(f"{output}.journal")
    kept = journal.read_bytes().splitlines(keepends=True)[:2]
    journal.write_bytes(b"".join(kept) + b'{"key": "ab"}\n[1]\n3\n\n\x00\xff\x00\n{"key": "ab')
    assert run(jobs, output, Scripted()) == scores
    valid = [line for line in journal.read_bytes().splitlines() if b"outcome" in line]
    assert {json.loads(line)["id"] for line in valid} == set(scores) and len(valid) == 3


def test_a_score_beyond_the_range_is_not_believed(tmp_path):
    jobs, output = make_jobs(tmp_path, 3), tmp_path / "labels.csv"
    scores = run(jobs, output, Scripted())
    journal = Path(f"{output}.journal")
    journal.write_text(journal.read_text().replace('"outcome": 0.01', '"outcome": 9.9'))
    assert run(jobs, output, Scripted()) == scores


def test_kill_9_midway_then_resume_scores_nothing_twice(tmp_path):
    make_jobs(tmp_path, 40)
    script = f"""
import sys
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parents[2])!r}, {str(Path(runs.__file__).parent)!r}]
from tests.measures.test_labels import *
folder = Path({str(tmp_path)!r})
jobs = [LabelJob(f"good{{n}}", folder / "clean.wav", folder / f"good{{n}}.wav") for n in range(40)]
print(len(run(jobs, folder / "labels.csv", Scripted(log=folder / "calls.log", seconds=float(sys.argv[1])))))
"""
    output, log = tmp_path / "labels.csv", tmp_path / "calls.log"
    with subprocess.Popen([sys.executable, "-c", script, "0.1"], stdout=subprocess.PIPE) as process:
        deadline = time.monotonic() + 60
        while not Path(f"{output}.journal").exists() or len(journal_lines(output)) < 8:
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.01)
        process.kill()
        process.communicate(timeout=20)
    time.sleep(0.5)  # the workers end by themselves once their parent is gone
    finished = len(journal_lines(output))
    assert 8 <= finished < 40 and not output.exists()
    # A worker may have been inside a file, and one result in the pipe.
    assert len(log.read_text().splitlines()) <= finished + 2 * 2
    log.unlink()
    second = runs.call([sys.executable, "-c", script, "0"])
    assert second.stdout.strip() == "40", second.stderr
    assert len(log.read_text().splitlines()) == 40 - finished
    assert len(rows(output)) == 40


def test_ctrl_c_ends_quickly_and_keeps_the_journal(tmp_path, monkeypatch):
    jobs, output = make_jobs(tmp_path, 6), tmp_path / "labels.csv"
    add = Journal.add

    def add_then_interrupt(self, *args, **details):
        add(self, *args, **details)
        if len(journal_lines(output)) == 2:
            signal.raise_signal(signal.SIGINT)

    start = time.monotonic()
    # A process that a shell started in the background ignores Ctrl-C.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="^$"):
        patch.setattr(Journal, "add", add_then_interrupt)
        run(jobs, output, Scripted(dict.fromkeys(range(2, 6), "sleep")))
    signal.signal(signal.SIGINT, handler)
    assert time.monotonic() - start < 10
    assert len(journal_lines(output)) == 2 and not output.exists()
    assert len(run(jobs, output, Scripted())) == len(journal_lines(output)) == 6


def test_a_full_disk_keeps_finished_files_and_a_rerun_continues(tmp_path, monkeypatch):
    jobs, output = make_jobs(tmp_path, 4), tmp_path / "labels.csv"
    write_line = Journal._write

    def full(self, line):
        if len(journal_lines(output)) >= 2:
            self._file.write(line[:20])
            raise OSError(28, "No space left on device")
        write_line(self, line)

    with monkeypatch.context() as patch, pytest.raises(CorpusError, match="disk is full. 2 of 4 files"):
        patch.setattr(Journal, "_write", full)
        run(jobs, output, Scripted())
    assert not output.exists()
    assert len(run(jobs, output, Scripted())) == 4
    assert len(journal_lines(output)) == 5  # two, the torn one, and two more
