"""``speechtools embed``, ``enroll`` and ``verify``."""

import os

import click

from speechtools.cli.common import (
    load_model,
    model_options,
    module_option,
    print_problems,
    progress,
    recordings,
    refuse_to_replace,
)
from speechtools.core.errors import AudioError, ConfigError


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="FILE_OR_FOLDER...")
@click.option("--out", required=True, metavar="FILE", help="The .npz file to write.")
@model_options
@module_option
def embed(paths: tuple[str, ...], out: str, model: str | None, device: str | None) -> int:
    """Write the d-vectors of recordings to a file. Folders are searched for audio files.

    The .npz file contains `files` (n,) and `dvectors` (n, size). A recording without a d-vector is reported; the others
    are embedded, and the exit status is 1.
    """
    import numpy as np

    from speechtools.audio.recordings import find_recordings
    from speechtools.core.files import write_aside

    if os.path.isdir(out):
        raise ConfigError(f"--out={out} is a folder. Pass the name of a file, such as d-vectors.npz.")
    encoder = load_model("SpeakerEncoder", model, device)
    files = find_recordings(paths)
    refuse_to_replace(files, {"--out": out})
    results = list(progress(encoder.encode_files(files), "embedding", len(files)))
    embedded = [(str(path), result.numpy()) for path, result in results if not isinstance(result, AudioError)]
    if embedded:
        names, dvectors = zip(*embedded, strict=True)
        with write_aside(out) as aside, open(aside, "wb") as stream:
            np.savez(stream, files=np.array(names, dtype=np.str_), dvectors=np.stack(dvectors))
        print(f"{len(embedded)} d-vectors of size {encoder.embedding_size}: {out}")
    else:
        print(f"No d-vectors, so {out} was not written.")
    return print_problems(f"not embedded: {result}" for _, result in results if isinstance(result, AudioError))


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
