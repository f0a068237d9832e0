"""``speechtools convert``."""

import shlex

import click

from speechtools.cli.command import command
from speechtools.cli.common import check_output, module_option
from speechtools.core.errors import printable


@command(
    examples=[
        "speechtools convert resemblyzer pretrained.pt resemblyzer",
        "speechtools convert dvector dvector.pt dvector --threshold 0.6",
    ]
)
@click.argument("project", metavar="PROJECT")
@click.argument("checkpoint")
@click.argument("folder")
@click.option("--threshold", type=float, metavar="SCORE", help="The threshold of verify and identify.  [default: none]")
@click.option(
    "--vad",
    metavar="NAME",
    help="How speech is detected: webrtc-smoothed, energy, or another plugin of the kind vad.  [default: that of the "
    "project]",
)
@click.option("--overwrite", is_flag=True, help="Replace a model in FOLDER.")
@module_option
def convert(
    project: str, checkpoint: str, folder: str, threshold: float | None, vad: str | None, overwrite: bool
) -> int:
    """Convert the speaker encoder of another project to a folder for --model and --start_from.

    PROJECT is resemblyzer, real-time-voice-cloning, or dvector (yistLin/dvector). CHECKPOINT is the file that it has
    saved, of which only tensors are read. FOLDER is the new folder of the model.

    The model has no threshold, unless you pass one: `speechtools calibrate` fits it to your recordings.
    """
    from speechtools.speaker import conversion

    check_output("FOLDER", folder)
    conversion.convert(project, checkpoint, folder, threshold=threshold, vad=vad, overwrite=overwrite)
    print(f"converted: {printable(folder)}")
    if threshold is None:
        print(
            f"It has no threshold. `speechtools calibrate LIST --model {printable(shlex.quote(folder))} --out FOLDER` "
            "fits one to your recordings, or pass it as --threshold."
        )
    return 0
