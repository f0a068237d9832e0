"""`speechtools degrade`."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile

from speechtools import audio
from speechtools.core import registry
from speechtools.core.errors import SpeechtoolsError
from speechtools.degradations.chain import Chain, parse_chain

CHAIN = "noise(snr_db=[0, 10])+clipping(level=0.3)"
MISSING = "missing-codec"


def write(path, samples, rate=16000):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)
    return path


def contents(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*.wav")}


def group_is_running(number):
    """Whether a process of a group has not ended; without /proc, wait until it should have."""
    if not os.path.isdir("/proc"):
        time.sleep(1.5)
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it ends
            state, _, group = path.read_text().rpartition(")")[2].split()[:3]
            if int(group) == number and state != "Z":
                return True
    return False


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def clean(tone, tmp_path):
    """A folder with twelve recordings, one of them in a subfolder."""
    for number in range(11):
        write(tmp_path / "in" / f"{number:02}.wav", tone(0.5, seed=number))
    write(tmp_path / "in" / "deep" / "er.flac", tone(0.5, seed=11))
    return tmp_path / "in"


@pytest.fixture
def missing_codec(monkeypatch):
    """A degradation whose program is not installed."""

    class Missing:
        """A codec."""

        def __init__(self):
            raise SpeechtoolsError("The codec needs the program encodex. Install it.")

    monkeypatch.setitem(registry._plugins, f"degradation/{MISSING}", Missing)


def test_a_row_tells_how_to_make_its_file_again(call, clean, tmp_path):
    status, printed, _ = call("degrade", clean, tmp_path / "out", "--chain", CHAIN, "--csv", tmp_path / "out.csv")
    assert status == 0 and f"12 recordings degraded: {tmp_path / 'out'}" in printed
    assert "deep/er.wav" in contents(tmp_path / "out") and len(contents(tmp_path / "out")) == 12
    for row in rows(tmp_path / "out.csv"):
        samples = Chain(row["chain"])(audio.read(row["source"]), np.random.default_rng(int(row["seed"])))
        written, _ = soundfile.read(row["file"])
        np.testing.assert_allclose(written, samples * 10 ** (float(row["gain_db"]) / 20), atol=2e-3)
        assert row["causes"].startswith("noise") and float(row["seconds"]) == 0.5


def test_one_run_or_several_give_the_same_files(call, clean, tmp_path):
    options = ["--chain", CHAIN, "--chain", "gsm"]
    assert call("degrade", clean, tmp_path / "one", *options, "--jobs", 1)[0] == 0
    assert call("degrade", clean, tmp_path / "two", *options, "--jobs", 2)[0] == 0
    assert call("degrade", clean / "07.wav", tmp_path / "07.wav", *options)[0] == 0
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert (tmp_path / "07.wav").read_bytes() == contents(tmp_path / "one")["07.wav"]
    assert call("degrade", clean, tmp_path / "other", *options, "--seed", 1)[0] == 0
    assert contents(tmp_path / "one") != contents(tmp_path / "other")


def test_each_recording_gets_one_of_the_chains_or_every_one(call, clean, tmp_path):
    chains = ["--chain", "noise(snr_db=0)", "--chain", "noise(snr_db=20)"]
    table = tmp_path / "one.csv"
    assert call("degrade", clean, tmp_path / "one", *chains, "--csv", table)[0] == 0
    assert {row["chain"] for row in rows(table)} == {"noise(snr_db=0)", "noise(snr_db=20)"}
    assert call("degrade", clean, tmp_path / "every", *chains, "--every_chain")[0] == 0
    files = contents(tmp_path / "every")
    assert len(files) == 24 and {"noise_snr_db=0/deep/er.wav", "noise_snr_db=20/deep/er.wav"} <= set(files)
    for row in rows(table):
        name = os.path.relpath(row["file"], tmp_path / "one")
        assert contents(tmp_path / "one")[name] == files[f"noise_snr_db={row['chain'][13:-1]}/{name}"]
    # the noise is the same at both SNRs
    noises = []
    for snr in (0, 20):
        degraded, _ = soundfile.read(tmp_path / "every" / f"noise_snr_db={snr}" / "00.wav")
        noises.append(degraded - soundfile.read(clean / "00.wav")[0])
    assert np.corrcoef(noises)[0, 1] > 0.99


def test_a_codec_that_is_not_installed_leaves_the_other_chains(call, refused, clean, missing_codec, tmp_path):
    chains = ["--chain", f"clipping+{MISSING}", "--chain", "gsm"]
    status, printed, errors = call("degrade", clean, tmp_path / "every", *chains, "--every_chain")
    assert status == 1 and "12 recordings degraded" in printed
    assert errors.count("\n") == 1 and "encodex" in errors and f"clipping+{MISSING}" in errors
    assert {name.split("/")[0] for name in contents(tmp_path / "every")} == {"gsm"}
    table = tmp_path / "one.csv"
    status, _, errors = call("degrade", clean, tmp_path / "one", *chains, "--csv", table)
    assert status == 1 and errors.count("\n") == 1 and "encodex" in errors
    degraded = [row for row in rows(table) if not row["error"]]
    assert 0 < len(degraded) < 12 and {row["chain"] for row in degraded} == {"gsm"}
    assert "encodex" in refused("degrade", clean, tmp_path / "none", "--chain", MISSING)
    for wrong in ("clippin", "clipping(lvl=0.1)", "clipping(level=7)"):  # reported, although the codec comes first
        message = refused("degrade", clean, tmp_path / "none", *chains, "--chain", f"{MISSING}+{wrong}")
        assert "clippin" in message and "encodex" not in message and not (tmp_path / "none").exists()
    assert f"{MISSING}\n    A codec\n    The codec needs the program encodex" in call("degrade", "--list")[1]


@pytest.mark.parametrize(
    ("chain", "hint"),
    [
        ("gsm+clippng(level=0.3)", "clipping"),
        ("clipping(levell=0.3)", "level"),
        ("clipping(level=0.3", "missing"),
        ("clipping(level=7)", "level=7"),
    ],
)
def test_a_misspelt_chain_writes_nothing(refused, clean, tmp_path, chain, hint):
    assert hint in refused("degrade", clean, tmp_path / "out", "--chain", "gsm", "--chain", chain)
    assert not (tmp_path / "out").exists()


def test_bad_recordings_do_not_end_the_batch(call, tone, tmp_path):
    good = write(tmp_path / "in" / "good.wav", tone(0.5))
    write(tmp_path / "in" / "silent.wav", np.zeros(8000))
    write(tmp_path / "in" / "short.wav", tone(0.05))
    (tmp_path / "in" / "text.wav").write_text("no audio")
    table = tmp_path / "out.csv"
    status, printed, errors = call("degrade", tmp_path / "in", tmp_path / "out", "--chain", CHAIN, "--csv", table)
    assert status == 1 and "1 recording degraded" in printed and list(contents(tmp_path / "out")) == [good.name]
    assert errors.count("speechtools: not degraded: ") == 3 and "Traceback" not in errors
    for name, reason in (("silent", "is silent"), ("short", "is too short"), ("text", "cannot be read")):
        [message] = [row["error"] for row in rows(table) if f"{name}.wav" in row["source"]]
        assert f"{name}.wav" in message and reason in message and message in errors


def test_what_would_clip_is_scaled(call, tone, tmp_path):
    path, table = write(tmp_path / "a.wav", 0.5 * tone(0.5) / np.abs(tone(0.5)).max()), tmp_path / "out.csv"
    command = ["degrade", path, tmp_path / "b.wav", "--chain", "level(gain_db=20)", "--csv", table]
    status, printed, _ = call(*command)
    [row] = rows(table)
    assert status == 0 and "1 recording scaled down so as not to clip, by up to 14.1 dB" in printed
    assert float(row["gain_db"]) == pytest.approx(-14.09, abs=0.02)
    degraded, _ = soundfile.read(tmp_path / "b.wav")
    assert np.abs(degraded).max() == pytest.approx(0.99, abs=1e-3)
    assert np.corrcoef(degraded, tone(0.5))[0, 1] > 0.9999


def test_outputs_inside_the_folder_are_not_degraded_again(call, refused, clean, tmp_path):
    for _ in range(2):
        status, printed, _ = call("degrade", clean, clean / "out", "--chain", "gsm", "--overwrite")
        assert status == 0 and "12 recordings degraded" in printed
    before = contents(clean)
    assert "is one of the recordings" in refused("degrade", clean, clean, "--chain", "gsm", "--overwrite")
    assert "--overwrite" in refused("degrade", clean, clean / "out", "--chain", "gsm")
    assert contents(clean) == before


def test_the_rate_is_that_of_the_recording_or_another_that_the_chain_can_run_at(call, tone, tmp_path):
    for rate in (4000, 8000, 44100):
        write(tmp_path / "in" / f"{rate}.wav", tone(0.5)[: rate // 2], rate)
    status, printed, _ = call("degrade", tmp_path / "in", tmp_path / "out", "--chain", "opus+loss")
    assert status == 0 and "1 recording at 16000 Hz" in printed
    assert [soundfile.info(path).samplerate for path in sorted((tmp_path / "out").iterdir())] == [16000, 44100, 8000]
    options = ["--chain", "opus+loss", "--sample_rate", 24000]
    assert call("degrade", tmp_path / "in", tmp_path / "24", *options)[0] == 0
    assert {soundfile.info(path).samplerate for path in (tmp_path / "24").iterdir()} == {24000}


def test_the_noises_of_a_folder(call, refused, clean, tmp_path):
    write(tmp_path / "noises" / "hum.wav", 0.1 * np.sin(np.arange(16000) * 2 * np.pi * 3000 / 16000))
    chain = ["--chain", "noise(snr_db=0)", "--noise", tmp_path / "noises"]
    assert call("degrade", clean / "00.wav", tmp_path / "out.wav", *chain)[0] == 0
    spectrum = np.abs(np.fft.rfft(soundfile.read(tmp_path / "out.wav")[0] - soundfile.read(clean / "00.wav")[0]))
    assert np.argmax(spectrum) == 1500  # of 0.5 s
    assert "would become noises" in refused("degrade", clean, tmp_path / "noises" / "out", *chain)
    assert "No step uses" in refused("degrade", clean, tmp_path / "out", "--chain", "gsm", *chain[2:])
    assert "does not exist" in refused("degrade", clean, tmp_path / "out", *chain[:2], "--noise", tmp_path / "other")


@pytest.mark.processes
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_a_killed_run_is_resumed(call, refused, tone, tmp_path):
    for number in range(24):
        write(tmp_path / "in" / f"{number:02}.wav", tone(1.0, seed=number))
    options = ["--chain", "spectral-enhancer+equalizer", "--chain", CHAIN, "--jobs", 2]
    whole, table = tmp_path / "whole.csv", tmp_path / "out.csv"
    assert call("degrade", tmp_path / "in", tmp_path / "whole", *options, "--csv", whole)[0] == 0
    command = ["degrade", tmp_path / "in", tmp_path / "out", *options, "--csv", table]
    words = [sys.executable, "-m", "speechtools", *map(str, command)]
    process = subprocess.Popen(words, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline and not (table.exists() and len(rows(table)) > 4):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    while time.monotonic() < deadline and group_is_running(process.pid):  # its workers end
        time.sleep(0.01)
    [first, *_] = contents(tmp_path / "out")
    (tmp_path / "out" / first).write_bytes(b"")  # as on a full disk
    assert "--seed" in refused(*command, "--resume", "--seed", 1)
    status, printed, _ = call(*command, "--resume")
    assert status == 0 and ("before" in printed or len(rows(table)) == 24)
    assert contents(tmp_path / "out") == contents(tmp_path / "whole")
    names = [sorted((os.path.basename(row["file"]), row["causes"]) for row in rows(path)) for path in (whole, table)]
    assert names[0] == names[1] and not list(tmp_path.rglob("*.tmp*"))


def test_a_run_is_resumed_at_the_same_rate_only(call, refused, tone, tmp_path):
    write(tmp_path / "in" / "a.wav", tone(1.0))
    for rate, other in ((None, [8000]), (8000, [None, 16000]), (16000, [None, 8000])):
        options = ["--sample_rate", rate] if rate else []
        command = ["degrade", tmp_path / "in", tmp_path / f"out{rate}", "--chain", "clipping"]
        command += ["--csv", tmp_path / f"{rate}.csv"]
        assert call(*command, *options)[0] == call(*command, *options, "--resume")[0] == 0
        for rate in other:
            wrong = ["--sample_rate", rate] if rate else []
            assert "--sample_rate" in refused(*command, "--resume", *wrong)


@pytest.mark.parametrize("table", [True, False])
def test_a_run_is_resumed_with_the_same_noises_and_channel_only(call, refused, tone, tmp_path, table):
    source = tmp_path / "in"
    write(source / "a.wav", np.stack([tone(0.5), tone(0.5, seed=1)], axis=1))
    for folder in ("noises", "others"):
        write(tmp_path / folder / "hum.wav", tone(0.6, seed=len(folder)) * 0.3)
    write(tmp_path / "others" / "hiss.wav", tone(0.6, seed=7) * 0.3)
    base = ["degrade", source, tmp_path / "out", "--chain", "noise(snr_db=0)"]
    base += ["--csv", tmp_path / "out.csv"] if table else []
    first = [*base, "--noise", tmp_path / "noises", "--channel", 1]
    assert call(*first)[0] == 0
    before = contents(tmp_path / "out")
    write(source / "b.wav", np.stack([tone(0.5), tone(0.5, seed=1)], axis=1))
    for options, name in (
        (["--noise", tmp_path / "others", "--channel", 1], "--noise"),
        (["--channel", 1], "--noise"),
        (["--noise", tmp_path / "noises"], "--channel"),
        (["--noise", tmp_path / "noises", "--channel", 1, "--seed", 1], "--seed"),
        (["--noise", tmp_path / "noises", "--channel", 1, "--sample_rate", 8000], "--sample_rate"),
    ):
        message = refused(*base, *options, "--resume")
        assert name in message and contents(tmp_path / "out") == before
    (tmp_path / "noises").rename(tmp_path / "moved")
    status, printed, _ = call(*base, "--noise", tmp_path / "moved", "--channel", 1, "--resume")
    assert status == 0 and "1 recording degraded, 1 before" in printed
    for name in contents(source):  # what another program wrote is skipped, whatever the options
        (tmp_path / "out" / name).write_bytes((source / name).read_bytes())
    assert table or "2 before" in call(*base, "--resume")[1]


def test_the_list_is_written_in_the_form_of_chains(call):
    status, printed, _ = call("degrade", "--list")
    steps = [line for line in printed.splitlines()[2:] if line and line[0] != " "]
    assert status == 0 and len(steps) == len(registry.available("degradation")) - 1
    for step in steps:
        [parsed] = parse_chain(step)
        assert f"degradation/{parsed.name}" in registry.available("degradation")
    assert Chain(next(step for step in steps if step.startswith("loss")))


@pytest.mark.parametrize("words", [[], ["in"], ["in", "out"]])
def test_missing_words_are_wrong_usage(call, words):
    status, _, errors = call("degrade", *words)
    assert status == 2 and "--help" in errors
