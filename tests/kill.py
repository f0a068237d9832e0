"""End commands at random moments, start them again, and compare the end: ``python tests/kill.py --repeats 10``.

Each repetition runs a command on the same recordings, sends it SIGKILL, SIGTERM or SIGINT after a random part of the
time that it takes, checks what it left, and runs it again. The result must be that of an undisturbed run; nothing that
was finished is lost; and at the end no other file is left.
"""

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
#: Seconds for one command, on a busy machine.
LIMIT = 600


def make_recordings(folder: Path, count: int, seconds: float) -> None:
    """Write recordings of modulated buzzes, which pass as voices."""
    folder.mkdir()
    generator, time_axis = np.random.default_rng(0), np.arange(round(16000 * seconds)) / 16000
    for number in range(count):
        pitch = generator.uniform(90, 250) * (1 + 0.1 * np.sin(2 * np.pi * 3 * time_axis))
        phase = 2 * np.pi * np.cumsum(pitch) / 16000
        voiced = sum(np.sin(k * phase) / k for k in range(1, 20)) * (np.sin(2 * np.pi * 4 * time_axis) > -0.3)
        noise = generator.standard_normal(len(time_axis)) * (0.002 + 0.1 * (np.sin(2 * np.pi * 4 * time_axis) < -0.6))
        soundfile.write(folder / f"{number:03}.wav", 0.1 * voiced + noise, 16000)


def read_table(out: Path) -> dict:
    """Scores by file, of the whole lines."""
    path = out / "scores.csv"
    if not path.exists():
        return {}
    whole = path.read_text()[: path.read_text().rfind("\n") + 1]
    return {row["file"]: row["score"] for row in csv.DictReader(whole.splitlines())}


def read_outputs(out: Path) -> dict:
    """Content of the enhanced recordings."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*.wav"))}


def read_npz(out: Path) -> dict:
    """Names in the file of d-vectors or voices, and their vectors, rounded as batches of another size require."""
    path = next(out.glob("*.npz"), None)
    if path is None:
        return {}
    with np.load(path) as content:
        vectors = content["dvectors"] if "dvectors" in content else content["voiceprints"]
        names = content["files"] if "files" in content else content["names"]
        return {str(name): tuple(np.round(vector, 2)) for name, vector in zip(names, vectors, strict=True)}


def commands(audio: Path, out: Path) -> dict[str, tuple[list[list[str]], list[str], Callable[[Path], dict]]]:
    """Commands by name: their arguments, what is added when they are run again, and how their output is read."""
    files = sorted(map(str, audio.glob("*.wav")))
    voices = ["--voices", str(out / "voices.npz")]
    return {
        "score": (
            [["score", str(audio), "--csv", str(out / "scores.csv"), "--batch_size=4"]],
            ["--resume"],
            read_table,
        ),
        "enhance": ([["enhance", str(audio), str(out)]], ["--resume"], read_outputs),
        "embed": ([["embed", str(audio), "--out", str(out / "dvectors.npz")]], ["--resume"], read_npz),
        "enroll": (
            [["enroll", name, *files[first : first + 3], *voices] for first, name in ((0, "anna"), (3, "ben"))],
            ["--overwrite"],
            read_npz,
        ),
    }


def call(arguments: list[str]) -> None:
    """Run a command to its end."""
    subprocess.run(
        [sys.executable, "-m", "speechtools", *arguments], check=True, capture_output=True, timeout=LIMIT, text=True
    )


def disturb(arguments: list[str], signum: int, delay: float) -> str:
    """Run a command, and end it after ``delay`` seconds. Returns what is wrong with its end, or nothing."""
    command = [sys.executable, "-m", "speechtools", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            process.communicate(timeout=delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signum)
        try:
            _, errors = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            process.kill()
            return "hung"
    # A signal that arrives before the command line is imported ends Python itself.
    if "Traceback" in errors and "speechtools/cli" in errors:
        return errors.strip().splitlines()[-1]
    return "" if process.returncode in (0, -signum, 128 + signum, 1) else f"status {process.returncode}: {errors}"


def main() -> int:
    """Run the repetitions, and report how many failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10, help="of each command with each signal")
    parser.add_argument("--recordings", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=["score", "enhance", "embed", "enroll"])
    options = parser.parse_args()
    generator = random.Random(options.seed)
    folder = Path(tempfile.mkdtemp())
    audio, out = folder / "audio", folder / "out"
    make_recordings(audio, options.recordings, 3.0)
    failed = 0
    for name, (calls, again, read) in commands(audio, out).items():
        if options.only and name not in options.only:
            continue
        out.mkdir()
        began = time.monotonic()
        for arguments in calls:
            call(arguments)
        seconds = (time.monotonic() - began) / len(calls)
        expected, files = read(out), sorted(os.listdir(out))
        for signum in SIGNALS:
            interrupted, failures = 0, []
            for _ in range(options.repeats):
                shutil.rmtree(out)
                out.mkdir()
                for arguments in calls[:-1]:
                    call(arguments)
                before = read(out)
                problem = disturb(calls[-1], signum, generator.uniform(0.3, 1.0) * seconds)
                left = read(out)
                interrupted += left != expected
                lost = {key for key, value in before.items() if left.get(key) != value}
                litter = sorted(set(os.listdir(out)) - set(files)) if signum != signal.SIGKILL else []
                call([*calls[-1], *(again if left != before or name != "enroll" else [])])
                end = read(out)
                lost |= {key for key, value in left.items() if end.get(key) != value}
                if problem or lost or litter or end != expected or sorted(os.listdir(out)) != files:
                    failures.append(problem or f"lost {lost}, litter {litter}, end {sorted(os.listdir(out))}")
            failed += len(failures)
            print(
                f"{name:8} {signal.Signals(signum).name:8} {options.repeats} times, {interrupted} before its end: "
                f"{len(failures)} failed {failures or ''}",
                flush=True,
            )
        shutil.rmtree(out)
    shutil.rmtree(folder)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
