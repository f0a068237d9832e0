"""``speechtools average``."""

import shlex

import click

from speechtools.cli.command import command
from speechtools.cli.common import check_output, module_option
from speechtools.core.errors import ConfigError, printable


@command(
    examples=[
        "speechtools average stage1/pretrained stage2/pretrained mean",
        "speechtools average stage1/pretrained stage2/pretrained mean --weights 1,3",
    ]
)
@click.argument("models", metavar="MODEL MODEL...", nargs=-1, required=True)
@click.argument("folder")
@click.option("--weights", metavar="NUMBERS", help="A weight for each model, such as 1,3.  [default: equal weights]")
@click.option("--overwrite", is_flag=True, help="Replace a model in FOLDER.")
@module_option
def average(models: tuple[str, ...], folder: str, weights: str | None, overwrite: bool) -> int:
    """Average the weights of models of one architecture, such as those of several stages of a training.

    MODEL is a folder that a recipe has exported, or a bundled model; FOLDER is the new folder of their mean. The models
    must have the same architecture and features; the message names the first difference.

    The threshold, the calibration and the cohort of a speaker encoder are fitted to its weights, so their mean has
    none: `speechtools calibrate` fits a threshold and a calibration to your recordings.
    """
    from pathlib import Path

    from speechtools import inference
    from speechtools.core import averaging
    from speechtools.core.model_folder import check_model_folder, interface_of
    from speechtools.core.pretrained import find_folder

    check_output("FOLDER", folder)
    check_model_folder(Path(folder).expanduser(), overwrite)
    name = interface_of(find_folder(models[0]))
    if name not in inference.__all__:
        raise ConfigError(
            f"{models[0]} is a model for {name or 'an interface that it does not name'}, which is none of "
            "speechtools.inference. Average it in Python: speechtools.core.averaging.average."
        )
    mean, dropped = averaging.average(getattr(inference, name), models, _numbers(weights))
    mean.save(folder)
    print(f"averaged: {printable(folder)}")
    if dropped:
        print(f"It has no {', '.join(dropped)}: what the models had was fitted to other weights.")
    if isinstance(mean, inference.SpeakerEncoder):
        print(
            f"`speechtools calibrate LIST --model {printable(shlex.quote(folder))} --out FOLDER` fits a threshold and "
            "a calibration to your recordings."
        )
    return 0


def _numbers(text: str | None) -> list[float] | None:
    """The weights of the option."""
    try:
        return None if text is None else [float(word) for word in text.split(",")]
    except ValueError as error:
        raise ConfigError(f"Invalid value for --weights: {text!r} is no list of numbers, such as 1,3.") from error
