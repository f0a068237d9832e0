"""Runs that make a table of a paper or a model that another recipe needs; each is trained once."""

import argparse
import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from speechtools.core.errors import ConfigError, SpeechtoolsError
from speechtools.core.files import fingerprint
from speechtools.core.processes import run_until_exit
from speechtools.core.results import write_json
from speechtools.core.spelling import did_you_mean
from speechtools.training import options as recipe_options
from speechtools.training.command_line import RUN_OPTIONS, parse
from speechtools.training.trees import without_comments

logger = logging.getLogger(__name__)

_MACHINE = tuple(f"--{key}" for key in sorted(recipe_options.OF_THE_MACHINE))


def with_defaults(options: Sequence[str], defaults: Mapping[str, object]) -> list[str]:
    """Prepend defaults to the options of a command line that do not set them.

    >>> with_defaults(["--lr=0.1"], {"lr": 0.01, "patience": 5})
    ['--patience=5', '--lr=0.1']
    """
    names = {option.split("=")[0].lstrip("-") for option in options}
    return [f"--{key}={value}" for key, value in defaults.items() if key not in names] + list(options)


def check_options(parser: argparse.ArgumentParser, options: Sequence[str], yaml: Path) -> None:
    """Exit with the parser's usage if ``train.py`` would not accept the options that a reproduction passes on to it.

    Parameters
    ----------
    parser : ArgumentParser
        Parser of the reproduction's own options.
    options : sequence of str
        The words that it does not know.
    yaml : Path
        The recipe's yaml.
    """
    try:
        keys = recipe_options.merge(parse([str(yaml)])).keys() | RUN_OPTIONS
        known = {f"--{key}" for key in keys}
        for name in (option.partition("=")[0] for option in options if option.startswith("--")):
            if name not in known:
                hint = did_you_mean(name, sorted(known | set(parser._option_string_actions)), quoted=False)
                parser.error(f"Unknown option {name}.{hint}")
        recipe_options.merge(parse([str(yaml), *options]))
    except ConfigError as error:
        parser.error(str(error))


def run_once(run: Path, command: Sequence[str], **arguments) -> dict:
    """Return what ``results.json`` of a run contains; train first if it does not exist.

    The training ends when this process ends.

    Parameters
    ----------
    run : Path
        Folder of the run. Its ``asked.json`` records the command.
    command : sequence of str
        Python, train.py, its yaml and its options without ``--output_folder``.
    **arguments
        Passed to ``subprocess.Popen``.

    Raises
    ------
    ConfigError
        The folder contains a finished run of another command.
    subprocess.CalledProcessError
        The training failed; its output has the reason.
    """
    options = sorted(word for word in command[1:] if not word.startswith(_MACHINE))
    record, finished = run / "asked.json", (run / "results.json").is_file()
    before = json.loads(record.read_text(encoding="utf-8")) if finished and record.is_file() else options
    if before != options:
        now, then = (" ".join(sorted(set(a) - set(b))) or "nothing" for a, b in ((options, before), (before, options)))
        raise ConfigError(
            f"{run} contains a finished run with {then} instead of {now}. Choose another folder (--output_folder=…), "
            "or delete that one."
        )
    if not finished:
        write_json(record, options)
        run_until_exit([*command, f"--output_folder={run}"], **arguments)
    return json.loads((run / "results.json").read_text(encoding="utf-8"))


def run_logged(run: Path, command: Sequence[str], jobs: int, **arguments) -> dict:
    """Do as :func:`run_once`, with the output in ``output.txt`` of the run and on its share of the CPU.

    The variable OMP_NUM_THREADS has precedence over that share.

    Parameters
    ----------
    run, command, **arguments
        As for :func:`run_once`.
    jobs : int
        Number of runs at a time.

    Raises
    ------
    ConfigError
        The folder contains a finished run of another command.
    SpeechtoolsError
        The training failed. The message has the end of its output.
    """
    run.mkdir(parents=True, exist_ok=True)
    log, threads = run / "output.txt", max(1, (os.cpu_count() or 1) // jobs)
    environment = {"OMP_NUM_THREADS": str(threads), **os.environ}
    try:
        with open(log, "a", encoding="utf-8") as output:
            return run_once(run, command, env=environment, stdout=output, stderr=subprocess.STDOUT, **arguments)
    except subprocess.CalledProcessError as error:
        end = "".join(log.read_text(encoding="utf-8").splitlines(keepends=True)[-5:])
        raise SpeechtoolsError(f"The training in {run} failed. The end of {log}:\n{end}") from error


def earlier_stage(recipe: str | Path, yaml: str, folder: str | Path, options: Mapping[str, object]) -> Path:
    """Return the ``pretrained`` folder of a model of another recipe; train it first if it does not exist.

    Parameters
    ----------
    recipe : str or Path
        Folder of the other recipe.
    yaml : str
        Its yaml, relative to that folder.
    folder : str or Path
        Parent folder. The run goes into a subfolder named after the recipe and the fingerprint of its options. An
        interrupted run is continued.
    options : mapping
        Options of its command line, as Python values.

    Raises
    ------
    ConfigError
        The recipe does not exist.
    SpeechtoolsError
        Its training failed.
    """
    recipe = Path(recipe).absolute()
    if not (recipe / "train.py").is_file() or not (recipe / yaml).is_file():
        raise ConfigError(f"{recipe} has no train.py or no {yaml}. Pass the folder of a recipe, and its yaml.")
    # JSON is valid yaml. The options of the machine, such as --device, are not read as yaml.
    words = [
        f"--{key}={value if key in recipe_options.OF_THE_MACHINE else json.dumps(value, default=str)}"
        for key, value in options.items()
    ]
    lasting = [yaml, *(word for word in words if not word.startswith(_MACHINE))]
    # The yaml may be edited: another one makes another model.
    tree = recipe_options.merge(parse([str(recipe / yaml)]))
    request = {"options": lasting, "yaml": without_comments(tree)}
    run = Path(folder).absolute() / f"{recipe.name}-{fingerprint(request)}"
    if not (run / "results.json").is_file():
        logger.info("The required model of %s does not exist yet. It is trained first, in %s", recipe, run)
    # With torchrun's variables, the other recipe would join this group of processes.
    prefixes = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(prefixes)}
    try:
        run_once(run, [sys.executable, "train.py", yaml, *words], cwd=recipe, env=environment)
    except subprocess.CalledProcessError as error:
        raise SpeechtoolsError(
            f"The training of {recipe / yaml} ended with status {error.returncode}; its output is above. Fix the "
            "problem and start again: the training continues where it stopped."
        ) from error
    return run / "pretrained"
