"""PESQ labels: the scales, the checks before PESQ, and labelling that survives bad files, crashes and kills."""

import csv
import faulthandler
import json
import logging
import os
import re
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
import runs
import soundfile

from speechtools.core.errors import AudioError, ConfigError, CorpusError, SpeechtoolsError
from speechtools.measures import pesq as pesq_labels
from speechtools.measures.pesq import (
    MAX_SECONDS,
    SCALES,
    LabelJob,
    label,
    nb_from_raw,
    pesq_score,
    raw_from_nb,
)

pesq = pytest.importorskip("pesq")
pytest.importorskip("pebble")
fork_only = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked, so patched, on Linux only")

RATE = 16000


def syllables(count, on_s=0.4, off_s=0.25, sample_rate=RATE):
    """Harmonic bursts with pauses between them: each is an utterance to PESQ."""
    generator = np.random.default_rng(count)
    times = np.arange(int(on_s * sample_rate)) / sample_rate
    pieces = []
    for _ in range(count):
        pitch = generator.uniform(100, 220)
        tone = sum(np.sin(2 * np.pi * pitch * k * times + generator.uniform(0, 6)) / k for k in range(1, 12))
        pieces += [0.1 * tone * np.hanning(len(times)) ** 0.3, np.zeros(int(off_s * sample_rate))]
    return np.concatenate(pieces)


def noisy(clean, level=0.01):
    return clean + level * np.random.default_rng(7).standard_normal(len(clean))


CLEAN = syllables(2)
NOISY = noisy(CLEAN)
CLICK = np.where(abs(np.arange(len(CLEAN)) - 5000) < 200, noisy(0 * CLEAN, 0.1), 0)  # 25 ms


def job(folder, name, reference=CLEAN, degraded=NOISY, sample_rate=RATE):
    made = LabelJob(name, folder / f"{name}-clean.wav", folder / f"{name}-noisy.wav")
    for path, samples in ((made.reference, reference), (made.degraded, degraded)):
        soundfile.write(path, samples, sample_rate, subtype="FLOAT")
    return made


def good_jobs(folder, count):
    return [job(folder, f"good{index}", degraded=noisy(CLEAN, 0.001 * 2**index)) for index in range(count)]


def direct(made):
    """What the package pesq says about a job, on the raw scale, by the formula of P.862.1."""
    reference, _ = soundfile.read(made.reference, dtype="float32")
    degraded, _ = soundfile.read(made.degraded, dtype="float32")
    mapped = pesq.pesq(RATE, reference, degraded, "nb")
    return (4.6607 - np.log((4.999 - mapped) / (mapped - 0.999))) / 1.4945


def rows(path):
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def reasons(folder):
    return {row["id"]: row["reason"] for row in rows(folder / "rejected.csv")}


def journal_lines(output):
    return Path(f"{output}.journal").read_text().splitlines()


def run(jobs, output, **options):
    return label(jobs, output, **{"num_workers": 2, "progress": False, **options})


class TestScales:
    @pytest.mark.parametrize("name", ["raw_nb", "nb", "wb"])
    def test_maximum_is_the_score_of_a_file_against_itself(self, name):
        assert pesq_score(CLEAN, CLEAN, RATE, name) == pytest.approx(SCALES[name].maximum, abs=1e-3)
        assert pesq_labels.scale(name) is SCALES[name]

    @pytest.mark.parametrize("name", ["raw_nb", "nb", "wb"])
    def test_a_bad_file_scores_within_the_range(self, name):
        score = pesq_score(CLEAN, noisy(CLEAN, 0.1), RATE, name)
        assert SCALES[name].minimum - 0.1 < score < 0.6 * SCALES[name].maximum

    @pytest.mark.parametrize("name, near", [("raw", "raw_nb"), ("WB", ""), ("n_b", "nb"), (3, ""), ("rawnb", "raw_nb")])
    def test_unknown_scale_names_the_nearest(self, name, near):
        with pytest.raises(ConfigError, match=f"no PESQ scale {name!r}.*{near}.*raw_nb.*nb.*wb"):
            pesq_labels.scale(name)

    def test_conversion_gives_the_figures_of_the_pesq_project(self):
        assert raw_from_nb(1.6072) == pytest.approx(1.9686, abs=1e-4)
        assert nb_from_raw(1.9686) == pytest.approx(1.6072, abs=1e-4)

    def test_conversion_maps_the_ends_of_the_range(self):
        np.testing.assert_allclose(nb_from_raw([-0.5, 4.5]), [SCALES["nb"].minimum, SCALES["nb"].maximum], atol=5e-4)

    def test_conversions_are_inverse_to_each_other(self):
        raw = np.linspace(-0.7, 4.6, 50).reshape(5, 10)
        np.testing.assert_allclose(raw_from_nb(nb_from_raw(raw)), raw, atol=1e-12)

    @pytest.mark.parametrize("value", [0.999, -0.5, 5.0, np.nan])
    def test_conversion_refuses_what_no_raw_score_maps_to(self, value):
        with pytest.raises(ConfigError, match="is no narrow-band MOS-LQO.*scale nb"):
            raw_from_nb([2.0, value])


class TestPesqScore:
    @pytest.mark.parametrize("name, mode", [("nb", "nb"), ("wb", "wb")])
    def test_equals_the_package(self, name, mode):
        assert pesq_score(CLEAN, NOISY, RATE, name) == pesq.pesq(RATE, CLEAN, NOISY, mode)

    def test_more_noise_scores_lower(self):
        scores = [pesq_score(CLEAN, noisy(CLEAN, level), RATE) for level in (0.001, 0.01, 0.1)]
        assert scores == sorted(scores, reverse=True)

    def test_8_khz(self):
        narrow = syllables(2, sample_rate=8000)
        assert pesq_score(narrow, narrow, 8000) == pytest.approx(4.5, abs=1e-3)

    @pytest.mark.parametrize(
        "reference, degraded, sample_rate, scale, reason",
        [
            (CLEAN, 0 * CLEAN, RATE, "raw_nb", "degraded signal is silent"),
            (0 * CLEAN, CLEAN, RATE, "raw_nb", "reference is silent"),
            (CLEAN[:3999], CLEAN[:3999], RATE, "nb", r"lasts 0.2499 s and PESQ needs at least 0.25 s"),
            (CLEAN[:0], CLEAN[:0], RATE, "nb", "needs at least 0.25 s"),
            (CLEAN, CLEAN[:-1], RATE, "wb", "length mismatch is scored silently wrong.*Cut or pad"),
            (CLEAN, NOISY, 44100, "nb", "8000 or 16000 Hz; got 44100 Hz"),
            (CLEAN, NOISY, 8000, "wb", "wb takes audio of 16000 Hz; got 8000 Hz"),
            (CLEAN, np.full(len(CLEAN), np.nan), RATE, "nb", "degraded signal holds NaN"),
            (np.full(len(CLEAN), np.inf), CLEAN, RATE, "nb", "reference holds NaN, infinite"),
            (CLEAN.reshape(2, -1), NOISY.reshape(2, -1), RATE, "nb", "one channel"),
            (CLICK, NOISY, RATE, "nb", "no speech in the reference"),
            (np.zeros(300 * RATE), np.zeros(300 * RATE), RATE, "nb", "lasts 300 s.*pieces of at most 60 s"),
        ],
    )
    def test_refuses(self, reference, degraded, sample_rate, scale, reason):
        with pytest.raises(AudioError, match=reason):
            pesq_score(reference, degraded, sample_rate, scale)

    def test_result_that_is_no_number_is_an_audio_error(self, monkeypatch):
        def cannot(*_):
            raise ValueError("cannot convert float NaN to integer")

        monkeypatch.setattr(pesq, "pesq", cannot)
        with pytest.raises(AudioError, match="could not score the file .cannot convert float NaN"):
            pesq_score(CLEAN, NOISY, RATE)

    @pytest.mark.parametrize(
        "error, reason", [("OutOfMemoryError", "out of memory"), ("BufferTooShortError", "0.25 s")]
    )
    def test_errors_of_the_package_are_audio_errors(self, monkeypatch, error, reason):
        def cannot(*_):
            raise getattr(pesq, error)(b"no")

        monkeypatch.setattr(pesq, "pesq", cannot)
        with pytest.raises(AudioError, match=reason):
            pesq_score(CLEAN, NOISY, RATE)

    def test_more_utterances_than_pesq_has_room_for_are_refused(self):
        words = syllables(60, 0.25, 0.22)
        assert len(words) / RATE < MAX_SECONDS
        with pytest.raises(AudioError, match="about 60 utterances .* room for 50.*at most 40"):
            pesq_score(words, noisy(words), RATE)

    def test_long_files_with_fewer_utterances_are_scored(self):
        words = syllables(35, 0.4, 0.25)
        assert len(words) / RATE > 20
        assert pesq_score(words, words, RATE) == pytest.approx(4.5, abs=1e-3)

    def test_missing_package_is_named_with_its_extra(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "pesq", None)
        with pytest.raises(SpeechtoolsError, match=r"needs? the package 'pesq'.*speechtools\[recipes\]"):
            pesq_score(CLEAN, NOISY, RATE)


class TestLabel:
    def test_equals_pesq_called_directly_in_the_order_of_the_jobs(self, tmp_path):
        jobs = good_jobs(tmp_path, 5)
        scores = run(jobs, tmp_path / "out" / "pesq.csv")
        assert list(scores) == [made.item_id for made in jobs]
        for made in jobs:
            assert scores[made.item_id] == pytest.approx(direct(made), abs=1e-6)
        table = rows(tmp_path / "out" / "pesq.csv")
        assert list(table[0]) == ["id", "scale", "pesq"]
        assert [(row["id"], row["scale"], float(row["pesq"])) for row in table] == [
            (name, "raw_nb", score) for name, score in scores.items()
        ]
        assert rows(tmp_path / "out" / "rejected.csv") == []

    def test_every_bad_file_is_rejected_with_its_reason_and_the_good_ones_scored(self, tmp_path, caplog):
        good = good_jobs(tmp_path, 3)
        long = np.tile(CLEAN, 240)[: 300 * RATE]
        bad = {
            "silent-degraded": (job(tmp_path, "silent-degraded", degraded=0 * CLEAN), "degraded signal is silent"),
            "silent-reference": (job(tmp_path, "silent-reference", reference=0 * CLEAN), "reference is silent"),
            "short": (job(tmp_path, "short", CLEAN[:3000], NOISY[:3000]), "needs at least 0.25 s"),
            "no-speech": (job(tmp_path, "no-speech", CLICK), "no speech in the"),
            "mismatch": (job(tmp_path, "mismatch", degraded=NOISY[:-160]), "length mismatch"),
            "nan": (job(tmp_path, "nan", degraded=np.where(np.arange(len(CLEAN)) == 900, np.nan, CLEAN)), "NaN"),
            "long": (job(tmp_path, "long", long, long), "lasts 30[0-9] s"),
            "missing": (LabelJob("missing", good[0].reference, tmp_path / "nowhere.wav"), "nowhere.wav does not exist"),
            "text": (LabelJob("text", good[0].reference, tmp_path / "text.wav"), "cannot be read as audio"),
            "cut": (LabelJob("cut", good[0].reference, tmp_path / "cut.flac"), "cut.flac is truncated"),
        }
        (tmp_path / "text.wav").write_text("no audio at all")
        soundfile.write(tmp_path / "whole.flac", NOISY.clip(-1, 1), RATE)
        whole = (tmp_path / "whole.flac").read_bytes()
        (tmp_path / "cut.flac").write_bytes(whole[: len(whole) // 2])
        with caplog.at_level(logging.WARNING):
            scores = run([good[0], *(made for made, _ in bad.values()), *good[1:]], tmp_path / "pesq.csv")
        assert list(scores) == ["good0", "good1", "good2"]
        assert scores == pytest.approx({made.item_id: direct(made) for made in good}, abs=1e-6)
        found = reasons(tmp_path)
        assert set(found) == set(bad)
        for name, (_, reason) in bad.items():
            assert re.search(reason, found[name]), (name, found[name])
        assert f"{len(bad)} of {len(bad) + 3} files got no PESQ label" in caplog.text

    def test_other_rates_are_resampled(self, tmp_path):
        clean = syllables(2, sample_rate=32000)
        scores = run([job(tmp_path, "fast", clean, clean, 32000)], tmp_path / "pesq.csv")
        assert scores["fast"] == pytest.approx(4.5, abs=1e-3)

    @fork_only
    def test_a_crash_and_a_hang_lose_only_their_files(self, tmp_path, monkeypatch):
        jobs = good_jobs(tmp_path, 6)
        score = pesq_labels._score_files

        def fragile(reference, degraded, scale):
            if "good1" in degraded:
                os.kill(os.getpid(), signal.SIGKILL)
            if "good2" in degraded:
                faulthandler.disable()  # pytest's, which would print the stack
                os.kill(os.getpid(), signal.SIGSEGV)
            if "good3" in degraded:
                time.sleep(60)
            return score(reference, degraded, scale)

        monkeypatch.setattr(pesq_labels, "_score_files", fragile)
        start = time.monotonic()
        scores = run(jobs, tmp_path / "pesq.csv", timeout_s=2.0)
        assert time.monotonic() - start < 20
        assert list(scores) == ["good0", "good4", "good5"]
        found = reasons(tmp_path)
        assert "the PESQ process died (signal 9)" in found["good1"]
        assert "the PESQ process died (signal 11)" in found["good2"]
        assert "did not end within 2 s" in found["good3"]

        monkeypatch.setattr(pesq_labels, "_score_files", score)
        assert run(jobs, tmp_path / "pesq.csv", timeout_s=2.0) == scores  # what was fatal is not tried again,
        longer = run(jobs, tmp_path / "pesq.csv", timeout_s=30.0)  # but a hang is, with more time
        assert list(longer) == ["good0", "good3", "good4", "good5"]

    @fork_only
    def test_an_unforeseen_error_is_tried_again_by_the_next_run(self, tmp_path, monkeypatch):
        jobs = good_jobs(tmp_path, 2)
        score = pesq_labels._score_files

        def hungry(reference, degraded, scale):
            if "good1" in degraded:
                raise MemoryError("no room")
            return score(reference, degraded, scale)

        monkeypatch.setattr(pesq_labels, "_score_files", hungry)
        assert list(run(jobs, tmp_path / "pesq.csv")) == ["good0"]
        assert "MemoryError: no room" in reasons(tmp_path)["good1"]
        monkeypatch.setattr(pesq_labels, "_score_files", score)
        assert list(run(jobs, tmp_path / "pesq.csv")) == ["good0", "good1"]
        assert reasons(tmp_path) == {}

    @fork_only
    def test_a_pool_that_breaks_is_replaced(self, tmp_path, monkeypatch):
        from concurrent.futures.process import BrokenProcessPool

        import pebble

        schedule, calls = pebble.ProcessPool.schedule, []

        def breaking(self, *args, **options):
            calls.append(1)
            if len(calls) == 3:
                raise RuntimeError("Unexpected error within the Pool")
            future = schedule(self, *args, **options)
            if len(calls) == 6:
                future.cancel()
                future.result = lambda: (_ for _ in ()).throw(BrokenProcessPool("gone"))
            return future

        monkeypatch.setattr(pebble.ProcessPool, "schedule", breaking)
        jobs = good_jobs(tmp_path, 5)
        scores = run(jobs, tmp_path / "pesq.csv")
        assert scores == pytest.approx({made.item_id: direct(made) for made in jobs}, abs=1e-6)
        assert len(calls) > 6

    @fork_only
    def test_a_pool_that_always_breaks_ends_in_one_error(self, tmp_path, monkeypatch):
        import pebble

        def breaking(*_, **__):
            raise RuntimeError("Unexpected error within the Pool")

        monkeypatch.setattr(pebble.ProcessPool, "schedule", breaking)
        with pytest.raises(CorpusError, match="could not be kept running.*Lower num_workers"):
            run(good_jobs(tmp_path, 2), tmp_path / "pesq.csv")

    def test_bad_options(self, tmp_path):
        jobs = good_jobs(tmp_path, 1)
        with pytest.raises(ConfigError, match="no PESQ scale 'raw'.*Did you mean 'raw_nb'"):
            run(jobs, tmp_path / "pesq.csv", scale="raw")
        with pytest.raises(ConfigError, match="num_workers=0"):
            run(jobs, tmp_path / "pesq.csv", num_workers=0)
        with pytest.raises(ConfigError, match="timeout_s=0"):
            run(jobs, tmp_path / "pesq.csv", timeout_s=0)
        with pytest.raises(CorpusError, match="id 'good0' is given to two files"):
            run(jobs * 2, tmp_path / "pesq.csv")

    def test_no_jobs_give_empty_tables(self, tmp_path):
        assert run([], tmp_path / "pesq.csv") == {}
        assert rows(tmp_path / "pesq.csv") == rows(tmp_path / "rejected.csv") == []

    @pytest.mark.parametrize("package", ["pesq", "pebble"])
    def test_missing_package(self, tmp_path, monkeypatch, package):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(SpeechtoolsError, match=rf"'{package}'.*speechtools\[recipes\]"):
            run(good_jobs(tmp_path, 1), tmp_path / "pesq.csv")

    def test_progress_bar_counts_every_file(self, tmp_path, capfd):
        run(good_jobs(tmp_path, 3), tmp_path / "pesq.csv", progress=True)
        assert "3/3" in capfd.readouterr().err


class TestResume:
    def test_with_everything_done_nothing_is_started_or_written(self, tmp_path, monkeypatch):
        jobs = good_jobs(tmp_path, 3)
        first = run(jobs, tmp_path / "pesq.csv")
        before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}

        def started(*_, **__):
            raise AssertionError("a pool was started")

        monkeypatch.setattr("pebble.ProcessPool", started)
        assert run(jobs, tmp_path / "pesq.csv") == first
        assert {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before

    def test_other_files_scales_and_limits_never_meet_stale_labels(self, tmp_path):
        jobs = good_jobs(tmp_path, 3)
        output = tmp_path / "pesq.csv"
        raw = run(jobs, output)
        mapped = run(jobs, output, scale="nb")
        assert list(mapped.values()) == pytest.approx(nb_from_raw(list(raw.values())), abs=1e-6)
        assert {row["scale"] for row in rows(output)} == {"nb"}
        assert len(journal_lines(output)) == 6
        assert run(jobs, output) == raw
        assert len(journal_lines(output)) == 6  # both scales are remembered
        assert [float(row["pesq"]) for row in rows(output)] == list(raw.values())

        soundfile.write(jobs[1].degraded, noisy(CLEAN, 0.2), RATE, subtype="FLOAT")  # of the same size
        os.utime(jobs[1].degraded, ns=(1, 1))
        again = run(jobs, output)
        assert len(journal_lines(output)) == 7
        assert again["good1"] == pytest.approx(direct(jobs[1]), abs=1e-6) != raw["good1"]
        assert again["good0"] == raw["good0"]

        swapped = [LabelJob("good0", jobs[0].reference, jobs[2].degraded)]
        assert run(swapped, output)["good0"] == pytest.approx(raw["good2"], abs=1e-6)

    def test_a_missing_file_is_scored_once_it_is_there(self, tmp_path):
        jobs = good_jobs(tmp_path, 1)
        late = LabelJob("late", jobs[0].reference, tmp_path / "late.wav")
        assert list(run([*jobs, late], tmp_path / "pesq.csv")) == ["good0"]
        soundfile.write(late.degraded, CLEAN, RATE)
        assert list(run([*jobs, late], tmp_path / "pesq.csv")) == ["good0", "late"]
        assert reasons(tmp_path) == {}

    @pytest.mark.parametrize("tail", [b'{"key": "ab', b"\x00\xff\x00", b'{"key": "ab"}\n', b"[1]\n", b"3\n\n"])
    def test_a_torn_line_is_skipped(self, tmp_path, tail):
        jobs = good_jobs(tmp_path, 3)
        output = tmp_path / "pesq.csv"
        scores = run(jobs, output)
        journal = Path(f"{output}.journal")
        kept = journal.read_bytes().splitlines(keepends=True)[:2]
        journal.write_bytes(b"".join(kept) + tail)
        assert run(jobs, output) == scores
        valid = [line for line in journal.read_bytes().splitlines() if line.startswith(b'{"key"') and b"pesq" in line]
        assert len(valid) == 3
        assert {json.loads(line)["id"] for line in valid} == set(scores)

    def test_kill_9_midway_then_resume_redoes_nothing(self, tmp_path):
        for made in good_jobs(tmp_path, 4):
            soundfile.write(made.degraded, CLEAN, RATE)
        script = tmp_path / "script.py"
        script.write_text(
            textwrap.dedent(
                """
                import sys, time
                from pathlib import Path
                from speechtools.measures import pesq as pesq_labels
                folder = Path(sys.argv[1])
                score = pesq_labels._score_files
                def logged(reference, degraded, scale):
                    time.sleep(float(sys.argv[2]))
                    found = score(reference, degraded, scale)
                    with open(folder / "calls.log", "a") as file:
                        file.write(degraded + "\\n")
                    return found
                pesq_labels._score_files = logged
                jobs = []
                for index in range(40):
                    link = folder / f"copy{index}.wav"
                    if not link.exists():
                        link.hardlink_to(folder / "good1-noisy.wav")
                    jobs.append(pesq_labels.LabelJob(f"copy{index}", folder / "good1-clean.wav", link))
                found = pesq_labels.label(jobs, folder / "pesq.csv", num_workers=2, progress=False)
                print(len(found))
                """
            )
        )
        output = tmp_path / "pesq.csv"
        journal = Path(f"{output}.journal")
        process = subprocess.Popen([sys.executable, script, tmp_path, "0.1"], stdout=subprocess.PIPE)
        try:
            deadline = time.monotonic() + 60
            while not journal.exists() or len(journal.read_bytes().splitlines()) < 8:
                assert time.monotonic() < deadline and process.poll() is None
                time.sleep(0.01)
        finally:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate(timeout=20)
        time.sleep(0.5)  # the workers end by themselves once their parent is gone
        assert not output.exists()
        calls = (tmp_path / "calls.log").read_text().splitlines()
        finished = len(journal_lines(output))
        assert 8 <= finished < 40
        assert len(calls) <= finished + 2 * 2  # a worker may have been inside a file, and one result in the pipe
        (tmp_path / "calls.log").unlink()
        second = runs.call([sys.executable, script, tmp_path, "0"])
        assert second.stdout.strip() == "40", second.stderr
        assert len((tmp_path / "calls.log").read_text().splitlines()) == 40 - finished
        assert len(rows(output)) == 40

    @fork_only
    def test_ctrl_c_ends_quickly_and_keeps_the_journal(self, tmp_path, monkeypatch):
        jobs = good_jobs(tmp_path, 6)
        output = tmp_path / "pesq.csv"
        score, add = pesq_labels._score_files, pesq_labels._Journal.add

        def slow(reference, degraded, scale):
            if "good0" not in degraded and "good1" not in degraded:
                time.sleep(60)
            return score(reference, degraded, scale)

        def add_then_interrupt(self, *args):
            add(self, *args)
            if len(journal_lines(output)) == 2:
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(pesq_labels, "_score_files", slow)
        monkeypatch.setattr(pesq_labels._Journal, "add", add_then_interrupt)
        start = time.monotonic()
        # A process that a shell started in the background ignores Ctrl-C.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            with pytest.raises(KeyboardInterrupt, match="^$"):
                run(jobs, output)
        finally:
            signal.signal(signal.SIGINT, handler)
        assert time.monotonic() - start < 10
        assert len(journal_lines(output)) == 2
        assert not output.exists()
        monkeypatch.setattr(pesq_labels, "_score_files", score)
        monkeypatch.setattr(pesq_labels._Journal, "add", add)
        assert len(run(jobs, output)) == 6
        assert len(journal_lines(output)) == 6

    def test_full_disk_says_what_was_kept_and_a_rerun_continues(self, tmp_path, monkeypatch):
        jobs = good_jobs(tmp_path, 4)
        output = tmp_path / "pesq.csv"
        write = pesq_labels._Journal._write

        def full(self, line):
            if len(journal_lines(output)) >= 2:
                self._file.write(line[:20])
                raise OSError(28, "No space left on device")
            write(self, line)

        monkeypatch.setattr(pesq_labels._Journal, "_write", full)
        with pytest.raises(CorpusError, match="the disk is full. 2 of 4 files are finished and kept.*run it again"):
            run(jobs, output)
        assert not output.exists()
        monkeypatch.setattr(pesq_labels._Journal, "_write", write)
        assert len(run(jobs, output)) == 4
        assert len(journal_lines(output)) == 5  # two, the torn one, and two more

    def test_a_place_that_cannot_be_written_is_one_error(self, tmp_path):
        (tmp_path / "file").write_text("")
        with pytest.raises(CorpusError, match="cannot be written beside"):
            run(good_jobs(tmp_path, 1), tmp_path / "file" / "pesq.csv")


def test_importing_takes_neither_torch_nor_the_recipe_packages():
    code = "import sys, speechtools.measures.pesq; print([m for m in sys.modules])"
    loaded = runs.call([sys.executable, "-c", code]).stdout
    for package in ("'torch'", "'speechbrain'", "'pesq'", "'pebble'"):
        assert package not in loaded
