"""Runs of a recipe that make a table of a paper, or a model that another recipe needs: each is trained once."""

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
from speechtools.core.jobs import run_with_us
from speechtools.core.registry import did_you_mean
from speechtools.core.results import write_json
from speechtools.training import options as recipe_options
from speechtools.training import read_variant

logger = logging.getLogger(__name__)

#: Options that change where and how a run works, but not what comes out of it.
_MACHINE = ("--device", "--prepared_folder", "--num_workers", "--noprogressbar")


def with_defaults(options: Sequence[str], defaults: Mapping[str, object]) -> list[str]:
    """Options of a command line, with ``defaults`` for what they do not give.

    >>> with_defaults(["--lr=0.1"], {"lr": 0.01, "patience": 5})
    ['--patience=5', '--lr=0.1']
    """
    given = {option.split("=")[0].lstrip("-") for option in options}
    return [f"--{key}={value}" for key, value in defaults.items() if key not in given] + list(options)


def check_options(parser: argparse.ArgumentParser, given: Sequence[str], yaml: Path) -> None:
    """End with the parser's usage where ``train.py`` would refuse what a reproduction hands on to it.

    Parameters
    ----------
    parser : ArgumentParser
        Of the reproduction's own options.
    given : sequence of str
        What the parser did not know.
    yaml : Path
        The recipe's yaml.
    """
    try:
        text, _ = read_variant(yaml)
        theirs = {f"--{key}" for key in (*recipe_options.keys(text), *recipe_options.THEIRS)}
        for name in (option.partition("=")[0] for option in given if option.startswith("--")):
            if name not in theirs:
                near = did_you_mean(name, sorted(theirs | set(parser._option_string_actions)), quoted=False)
                parser.error(f"{name} is no option of it, nor of {yaml.name}.{near}")
        _, run_opts, values, typed = recipe_options.read_command_line([str(yaml), *given])
        recipe_options.check(*read_variant(yaml, values), yaml, typed, run_opts)
    except ConfigError as error:
        parser.error(str(error))


def run_once(run: Path, command: Sequence[str], **arguments) -> dict:
    """What ``results.json`` of a run says; trains it first where there is none. The training ends with this process.

    Parameters
    ----------
    run : Path
        Folder of the run. What was asked for is kept in it, in ``asked.json``.
    command : sequence of str
        Python, train.py, its yaml and its options, but for ``--output_folder``.
    **arguments
        Of ``subprocess.Popen``.

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
        run_with_us([*command, f"--output_folder={run}"], **arguments)
    return json.loads((run / "results.json").read_text(encoding="utf-8"))


def earlier_stage(recipe: str | Path, yaml: str, folder: str | Path, options: Mapping[str, object]) -> Path:
    """The ``pretrained`` folder of a model that another recipe trains; trains it first where it is not there.

    Parameters
    ----------
    recipe : str or Path
        Folder of the other recipe.
    yaml : str
        Its yaml, seen from there.
    folder : str or Path
        The run goes into a subfolder of it, named after the recipe and the fingerprint of its options. A run that was
        interrupted is gone on with.
    options : mapping
        Options of its command line, as Python values.

    Raises
    ------
    ConfigError
        There is no such recipe.
    SpeechtoolsError
        Its training failed.
    """
    recipe = Path(recipe).absolute()
    if not (recipe / "train.py").is_file() or not (recipe / yaml).is_file():
        raise ConfigError(f"There is no train.py with {yaml} in {recipe}. Give the folder of a recipe, and its yaml.")
    # JSON is valid yaml, whatever the value holds. SpeechBrain's own options, such as --device, are no yaml.
    given = [
        f"--{key}={value if f'--{key}' in _MACHINE else json.dumps(value, default=str)}"
        for key, value in options.items()
    ]
    lasting = [yaml, *(option for option in given if not option.startswith(_MACHINE))]
    # The yaml may be edited: another one makes another model.
    text, variant = read_variant(recipe / yaml)
    asked = {"options": lasting, "yaml": text.read(), "variant": {key: str(value) for key, value in variant.items()}}
    run = Path(folder).absolute() / f"{recipe.name}-{fingerprint(asked)}"
    if not (run / "results.json").is_file():
        logger.info("The model of %s that is needed is not there yet. It is trained first, in %s", recipe, run)
    # torchrun's variables would make the other recipe one of its processes.
    ours = ("RANK", "WORLD_SIZE", "LOCAL_", "GROUP_", "ROLE_", "MASTER_", "TORCHELASTIC_")
    environment = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    try:
        run_once(run, [sys.executable, "train.py", yaml, *given], cwd=recipe, env=environment)
    except subprocess.CalledProcessError as error:
        raise SpeechtoolsError(
            f"The training of {recipe / yaml} ended with status {error.returncode}; what it says stands above. Mend "
            "that and start again: it goes on where it was."
        ) from error
    return run / "pretrained"
