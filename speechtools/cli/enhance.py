"""``speechtools enhance``."""

from pathlib import Path

import click

from speechtools.cli.common import load_model, model_options, module_option, print_problems, progress, recordings
from speechtools.core.errors import ConfigError


@click.command()
@click.argument("source", metavar="FILE_OR_FOLDER", type=click.Path(path_type=Path))
@click.argument("target", metavar="OUTPUT", type=click.Path(path_type=Path))
@model_options
@module_option
def enhance(source: Path, target: Path, model: str | None, device: str | None) -> int:
    """Remove the noise from a recording, or from all recordings in a folder.

    OUTPUT is a file (.wav or .flac) or a folder. It is mono, 16 bit, at the sample rate of the model.

    A recording that cannot be enhanced is reported; the others are enhanced, and the exit status is 1.
    """
    files = _files(source, target)
    enhancer = load_model("SpeechEnhancer", model, device)
    errors = [error for _, error in progress(enhancer.enhance_files(files), "enhancing", len(files)) if error]
    if len(errors) < len(files):
        print(f"{recordings(len(files) - len(errors))} enhanced: {target}")
    return print_problems(f"not enhanced: {error}" for error in errors)


def _files(source: Path, target: Path) -> list[tuple[Path, Path]]:
    """List the recordings and their outputs.

    Raises
    ------
    ConfigError
        The target does not fit the source, two outputs are the same, or one would replace a recording.
    """
    from speechtools.audio.recordings import find_recordings

    if source.is_dir():
        if target.suffix.lower() in (".wav", ".flac") or target.is_file():
            raise ConfigError(f"{source} is a folder and {target} a file. Pass a folder for the enhanced recordings.")
        paths = find_recordings([source])
        files = [(path, (target / path.relative_to(source)).with_suffix(".wav")) for path in paths]
    else:
        if not target.suffix and not target.is_dir():
            raise ConfigError(f"The folder {target} does not exist. Create it, or add .wav or .flac for a file.")
        files = [(source, target / f"{source.stem}.wav" if target.is_dir() else target)]
    sources: dict[Path, Path] = {}
    for path, output in files:
        if output in sources:
            raise ConfigError(f"{sources[output]} and {path} would both become {output}. Rename one of them.")
        if output.resolve() == path.resolve():
            raise ConfigError(f"{path} would be replaced by its enhanced version. Choose another output.")
        sources[output] = path
    return files
