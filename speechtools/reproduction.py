"""Runs of a recipe that make a table of a paper: each is trained once, and none is taken for another."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechtools.errors import ConfigError
from speechtools.reports import write_json

#: Options that change where and how a run works, but not what comes out of it.
_MACHINE = ("--device", "--prepared_folder", "--num_workers", "--noprogressbar")


def with_defaults(options: Sequence[str], defaults: Mapping[str, object]) -> list[str]:
    """Options of a command line, with ``defaults`` for what they do not give.

    >>> with_defaults(["--lr=0.1"], {"lr": 0.01, "patience": 5})
    ['--patience=5', '--lr=0.1']
    """
    given = {option.split("=")[0].lstrip("-") for option in options}
    return [f"--{key}={value}" for key, value in defaults.items() if key not in given] + list(options)


def run_once(run: Path, command: Sequence[str], **arguments) -> dict:
    """What ``results.json`` of a run says; trains it first where there is none.

    Arguments
    ---------
    run : Path
        Folder of the run. What was asked for is kept in it, in ``asked.json``.
    command : sequence of str
        Python, train.py, its yaml and its options, but for ``--output_folder``.
    **arguments
        Of ``subprocess.run``.

    Raises
    ------
    ConfigError
        The folder holds a finished run of another command.
    subprocess.CalledProcessError
        The run failed, and has said why.
    """
    asked = sorted(part for part in command[1:] if not part.startswith(_MACHINE))
    told, finished = run / "asked.json", (run / "results.json").is_file()
    before = json.loads(told.read_text(encoding="utf-8")) if finished and told.is_file() else asked
    if before != asked:
        ours, theirs = (" ".join(sorted(set(a) - set(b))) or "nothing" for a, b in ((asked, before), (before, asked)))
        raise ConfigError(
            f"{run} holds a finished run with {theirs}, and now {ours} is asked for instead. Give this table a folder "
            "of its own (--output_folder=…), or delete that one."
        )
    if not finished:
        write_json(told, asked)
        subprocess.run([*command, f"--output_folder={run}"], check=True, **arguments)
    return json.loads((run / "results.json").read_text(encoding="utf-8"))
