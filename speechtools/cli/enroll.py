"""``speechtools enroll``."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from speechtools.cli.command import command
from speechtools.cli.common import (
    channel_option,
    check_output,
    load_model,
    model_options,
    module_option,
    print_problems,
    progress,
    quality_options,
    recordings,
    weigh_by_quality,
)
from speechtools.core.errors import AudioError, ConfigError, printable

if TYPE_CHECKING:
    import numpy as np


@command(
    examples=[
        "speechtools enroll anna anna_1.wav anna_2.wav anna_3.wav --voices voices.npz",
        "speechtools enroll anna anna_4.wav --add --voices voices.npz",
        "speechtools enroll --from-folder speakers --voices voices.npz     # speakers/anna/*.wav, …",
    ]
)
@click.argument("words", nargs=-1, metavar="[NAME RECORDING...]")
@click.option("--voices", required=True, metavar="FILE", help="The .npz file of voices to create or extend.")
@click.option(
    "--from-folder", metavar="FOLDER", help="Enroll a voice from each subfolder, under the name of the subfolder."
)
@click.option("--overwrite", is_flag=True, help="Replace a voice that has this name.")
@click.option("--add", is_flag=True, help="Add the recordings to a voice that has this name.")
@click.option(
    "--keyword",
    metavar="TEXT[:THRESHOLD]",
    help="Enroll this phrase alone, where --detector hears it in each recording.",
)
@click.option(
    "--detector", metavar="MODEL", help="The model of --keyword, as for `speechtools spot`.  [default: the bundled one]"
)
@quality_options
@model_options
@channel_option
@module_option
def enroll(
    words: tuple[str, ...],
    voices: str,
    from_folder: str | None,
    overwrite: bool,
    add: bool,
    keyword: str | None,
    detector: str | None,
    quality: tuple[str | None] | None,
    model: str | None,
    device: str | None,
    channel: int | str,
) -> int:
    """Add a voice to a file of voices, for `verify` and `identify`.

    NAME is the name of the speaker. Pass three or more recordings if you can; a folder counts as all recordings in it.
    A voice that has this name already is changed with --add or --overwrite only.

    With --from-folder, many voices are enrolled. A recording or voice that cannot be used is reported; the others are
    enrolled, and the exit status is 1.
    """
    from tqdm import tqdm

    from speechtools.audio.recordings import find_recordings
    from speechtools.speaker.voices import check_name, edit_voices, read_voices, taken

    if os.path.isdir(voices):
        raise ConfigError(f"--voices={voices} is not the name of a file. Pass one, such as voices.npz.")
    check_output("--voices", voices)
    if overwrite and add:
        raise ConfigError("--overwrite and --add exclude each other. Pass one of them.")
    if detector is not None and keyword is None:
        raise ConfigError("--detector finds the phrase of --keyword. Pass both.")
    if from_folder is None:
        _check_words(words)
        speakers = {check_name(words[0]): find_recordings(words[1:])}
    elif words:
        raise ConfigError(f"Pass either --from-folder={from_folder} or a name and recordings, not both.")
    else:
        speakers = _find_speakers(from_folder)
    exists = os.path.exists(voices)
    earlier = read_voices(voices).voices if exists else {}
    if from_folder is None and words[0] in earlier and not overwrite and not add:
        raise ConfigError(taken(words[0]))
    verifier = load_model("SpeakerVerification", model, device)
    weigh_by_quality(verifier, quality, device)
    spotter = None
    if keyword is not None:
        spotter = load_model("KeywordDetector", detector, device, "--detector")
        spotter.phrases([keyword])  # before anything is read
    of_model = verifier.model_id, verifier.embedding_size, verifier.SCALE
    if exists:
        read_voices(voices, *of_model)
    problems: list[str] = []
    for name, files in progress(speakers.items(), "enrolling", len(speakers)) if from_folder else speakers.items():
        errors: list[AudioError] = []
        try:
            if from_folder and not files:
                raise AudioError(f"The folder {os.path.join(from_folder, name)} contains no audio file.")
            if name in earlier and not overwrite and not add:
                raise ConfigError(taken(name))
            spoken: list[Any] = files
            if spotter is not None:
                spoken = _keywords(spotter, verifier, files, keyword, errors if from_folder else None, channel)
            verifier.enroll(name, spoken, errors if from_folder else None, channel=channel if spotter is None else 0)
            with edit_voices(voices, *of_model) as content:
                again = name in content.voices
                content.enroll(name, verifier.details(name), overwrite, add)
                names = sorted(content.voices)
        except (AudioError, ConfigError) as error:
            if not from_folder:
                raise
            problems += [f"not used: {error}" for error in errors] + [f"not enrolled: {error}"]
            continue
        problems += [f"not used: {error}" for error in errors]
        voice = verifier.details(name)
        how = "enrolled from" if not again else "extended by" if add else "enrolled again from"
        source = f"{recordings(voice.recordings)}, {verifier.usable.get(name) or f'{voice.seconds:.1f} s of speech'}"
        tqdm.write(f"{printable(name)} {how} {source}: {voices}", file=sys.stdout)
        if not from_folder:
            print(f"voices: {', '.join(map(printable, names)) if len(names) <= 20 else len(names)}")
    return print_problems(problems)


def _keywords(
    spotter: Any, verifier: Any, files: list[Path], keyword: str | None, errors: list[AudioError] | None, channel: Any
) -> list["np.ndarray"]:
    """The samples of a keyword in each recording; recordings without it are added to ``errors``, if there is a list."""
    from speechtools.keyword.matching import spoken_keyword

    found = []
    for path in files:
        try:
            found.append(spoken_keyword(spotter, verifier, path, keyword or "", channel=channel))
        except AudioError as error:
            if errors is None:
                raise
            errors.append(error)
    if not found:
        raise AudioError(f"{keyword!r} was heard in none of the {len(files)} recordings.")
    return found


def _check_words(words: tuple[str, ...]) -> None:
    """Refuse a forgotten name or forgotten recordings."""
    from speechtools.audio.io import is_audio_name

    usage = "`speechtools enroll NAME RECORDING... --voices FILE`"
    if not words:
        raise ConfigError(f"Nothing to enroll. Usage: {usage}, or --from-folder with a subfolder for each voice.")
    if os.path.isfile(words[0]) and is_audio_name(os.path.basename(words[0])):
        raise ConfigError(f"{words[0]} is a recording, but the first word must be the name of the voice: {usage}.")
    if len(words) == 1:
        hint = f", or --from-folder={words[0]} for its subfolders" if os.path.isdir(words[0]) else ""
        raise ConfigError(f"No recordings to enroll {words[0]!r} from. Usage: {usage}{hint}.")


def _find_speakers(folder: str) -> dict[str, list[Path]]:
    from speechtools.audio.recordings import find_recordings

    if not os.path.isdir(folder):
        raise ConfigError(f"--from-folder={folder} is not a folder.")
    inside = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not inside:
        raise ConfigError(
            f"{folder} has no subfolders. Make one for each voice, with its recordings, or enroll one voice with "
            f"`speechtools enroll NAME {folder} --voices FILE`."
        )
    speakers: dict[str, list[Path]] = {}
    for name in inside:
        try:
            speakers[name] = find_recordings([Path(folder) / name])
        except ConfigError:  # no recordings; enrolling reports it, and the others are enrolled
            speakers[name] = []
    return speakers


# -------------------------------------------------------------------------------------------------- verify and identify
