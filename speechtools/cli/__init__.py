"""The command line."""

from speechtools.cli.main import main

__all__ = ["main"]
