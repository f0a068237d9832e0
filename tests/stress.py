"""Repeat tests, each time in a new pytest: ``python tests/stress.py --repeats 40 --busy 2 tests/speaker``.

Unknown arguments are passed on to pytest; the default are all tests marked ``processes``. The exit status is 1 if a
repetition failed or hung; its output is then printed.
"""

import argparse
import multiprocessing
import subprocess
import sys
import time

import runs

from speechtools.core.processes import end_with_parent

#: Seconds for one repetition. A test that hangs ends much earlier, by the limits of setup.cfg.
LIMIT = 1200
#: What pytest exits with where it does not know an argument or a file.
USAGE_ERROR = 4


def spin():
    """Keep one core busy, until the program that started it ends."""
    end_with_parent()
    while True:
        pass


def main() -> int:
    """Run the repetitions, and report how many failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--busy", type=int, default=0, help="number of processes that keep a core busy meanwhile")
    options, arguments = parser.parse_known_args()
    arguments = arguments or ["-m", "processes", "tests"]
    if "-m" not in arguments:
        arguments = ["-m", "slow or not slow", *arguments]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
    for _ in range(options.busy):
        multiprocessing.Process(target=spin, daemon=True).start()
    failed = 0
    for repeat in range(1, options.repeats + 1):
        began = time.monotonic()
        try:
            done = runs.call(command, limit=LIMIT)
            status, output = done.returncode, done.stdout + done.stderr
        except subprocess.TimeoutExpired as error:
            status, output = "hung", error.output
        print(f"{repeat}/{options.repeats}: {status or 'passed'}, {time.monotonic() - began:.0f} s", flush=True)
        if status:
            failed += 1
            print(output, flush=True)
        if status == USAGE_ERROR:
            break
    print(f"{failed} of {repeat} repetitions failed with {options.busy} busy processes.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
