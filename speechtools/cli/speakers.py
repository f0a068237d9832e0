"""``speechtools enroll`` and ``verify``."""

import os

import click

from speechtools.cli.common import (
    load_model,
    model_options,
    module_option,
    recordings,
)
from speechtools.core.errors import ConfigError


@click.command()
@click.argument("name")
@click.argument("paths", nargs=-1, required=True, metavar="RECORDING...")
@click.option("--voices", required=True, metavar="FILE", help="The .npz file of voices to create or extend.")
@model_options
@module_option
def enroll(name: str, paths: tuple[str, ...], voices: str, model: str | None, device: str | None) -> int:
    """Enroll a voice from recordings of it, better three or more, in a file for `speechtools verify`.

    An earlier voice of that name is replaced.
    """
    verifier = load_model("SpeakerVerification", model, device)
    if os.path.exists(voices):
        verifier.load_voices(voices)
    verifier.enroll(name, paths)
    verifier.save_voices(voices)
    print(f"{name} enrolled from {recordings(len(paths))}: {voices}")
    print(f"voices: {', '.join(sorted(verifier.voices))}")
    return 0


@click.command()
@click.argument("claimed", metavar="RECORDING_OR_NAME")
@click.argument("recording")
@click.option("--voices", metavar="FILE", help="A file of voices that `speechtools enroll` wrote.")
@click.option("--threshold", type=float, help="Accept from this score on.  [default: the model's threshold]")
@model_options
@module_option
def verify(
    claimed: str, recording: str, voices: str | None, threshold: float | None, model: str | None, device: str | None
) -> int:
    """Decide whether two recordings are of the same voice or, with --voices, whether one is of an enrolled voice.

    The score is a cosine, from -1 to 1. The exit status is 0 for both decisions.
    """
    verifier = load_model("SpeakerVerification", model, device)
    if voices:
        verifier.load_voices(voices)
        verdict = verifier.verify(claimed, recording, threshold)
    elif not os.path.exists(claimed):
        raise ConfigError(
            f"The recording {claimed} does not exist. For an enrolled voice, pass its file with --voices."
        )
    else:
        verdict = verifier.verify_files(claimed, recording, threshold)
    threshold = verifier.threshold if threshold is None else threshold
    print(f"{'accepted' if verdict.accepted else 'rejected'}\tscore {verdict.score:.4f}\tthreshold {threshold:.4f}")
    return 0
