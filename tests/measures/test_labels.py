"""Labels: right scores in the order of the jobs, and bad files, crashes and kills that cost only themselves."""

import csv
import faulthandler
import json
import logging
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

from speechtools.core.errors import ConfigError, CorpusError, SpeechtoolsError
from speechtools.core.jobs import Journal
from speechtools.measures.labels import LabelJob, add_rejected, label
from speechtools.measures.pesq import nb_from_raw, pesq_score
from tests.measures.signals import CLEAN, CLICK, NOISY, RATE, noisy, syllables

pytest.importorskip("pesq")
pytest.importorskip("pebble")


class Scripted:
    """A measure whose score, or misdeed, depends on the first sample of the degraded signal."""

    name, minimum, maximum, higher_is_better, sample_rates = "scripted", 0.0, 1.0, True, None

    def __init__(self, actions=None, log=None, seconds=0.0):
        self.actions, self.log, self.seconds = actions or {}, log, seconds

    def __call__(self, reference, degraded, sample_rate):
        number = round(100 * float(degraded[0]))
        time.sleep(self.seconds)
        if self.log:
            with open(self.log, "a") as file:
                file.write(f"{number}\n")
        action = self.actions.get(number)
        if action == "sleep":
            time.sleep(60)
        elif isinstance(action, signal.Signals):
            faulthandler.disable()  # pytest's, which would print the stack
            os.kill(os.getpid(), action)
        elif action:
            raise action
        return number / 100


def numbered_jobs(folder, count):
    jobs = []
    for number in range(count):
        made = LabelJob(f"good{number}", folder / "clean.wav", folder / f"good{number}.wav")
        soundfile.write(made.reference, CLEAN, RATE, subtype="FLOAT")
        soundfile.write(made.degraded, np.r_[number / 100, CLEAN[1:]], RATE, subtype="FLOAT")
        jobs.append(made)
    return jobs


def job(folder, name, reference=CLEAN, degraded=NOISY, sample_rate=RATE):
    made = LabelJob(name, folder / f"{name}-clean.wav", folder / f"{name}-noisy.wav")
    for path, samples in ((made.reference, reference), (made.degraded, degraded)):
        soundfile.write(path, samples, sample_rate, subtype="FLOAT")
    return made


def good_jobs(folder, count):
    return [job(folder, f"good{index}", degraded=noisy(CLEAN, 0.001 * 2**index)) for index in range(count)]


def direct(made):
    return pesq_score(soundfile.read(made.reference)[0], soundfile.read(made.degraded)[0], RATE)


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reasons(folder):
    return {row["id"]: row["reason"] for row in rows(folder / "rejected.csv")}


def journal_lines(output):
    return Path(f"{output}.journal").read_text().splitlines()


def run(jobs, output, measure="raw_nb", **options):
    return label(jobs, output, measure, **{"num_workers": 2, "progress": False, **options})


def test_labels_equal_direct_calls_in_the_order_of_the_jobs(tmp_path):
    jobs = good_jobs(tmp_path, 5)
    scores = run(jobs, tmp_path / "out" / "labels.csv")
    assert list(scores) == [made.item_id for made in jobs]
    assert scores == pytest.approx({made.item_id: direct(made) for made in jobs}, abs=1e-5)
    table = rows(tmp_path / "out" / "labels.csv")
    assert [(row["id"], row["measure"], float(row["score"])) for row in table] == [
        (name, "pesq-raw", score) for name, score in scores.items()
    ]
    assert rows(tmp_path / "out" / "rejected.csv") == []


@pytest.mark.parametrize("measure", ["stoi", "si-sdr"])
def test_any_measure_labels(tmp_path, measure):
    scores = run(good_jobs(tmp_path, 4), tmp_path / "labels.csv", measure)
    assert list(scores.values()) == sorted(scores.values(), reverse=True), "more noise scores lower"


def test_bad_files_are_rejected_with_their_reasons(tmp_path, caplog):
    good = good_jobs(tmp_path, 2)
    long = np.tile(CLEAN, 240)[: 300 * RATE]
    bad = {
        "silent-degraded": (job(tmp_path, "silent-degraded", degraded=0 * CLEAN), "degraded signal is silent"),
        "short": (job(tmp_path, "short", CLEAN[:3000], NOISY[:3000]), "at least 0.25 s"),
        "no-speech": (job(tmp_path, "no-speech", CLICK), "no speech in the"),
        "mismatch": (job(tmp_path, "mismatch", degraded=NOISY[:-160]), "length mismatch"),
        "nan": (job(tmp_path, "nan", degraded=np.where(np.arange(len(CLEAN)) == 900, np.nan, CLEAN)), "NaN"),
        "long": (job(tmp_path, "long", long, long), "lasts 30[0-9] s"),
        "missing": (LabelJob("missing", good[0].reference, tmp_path / "nowhere.wav"), "nowhere.wav"),
        "text": (LabelJob("text", good[0].reference, tmp_path / "text.wav"), "text.wav"),
        "cut": (LabelJob("cut", good[0].reference, tmp_path / "cut.flac"), "cut.flac"),
    }
    (tmp_path / "text.wav").write_text("no audio at all")
    soundfile.write(tmp_path / "whole.flac", NOISY.clip(-1, 1), RATE)
    whole = (tmp_path / "whole.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
    with caplog.at_level(logging.WARNING):
        scores = run([good[0], *(made for made, _ in bad.values()), good[1]], tmp_path / "labels.csv")
    assert scores == pytest.approx({made.item_id: direct(made) for made in good}, abs=1e-5)
    rejected = reasons(tmp_path)
    assert set(rejected) == set(bad)
    for name, (_, reason) in bad.items():
        assert re.search(reason, rejected[name]), (name, rejected[name])
    assert f"{len(bad)} of {len(bad) + 2} files" in caplog.text
    add_rejected(tmp_path / "rejected.csv", {"unmade": "no noise"})
    assert reasons(tmp_path) == rejected | {"unmade": "no noise"}


def test_other_rates_are_resampled(tmp_path):
    clean = syllables(2, sample_rate=32000)
    scores = run([job(tmp_path, "fast", clean, clean, 32000)], tmp_path / "labels.csv", sample_rate=32000)
    assert scores["fast"] == pytest.approx(4.5, abs=1e-3)


def test_a_crash_and_a_hang_cost_only_their_files(tmp_path):
    jobs, output = numbered_jobs(tmp_path, 6), tmp_path / "labels.csv"
    fragile = Scripted({1: signal.SIGKILL, 2: signal.SIGSEGV, 3: "sleep"})
    start = time.monotonic()
    scores = run(jobs, output, fragile, timeout_s=2.0)
    assert time.monotonic() - start < 20
    assert list(scores) == ["good0", "good4", "good5"]
    rejected = reasons(tmp_path)
    assert "signal 9" in rejected["good1"] and "signal 11" in rejected["good2"] and "2 s" in rejected["good3"]
    sound = Scripted()
    assert run(jobs, output, sound, timeout_s=2.0) == scores  # a crash is not tried again,
    longer = run(jobs, output, sound, timeout_s=30.0)  # but a hang is, with more time
    assert list(longer) == ["good0", "good3", "good4", "good5"]


def test_an_unforeseen_error_is_tried_again_by_the_next_run(tmp_path):
    jobs, output = numbered_jobs(tmp_path, 2), tmp_path / "labels.csv"
    assert list(run(jobs, output, Scripted({1: MemoryError("no room")}))) == ["good0"]
    assert "MemoryError: no room" in reasons(tmp_path)["good1"]
    assert list(run(jobs, output, Scripted())) == ["good0", "good1"]
    assert reasons(tmp_path) == {}


@pytest.mark.parametrize(
    "options, error, token",
    [
        ({"measure": "raw"}, ConfigError, "raw_nb"),
        ({"measure": "mos"}, ConfigError, "labels: corpus"),
        ({"num_workers": 0}, ConfigError, "num_workers=0"),
        ({"timeout_s": 0}, ConfigError, "timeout_s=0"),
    ],
)
def test_bad_options(tmp_path, options, error, token):
    with pytest.raises(error, match=token):
        run(numbered_jobs(tmp_path, 1), tmp_path / "labels.csv", **options)


def test_ids_must_be_unique(tmp_path):
    with pytest.raises(CorpusError, match="'good0'"):
        run(numbered_jobs(tmp_path, 1) * 2, tmp_path / "labels.csv")


def test_no_jobs_give_empty_tables(tmp_path):
    assert run([], tmp_path / "labels.csv") == {}
    assert rows(tmp_path / "labels.csv") == rows(tmp_path / "rejected.csv") == []


@pytest.mark.parametrize("package", ["pesq", "pebble"])
def test_a_missing_package_is_named_with_its_extra(tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SpeechtoolsError, match=rf"'{package}'.*speechtools\[recipes\]"):
        run(good_jobs(tmp_path, 1), tmp_path / "labels.csv")


def test_the_progress_bar_counts_every_file(tmp_path, capfd):
    run(numbered_jobs(tmp_path, 3), tmp_path / "labels.csv", Scripted(), progress=True)
    assert "3/3" in capfd.readouterr().err


# ---------------------------------------------------------------------------------------------------------- resuming


def test_a_complete_set_starts_and_writes_nothing(tmp_path, monkeypatch):
    jobs, output = numbered_jobs(tmp_path, 3), tmp_path / "labels.csv"
    first = run(jobs, output, Scripted())
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    monkeypatch.setattr("pebble.ProcessPool", None)
    assert run(jobs, output, Scripted()) == first
    assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


def test_other_files_and_measures_never_get_stale_labels(tmp_path):
    jobs, output = good_jobs(tmp_path, 3), tmp_path / "labels.csv"
    raw = run(jobs, output)
    mapped = run(jobs, output, "nb")
    assert list(mapped.values()) == pytest.approx(nb_from_raw(list(raw.values())), abs=1e-6)
    assert {row["measure"] for row in rows(output)} == {"pesq-nb"}
    assert run(jobs, output) == raw
    assert len(journal_lines(output)) == 6, "both measures are remembered"

    soundfile.write(jobs[1].degraded, noisy(CLEAN, 0.2), RATE, subtype="FLOAT")  # of the same size
    os.utime(jobs[1].degraded, ns=(1, 1))
    again = run(jobs, output)
    assert len(journal_lines(output)) == 7
    assert again["good1"] == pytest.approx(direct(jobs[1]), abs=1e-5) != raw["good1"]
    swapped = [LabelJob("good0", jobs[0].reference, jobs[2].degraded)]
    assert run(swapped, output)["good0"] == pytest.approx(raw["good2"], abs=1e-6)


def test_a_missing_file_is_scored_once_it_is_there(tmp_path):
    jobs, output = numbered_jobs(tmp_path, 1), tmp_path / "labels.csv"
    late = LabelJob("late", jobs[0].reference, tmp_path / "late.wav")
    assert list(run([*jobs, late], output, Scripted())) == ["good0"]
    soundfile.write(late.degraded, CLEAN, RATE)
    assert list(run([*jobs, late], output, Scripted())) == ["good0", "late"]
    assert reasons(tmp_path) == {}


@pytest.mark.parametrize("tail", [b'{"key": "ab', b"\x00\xff\x00", b'{"key": "ab"}\n', b"[1]\n", b"3\n\n"])
def test_a_torn_line_is_skipped(tmp_path, tail):
    jobs, output = numbered_jobs(tmp_path, 3), tmp_path / "labels.csv"
    scores = run(jobs, output, Scripted())
    journal = Path(f"{output}.journal")
    kept = journal.read_bytes().splitlines(keepends=True)[:2]
    journal.write_bytes(b"".join(kept) + tail)
    assert run(jobs, output, Scripted()) == scores
    valid = [line for line in journal.read_bytes().splitlines() if b"outcome" in line]
    assert {json.loads(line)["id"] for line in valid} == set(scores) and len(valid) == 3


def test_kill_9_midway_then_resume_scores_nothing_twice(tmp_path):
    numbered_jobs(tmp_path, 40)
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
    journal = Path(f"{output}.journal")
    process = subprocess.Popen([sys.executable, "-c", script, "0.1"], stdout=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 60
        while not journal.exists() or len(journal.read_bytes().splitlines()) < 8:
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.01)
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate(timeout=20)
    time.sleep(0.5)  # the workers end by themselves once their parent is gone
    assert not output.exists()
    finished = len(journal_lines(output))
    assert 8 <= finished < 40
    # A worker may have been inside a file, and one result in the pipe.
    assert len(log.read_text().splitlines()) <= finished + 2 * 2
    log.unlink()
    second = runs.call([sys.executable, "-c", script, "0"])
    assert second.stdout.strip() == "40", second.stderr
    assert len(log.read_text().splitlines()) == 40 - finished
    assert len(rows(output)) == 40


def test_ctrl_c_ends_quickly_and_keeps_the_journal(tmp_path, monkeypatch):
    jobs, output = numbered_jobs(tmp_path, 6), tmp_path / "labels.csv"
    slow = Scripted(dict.fromkeys(range(2, 6), "sleep"))
    add = Journal.add

    def add_then_interrupt(self, *args, **details):
        add(self, *args, **details)
        if len(journal_lines(output)) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    start = time.monotonic()
    # A process that a shell started in the background ignores Ctrl-C.
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt, match="^$"):
            patch.setattr(Journal, "add", add_then_interrupt)
            run(jobs, output, slow)
    finally:
        signal.signal(signal.SIGINT, handler)
    assert time.monotonic() - start < 10
    assert len(journal_lines(output)) == 2
    assert not output.exists()
    assert len(run(jobs, output, Scripted())) == len(journal_lines(output)) == 6


def test_a_full_disk_keeps_finished_files_and_a_rerun_continues(tmp_path, monkeypatch):
    jobs, output = numbered_jobs(tmp_path, 4), tmp_path / "labels.csv"
    write = Journal._write

    def full(self, line):
        if len(journal_lines(output)) >= 2:
            self._file.write(line[:20])
            raise OSError(28, "No space left on device")
        write(self, line)

    with monkeypatch.context() as patch:
        patch.setattr(Journal, "_write", full)
        with pytest.raises(CorpusError, match="disk is full. 2 of 4 files"):
            run(jobs, output, Scripted())
    assert not output.exists()
    assert len(run(jobs, output, Scripted())) == 4
    assert len(journal_lines(output)) == 5  # two, the torn one, and two more


def test_a_place_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CorpusError, match="Cannot write the labels"):
        run(numbered_jobs(tmp_path, 1), tmp_path / "file" / "labels.csv", Scripted())
