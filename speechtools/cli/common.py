"""Options and output that several commands share."""

import functools
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import click

from speechtools.core import registry
from speechtools.core.errors import ConfigError


def model_options(command: Callable) -> Callable:
    """Add ``--model`` and ``--device``."""
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
    return getattr(inference, interface).from_hparams(model, run_opts={"device": device} if device else None)


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


def refuse_to_replace(files: Iterable[str | Path], outputs: dict[str, str | None]) -> None:
    """Raise a :class:`ConfigError` if an output, by its option, is a folder or one of the recordings."""
    for option, path in outputs.items():
        if path and os.path.isdir(path):
            raise ConfigError(f"{option}={path} is a folder. Pass the name of a file.")
        if (
            path
            and os.path.exists(path)
            and any(os.path.exists(file) and os.path.samefile(file, path) for file in files)
        ):
            raise ConfigError(f"{option}={path} would replace a recording. Choose another output.")
