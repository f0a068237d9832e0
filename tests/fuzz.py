"""Load damaged files, 100,000 by default: ``python tests/fuzz.py --cases 5000 --kinds recordings tables``.

The toolkit must load each as it was or refuse it with one of its errors, in bounded memory and time. Every failure is
printed with the command that repeats it, also one that ends or blocks the process; the exit status is then 1.
"""

import argparse
import collections
import contextlib
import os
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from fuzzing import KINDS
from runs import FORKS

#: Seconds for one case. Most take a few milliseconds; a machine may be busy.
CASE_SECONDS = 60.0
#: Seconds of computation for one case.
BUSY_SECONDS = 10.0
#: Seconds for the start of a process.
START_SECONDS = 600.0
#: Bytes that a case may allocate.
CASE_BYTES = 2**30
#: Cases that a process gets at a time.
BATCH = 200


class Failure(NamedTuple):
    """A case that went wrong."""

    kind: str
    seed: int
    reason: str

    def __str__(self) -> str:
        command = f"python tests/fuzz.py --kinds {self.kind} --first {self.seed} --cases 1"
        return f"{self.kind} {self.seed}: {self.reason}\nRepeat it with: {command}"


def share(cases: int, kinds: list[str]) -> dict[str, int]:
    """Divide a number of cases among kinds by their weights, at least one each."""
    total = sum(KINDS[kind][1] for kind in kinds)
    return {kind: max(1, round(cases * KINDS[kind][1] / total)) for kind in kinds}


@contextlib.contextmanager
def case_limits() -> Iterator[None]:
    """Limit the memory of this process, and look for no program that decodes audio."""
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = ""  # without ffmpeg, which takes a tenth of a second for each file that it refuses
    try:
        with _bounded_memory(), warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            yield
    finally:
        os.environ["PATH"] = path


@contextlib.contextmanager
def _bounded_memory() -> Iterator[None]:
    status = Path("/proc/self/status")
    if not status.exists():  # not Linux
        yield
        return
    import resource

    used = int(status.read_text().partition("VmData:")[2].split()[0]) * 1024
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + CASE_BYTES, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, limits)


def check(kind: str, case: Any, seed: int) -> tuple[str, Failure | None]:
    """Run one case; return what became of it, and the failure if it is one."""
    rng = np.random.default_rng([zlib.crc32(kind.encode()), seed])
    hidden: list = []  # errors in functions that a C library calls, which Python only prints
    sys.unraisablehook, hook = hidden.append, sys.unraisablehook
    began = time.process_time()
    try:
        outcome = case(rng)
        seconds = time.process_time() - began
        assert seconds < BUSY_SECONDS, f"took {seconds:.1f} s of computation"
        if not hidden:
            return outcome, None
        reason = f"hidden error: {hidden[0].exc_value!r} in {hidden[0].object!r}"
    except Exception:
        reason = traceback.format_exc(limit=-6)
    finally:
        sys.unraisablehook = hook
    return "failed", Failure(kind, seed, reason)


def _work(pipe: Connection, folder: Path, kinds: dict) -> None:
    """Run the batches of cases that come through a pipe, and send what became of each case."""
    # Decoders write hundreds of warnings.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    cases = {}
    for kind, (make, _) in kinds.items():
        (folder / kind).mkdir()
        cases[kind] = make(folder / kind)
    pipe.send(None)
    with case_limits():
        while True:
            kind, seeds = pipe.recv()
            for seed in seeds:
                pipe.send(check(kind, cases[kind], seed))


class _Worker:
    """A process that runs cases, one batch after the other, and is replaced when it ends or hangs."""

    def __init__(self, folder: Path, kinds: dict) -> None:
        self.folder, self.kinds = folder, kinds
        self.kind, self.seeds = "", range(0)
        self._start()

    def _start(self) -> None:
        self.pipe, end = FORKS.Pipe()
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        self.process = FORKS.Process(target=_work, args=(end, folder, self.kinds), daemon=True)
        self.process.start()
        end.close()
        self.is_ready, self.since = False, time.monotonic()

    def give(self, kind: str, seeds: range) -> None:
        self.kind, self.seeds, self.since = kind, seeds, time.monotonic()
        self.pipe.send((kind, seeds))

    def take(self) -> tuple[str, Failure | None] | None:
        """Return what became of the next case; None if there is nothing new."""
        try:
            if not self.pipe.poll():
                hangs = time.monotonic() - self.since > (CASE_SECONDS if self.is_ready else START_SECONDS)
                return self._lost("hung") if self.seeds and hangs else None
            result = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(10)
            return self._lost(f"ended the process with status {self.process.exitcode}")
        self.since = time.monotonic()
        if self.is_ready:
            self.seeds = self.seeds[1:]
            return result
        self.is_ready = True
        if self.seeds:  # of the process before
            self.give(self.kind, self.seeds)
        return None

    def _lost(self, how: str) -> tuple[str, Failure]:
        if not self.is_ready:
            raise RuntimeError(f"A process of the fuzz test {how} before its first case.")
        failure = Failure(self.kind, self.seeds[0], f"{how}, after {time.monotonic() - self.since:.0f} s")
        self.seeds = self.seeds[1:]
        self.end()
        self._start()
        return "failed", failure

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run(
    cases: dict[str, int], first: int = 0, processes: int = 1, limit: float = 7200, kinds: dict = KINDS
) -> tuple[collections.Counter, list[Failure]]:
    """Run cases in processes of their own, until all are done or the time is over."""
    ends = {kind: first + count for kind, count in cases.items()}
    batches = [
        (kind, range(start, min(start + BATCH, end)))
        for kind, end in ends.items()
        for start in range(first, end, BATCH)
    ]
    # every kind has its turn, should the time be too short
    batches.sort(key=lambda batch: (batch[1].start - first) / cases[batch[0]], reverse=True)
    counts: collections.Counter = collections.Counter()
    failures: list[Failure] = []
    began = shown = time.monotonic()
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as folder:
        workers = [_Worker(Path(folder), {kind: kinds[kind] for kind in cases}) for _ in range(processes)]
        try:
            while batches or any(worker.seeds for worker in workers):
                for worker in workers:
                    if worker.is_ready and not worker.seeds and batches:
                        worker.give(*batches.pop())
                wait([worker.pipe for worker in workers], timeout=0.5)
                for worker in workers:
                    while (worker.seeds or not worker.is_ready) and (result := worker.take()):
                        counts[worker.kind, result[0]] += 1
                        if result[1] is not None:
                            failures.append(result[1])
                            print(result[1], flush=True)
                if time.monotonic() - shown > 60:
                    shown = time.monotonic()
                    print(f"{counts.total()} cases, {len(failures)} failures, {shown - began:.0f} s", flush=True)
                if time.monotonic() - began > limit:
                    print(f"Stopped after {limit:.0f} s.")
                    break
        finally:
            for worker in workers:
                worker.end()
    return counts, failures


def main() -> int:
    """Run the cases and report what became of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="seed of the first case; the others count up")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=7200, help="seconds, after which no case is started")
    options = parser.parse_args()
    began = time.monotonic()
    counts, failures = run(share(options.cases, options.kinds), options.first, options.processes, options.limit)
    for kind in options.kinds:
        outcomes = {outcome: count for (name, outcome), count in sorted(counts.items()) if name == kind}
        details = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        print(f"{kind:12} {sum(outcomes.values()):7} cases: {details}")
    print(f"{counts.total()} cases, {len(failures)} failures, {time.monotonic() - began:.0f} s")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
