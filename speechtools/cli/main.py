"""The command ``speechtools``: its commands, and how it reports errors.

Commands import what they need beyond the registry inside their functions, so that the others start quickly.
"""

import os
import sys
import warnings
from collections.abc import Sequence
from typing import Any

import click

from speechtools import __version__
from speechtools.cli import (
    average,
    calibrate,
    compare,
    convert,
    degrade,
    diarize,
    embed,
    enhance,
    enroll,
    export,
    plugins,
    score,
    serve,
    shards,
    spot,
    trials,
    voice_files,
    voices,
)
from speechtools.cli.command import Group
from speechtools.cli.common import print_message
from speechtools.core.errors import SpeechtoolsError
from speechtools.core.signals import describe, raise_terminated


@click.group(
    cls=Group,
    invoke_without_command=True,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 120,
        "token_normalize_func": lambda word: word.replace("-", "_"),  # --batch-size is --batch_size
    },
    epilog="The exit status is 0 if all went well, 1 for an error (also of a single recording), 2 for wrong usage, and "
    "128 plus the number of a signal that ended the command, such as 130 for Ctrl-C.",
)
@click.version_option(__version__, prog_name="speechtools", message="%(prog)s %(version)s")
@click.pass_context
def command_line(context: click.Context) -> None:
    """Score speech quality, enhance and degrade speech, verify speakers, find keywords, and manage plugins.

    `speechtools COMMAND --help` describes a command, with examples.
    """
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (
    score.score,
    compare.compare,
    enhance.enhance,
    degrade.degrade,
    embed.embed,
    enroll.enroll,
    voices.verify,
    voices.identify,
    diarize.diarize,
    spot.spot,
    serve.serve,
    voice_files.voices,
    trials.trials,
    calibrate.calibrate,
    convert.convert,
    average.average,
    export.export,
    shards.shards,
    plugins.list_plugins,
    plugins.show,
    plugins.check,
    plugins.new,
):
    command_line.add_command(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 1 (error), 2 (wrong usage) or 128 + the signal that ended it."""
    try:
        _open_streams()
        with warnings.catch_warnings(), raise_terminated():
            warnings.showwarning = _show_warning
            return _run(argv)
    except (KeyboardInterrupt, click.Abort) as error:
        reason, status = describe(error.__cause__ if isinstance(error, click.Abort) else error)
        print_message(f"{reason}.")
        return status


def _run(argv: Sequence[str] | None) -> int:
    try:
        os.getcwd()
    except FileNotFoundError:  # libraries abort the process
        print_message("The current folder has been deleted. Change to another one with cd.")
        return 1
    try:
        status = command_line.main(argv, prog_name="speechtools", standalone_mode=False)
        sys.stdout.flush()
        return status or 0
    except click.exceptions.NoArgsIsHelpError as error:
        print(error.format_message(), file=sys.stderr)
        return error.exit_code
    except click.ClickException as error:
        if isinstance(error, click.UsageError) and error.ctx is not None:
            print(error.ctx.get_usage(), file=sys.stderr)
        print_message(error.format_message())
        return error.exit_code
    except BrokenPipeError:  # the reader, such as `head`, has exited
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (SpeechtoolsError, OSError) as error:  # OSError: a full disk, or a folder without permission
        print_message(error)
        return 1


def _open_streams() -> None:
    """Escape what a terminal cannot show, such as é in ASCII; replace streams that are closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    print_message(f"warning: {' '.join(str(message).split())}")
