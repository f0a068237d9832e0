"""Commands that refuse wrong words in one way, and whose help ends with examples."""

import gettext
import math
import os
from collections.abc import Iterator, Sequence
from typing import Any

import click

from speechtools.core.errors import first_of, printable


class Command(click.Command):
    """A command of ``speechtools``.

    It refuses empty words, numbers that are not finite, and superfluous words, and explains names of files that look
    like options.

    Parameters
    ----------
    examples : sequence of str
        Lines at the end of the help.
    """

    def __init__(self, *args: Any, examples: Sequence[str] = (), **kwargs: Any):
        super().__init__(*args, **kwargs)
        self.examples = examples

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the words after the name of the command, and check them."""
        files = [word for word in args if word[:1] == "-" and word.strip("-") and os.path.lexists(word)]
        ctx.allow_extra_args = True  # refused below, in a message of bounded length
        try:
            rest = super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            if not files:
                raise
            name = printable(files[0])
            remedy = f"Write ./{name}, or -- before the names of files."
            raise click.UsageError(f"{name} begins with a dash, as options do. {remedy}", ctx) from error
        if rest and not ctx.resilient_parsing:
            count = "1 argument" if len(rest) == 1 else f"{len(rest)} arguments"
            remedy = f"Quote names that contain spaces; `{ctx.command_path} --help` shows the form."
            raise click.UsageError(f"{count} too many: {printable(first_of(rest))}. {remedy}", ctx)
        for parameter in self.params:
            for value in _values(ctx.params.get(parameter.name or "")):
                if reason := _why_wrong(value):
                    raise click.BadParameter(reason, ctx, parameter)
        return rest

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples."""
        super().format_epilog(ctx, formatter)
        if self.examples:
            with formatter.section(gettext.gettext("Examples")):
                for line in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{line}\n")


class Group(click.Group):
    """A group that lists its commands in the order in which they were added."""

    command_class = Command

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return list(self.commands)


def command(name: str | None = None, **attributes: Any) -> Any:
    """Make a :class:`Command` from a function; a decorator."""
    return click.command(name, cls=Command, **attributes)


def _values(value: Any) -> Iterator[Any]:
    yield from value if isinstance(value, tuple) else [value]


def _why_wrong(value: Any) -> str:
    if value == "":
        return "it is empty. Pass a value; a variable of the shell may not be set."
    if isinstance(value, str) and "\0" in value:
        return f"{value!r} contains a NUL character."
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} is not a finite number."
    return ""
