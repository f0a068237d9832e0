"""The command line."""

from speechtools.cli.commands import main

__all__ = ["main"]
