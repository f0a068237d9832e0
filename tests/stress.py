"""Repeat the tests of several processes, each time in a new pytest: ``python tests/stress.py --repeats 40 --busy 2``.

What else is given goes to pytest, as ``tests/test_gathering.py``; by default, all tests marked ``processes``. It ends
with 1 where a repetition failed or hung, and prints what that one said.
"""

import argparse
import multiprocessing
import subprocess
import sys
import time

#: Seconds for one repetition. A test that hangs ends much earlier, by the limits of setup.cfg.
LIMIT = 900


def spin():
    """Keep one core busy."""
    while True:
        pass


def main() -> int:
    """Run them, and report how many failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=40)
    parser.add_argument("--busy", type=int, default=0, help="processes that keep a core busy meanwhile")
    options, arguments = parser.parse_known_args()
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *(arguments or ["-m", "processes", "tests"])]
    for _ in range(options.busy):
        multiprocessing.Process(target=spin, daemon=True).start()
    failed = []
    for repeat in range(1, options.repeats + 1):
        began = time.monotonic()
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=LIMIT)
            status, output = done.returncode, done.stdout
        except subprocess.TimeoutExpired as error:
            status, output = "hung", str(error.stdout)
        print(f"{repeat}/{options.repeats}: {status or 'passed'}, {time.monotonic() - began:.0f} s", flush=True)
        if status:
            failed.append(repeat)
            print(output, flush=True)
    print(f"{len(failed)} of {options.repeats} repetitions failed with {options.busy} busy processes beside: {failed}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
