"""``speechtools calibrate``."""

import os
import shlex
from typing import TYPE_CHECKING

import click

from speechtools.cli.command import command
from speechtools.cli.common import (
    batch_size_option,
    channel_option,
    check_output,
    load_model,
    model_options,
    module_option,
    recordings,
)
from speechtools.cli.trials import rate_list, read_list
from speechtools.core.errors import printable

if TYPE_CHECKING:
    from speechtools.audio.sources import Channel


@command(
    examples=[
        "speechtools calibrate trials.txt",
        "speechtools calibrate trials.txt --out my-model",
        "speechtools verify one.wav other.wav --model my-model",
    ]
)
@click.argument("path", metavar="LIST")
@click.option("--root", metavar="FOLDER", help="The folder of the recordings.  [default: the folder of the list]")
@click.option("--out", metavar="NEW_FOLDER", help="Write the calibrated model to this folder, for --model.")
@click.option("--overwrite", is_flag=True, help="Replace a model in NEW_FOLDER.")
@batch_size_option
@model_options
@channel_option
@module_option
def calibrate(
    path: str,
    root: str | None,
    out: str | None,
    overwrite: bool,
    batch_size: int,
    model: str | None,
    device: str | None,
    channel: "Channel",
) -> int:
    """Fit the threshold and the probabilities of verification to your own recordings.

    LIST is a list of trials as for `speechtools trials`: `1 a.wav b.wav` if both recordings are of the same speaker,
    `0 a.wav b.wav` otherwise. It must have 20 trials of each kind, of 5 speakers; several hundred are better.

    The output compares the model before with calibrations that have not seen the speakers of a trial: the equal error
    rate, the cost of the log-likelihood ratios (Cllr) and its minimum, and the errors at the probability 0.5. With
    --out, the model is written with a calibration that was fitted to all trials. Its d-vectors, and so the files of
    enrolled voices, are the same.

    Trials of a recording that cannot be used are left out; it is reported, and the exit status is 1.
    """
    from pathlib import Path

    from speechtools.core.model_folder import check_model_folder
    from speechtools.speaker.recalibration import recalibrate

    pairs, folder, files = read_list(path, root)
    if out is not None:
        check_output("--out", out)
        check_model_folder(Path(out).expanduser(), overwrite)
    verifier = load_model("SpeakerVerification", model, device)
    rated = rate_list(verifier, pairs, folder, batch_size, channel)
    result = recalibrate(verifier, pairs, rated)
    values, count = result.metrics(), len(result.targets)
    print(f"EER\t{100 * values['eer']:.2f} %\theld out")
    before = f"; {values['former_cllr']:.4f} before" if "former_cllr" in values else ""
    print(f"Cllr\t{values['cllr']:.4f}\theld out{before}")
    print(f"min Cllr\t{values['min_cllr']:.4f}\tat best")
    rates = f"{100 * values['misses']:.2f} %\tmisses, and {100 * values['false_alarms']:.2f} % false alarms"
    print(f"errors\t{rates} at probability 0.5, held out")
    print(f"threshold\t{result.threshold:.4f}\tof the score, at its EER")
    targets = int(result.targets.sum())
    print(f"trials\t{count}\t{targets} target, {count - targets} non-target, of {result.speakers} speakers")
    left_out = f"of {len(pairs)} trials, for {recordings(len(rated.errors))} of {len(files)}"
    print(f"left out\t{len(pairs) - count}\t{left_out}")
    if out is None:
        print("Nothing was written. Pass --out for a model with this calibration.")
    else:
        result.apply(verifier)
        verifier.save(os.path.expanduser(out))
        print(f"calibrated: {printable(out)}, for --model {printable(shlex.quote(out))}")
    return 1 if rated.errors else 0
