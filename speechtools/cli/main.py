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
from speechtools.cli import embed, enhance, plugins, score, trials, voices
from speechtools.core.errors import SpeechtoolsError
from speechtools.core.signals import describe, raise_terminated


class _InOrder(click.Group):
    """A group that lists its commands in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(
    cls=_InOrder,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)
@click.version_option(__version__, prog_name="speechtools", message="%(prog)s %(version)s")
@click.pass_context
def command_line(context: click.Context) -> None:
    """Score speech quality without a reference, enhance speech, verify speakers, and manage plugins."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


for command in (
    score.score,
    enhance.enhance,
    embed.embed,
    voices.enroll,
    voices.verify,
    voices.identify,
    voices.voices,
    trials.trials,
    plugins.list_plugins,
    plugins.show,
    plugins.check,
    plugins.new,
):
    command_line.add_command(command)


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status: 0, 1 (error), 2 (wrong usage) or 128 + the signal that ended it."""
    _open_streams()
    with warnings.catch_warnings(), raise_terminated():
        warnings.showwarning = _show_warning
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
            print(f"speechtools: {error.format_message()}", file=sys.stderr)
            return error.exit_code
        except SpeechtoolsError as error:
            print(f"speechtools: {error}", file=sys.stderr)
            return 1
        except BrokenPipeError:  # the reader, such as `head`, has exited
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 1
        except OSError as error:  # such as a full disk, or a folder without permission
            print(f"speechtools: {error}", file=sys.stderr)
            return 1
        except (KeyboardInterrupt, click.Abort) as error:
            reason, status = describe(error.__cause__ if isinstance(error, click.Abort) else error)
            print(f"speechtools: {reason}.", file=sys.stderr)
            return status


def _open_streams() -> None:
    """Escape what a terminal cannot show, such as é in ASCII; replace streams that are closed."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, open(os.devnull, "w"))
        elif hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def _show_warning(message: Any, *_: Any, **__: Any) -> None:
    print("speechtools: warning:", " ".join(str(message).split()), file=sys.stderr)
