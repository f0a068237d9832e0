"""A journal of finished jobs, from which an interrupted run continues."""

import errno
import json
import os
from pathlib import Path
from typing import Any

from speechtools.core.jobs import Finished


class Journal:
    """Finished jobs, one JSON object per line, each written at once: a kill loses at most the line that it cuts."""

    def __init__(self, path: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b", buffering=0)
        if self._file.seek(0, os.SEEK_END):
            self._file.seek(-1, os.SEEK_END)
            if self._file.read(1) != b"\n":
                self._write(b"\n")  # after a line that a kill cut short

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *_):
        self._file.close()

    def add(self, key: str, finished: Finished, **details) -> None:
        """Write one job under its key; ``details`` are for the reader of the file."""
        line = {"key": key, "outcome": finished.outcome, **details}
        if finished.limit_s is not None:
            line["limit_s"] = finished.limit_s
        self._write(json.dumps(line).encode() + b"\n")

    def _write(self, line: bytes) -> None:
        if self._file.write(line) != len(line):
            raise OSError(errno.ENOSPC, "No space left on device")

    @staticmethod
    def read(path: Path, timeout_s: float) -> dict[str, Any]:
        """The outcome of each key, without jobs that exceeded a time limit below ``timeout_s``."""
        known: dict[str, Any] = {}
        if not path.exists():
            return known
        with open(path, encoding="utf-8", errors="replace") as file:
            for text in file:
                try:
                    line = json.loads(text)
                    key, outcome, limit_s = line["key"], line["outcome"], line.get("limit_s")
                except (ValueError, TypeError, KeyError, AttributeError):  # cut short by a kill
                    continue
                if limit_s is not None and limit_s < timeout_s:
                    known.pop(key, None)
                else:
                    known[key] = outcome
        return known
