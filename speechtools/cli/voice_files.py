"""``speechtools voices``."""

import sys
from collections.abc import Callable

import click

from speechtools.cli.command import Group
from speechtools.core.errors import ConfigError, printable


def voices_option(command: Callable) -> Callable:
    """Add ``--voices``."""
    return click.option(
        "--voices", required=True, metavar="FILE", help="The file of voices that `speechtools enroll` wrote."
    )(command)


@click.group(cls=Group)
def voices() -> None:
    """List, remove or rename the voices of a file."""


@voices.command("list")
@voices_option
def list_voices(voices: str) -> int:
    """List the voices: name, recordings, seconds of speech and date, separated by tabs.

    Files of earlier versions do not have all of this; what is missing is shown as -.
    """
    from speechtools.speaker.voices import read_voices

    content = read_voices(voices)
    if sys.stdout.isatty():
        print("# name\trecordings\tseconds of speech\tenrolled (UTC)")
    for name, voice in sorted(content.voices.items()):
        seconds = f"{voice.seconds:.1f}" if voice.recordings else "-"
        print(f"{printable(name)}\t{voice.recordings or '-'}\t{seconds}\t{voice.date or '-'}")
    return 0


@voices.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@voices_option
def remove(names: tuple[str, ...], voices: str) -> int:
    """Remove voices. If one of the names is unknown, none is removed."""
    from speechtools.speaker.voices import edit_voices

    with edit_voices(voices) as content:
        for name in names:
            content.find(name)
        for name in set(names):
            del content.voices[name]
    print(f"removed: {', '.join(printable(name) for name in dict.fromkeys(names))}")
    return 0


@voices.command()
@click.argument("name")
@click.argument("new_name")
@voices_option
@click.option("--overwrite", is_flag=True, help="Replace a voice that has the new name.")
def rename(name: str, new_name: str, voices: str, overwrite: bool) -> int:
    """Rename a voice."""
    from speechtools.speaker.voices import check_name, edit_voices

    check_name(new_name)
    with edit_voices(voices) as content:
        voice = content.find(name)
        if new_name in content.voices and new_name != name and not overwrite:
            raise ConfigError(f"{printable(new_name)} is enrolled, too. Pass --overwrite to replace this voice.")
        del content.voices[name]
        content.voices[new_name] = voice
    print(f"{printable(name)} renamed to {printable(new_name)}")
    return 0
