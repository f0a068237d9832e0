"""Options and output that several commands share."""

import functools
import math
import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from speechtools.core import registry
from speechtools.core.errors import ConfigError

#: Key of ``--trust`` in the context of a command.
_TRUST = f"{__name__}.trust"


def model_options(command: Callable) -> Callable:
    """Add ``--model``, ``--device`` and ``--trust``, which :func:`load_model` looks up."""
    command = click.option(
        "--trust",
        is_flag=True,
        expose_value=False,
        callback=lambda context, _, value: context.meta.update({_TRUST: value}),
        help="Load a model of an earlier version, whose yaml can run any program.",
    )(command)
    command = click.option("--device", help="cpu, cuda or cuda:1.  [default: a GPU if there is one]")(command)
    return click.option(
        "--model",
        help="A `pretrained` folder, a hub id, or the name of a bundled model.  [default: the command's bundled model]",
    )(command)


def module_option(command: Callable[..., int]) -> Callable[..., int]:
    """Add ``--module``, which imports modules before the command runs."""

    @click.option(
        "--module",
        "modules",
        multiple=True,
        metavar="MODULE",
        help="Import plugins of yours first: a file such as my_net.py, or a module. May be repeated.",
    )
    @functools.wraps(command)
    def with_modules(*args: Any, modules: tuple[str, ...], **kwargs: Any) -> int:
        for module in modules:
            registry.import_module(module)
        return command(*args, **kwargs)

    return with_modules


def load_model(interface: str, model: str | None, device: str | None) -> Any:
    """Load a model with the class ``interface`` of :mod:`speechtools.inference`."""
    from speechtools import inference
    from speechtools.core.memory import keep_freed_memory

    keep_freed_memory()
    run_opts = {"device": device} if device else None
    trust = click.get_current_context().meta[_TRUST]
    return getattr(inference, interface).from_hparams(model, run_opts=run_opts, trust=trust)


def progress(results: Iterable, description: str, total: int) -> Iterable:
    """Show a progress bar on a terminal while iterating."""
    from tqdm import tqdm

    return tqdm(results, description, total, unit="file", disable=None)


def recordings(count: int) -> str:
    """Return ``1 recording`` or ``2 recordings``."""
    return f"{count} recording" if count == 1 else f"{count} recordings"


def print_problems(problems: Iterable[object]) -> int:
    """Print a line to stderr for each problem, and return the exit status: 1 if there is any."""
    status = 0
    for problem in problems:
        print(f"speechtools: {problem}", file=sys.stderr)
        status = 1
    return status


def channel_option(command: Callable) -> Callable:
    """Add ``--channel``."""
    return click.option(
        "--channel",
        default="mix",
        show_default=True,
        callback=_channel,
        metavar="NUMBER|mix",
        help="A channel of recordings, counted from 0, or the mean of all.",
    )(command)


def _channel(context: click.Context, parameter: click.Parameter, value: str) -> int | str:
    if value == "mix":
        return value
    try:
        number = int(value)
    except ValueError:
        number = -1
    if number < 0:
        raise click.BadParameter(f"{value!r} is neither the number of a channel, from 0, nor 'mix'.")
    return number


def output_options(command: Callable) -> Callable:
    """Add ``--resume`` and ``--overwrite``."""
    command = click.option("--overwrite", is_flag=True, help="Replace existing files; never one of the recordings.")(
        command
    )
    return click.option("--resume", is_flag=True, help="Continue an interrupted run: skip finished recordings.")(
        command
    )


def finite(context: click.Context, parameter: click.Parameter, value: float | None) -> float | None:
    """Check that the number of an option is finite; a callback of click."""
    if value is not None and not math.isfinite(value):
        raise click.BadParameter(f"{value} is not a finite number.")
    return value


def refuse_inputs(files: Iterable[str | Path], outputs: Mapping[str, Iterable[str | Path]]) -> None:
    """Raise a :class:`ConfigError` if an output, by its option, is one of the recordings."""
    identities = {identity for file in files if (identity := _identity(file))}
    for option, paths in outputs.items():
        for path in paths:
            if _identity(path) in identities:
                raise ConfigError(f"{option}: {path} is one of the recordings, and would be replaced. Choose another.")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Identify an existing regular file, whatever its name or link."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
