"""The command line of a run: ``train.py hparams/x.yaml --key=value …``."""

import contextlib
import io
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ruamel.yaml
import speechbrain as sb
from speechbrain.utils.run_opts import HELP_TEXTS

from speechtools.core.devices import check_device
from speechtools.core.errors import ConfigError
from speechtools.training.trees import load_variants, nodes, problem, tag, update

#: SpeechBrain's own options; those for modules take several words.
_FOR_MODULES = {"jit_module_keys", "compile_module_keys"}
RUN_OPTIONS = frozenset(HELP_TEXTS) | _FOR_MODULES


@dataclass(frozen=True)
class CommandLine:
    """The words after ``train.py``.

    Attributes
    ----------
    yaml : Path
        The recipe's yaml.
    options : dict
        Options of the yaml as Python values.
    typed : dict
        The same as they were typed.
    run_opts : RunOptions
        SpeechBrain's options.
    """

    yaml: Path
    options: dict[str, Any]
    typed: dict[str, str]
    run_opts: sb.core.RunOptions


def parse(argv: Sequence[str]) -> CommandLine:
    """Parse ``hparams/x.yaml --key=value …``.

    Raises
    ------
    ConfigError
        The yaml is missing; an option has no value, is repeated or has a value that is not valid yaml; a word belongs
        to no option; or SpeechBrain or this machine does not accept one of SpeechBrain's options.

    Examples
    --------
    >>> command_line = parse(["hparams/ge2e.yaml", "--lr=0.10", "--device", "cpu"])
    >>> command_line.yaml.name, command_line.options, command_line.typed, command_line.run_opts.device
    ('ge2e.yaml', {'lr': 0.1}, {'lr': '0.10'}, 'cpu')
    """
    words, paths, run_words, options, typed = list(argv), [], [], {}, {}
    while words:
        word = words.pop(0)
        key, equals, text = word.lstrip("-").partition("=")
        if word in ("-h", "--help"):
            run_words.append(word)
        elif re.match(r"-[a-zA-Z]", word):
            raise ConfigError(f"Options begin with two dashes. Write --{key}={text or '…'} instead of {word}.")
        elif not word.startswith("--"):
            paths.append(word)
        elif key in RUN_OPTIONS:
            run_words.append(word)
            is_flag = getattr(sb.core.RunOptions, key) is False
            count = 0 if equals or is_flag else len(words) if key in _FOR_MODULES else 1
            while count and words and not words[0].startswith("--"):
                run_words.append(words.pop(0))
                count -= 1
        else:
            if not equals:
                if not words or re.match(r"--?[a-zA-Z]", words[0]):
                    raise ConfigError(f"--{key} has no value. Write --{key}=….")
                text = words.pop(0)
            if key in typed:
                raise ConfigError(f'--{key} is repeated. Pass it once; several values are a list: --{key}="[a, b]".')
            try:
                options[key], typed[key] = ruamel.yaml.YAML().load(text) if text else "", text
            except ruamel.yaml.error.YAMLError as error:
                raise ConfigError(f"Invalid value for --{key}: {text} is not valid yaml: {problem(error)}.") from error
    if not paths and run_words[:1] not in (["-h"], ["--help"]):
        raise ConfigError("The recipe's yaml is missing: python train.py hparams/<name>.yaml --key=value.")
    if len(paths) > 1:
        raise ConfigError(
            f"{paths[1]!r} is not an option. Write options as --key=value; quote values that contain spaces, as in "
            '--key="[a, b]".'
        )
    return CommandLine(Path(*paths), options, typed, _run_options([*paths, *run_words]))


def _print_keys(yaml: Path) -> None:
    """Print the options of a yaml with their values and comments."""
    _, tree = load_variants(yaml)[0]
    for _, values in load_variants(yaml)[1:]:
        update(tree, values)
    print(f"\noptions of {yaml} and their values there:")
    for key, value in tree.items():
        if str(key).startswith("__") or not (tag(value) == "!ref" or not any(map(tag, nodes(value)))):
            continue  # an object, which other options describe
        comment = (tree.ca.items.get(key) or [None] * 3)[2]
        note = comment.value.partition("\n")[0].strip() if comment else ""
        text = "null" if value is None else getattr(value, "value", value)
        print(f"  --{key}={text}".ljust(40) + f"  {note}" if note else f"  --{key}={text}")


def _run_options(argv: list[str]) -> sb.core.RunOptions:
    """Let SpeechBrain parse its options, and check that torch can compute on the device."""
    try:
        return _parse_run_options(argv)
    except BrokenPipeError:  # the reader of --help, such as `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(1) from None


def _parse_run_options(argv: list[str]) -> sb.core.RunOptions:
    output = io.StringIO()
    try:
        with contextlib.redirect_stderr(output):
            _, run_opts, _ = sb.core.RunOptions.from_command_line_args(argv)
    except SystemExit as end:
        if not end.code:  # --help
            if argv[0].startswith("-"):
                print("\nWith a yaml before --help, its options are listed as well.")
            else:
                _print_keys(Path(argv[0]))
            sys.stdout.flush()
            raise
        raise ConfigError(f"{output.getvalue().rpartition('error: ')[2].strip()}.") from end
    if run_opts.device is not None:
        check_device(run_opts.device, "--device")
    return run_opts
