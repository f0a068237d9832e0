"""Options and output that several commands share."""

import functools
import itertools
import os
import stat
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import click

from speechtools.core import registry
from speechtools.core.errors import ConfigError, ModelKindError, printable

#: Key of ``--trust`` in the context of a command.
_TRUST = f"{__name__}.trust"
#: Bytes of the longest name of a file.
_LONGEST_NAME = 255
#: Options of outputs that are not recordings: a forgotten name would make the first of `*.wav` the output.
_NO_RECORDINGS = ("--csv", "--json", "--jsonl", "--out", "--plot", "--rttm", "--voices")
#: The commands that take the models of an interface.
_COMMANDS = {
    "QualityNet": "`speechtools score`",
    "SpeechEnhancer": "`speechtools enhance`",
    "SpeakerEncoder": "`speechtools embed`, `enroll`, `verify`, `identify`, `diarize` and `trials`",
    "KeywordDetector": "`speechtools spot`",
}
#: The interfaces of commands that take ONNX files.
_ONNX_INTERFACES = ("QualityNet", "SpeechEnhancer")
_COMMANDS["SpeakerVerification"] = _COMMANDS["SpeakerDiarization"] = _COMMANDS["SpeakerEncoder"]


def model_options(command: Callable) -> Callable:
    """Add ``--model``, ``--device`` and ``--trust``, which :func:`load_model` looks up."""
    command = click.option(
        "--trust",
        is_flag=True,
        expose_value=False,
        callback=lambda context, _, value: context.meta.update({_TRUST: value}),
        help="Load a model of an earlier version too. Its yaml can run any program, so use only models you trust.",
    )(command)
    command = click.option(
        "--device", metavar="DEVICE", help="cpu, cuda, cuda:1 or mps.  [default: a GPU if there is one]"
    )(command)
    return click.option(
        "--model",
        metavar="MODEL",
        help="The `pretrained` folder of a recipe, an id owner/name on the Hugging Face hub, the name of a bundled "
        "model or, to score and enhance, a file of `speechtools export`.  [default: the bundled model of the command]",
    )(command)


def module_option(command: Callable[..., int]) -> Callable[..., int]:
    """Add ``--module``, which imports modules before the command runs."""

    @click.option(
        "--module",
        "modules",
        multiple=True,
        metavar="MODULE",
        help="Import your plugins from this file, such as my_net.py, or module. May be repeated.",
    )
    @functools.wraps(command)
    def with_modules(*args: Any, modules: tuple[str, ...], **kwargs: Any) -> int:
        for module in modules:
            registry.import_module(module)
        return command(*args, **kwargs)

    return with_modules


def load_model(interface: str, model: str | None, device: str | None, option: str = "--model") -> Any:
    """Load the model of an option with the class ``interface`` of :mod:`speechtools.inference`."""
    from speechtools import inference
    from speechtools.core.memory import keep_freed_memory
    from speechtools.core.onnx_file import SUFFIX

    is_onnx = model is not None and model.lower().endswith(SUFFIX)
    if is_onnx and interface not in _ONNX_INTERFACES:
        takers = " and ".join(_COMMANDS[name] for name in _ONNX_INTERFACES)
        raise ConfigError(f"{option}={model}: only {takers} take ONNX files. Pass the folder of the model.")
    if is_onnx and device not in (None, "cpu"):
        raise ConfigError(f"--device={device}: ONNX files are computed on the CPU. Leave the option out.")
    keep_freed_memory()
    context = click.get_current_context()
    try:
        if is_onnx:
            return getattr(inference, interface).from_onnx(model)
        from speechtools.core.devices import check_device  # torch

        run_opts = {"device": check_device(device, "--device")} if device else None
        return getattr(inference, interface).from_hparams(model, run_opts=run_opts, trust=is_trusted())
    except ModelKindError as error:
        commands = _COMMANDS.get(error.interface or "")
        if commands is None:
            raise
        bundled = getattr(inference, interface).BUNDLED
        taker = f"`{context.command_path}`" if option == "--model" else option
        remedy = f"{taker} takes models such as {bundled.name}." if bundled else f"{taker} takes those of a recipe."
        raise ConfigError(f"{option}={model} is a model for {commands}. {remedy}") from error


def is_trusted() -> bool:
    """Whether the command loads models of an earlier version."""
    return click.get_current_context().meta[_TRUST]


def quality_options(command: Callable[..., int]) -> Callable[..., int]:
    """Add ``--weigh-by-quality`` and ``--quality_model``; the command gets ``quality`` for :func:`weigh_by_quality`."""

    @click.option(
        "--weigh-by-quality",
        is_flag=True,
        help="Weigh the windows of a recording by the quality of their speech, which Quality-Net predicts.",
    )
    @click.option(
        "--quality_model",
        metavar="MODEL",
        help="The model of --weigh-by-quality, as for `speechtools score`.  [default: the bundled one]",
    )
    @functools.wraps(command)
    def with_quality(*args: Any, weigh_by_quality: bool, quality_model: str | None, **kwargs: Any) -> int:
        if quality_model is not None and not weigh_by_quality:
            raise ConfigError("--quality_model is the model of --weigh-by-quality. Pass both.")
        return command(*args, quality=(quality_model,) if weigh_by_quality else None, **kwargs)

    return with_quality


def weigh_by_quality(encoder: Any, quality: tuple[str | None] | None, device: str | None) -> Any:
    """Let an encoder weigh windows by the model of the options, if they say so, and return the model."""
    if quality is None:
        return None
    net = load_model("QualityNet", quality[0], device, "--quality_model")
    encoder.weigh_by_quality(net)
    return net


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
        print_message(printable(problem))
        status = 1
    return status


def print_message(message: object) -> None:
    """Print a message to stderr. Control characters, as names of files may have, are escaped."""
    print("speechtools:", "\n".join(map(printable, str(message).splitlines())), file=sys.stderr)


def channel_option(command: Callable) -> Callable:
    """Add ``--channel``."""
    return click.option(
        "--channel",
        default="mix",
        show_default=True,
        callback=_channel,
        metavar="NUMBER|mix",
        help="The channel to use, counted from 0; mix is the mean of all channels.",
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


def overwrite_option(command: Callable) -> Callable:
    """Add ``--overwrite``."""
    return click.option("--overwrite", is_flag=True, help="Replace existing files; never one of the recordings.")(
        command
    )


def output_options(command: Callable) -> Callable:
    """Add ``--resume`` and ``--overwrite``."""
    help_text = "Continue an interrupted run: skip finished recordings."
    return click.option("--resume", is_flag=True, help=help_text)(overwrite_option(command))


def batch_size_option(command: Callable) -> Callable:
    """Add ``--batch_size``."""
    return click.option(
        "--batch_size",
        type=click.IntRange(min=1),
        metavar="NUMBER",
        default=32,
        show_default=True,
        help="Recordings that are computed together; fewer take less memory.",
    )(command)


def check_output(option: str, path: str | Path) -> None:
    """Raise a :class:`ConfigError` if a file or folder cannot be written, or is a recording and no command's output.

    Its parent folders need not exist.
    """
    from speechtools.audio.finding import FFMPEG_SUFFIXES, SUFFIXES

    name = os.path.basename(path)
    is_recording = os.path.isfile(path) and Path(path).suffix.lower() in SUFFIXES | FFMPEG_SUFFIXES
    if option in _NO_RECORDINGS and is_recording:
        raise ConfigError(f"{option}={path} is a recording, which would be replaced. Pass the name of a new file.")
    if len(os.fsencode(name)) > _LONGEST_NAME:
        raise ConfigError(f"{option}: the name {name[:20]}… is too long for a file. Choose a shorter one.")
    parent = next(parent for parent in Path(os.path.abspath(path)).parents if os.path.lexists(parent))
    if not parent.is_dir():
        raise ConfigError(f"{option}={path}: {parent} is not a folder. Choose another output.")
    place = path if os.path.exists(path) else parent
    if not os.access(place, os.W_OK):
        raise ConfigError(f"{option}={path}: you may not write to {place}. Change its permissions or choose another.")


def unique_stems(files: Iterable[Path]) -> dict[Path, str]:
    """Name each recording by its file without folder and suffix, with a number where another one has this name.

    >>> list(unique_stems([Path("a/x.wav"), Path("b/x.wav")]).values())
    ['x', 'x-2']
    """
    names: dict[Path, str] = {}
    used: set[str] = set()
    for path in files:
        stem = os.fsdecode(os.fsencode(path.stem)[:240])  # a number must still fit
        candidates = itertools.chain([stem], (f"{stem}-{number}" for number in itertools.count(2)))
        names[path] = next(name for name in candidates if name not in used)
        used.add(names[path])
    return names


def plot_folder(folder: str, names: Iterable[str], overwrite: bool) -> list[Path]:
    """Return the paths of the plots ``names`` in the folder of ``--png``.

    Raises
    ------
    ConfigError
        The folder is a file or cannot be written; or one of the plots exists, was not drawn by this toolkit, and
        ``overwrite`` is false.
    """
    from speechtools.core.plots import is_plot

    is_file = os.path.exists(folder) and not os.path.isdir(folder)
    if is_file or folder.lower().endswith(".png"):
        raise ConfigError(f"--png={folder} is a file{'' if is_file else ' name'}. Pass the name of a folder.")
    check_output("--png", folder)
    plots = [Path(folder) / name for name in names]
    for plot in plots:
        if not overwrite and plot.exists() and not is_plot(plot):
            raise ConfigError(
                f"--png: {plot} exists and is not a plot of this command. Pass --overwrite to replace it."
            )
    return plots


def refuse_inputs(
    files: Iterable[str | Path], outputs: Mapping[str, Iterable[str | Path]], inputs: str = "recordings"
) -> None:
    """Raise a :class:`ConfigError` if an output, by its option, is one of the ``inputs``."""
    identities = {identity for file in files if (identity := _identity(file))}
    for option, paths in outputs.items():
        for path in paths:
            if _identity(path) in identities:
                raise ConfigError(f"{option}: {path} is one of the {inputs}, and would be replaced. Choose another.")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Identify an existing regular file, whatever its name or link."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None
