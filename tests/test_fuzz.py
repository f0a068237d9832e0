"""Damaged files are loaded as they were, or refused with an error of the toolkit; ``make fuzz`` tries more of them."""

import os
import time

import fuzz
import pytest
from fuzzing import KINDS

CASES = fuzz.share(2000, list(KINDS))


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_loaded_whole_or_refused(kind, tmp_path):
    case = KINDS[kind][0](tmp_path)
    with fuzz.case_limits():
        outcomes = [fuzz.check(kind, case, seed) for seed in range(CASES[kind])]
    failures = [str(failure) for _, failure in outcomes if failure]
    assert not failures, "\n".join(failures)
    assert len({outcome for outcome, _ in outcomes}) > 1  # neither all are refused nor none


class Faulty:
    """Cases of which some fail, end the process or hang."""

    def __init__(self, folder):
        pass

    def __call__(self, rng):
        outcome = rng.integers(5)
        if outcome == 0:
            raise KeyError("a bug")
        if outcome == 1:
            os._exit(3)
        if outcome == 2:
            time.sleep(600)
        return "read"


@pytest.mark.processes
def test_a_case_that_ends_or_blocks_its_process_is_reported_and_the_others_run(monkeypatch):
    monkeypatch.setattr(fuzz, "CASE_SECONDS", 1.0)
    counts, failures = fuzz.run({"faulty": 4}, first=5, kinds={"faulty": (Faulty, 1)})
    assert counts.total() == 4 and counts["faulty", "failed"] == len(failures) == 3
    reasons = " ".join(failure.reason for failure in failures)
    assert "KeyError: 'a bug'" in reasons and "status 3" in reasons and "hung" in reasons
    assert "--kinds faulty --first" in str(failures[0])
